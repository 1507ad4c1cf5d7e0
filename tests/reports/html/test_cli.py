import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from cs_keras.cli.report import command
from cs_keras.data.schema import DatasetInfo, factors_path, write_dataset
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.store import save_factors
from tests.reports.conftest import MakeRun
from tests.reports.html.runs_made import keep, make_space


def report(*arguments: Any) -> None:
    CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder, space = tmp_path / "dataset", make_space()
    (folder / "shards").mkdir(parents=True)
    (folder / "shards" / "s").touch()
    write_dataset(folder, DatasetInfo(), space.tracks)
    factors_path(folder, "wmf").parent.mkdir(exist_ok=True)
    save_factors(factors_path(folder, "wmf"), space.factors)
    return folder


def test_pages_are_written_only_on_request(runs: Path, make_run: MakeRun) -> None:
    make_run()
    report(runs)
    assert not (runs / "report" / "html").exists()
    report(runs, "--format", "html", "--out", runs / "other")
    assert [path.name for path in (runs / "other").iterdir()] == ["html"]


def test_the_dataset_that_runs_were_trained_on_names_their_tracks(
    runs: Path, make_run: MakeRun, dataset: Path
) -> None:
    from cs_keras.data.dataset import Dataset
    from cs_keras.runs import digest

    space = make_space()
    keep(make_run(data=digest([Dataset(dataset).digest, space.factors.digest])), space)
    report(runs, "--format", "html", "--dataset", dataset)
    assert "headphones" in (runs / "report" / "html" / "map-1.js").read_text()


def test_a_table_names_the_recordings_that_play(runs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    keep(make_run(), make_space())
    soundfile.write(tmp_path / "song.wav", np.zeros(100), 8_000)
    (tmp_path / "tracks.csv").write_text("path,track_id\nsong.wav,t01\nmissing.wav,t02\n")
    report(runs, "--format", "html", "--tracks", tmp_path / "tracks.csv")
    track_map = (runs / "report" / "html" / "map-1.js").read_text()
    assert track_map.count("song.wav") == 1 and "missing.wav" not in track_map


def test_another_dataset_is_refused(runs: Path, make_run: MakeRun, dataset: Path) -> None:
    make_run()
    with pytest.raises(DataError, match="No run was trained on .*dataset as it is now"):
        report(runs, "--format", "html", "--dataset", dataset)


def test_a_dataset_without_a_page_is_refused(runs: Path, make_run: MakeRun, dataset: Path) -> None:
    make_run()
    with pytest.raises(ConfigError, match="--dataset is for --format html only. Received: md."):
        report(runs, "--format", "md", "--dataset", dataset)
    soundfile.write(dataset / "t00.wav", np.zeros(100), 8_000)
    with pytest.raises(
        ConfigError, match="--audio-root or --tracks is for --format html only. Received: md."
    ):
        report(runs, "--format", "md", "--audio-root", dataset)
    wrong = CliRunner().invoke(command, [str(runs), "--format", "html", "--embed-audio"])
    assert wrong.exit_code == 2 and "name them by --audio-root or --tracks" in wrong.stderr


def test_one_choice_decides_what_is_printed(runs: Path, make_run: MakeRun) -> None:
    make_run()

    def printed(*options: str) -> str:
        return CliRunner().invoke(command, [str(runs), *options], catch_exceptions=False).stdout

    conclusion, full, one = printed(), printed("--full"), printed("--table", "ranking")
    assert "cnn finds " in conclusion and "Beyond accuracy" not in conclusion
    assert "Beyond accuracy" in full and "Ranking metrics" in one and "Beyond accuracy" not in one
    assert printed("--quiet") == ""
    assert "cnn finds " in json.loads(printed("--format", "json"))[0]["conclusion"][0]
    assert (runs / "report" / "tables.md").exists()
    wrong = CliRunner().invoke(command, [str(runs), "--full", "--quiet"])
    assert wrong.exit_code == 2 and "Received: --full and --quiet." in wrong.stderr
