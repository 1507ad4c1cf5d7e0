import csv
import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cs_keras.data.demo.catalogue import draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.style import Style
from cs_keras.data.demo.tags import TAG_RULES, tags_of
from cs_keras.data.demo.write import render_track, write_demo_source
from cs_keras.errors import ConfigError
from cs_keras.factors.interaction_files import StorageError, read_interactions

SMALL = DemoConfig(
    n_genres=4,
    n_artists=6,
    n_tracks=12,
    min_duration_s=1.0,
    max_duration_s=2.0,
    n_playlists=30,
    mean_playlist_length=6.0,
)


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    write_demo_source(directory, SMALL)
    return directory


def test_same_bytes_with_any_number_of_workers(demo: Path, tmp_path: Path) -> None:
    write_demo_source(tmp_path / "again", SMALL, n_workers=1)
    assert digests(tmp_path / "again") == digests(demo)


def test_a_track_depends_on_seed_and_index_alone(demo: Path) -> None:
    catalogue = draw_catalogue(SMALL)
    for index in (11, 0, 5):
        assert (demo / f"audio/demo{index:05d}.wav").read_bytes() == render_track(catalogue, index, SMALL)


def test_another_seed_gives_other_data(demo: Path, tmp_path: Path) -> None:
    write_demo_source(tmp_path, DemoConfig(**{**vars(SMALL), "seed": 1}))
    ours, theirs = digests(demo), digests(tmp_path)
    assert ours.keys() == theirs.keys() and all(ours[name] != theirs[name] for name in ours)


def test_tables_and_audio_agree(demo: Path) -> None:
    with open(demo / "tracks.csv", newline="", encoding="utf-8") as file:
        tracks = list(csv.DictReader(file))
    with open(demo / "listening.csv", newline="", encoding="utf-8") as file:
        interactions = list(csv.DictReader(file))
    assert list(tracks[0]) == ["path", "track_id", "artist", "title", "album", "isrc", "genres"]
    assert list(interactions[0]) == ["playlist_id", "track_id", "count"]
    assert {row["track_id"] for row in interactions} <= {row["track_id"] for row in tracks}
    for row, duration_s in zip(tracks, draw_catalogue(SMALL).duration_s, strict=True):
        info = soundfile.info(demo / row["path"])
        assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
        assert info.frames == round(duration_s * 22050)


def test_feedback_is_a_like_of_all_that_was_played_and_dislikes_of_other_tracks(demo: Path) -> None:
    likes = read_interactions(demo / "listening.csv")
    both = read_interactions(demo / "feedback.csv")
    assert both.playlist_ids.tolist() == likes.playlist_ids.tolist()
    assert both.track_ids.tolist() == likes.track_ids.tolist()
    assert (both.user_items != likes.user_items).nnz == 0
    assert both.dislikes is not None and both.dislikes.nnz > 0 and likes.dislikes is None


def test_attributes_are_the_styles_in_their_units(demo: Path) -> None:
    with open(demo / "attributes.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    styles = [Style(**{name: float(row[name]) for name in Style.names()}) for row in rows]
    with np.load(demo / "truth.npz") as truth:
        assert [row["track_id"] for row in rows] == truth["track_ids"].tolist()
        np.testing.assert_allclose([style.to_vector() for style in styles], truth["style"], atol=1e-4)


def test_tags_are_those_of_the_attributes(demo: Path) -> None:
    with open(demo / "attributes.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(demo / "tags.csv", newline="", encoding="utf-8") as file:
        pairs = [(row["track_id"], row["tag"]) for row in csv.DictReader(file)]
    own = {row["track_id"]: Style(**{name: float(row[name]) for name in Style.names()}) for row in rows}
    assert pairs == [(track_id, tag) for track_id, style in own.items() for tag in tags_of(style)]
    for track_id, style in own.items():
        tags = {tag for one, tag in pairs if one == track_id}
        assert len(tags & TAG_RULES["tempo"].keys()) == len(tags & TAG_RULES["mode"].keys()) == 1
        assert len(tags & TAG_RULES["rhythm"].keys()) == ("drums" in tags)
        assert ("minor" in tags) == (round(style.mode_flats) > 2)  # Dorian, minor, Phrygian: a minor third


def test_other_tables_are_those_of_releases_without_tags_and_feedback(demo: Path) -> None:
    found = {name: digest[:12] for name, digest in digests(demo).items() if name.endswith(".csv")}
    assert (
        found.pop("tags.csv")
        and found.pop("feedback.csv")
        and found
        == {
            "attributes.csv": "9bc785de0c56",
            "listening.csv": "8f5aa3952b8d",
            "tracks.csv": "f001de5be4cf",
        }
    )


def test_truth_needs_no_pickles(demo: Path) -> None:
    with np.load(demo / "truth.npz", allow_pickle=False) as truth:
        assert truth["style"].shape == (12, len(truth["style_names"]))
        assert truth["social"].shape == (12, len(truth["social_names"]))
        assert truth["track_ids"][3] == "demo00003"


def test_only_what_is_missing_or_broken_is_rebuilt(tmp_path: Path) -> None:
    write_demo_source(tmp_path, SMALL)
    before = digests(tmp_path)
    audio = sorted((tmp_path / "audio").iterdir())
    for path in audio:
        os.utime(path, (1, 1))
    audio[2].unlink()
    audio[7].write_bytes(audio[7].read_bytes()[:1000])
    os.utime(audio[7], (1, 1))
    steps: list[tuple[int, int]] = []
    write_demo_source(tmp_path, SMALL, on_progress=lambda done, total: steps.append((done, total)))
    assert [path.stat().st_mtime > 1 for path in audio] == [i in (2, 7) for i in range(12)]
    assert digests(tmp_path) == before
    assert steps == [(done, 12) for done in range(1, 13)]


def test_other_settings_need_another_folder(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds demo data of other settings \(seed\)"):
        write_demo_source(demo, DemoConfig(**{**vars(SMALL), "seed": 7}))
    (tmp_path / "tracks.csv").write_text("mine")
    with pytest.raises(ConfigError, match="holds tracks.csv but no demo.json"):
        write_demo_source(tmp_path, SMALL)
    assert (tmp_path / "tracks.csv").read_text() == "mine"
    with pytest.raises(ConfigError, match="n_workers"):
        write_demo_source(tmp_path / "new", SMALL, n_workers=0)


def test_full_disk_is_named_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "demo"
    with monkeypatch.context() as patch:
        real = os.replace

        def replace(source: Path, target: Path) -> None:
            if Path(target).name == "demo00004.wav":
                raise OSError(errno.ENOSPC, "No space left on device")
            real(source, target)

        patch.setattr(os, "replace", replace)
        with pytest.raises(StorageError, match="demo00004.wav: the disk is full"):
            write_demo_source(directory, SMALL)
    assert not list(directory.rglob("*.tmp"))
    write_demo_source(directory, SMALL)
    assert len(list((directory / "audio").iterdir())) == 12
