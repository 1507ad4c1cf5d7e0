"""Apache Beam makes the same files as this process, also after its workers fail."""

import importlib.util
import os
import re
import time
from pathlib import Path

import pytest

import pipelines.dataset.ingest
from cs_keras.audio.settings import AudioConfig
from cs_keras.cli.beam import beam_flags
from cs_keras.cli.ingest import command
from cs_keras.data.catalogue import Recording
from cs_keras.errors import ConfigError, CsKerasError, StorageError
from cs_keras.progress import SilentProgress
from pipelines.beam.parts import make_parts
from pipelines.dataset.ingest import IngestConfig, ShardMaker
from pipelines.dataset.shard_plan import ShardPlan
from tests.command_line import run
from tests.pipelines.makers import KilledShardMaker, Note, NoteMaker
from tests.pipelines.test_kill import kill_when

pytestmark = pytest.mark.slow
IN_PROCESSES = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
FLAGS = ["--runner=DirectRunner", *IN_PROCESSES]
NOTES = [Note(name) for name in ("a", "b", "troubled", "c", "d", "e")]
MARK = "CS_KERAS_TEST_OF_BEAM"


class LogRecorder(SilentProgress):
    """Records what is reported to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path


def notes(folder: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text().split() for path in folder.glob("notes/*")}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_part_is_made_once_and_each_worker_loads_once(folder: Path) -> None:
    make_parts(NOTES, NoteMaker(folder), FLAGS, "notes", SilentProgress())
    made = notes(folder)
    assert set(made) == {note.name for note in NOTES}
    makers = [maker for by in made.values() for maker in by]
    assert len(makers) == len(NOTES)
    assert {f"opened-by-{maker}" for maker in makers} == {path.name for path in folder.glob("opened-by-*")}
    assert len(set(makers)) == 2 and str(os.getpid()) not in makers


def test_existing_parts_are_not_rewritten(folder: Path) -> None:
    for note in NOTES:
        (folder / "notes" / note.name).write_text("before" if note.name != "c" else "")
    make_parts(NOTES, NoteMaker(folder), FLAGS, "notes", SilentProgress())
    made = notes(folder)
    assert [name for name, by in made.items() if by != ["before"]] == ["c"]
    make_parts(
        NOTES, NoteMaker(folder), ["--runner=Nonsense"], "notes", SilentProgress()
    )  # nothing to do: no pipeline
    assert notes(folder) == made


def test_parts_of_a_killed_worker_are_made_by_another(folder: Path) -> None:
    recorder = LogRecorder()
    make_parts(NOTES, NoteMaker(folder, "killed"), FLAGS, "notes", recorder)
    assert {name: len(by) for name, by in notes(folder).items()} == dict.fromkeys((n.name for n in NOTES), 1)
    (line,) = recorder.lines
    assert "worker was lost" in line and "missing" in line


def test_a_part_that_kills_every_worker_fails(folder: Path) -> None:
    with pytest.raises(StorageError, match="A Beam worker was lost: .*exited"):
        make_parts(NOTES, NoteMaker(folder, "killed", always=True), FLAGS, "notes", SilentProgress())
    assert "troubled" not in notes(folder) and "a" in notes(folder)


@pytest.mark.parametrize("flags", [FLAGS, FLAGS[:1]], ids=["processes", "one process"])
def test_a_workers_error_is_reported_as_it_is_and_repeating_makes_what_is_missing(
    flags: list[str], folder: Path
) -> None:
    maker = NoteMaker(folder, "refused")
    with pytest.raises(StorageError, match=r"^Cannot write 'x': the disk is full\.$"):
        make_parts(NOTES, maker, flags, "notes", SilentProgress())
    before = notes(folder)
    assert "troubled" not in before
    make_parts(NOTES, maker, flags, "notes", SilentProgress())
    after = notes(folder)
    assert set(after) == {note.name for note in NOTES}
    assert {name: after[name] for name in before} == before


def test_an_unexpected_error_leaves_a_log(folder: Path) -> None:
    with pytest.raises(CsKerasError, match="out of cheese.*details: ") as caught:
        make_parts(NOTES, NoteMaker(folder, "defect"), FLAGS, "notes", SilentProgress())
    found = re.search(r"details: (.*)\)", str(caught.value))
    assert found
    assert "in fail" in Path(found[1]).read_text()
    Path(found[1]).unlink()


@pytest.mark.parametrize(
    ("option", "expected"),
    [("--bogus=1", "no option --bogus"), ("--direct_num_workers=many", "--direct_num_workers: invalid int")],
)
def test_options_unknown_to_beam_are_refused(option: str, expected: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=expected):
        make_parts(NOTES, NoteMaker(folder), [FLAGS[0], option], "notes", SilentProgress())
    assert not notes(folder)


def test_beam_that_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cs-keras\[beam\]'"):
        make_parts(NOTES, NoteMaker(folder), FLAGS, "notes", SilentProgress())


def test_a_worker_that_sees_other_recordings_makes_nothing(tmp_path: Path) -> None:
    part = ShardPlan("shards/fold-00/part-00000.h5", 0, (Recording(tmp_path / "not-mounted.wav", "x"),))
    settings = IngestConfig(AudioConfig())
    maker = ShardMaker(tmp_path, settings, {part.name: "the digest of what the command saw"})
    with pytest.raises(StorageError, match="does not find the recordings of shards/fold-00/part-00000.h5"):
        maker.open()(part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "audio", "flags"),
    [
        (["a", "--runner", "SparkRunner"], ["a"], ("--runner=SparkRunner",)),
        (
            ["a", "--runner=DirectRunner", "--", "--direct_num_workers", "2"],
            ["a"],
            ("--runner=DirectRunner", "--direct_num_workers", "2"),
        ),
        (["a", "--", "-b.wav"], ["a", "-b.wav"], ()),  # without a runner, as for any command
    ],
)
def test_options_after_the_dashes_are_beams(
    arguments: list[str], audio: list[str], flags: tuple[str, ...]
) -> None:
    with command.make_context("ingest", ["--out", "x", *arguments]) as context:
        assert [str(path) for path in context.params["audio"]] == audio
        assert beam_flags(context.params["runner"]) == flags


def ingest_arguments(demo: Path, out: Path) -> list[object]:
    return ["ingest", "--tracks", demo / "source" / "tracks.csv", "--out", out, "--shard-mb", 5]


BY_BEAM = ["--runner", "DirectRunner", "--", *IN_PROCESSES]


@pytest.fixture(scope="module")
def ingested(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("ingested") / "out"
    assert run(*ingest_arguments(demo, out)) == 0
    return contents(out)


@pytest.mark.parametrize(
    "options",
    [BY_BEAM, ["--runner=PortableRunner", "--", "--job_endpoint=embed", "--environment_type=LOOPBACK"]],
    ids=["processes", "job server"],
)
def test_ingest_by_beam_gives_the_same_bytes(
    options: list[str],
    demo: Path,
    ingested: dict[str, bytes],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(*ingest_arguments(demo, tmp_path / "out"), *options) == 0
    assert contents(tmp_path / "out") == ingested
    printed = capfd.readouterr()
    assert "60 tracks, 60 of them new" in printed.out
    if options == BY_BEAM:
        # A slow machine prints lines of progress; nothing of Beam's own notes reaches the user.
        *lines, last = printed.err.splitlines()
        assert last.startswith("Next: ") and all("ingest, in shards" in line for line in lines)


def test_ingest_survives_a_killed_worker(
    demo: Path,
    ingested: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pipelines.dataset.ingest, "ShardMaker", KilledShardMaker)
    assert run(*ingest_arguments(demo, tmp_path / "out"), *BY_BEAM) == 0
    assert "worker was lost" in capfd.readouterr().err
    assert (tmp_path / "trouble-came").exists()
    assert contents(tmp_path / "out") == ingested


def test_ingest_killed_with_beam_leaves_no_process_and_resumes(
    demo: Path, ingested: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv(MARK, str(tmp_path))

    def shards() -> list[Path]:
        return sorted(out.glob("shards/*/*.h5"))

    kill_when(lambda: len(shards()) >= 3, *ingest_arguments(demo, out), *BY_BEAM)
    deadline = time.monotonic() + 10
    while marked := processes_with(f"{MARK}={tmp_path}"):
        assert time.monotonic() < deadline, f"processes {marked} outlived the command"
        time.sleep(0.05)
    before = {path: path.stat().st_mtime_ns for path in shards()}
    assert 3 <= len(before) < sum(name.endswith(".h5") for name in ingested)
    assert run(*ingest_arguments(demo, out), *BY_BEAM) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not made again
    assert contents(out) == ingested


def processes_with(variable: str) -> list[int]:
    """Return the processes that were started with an environment variable, this one not among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found
