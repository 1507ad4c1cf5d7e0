"""Mutated files: reading one gives the same result, that of other valid input, or an error of one sentence.

``python -m tests.mutations 5000`` runs as many cases, ``python -m tests.mutations 1 --first 4711`` one again.
"""

import argparse
import contextlib
import hashlib
import io
import json
import math
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from cs_keras.errors import CsKerasError
from tests.audio.sounds import noise
from tests.command_line import SMALL, drop_checksums, run

TIMEOUT_S = 60
MEMORY_BYTES = 3 * 2**30  # that the cases may use beyond what reading the inputs took
PRECIOUS = "outside/precious.txt"
AUDIO = ("a.wav", "a.ogg", "a.mp3", "a.flac")
SEALED_AGAIN = ", sealed again"  # of a file whose checksum fits what was changed, which is other valid input
Rng = np.random.Generator


class HangError(BaseException):
    """A case took longer than `TIMEOUT_S`."""


@dataclass(frozen=True)
class Scenario:
    """Files that may be mutated, as patterns in the folder of a case, and what reads them.

    `read` returns a value that is equal for equal input. `sealed` input has checksums: success is an equal value.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], Any]
    sealed: bool = False


def make_inputs(folder: Path, demo: Path, trained: Path) -> None:
    """Write every kind of file that cs-keras reads to a folder, among them a dataset and a finished run."""
    from cs_keras.playlists.index import open_index

    shutil.copytree(demo, folder / "demo", ignore=shutil.ignore_patterns("source"))
    shutil.copytree(trained, folder / "run")
    (folder / PRECIOUS).parent.mkdir()
    (folder / PRECIOUS).write_text("precious")
    drop_checksums(Path(shutil.copytree(folder / "run", folder / "old")))
    _write_tables(folder)
    _write_study(folder / "study")
    for name in AUDIO:
        soundfile.write(folder / name, noise(22050 * 2), 22050)
    patches = np.random.default_rng(0).uniform(0.1, 9, (9, 513, 8)).astype("f4")
    with h5py.File(folder / "patches.h5", "w") as file:
        file["patches"], file["songs"] = patches, [b"a"] * 5 + [b"b"] * 4
    open_index(_vectors(), "hnsw", folder / "index.faiss")


def _vectors() -> Any:
    return np.random.default_rng(0).normal(size=(30, 4)).astype("f4")


def _write_tables(folder: Path) -> None:
    rng, n = np.random.default_rng(0), 30
    ids = [f"t{row}" for row in range(n)]
    lines = [f"p{a},t{b},{c}" for a, b, c in zip(*rng.integers(0, n, (3, 200)).tolist(), strict=True)]
    (folder / "plays.csv").write_text("\n".join(["playlist_id,track_id,count", *lines]))
    pq.write_table(
        pa.table({"playlist_id": ["p", "q"] * n, "track_id": ids * 2, "count": [1, 2] * n}),
        folder / "plays.parquet",
    )
    lines = [f'{i}.wav,{i},"Artist {row % 7}",rock|pop,1994' for row, i in enumerate(ids)]
    (folder / "tracks.csv").write_text("\n".join(["path,track_id,artist,genres,release_date", *lines]))
    lines = [f"{i},{row / 7},{'ABC'[row % 3]},x|y" for row, i in enumerate(ids)]
    (folder / "features.csv").write_text("\n".join(["track_id,tempo,key,tags", *lines]))
    columns = {"track_id": ids, "tempo": np.arange(n) / 7, "vector": [[1.0, 2.0]] * n, "tags": [["a"]] * n}
    pq.write_table(pa.table(columns), folder / "features.parquet")
    np.savez(folder / "features.npz", track_ids=np.array(ids), features=rng.normal(size=(n, 3)).astype("f4"))
    np.savez(folder / "given.npz", ids=np.array(ids), item_factors=rng.normal(size=(n, 3)).astype("f4"))
    (folder / "list.m3u8").write_text("#EXTM3U\n" + "".join(f"{name}\nfile:///x/{name}\n" for name in AUDIO))
    (folder / "ids.csv").write_text("\n".join(["track_id", *ids]))
    (folder / "settings.toml").write_text(
        "[training]\nepochs = 3\nbatch_size = 16\n[models.bot]\nmodel.dense = [16, 32]\nseed = 1\n"
    )


def _write_study(folder: Path) -> None:
    from cs_keras.runs import write_json
    from tests.tuning.studies import make_study
    from tuning.study import open_study

    study = make_study(folder, max_trials=2)
    open_study(study)
    for number in range(2):
        trial = f"000{number}"
        execution = {"seed": 0, "metrics": {"val_loss": 0.5}, "epochs": 2, "best_epoch": 1, "seconds": 1.5}
        values = {"training.learning_rate": 0.01, "training.batch_size": 32}
        record = {"schema_version": 1, "trial": trial, "status": "completed", "parameters": values}
        scores = {"score": 0.1 * number, "executions": [execution], "n_weights": 9}
        write_json(folder / "trials" / trial / "trial.json", {**record, **scores})


# What reads the files


def read_dataset(folder: Path) -> Any:
    """Read every frame, table, factors and interactions of a dataset."""
    from cs_keras.data.dataset import Dataset
    from cs_keras.data.schema import factors_path
    from cs_keras.factors.interactions import load_interactions
    from cs_keras.factors.store import load_factors

    dataset = Dataset(folder / "demo")
    frames = hashlib.sha256()
    for row in range(len(dataset)):
        frames.update(dataset.read_track(row).tobytes())
    interactions = load_interactions(folder / "demo" / "interactions.npz")
    factors = load_factors(factors_path(folder / "demo", "wmf"))
    return dataset.digest, frames.hexdigest(), factors.digest, interactions.user_items.sum()


def check(folder: Path) -> Any:
    """Check a dataset, with an error for findings."""
    from pipelines.dataset.check import check_dataset

    result = check_dataset(folder / "demo", audio_duplicates=False)
    if result.errors:
        raise CsKerasError(str(result.errors[0]))
    return result.n_tracks, result.n_frames, result.factors


def read_results(name: str) -> Callable[[Path], Any]:
    """Return what reads the results of a run, for reports and recommendations."""

    def read(folder: Path) -> Any:
        from cs_keras.run_files.predictions import read_predictions
        from cs_keras.run_files.training import Training, read_metrics
        from pipelines.recommend.catalogue import open_catalogue
        from reports.runs.collect import collect_runs

        run = folder / name
        (group,) = collect_runs(run).groups
        catalogue, predictions = open_catalogue(run, None), read_predictions(run)
        records = [group.runs[0].evaluations, Training.read(run), read_metrics(run)]
        return repr(records), _finite(catalogue.predicted.factors), _finite(predictions.scaled_factors)

    return read


def predict(name: str) -> Callable[[Path], Any]:
    """Return what predicts a track by a run's model."""

    def read(folder: Path) -> Any:
        from pipelines.inference.trained_run import read_run, track_function

        run = read_run(folder / name)
        frames = np.random.default_rng(0).uniform(0, 9, (300, 513)).astype(np.float32)
        return _finite(run.signature.scaler.inverse(track_function(run)(frames)[np.newaxis]))

    return read


def read_tables(folder: Path) -> Any:
    """Read tables that users write."""
    from cs_keras.data.catalogue import read_catalogue
    from cs_keras.factors.interaction_files import read_first_times, read_interactions
    from cs_keras.factors.store import read_external_factors
    from cs_keras.playlists.read import read_ids, read_m3u
    from pipelines.training.attribute_files import read_attributes

    found: list[Any] = []
    for name in ("plays.csv", "plays.parquet"):
        interactions = read_interactions(folder / name)
        found += [interactions.track_ids.tolist(), _finite(interactions.user_items.data)]
    found += [repr(read_first_times(folder / "plays.csv", time_column="count"))]
    found += [repr([one.track_id for one in read_catalogue(folder / "tracks.csv")])]
    for name in ("features.csv", "features.parquet", "features.npz"):
        table = read_attributes(folder / name)
        found += [table.ids.tolist(), {key: column.content() for key, column in table.columns.items()}]
    found += [_finite(read_external_factors(folder / "given.npz").item_factors)]
    return [*found, [str(path.name) for path in read_m3u(folder / "list.m3u8")], read_ids(folder / "ids.csv")]


def read_settings(folder: Path) -> Any:
    """Read TOML and apply it to the settings of a model."""
    from cs_keras import config
    from pipelines.training.run_config import resolve

    changes = config.load_toml(folder / "settings.toml")
    return config.to_dict(resolve("bot", {"training": changes.get("training", {})}))


def read_study(folder: Path) -> Any:
    """Read a study for its report and for its chief."""
    from reports.study import reading
    from tuning.study import read_study as read_for_chief

    study = reading.read_study(folder / "study")
    return repr((study, read_for_chief(folder / "study").record)).replace(str(folder), "")


def read_audio(folder: Path) -> Any:
    """Decode recordings and read their tags."""
    from cs_keras.audio.decode import load_mono
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.catalogue import describe_recordings

    tags = describe_recordings([(folder / name, name) for name in AUDIO])
    return [repr(tags), *(_finite(load_mono(folder / name, AudioConfig(), "soundfile")) for name in AUDIO)]


def read_patches(folder: Path) -> Any:
    """Read patches of the thesis."""
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.patches.layout import survey
    from cs_keras.data.patches.read import open_hdf5, read_track

    audio = AudioConfig()
    source = survey(str(folder / "patches.h5"), audio)
    with open_hdf5(str(folder / "patches.h5")) as file:
        return [_finite(read_track(file, source, track, audio, "float32")) for track in source.tracks]


def read_index(folder: Path) -> Any:
    """Read an index of factors."""
    from cs_keras.playlists.index import open_index

    return open_index(_vectors(), "hnsw", folder / "index.faiss").search(_vectors()[:3], 5).tolist()


def lock(folder: Path) -> Any:
    """Lock a folder, as every writer does."""
    from cs_keras.runs import locked, write_json

    with locked(folder / "run"):
        write_json(folder / "run" / "training.json", {})
    return None


RUN_FILES = ("config.json", "signature.json", "evaluation.json", "training.json", "metrics.jsonl")
RESULT_FILES = (*RUN_FILES, "queries.npz", "predictions.npz", "DONE")
TABLES = ("*.csv", "features.*", "plays.parquet", "given.npz", "list.m3u8")
SCENARIOS = (
    Scenario("dataset", ("demo/*.*", "demo/*/*.npz", "demo/*/*/*.h5"), read_dataset, sealed=True),
    Scenario("check", ("demo/*.*", "demo/*/*.npz", "demo/*/*/*.h5"), check, sealed=True),
    Scenario("results", tuple(f"run/{name}" for name in RESULT_FILES), read_results("run"), sealed=True),
    Scenario("results without checksums", tuple(f"old/{name}" for name in RESULT_FILES), read_results("old")),
    Scenario("model", ("run/*.keras", "run/*.json", "run/DONE"), predict("run"), sealed=True),
    Scenario(
        "model without checksums", ("old/*.keras", "old/config.json", "old/signature.json"), predict("old")
    ),
    Scenario("tables", TABLES, read_tables),
    Scenario("settings", ("settings.toml",), read_settings),
    Scenario("study", ("study/*.json", "study/trials/*/*.json"), read_study),
    Scenario("audio", AUDIO, read_audio),
    Scenario("patches", ("patches.h5",), read_patches),
    Scenario("index", ("index.faiss",), read_index),
    Scenario("lock", ("run/.lock",), lock),
)


# What is changed


def mutate(path: Path, rng: Rng, folder: Path) -> str:
    """Change a file and return how."""
    own = [kind for pattern, kinds in KINDS.items() if path.match(pattern) for kind in kinds]
    groups = [[change_bytes], own, [replace_file]]
    group = groups[rng.choice(3, p=[0.4, 0.5, 0.1] if own else [0.85, 0.0, 0.15])]
    kind = group[rng.integers(len(group))] if path.exists() else replace_file
    content = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)  # of several links to one file
    if kind is not replace_file:
        path.write_bytes(content)
    return f"{kind.__name__}: {kind(path, rng, folder)}"


def change_bytes(path: Path, rng: Rng, folder: Path) -> str:
    """Change, remove, insert, repeat or cut bytes."""
    content = bytearray(path.read_bytes())
    n = len(content)
    start = int(rng.integers(max(n, 1)))
    length = int(min(rng.choice([1, 4, 64, 4096]), n - start))
    junk = rng.bytes(length)
    how = str(
        rng.choice(["bit", "byte", "junk", "zero", "cut", "remove", "insert", "repeat", "append", "empty"])
    )
    if how == "bit" and n:
        content[start] ^= 1 << int(rng.integers(8))
    elif how == "byte" and n:
        content[start] = int(rng.integers(256))
    elif how in ("junk", "zero"):
        content[start : start + length] = junk if how == "junk" else bytes(length)
    elif how in ("cut", "empty"):
        del content[start if how == "cut" else 0 :]
    elif how == "remove":
        del content[start : start + length]
    elif how == "insert":
        content[start:start] = junk
    elif how == "repeat":
        content[start:start] = content[start : start + length]
    else:
        content += junk
    path.write_bytes(content)
    return f"{how} at {start} of {n}, {length} bytes"


def replace_file(path: Path, rng: Rng, folder: Path) -> str:
    """Put something else where a file was."""
    how = str(
        rng.choice(["nothing", "folder", "pipe", "link outside", "link to itself", "device", "dangling"])
    )
    targets = {"link outside": folder / PRECIOUS, "link to itself": path, "device": Path("/dev/zero")}
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how != "nothing":
        path.symlink_to(targets.get(how, folder / "none"))
    return how


VALUES = (
    None, True, -1, 0, 2**62, 10**400, 1e300, math.nan, math.inf, -0.5, "", "x", "../../outside", "\0", "é" * 300,
    [], {}, [[]], [None], {"a": 1}, ["x"] * 3, "DEEP",
)  # fmt: skip


def change_json(path: Path, rng: Rng, folder: Path) -> str:
    """Replace, remove or rename a value of JSON, in one of its lines where it has several."""
    text = path.read_text()
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    row = int(rng.integers(len(lines)))
    try:
        document = json.loads(lines[row])
    except ValueError:
        return change_bytes(path, rng, folder)
    places = list(_places(document))
    if not places:
        return change_bytes(path, rng, folder)
    holder, key = places[rng.integers(len(places))]
    value = VALUES[rng.integers(len(VALUES))]
    how = str(rng.choice(["replace", "remove", "rename"], p=[0.8, 0.1, 0.1]))
    if how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = value
    if path.name == "dataset.json" and rng.integers(2):
        with contextlib.suppress(ValueError):
            from cs_keras.data.schema import add_checksum

            document = add_checksum(document)
    lines[row] = json.dumps(document).replace('"DEEP"', "[" * 900 + "]" * 900)
    path.write_text("\n".join(lines))
    return f"{how} {key!r} by {str(value)[:20]!r}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(min(len(value), 3)):
            yield value, key
            yield from _places(value[key])


def change_npz(path: Path, rng: Rng, folder: Path) -> str:
    """Change one array of an npz, with the checksum that belongs to it or without."""
    from cs_keras.factors.arrays import seal

    with np.load(path) as file:
        arrays = dict(file)
    name = str(rng.choice(list(arrays)))
    array, how = arrays.pop(name), int(rng.integers(len(ARRAY_CHANGES)))
    with np.errstate(all="ignore"), contextlib.suppress(Exception):  # not every change fits every array
        changed = ARRAY_CHANGES[how](array)
        if changed is not None:
            arrays[name] = changed
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    again = ("settings" in arrays or name == "settings") and bool(rng.integers(4))
    path.write_bytes(seal(buffer.getvalue()) if again else buffer.getvalue())
    return f"change {how} of {name}{SEALED_AGAIN * again}"


ARRAY_CHANGES: tuple[Callable[[Any], Any], ...] = (
    lambda a: None,
    lambda a: a[:-1],
    lambda a: a[:0],
    lambda a: a[np.newaxis],
    lambda a: np.array(a.flat[0]),
    lambda a: a.astype(object),
    lambda a: a.astype("f8") * np.nan,
    lambda a: np.full_like(a, np.inf),
    lambda a: a.astype(str),
    lambda a: a.astype(complex),
    lambda a: -a,
    lambda a: np.full(a.shape, 2**62),
    lambda a: np.concatenate([a, a]),
    lambda a: np.zeros(a.shape, [("x", "f4")]),
    lambda a: np.zeros(a.shape, "M8[s]"),
    lambda a: np.asfortranarray(a.astype(">f8")),
)


def change_header(path: Path, rng: Rng, folder: Path) -> str:
    """Give an array of an npz an absurd header."""
    shape = str(
        rng.choice(["(1099511627776,)", "(-1,)", "(2**62, 2**62)", "()", "'x'", "(1e9,)", "(" * 200, "1"])
    )
    kind = str(rng.choice(["<f4", "O", "<U99999999", "V0", "x", "|S0", "[('a','O')]"]))
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = str(rng.choice(list(members)))
    members[name] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
    with zipfile.ZipFile(path, "w") as file:
        for one, content in members.items():
            file.writestr(one, content)
    return f"{name}: {kind} {shape[:20]}"


def change_parquet(path: Path, rng: Rng, folder: Path) -> str:
    """Change a column of Parquet; a track table is sealed again."""
    table = pq.read_table(path)
    number = int(rng.integers(table.num_columns))
    name, n = table.column_names[number], len(table)
    columns = [
        pa.nulls(n), pa.array([2**62] * n), pa.array([-1] * n), pa.array([""] * n), pa.array([math.nan] * n),
        pa.array(["x"] * n), pa.array([[1.0]] * n), pa.array([{"a": 1}] * n), pa.array([b"\xff"] * n),
        pa.array([0.5] * n), pa.array([2**31] * n),
    ]  # fmt: skip
    how = int(rng.integers(len(columns) + 2))
    if how < len(columns):
        table = table.set_column(number, name, columns[how])
    elif how == len(columns):
        table = table.drop_columns([name])
    else:
        table = pa.concat_tables([table, table.slice(0, 1)])
    with contextlib.suppress(Exception):
        pq.write_table(table, path)
    if path.name == "tracks.parquet":
        from cs_keras.data.schema import add_checksum

        document = path.with_name("dataset.json")
        content = json.loads(document.read_text())
        content["tracks_checksum"] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        document.unlink()
        document.write_text(json.dumps(add_checksum(content)))
    return f"change {how} of {name}"


def change_hdf5(path: Path, rng: Rng, folder: Path) -> str:
    """Change an attribute or an object of HDF5."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = str(rng.choice(names))
        attributes = list(file.attrs)
        how = str(rng.choice(["attribute", "no attribute", "remove", "soft", "external", "type", "huge"]))
        if how in ("attribute", "no attribute") and attributes:
            name = str(rng.choice(attributes))
            values = [[1, 2], np.nan, "x", b"\xff", 2**62, np.zeros((0, 2)), "[" * 9000, -1]
            del file.attrs[name]
            if how == "attribute":
                file.attrs[name] = values[rng.integers(len(values))]
            return f"{how} {name}"
        del file[name]
        if how == "soft":
            file[name] = h5py.SoftLink(f"/{name}")
        elif how == "external":
            file[name] = h5py.ExternalLink(str(folder / PRECIOUS), "/x")
        elif how == "type":
            file[name] = ["x", "y"]
        elif how == "huge":
            file.create_dataset(name, (2**40, 513), "<f2", chunks=(1, 513))
    return f"{how} {name}"


def change_model(path: Path, rng: Rng, folder: Path) -> str:
    """Change the configuration or the weights in ``model.keras``, with correct sums of the archive."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    if rng.integers(2):
        own = path.with_suffix(".json")
        own.write_bytes(members["config.json"])
        how = change_json(own, rng, folder)
        members["config.json"] = own.read_bytes()
        own.unlink()
    else:
        own = path.with_suffix(".weights.h5")
        own.write_bytes(members["model.weights.h5"])
        with h5py.File(own, "r+") as weights:
            names: list[str] = []
            weights.visititems(
                lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None
            )
            name = str(rng.choice(names))
            value = float(rng.choice([np.nan, np.inf, 3e38]))
            if rng.integers(4) and weights[name].dtype.kind == "f":
                weights[name][...] = value
            else:
                del weights[name]
        members["model.weights.h5"] = own.read_bytes()
        own.unlink()
        how = f"{name} by {value}"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return how


CELLS = (
    "", "NaN", "inf", "-1", "1e999", "9" * 5000, "x" * 200_000, '"', "\0", "=1+1", "../..", "é",
    "[" * 3000, "a" + ".a" * 3000, ",,,,", "file://[", "file:///%00", "\ud800", "\n\n", "\ufeff", "2026-13-45",
    "{a=1}",
)  # fmt: skip


def change_text(path: Path, rng: Rng, folder: Path) -> str:
    """Replace a cell, a word or a line of a text."""
    import re

    text = path.read_text()
    spans = [match.span() for match in re.finditer(r"[^,\n]+" if rng.integers(3) else r"[^\n]+", text)]
    start, end = spans[rng.integers(len(spans))]
    cell = str(CELLS[rng.integers(len(CELLS))])
    encoding = str(rng.choice(["utf-8", "utf-16", "latin-1"], p=[0.9, 0.05, 0.05]))
    path.write_bytes(
        (text[:start] + cell + text[end:]).encode(
            encoding, "surrogatepass" if encoding != "latin-1" else "replace"
        )
    )
    return f"{text[start:end][:20]!r} by {cell[:20]!r}"


KINDS: dict[str, list[Callable[[Path, Rng, Path], str]]] = {
    "*.json": [change_json],
    "*.jsonl": [change_json],
    "DONE": [change_json],
    "*.npz": [change_npz, change_header],
    "*.parquet": [change_parquet],
    "*.h5": [change_hdf5],
    "*.keras": [change_model],
    "*.csv": [change_text],
    "*.m3u8": [change_text],
    "*.toml": [change_text],
}


# Cases


@dataclass(frozen=True)
class Outcome:
    """What became of a case; `defect` is empty unless it ended in none of the ways that are allowed."""

    case: int
    scenario: str
    change: str
    result: str
    defect: str = ""


class Cases:
    """Numbered cases on the inputs in a folder; a number always gives the same case."""

    def __init__(self, inputs: Path) -> None:
        self._inputs = inputs
        self._expected = {one.name: one.read(inputs) for one in SCENARIOS if one.read is not lock}
        self._expected["lock"] = None

    def run(self, number: int) -> Outcome:
        """Mutate a file, read it, and compare what came of it with what is allowed."""
        rng = np.random.default_rng(number)
        scenario = SCENARIOS[number % len(SCENARIOS)]
        with tempfile.TemporaryDirectory(dir=self._inputs.parent) as temporary:
            folder = Path(temporary) / "inputs"
            shutil.copytree(self._inputs, folder, copy_function=os.link)
            shutil.copy(self._inputs / PRECIOUS, folder / "copy")
            (folder / "copy").replace(folder / PRECIOUS)
            files = sorted({path for pattern in scenario.files for path in folder.glob(pattern)})
            files = files or [folder / scenario.files[0]]
            path = files[rng.integers(len(files))]
            change = f"{path.relative_to(folder)}: {mutate(path, rng, folder)}"
            is_sealed = scenario.sealed and not change.endswith(SEALED_AGAIN)
            result, defect = self._read(scenario, folder, is_sealed)
            if (folder / PRECIOUS).read_text() != "precious" or len(
                list((folder / "outside").iterdir())
            ) != 1:
                defect = "a file outside was changed"
        return Outcome(number, scenario.name, change, result, defect)

    def _read(self, scenario: Scenario, folder: Path, is_sealed: bool) -> tuple[str, str]:
        try:
            with _time_limit(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = scenario.read(folder)
        except CsKerasError as error:
            text = str(error)
            return "refused", "" if text and "\n" not in text.strip() else f"not one sentence: {text[:300]!r}"
        except HangError:
            return "hang", f"it took more than {TIMEOUT_S} s"
        except Exception:
            return "traceback", traceback.format_exc()
        if found == self._expected[scenario.name]:
            return "same", ""
        return "other", "the result changed despite checksums" if is_sealed else ""


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(signum: int, frame: Any) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIMEOUT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _finite(array: Any) -> bytes:
    """Return the bytes of an array; AssertionError unless all values are finite."""
    assert np.isfinite(array).all(), "values that are not finite"
    return bytes(np.ascontiguousarray(array).tobytes())


def main() -> None:
    """Run cases from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_cases", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--inputs", type=Path, help="Folder for the inputs, which are made unless they are there."
    )
    parser.add_argument("--verbose", action="store_true", help="Print every case.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        inputs = arguments.inputs or Path(temporary) / "inputs"
        if not inputs.exists():
            demo, runs = Path(temporary) / "demo", Path(temporary) / "runs"
            sizes = ("--n-tracks", 60, "--n-artists", 30, "--n-playlists", 200)
            assert run("demo-data", demo, *sizes) == 0
            assert run("run-baselines", demo, "--models", "cnn-bn", "--out", runs, *SMALL) == 0
            make_inputs(inputs, demo, next(runs.glob("????-*")))
        cases, began, results = Cases(inputs), time.monotonic(), Counter[tuple[str, str]]()
        defects = 0
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
        for number in range(arguments.first, arguments.first + arguments.n_cases):
            outcome = cases.run(number)
            results[outcome.scenario, outcome.result] += 1
            if arguments.verbose:
                print(f"case {number}, {outcome.scenario}, {outcome.change}: {outcome.result}", flush=True)
            if outcome.defect:
                defects += 1
                print(f"case {number}, {outcome.scenario}, {outcome.change}\n{outcome.defect}", flush=True)
    for (scenario, result), n in sorted(results.items()):
        print(f"{scenario:28} {result:10} {n:6}")
    seconds = time.monotonic() - began
    print(f"{arguments.n_cases} cases in {seconds:.0f} s; {defects} defects")
    raise SystemExit(bool(defects))


if __name__ == "__main__":
    main()
