"""`cs-keras tune`: what it refuses, and a small study from the command line to the report."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.runs import read_json
from tests.command_line import run
from tests.tuning.studies import UPSTREAM, records
from tuning.study import open_study, read_study

pytestmark = pytest.mark.filterwarnings(UPSTREAM)
OBJECTIVE = ("--objective", "val_ndcg@3")  # the small dataset has four validation tracks

# Options, exit status, and what of the last line of standard error.
WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown setting": (("--set", "model.nonsense=[1, 2]"), 1, "There is no setting 'model.nonsense' of bot"),
    "unknown group": (("--set", "nonsense=3"), 1, "Unknown setting 'nonsense'"),
    "unknown fix": (("--fix", "model.nonsense=3"), 1, "Unknown setting 'model.nonsense'"),
    "set without a value": (("--set", "nonsense"), 1, "Expected NAME=VALUE"),
    "set out of range": (("--set", "model.dropout=[0.1, 7.0]"), 1, "model.dropout cannot be 7.0"),
    "nothing left": (("--only", "nonsense.*"), 1, "Nothing is left to search of bot"),
    "empty grid": (("--tuner", "grid"), 1, "A grid search needs values to combine"),
    "grid of a range": (
        ("--tuner", "grid", "--set", "training.learning_rate={min=1e-4, max=1e-2}"),
        1,
        "training.learning_rate is a range",
    ),
    "unknown grid": (("--grid", "nonsense"), 1, "There is no grid file nonsense"),
    "grid of another model": (("--grid", "thesis-cnn"), 1, "Unknown setting 'model.batch_norm'"),
    "unknown tuner": (("--tuner", "genetic"), 2, "'genetic' is not one of"),
    "no end": (("--max-trials", "0"), 1, "A random search needs a limit"),
    "no number": (("--max-trials", "many"), 2, "'many' is not a valid integer"),
    "no time": (("--max-time", "soon"), 1, "--max-time takes a number with s, m, h or d, such as 90m"),
    "unknown objective": (
        ("--objective", "accuracy"),
        1,
        "The objective must be val_loss, val_cosine, or val_overlap@K",
    ),
    "long lists": (("--objective", "val_overlap@500"), 1, "val_overlap@500 needs more validation tracks"),
    "no interactions": (("--objective", "val_ndcg@500"), 1, "val_ndcg@500 needs more validation tracks"),
    "unknown factors": (("--factors", "nonsense"), 1, "nonsense"),
    "a role alone": (("--role", "worker"), 2, "--oracle and --role go together"),
    "an oracle alone": (("--oracle", "127.0.0.1:8000"), 2, "--oracle and --role go together"),
    "no port": (("--oracle", "127.0.0.1", "--role", "chief"), 2, "--oracle takes HOST:PORT"),
    "a short lease": (("--lease", "1"), 1, "--lease must be at least 4.0"),
    "fewer than no workers": (("--workers", "-1"), 1, "--workers must be at least 0"),
    "an address that is not ours": (
        ("--oracle", "192.0.2.1:8000", "--role", "chief"),
        1,
        "The chief cannot listen on 192.0.2.1:8000",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_reported_in_one_sentence(
    name: str,
    demo: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CS_KERAS_SECRET", "0123456789abcdef")
    options, status, expected = WRONG[name]
    objective = () if "--objective" in options else OBJECTIVE
    assert run("tune", "bot", demo, "--study", tmp_path / "study", *objective, *options) == status
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert expected in error.splitlines()[-1], error
    assert not list(tmp_path.glob("study/trials/*"))


def test_a_model_a_dataset_or_a_file_that_is_not_there(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "search.toml").write_text("[nonsense]\n")
    (tmp_path / "grid.toml").write_text('[[trial]]\nname = "a"\ntraining.extra_factors = ["other"]\n')
    for arguments, expected in (
        (("tune", "nonsense", demo), "nonsense"),
        (("tune", "bot", tmp_path / "nowhere", "--study", tmp_path / "study"), "nowhere"),
        (("tune", "bot", demo, "--config", tmp_path / "search.toml"), "may hold the tables search, set, fix"),
        (("tune", "bot", demo, "--config", tmp_path / "no.toml"), "no.toml"),
        (
            ("tune", "cnn-bn", demo, "--grid", tmp_path / "grid.toml"),
            "extra_factors belong to the data and cannot be",
        ),
    ):
        assert run(*arguments) == 1
        error = capfd.readouterr().err
        assert expected in error.splitlines()[-1] and "Traceback" not in error


@pytest.mark.slow
def test_a_small_study_from_the_command_line_to_the_report(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, file = tmp_path / "study", tmp_path / "search.toml"
    file.write_text(
        f"""
        search.objective = "{OBJECTIVE[1]}"
        search.max_trials = 2
        set.training.learning_rate = {{min = 1e-4, max = 1e-2, log = true}}
        set.model.dense = [[16], [8, 8]]
        fix.model.n_centroids = 50
        fix.training.batch_size = 16
        """
    )
    only = ("--only", "training.learning_rate", "--only", "model.dense")
    options = ("--config", file, *only, "--epochs", 3, "--prune-after", 0)
    command = ("tune", "bot", demo, "--study", folder, *options)
    assert run(*command) == 0
    error = capfd.readouterr().err
    assert "trial 0001: val_ndcg@3 0." in error and "Next: cs-keras run-baselines" in error
    found = records(folder)
    assert [record["status"] for record in found.values()] == ["completed"] * 2
    assert {record["settings"]["model"]["n_centroids"] for record in found.values()} == {50}
    assert all(record["executions"][0]["epochs"] == 3 for record in found.values())
    assert {path.name for path in (folder / "hparams").iterdir()} == set(found)
    assert not list(folder.glob("trials/*/execution-0/checkpoint"))

    assert run(*command) == 0  # done: reported again, and nothing is trained
    assert "done before; a higher budget" in capfd.readouterr().err
    assert records(folder) == found

    assert run("report", folder) == 0
    assert (folder / "report").is_dir() and "0001" in capfd.readouterr().out

    assert run(*command, "--seed", 1) == 1
    assert "contains another study, whose seed is 0" in capfd.readouterr().err.splitlines()[-1]

    config = ("--config", folder / "best.toml", "--set", "evaluation.n_permutations=9")
    assert run("run-baselines", demo, "--models", "bot", "--out", tmp_path / "runs", *config) == 0
    (trained,) = (tmp_path / "runs").glob("????-??-??-bot-*")
    settings = read_json(trained / "config.json")
    best = max(found.values(), key=lambda record: record["score"])
    for group in ("model", "training"):
        assert {name: settings[group][name] for name in best["settings"][group]} == best["settings"][group]


@pytest.mark.slow
def test_a_study_of_a_model_that_learns_from_attributes(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    features, folder = tmp_path / "some features.npz", tmp_path / "study"
    ids = Dataset(demo).tracks.ids
    np.savez(features, track_ids=ids, features=np.random.default_rng(0).standard_normal((len(ids), 6)))
    table = ("--features", features, "--attribute", "features=numeric")
    limits = ("--max-trials", 2, "--epochs", 2, "--set", "model.dense=[[4], [8]]", "--only", "model.dense")
    command = ("tune", "attributes", demo, "--study", folder, *OBJECTIVE, *limits)
    assert run(*command) == 1
    assert "attributes needs a table of attributes: name one by --features" in capfd.readouterr().err
    assert run(*command, *table) == 0
    (line,) = (
        line
        for line in capfd.readouterr().err.splitlines()
        if line.startswith("Next: cs-keras run-baselines")
    )
    assert [record["status"] for record in records(folder).values()] == ["completed"] * 2
    quick = ["--set", "evaluation.n_permutations=9", "--out", str(tmp_path / "runs")]
    assert run(*shlex.split(line)[2:], *quick) == 0  # as it was printed

    assert run(*command, *table) == 0
    assert "done before" in capfd.readouterr().err
    np.savez(features, track_ids=ids, features=np.zeros((len(ids), 6)))
    assert run(*command, *table) == 1
    assert "contains another study, whose data_digest is" in capfd.readouterr().err.splitlines()[-1]
    worker = ("tune", "attributes", demo, "--study", folder, "--role", "worker", "--oracle", "127.0.0.1:1")
    assert run(*worker) == 1
    assert "is on a table of attributes: name it by --features" in capfd.readouterr().err.splitlines()[-1]


def test_a_chief_that_is_at_work_keeps_others_out(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from cs_keras.runs import locked
    from tuning.search import CHIEF

    folder = tmp_path / "study"
    with locked(folder / CHIEF):
        assert run("tune", "bot", demo, "--study", folder, *OBJECTIVE) == 1
    assert "Another process is working on" in capfd.readouterr().err.splitlines()[-1]
    study = read_study(folder)
    open_study(study)  # it is the same still
    assert not study.is_done()
