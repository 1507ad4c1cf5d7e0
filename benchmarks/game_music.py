"""Real recordings: how well features retrieve, and classify, the composers of free game music.

    python -m benchmarks.game_music FOLDER [--encoder NAME[=WEIGHTS] ...] [--features NAME=FILE ...]

fetches six Debian packages (640 MB, by `apt-get download`; licences GPL, CC-BY(-SA) and CC0, by file) into FOLDER,
which must be outside the repository, unpacks their recordings of 30 s or more, and prints the tables of
docs/what-works.md. Whatever is in FOLDER already is not made again.

Composers and albums are those of the tags. Names that mean the same composer are joined, titles that are a game's
or a web page's are taken as the game's own album. Warzone 2100 lists its composers in album.json, UFO: Alien
Invasion begins file names with them. Recordings of unknown composers are left out.

Features are computed from the middle minute of a recording, which is written as FOLDER/excerpts/ID.flac: means and
standard deviations of 20 MFCCs, and the features of each `--encoder` of `cs-keras embed`, such as
musicnn=FOLDER_OF_WEIGHTS or choi=model_best.hdf5. Others are added by `--features`: npz files with ``track_ids``,
the paths below FOLDER/audio without suffix, and ``features``.
"""

import argparse
import csv
import json
import re
import subprocess
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cs_keras.audio.tags import read_tags
from cs_keras.cli.console import Console
from cs_keras.data.catalogue import find_audio
from cs_keras.errors import DataError
from cs_keras.evaluation.labels.classification import HEADS, MAJORITY
from cs_keras.runs import write_npz
from pipelines.evaluation.classify import classify_features
from pipelines.evaluation.label_folds import FoldsConfig
from pipelines.evaluation.labels import read_labels
from pipelines.evaluation.retrieval import retrieve_labels
from pipelines.inference.embed import EncoderChoice, embed_recordings

PACKAGES = (
    "wesnoth-1.16-music",
    "ufoai-music",
    "warzone2100-music",
    "nexuiz-music",
    "hyperrogue-music",
    "singularity-music",
)
LEAST_S = 30.0  # shorter ones are sound effects and jingles
EXCERPT_S = 60
SAMPLE_RATE, N_MFCC = 22_050, 20
LEAST_TRACKS = 5  # of a composer, to be classified with tracks held out
COMPOSERS = {  # as tagged: one name
    'Christian "Crystan" Hoffmann': "Crystan",
    "www.indiedb.com/members/crystan": "Crystan",
    "Gerd (elysis) Raudenbusch": "elysis",
    "www.elysis.de": "elysis",
    "Manuel 'Vanethian' Marino": "Vanethian",
    "<Unknown>": "",
}
PREFIXES = {"Crystan": "Crystan", "David": "David", "Psymong": "Psymong", "van_": "Vanethian"}  # of UFO: AI
OWN_ALBUM = re.compile(
    r"^$|^ufo: alien invasion|^hyperrogue|^nexuiz|wesnoth ost|elysis|raudenbusch|loopnet|earattic", re.I
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME[=WEIGHTS]")
    parser.add_argument("--features", action="append", default=[], metavar="NAME=FILE")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    if folder.is_relative_to(Path(__file__).resolve().parents[1]):
        parser.error(f"{folder} is in the repository, which recordings must not get into.")
    for package in PACKAGES:
        fetch(package, folder)
    recordings = describe(folder / "audio")
    excerpts = folder / "excerpts"
    write_excerpts(excerpts, recordings)
    files = {"MFCC": folder / "mfcc.npz"}
    write_mfcc(files["MFCC"], excerpts)
    for name, _, weights in (one.partition("=") for one in arguments.encoder):
        files[name] = folder / f"{name}.npz"
        if not files[name].exists():
            embed_recordings(EncoderChoice(name, weights or None), [excerpts], "auto", files[name], Console())
    files |= {name: Path(file) for name, _, file in (one.partition("=") for one in arguments.features)}
    for line in report(folder, recordings, files):
        print(line)


def fetch(package: str, folder: Path) -> None:
    """Download a package and unpack its recordings, and the table of albums of Warzone 2100."""
    out = folder / "audio" / package
    if out.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
    (deb,) = folder.glob(f"{package}_*.deb")
    temporary = folder / f"{package}.partial"
    temporary.mkdir(exist_ok=True)
    subprocess.run(["dpkg-deb", "--extract", deb, temporary], check=True)
    for archive in temporary.rglob("*.pk3"):
        with zipfile.ZipFile(archive) as content:
            content.extractall(archive.parent, [one for one in content.namelist() if one.endswith(".ogg")])
    (folder / "audio").mkdir(exist_ok=True)
    temporary.rename(out)


def describe(audio: Path) -> list[dict[str, Any]]:
    """Return path, id, composer and album of each recording of a known composer that is long enough."""
    recordings = []
    for path, track_id in find_audio([audio]):
        tags = read_tags(path)
        if tags.duration_s < LEAST_S:
            continue
        composer, album = COMPOSERS.get(tags.artist, tags.artist), tags.album
        if (table := path.parent / "album.json").exists():
            about = json.loads(table.read_text(encoding="utf-8"))
            composer, album = about["author"], about["title"]
        elif not composer and "ufoai" in track_id:
            composer = next((name for start, name in PREFIXES.items() if path.name.startswith(start)), "")
        if composer:
            game = path.relative_to(audio).parts[0]
            album = game if OWN_ALBUM.search(album) else album
            recordings.append({"path": path, "track_id": track_id, "label": composer, "album": album})
    return recordings


def write_excerpts(out: Path, recordings: list[dict[str, Any]]) -> None:
    """Write the middle minute, or all of a shorter recording, of each recording, unless it is there."""
    with Console().task("excerpts", len(recordings)) as advance:
        for one in recordings:
            path = out / f"{one['track_id']}.flac"
            if not path.exists():
                with soundfile.SoundFile(one["path"]) as file:
                    n = min(file.frames, EXCERPT_S * file.samplerate)
                    file.seek((file.frames - n) // 2)
                    samples = file.read(n, dtype="float32")
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".partial")
                soundfile.write(temporary, samples, file.samplerate, format="FLAC")
                temporary.rename(path)
            advance(1)


def write_mfcc(out: Path, excerpts: Path) -> None:
    """Write mean and standard deviation of the MFCCs of each excerpt, unless the file exists."""
    import librosa

    if out.exists():
        return
    found = find_audio([excerpts])
    rows = []
    with Console().task("MFCC", len(found)) as advance:
        for path, _ in found:
            samples, _ = librosa.load(path, sr=SAMPLE_RATE)
            mfcc = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE, n_mfcc=N_MFCC)
            rows.append(np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)]))
            advance(1)
    write_npz(out, track_ids=np.array([name for _, name in found]), features=np.asarray(rows, np.float32))


def report(folder: Path, recordings: list[dict[str, Any]], files: dict[str, Path]) -> Iterator[str]:
    """Yield the lines of the tables: counts, and retrieval and classification with albums and tracks held out."""
    albums: dict[str, set[str]] = {}
    for one in recordings:
        albums.setdefault(one["label"], set()).add(one["album"])
    counts = Counter(one["label"] for one in recordings)
    several = [name for name in counts if len(albums[name]) > 1]
    many = [name for name in counts if counts[name] >= LEAST_TRACKS]
    yield f"{len(recordings)} recordings by {len(counts)} composers."
    yield "Composers with several albums: " + "; ".join(
        f"{name}, {counts[name]} tracks on {len(albums[name])}" for name in several
    )
    yield f"Composers with {LEAST_TRACKS} tracks or more: {', '.join(f'{one} {counts[one]}' for one in many)}"
    # Albums held out: lists of all recordings, but only composers with another album have relevant ones.
    whole = write_labels(folder / "albums.csv", recordings, ("track_id", "label", "album"))
    tracks = write_labels(folder / "tracks.csv", recordings, ("track_id", "label"))
    of_several = [one for one in recordings if one["label"] in several]
    by_album = write_labels(folder / "several.csv", of_several, ("track_id", "label", "album"))
    of_many = [one for one in recordings if one["label"] in many]
    by_track = write_labels(folder / "many.csv", of_many, ("track_id", "label"))
    yield "| features | mAP, other albums | precision@10 | mAP, all tracks | precision@10 |"
    yield "|---|---|---|---|---|"
    for name, file in files.items():
        found = [retrieve_labels(file, read_labels(table), (10,)) for table in (whole, tracks)]
        if name == next(iter(files)):
            first = found
        yield (
            f"| {name} | "
            + " | ".join(
                show(value)
                for one in found
                for value in (one["mean_average_precision"], one["precision"]["10"])
            )
            + " |"
        )
    yield (
        "| chance | "
        + " | ".join(f"{100 * one[key]:.1f}" for one in first for key in ("chance", "chance_precision"))
        + " |"
    )
    yield f"| queries | {' | | '.join(str(sum(one['queries'].values())) for one in first)} | |"
    yield "| features | albums held out: linear | rbf | majority | tracks held out: linear | rbf | majority |"
    yield "|---|---|---|---|---|---|---|"
    for name, file in files.items():
        cells = [*classify(file, by_album, 2), *classify(file, by_track, LEAST_TRACKS)]
        yield f"| {name} | {' | '.join(cells)} |"


def classify(features: Path, labels: Path, n_folds: int) -> list[str]:
    """Return accuracy with its interval over tracks by each head and the majority, in %."""
    try:
        found = classify_features(features, read_labels(labels), HEADS, FoldsConfig(n_folds))["heads"]
    except DataError as error:
        return [f"n/a: {error}", "", ""]
    return [
        f"{100 * found[head]['accuracy']:.1f} ({low:.1f} to {high:.1f})"
        for head in (*HEADS, MAJORITY)
        for low, high in [100 * np.array(found[head]["interval_tracks"])]
    ]


def write_labels(path: Path, recordings: list[dict[str, Any]], columns: tuple[str, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([one[column] for column in columns] for one in recordings)
    return path


def show(mean: dict[str, float]) -> str:
    return f"{100 * mean['mean']:.1f} ({100 * mean['low']:.1f} to {100 * mean['high']:.1f})"


if __name__ == "__main__":
    main()
