"""A model card holds the values of the run's files, in metadata that YAML parsers read."""

import pytest
import yaml

from cs_keras.errors import StorageError
from cs_keras.runs import read_json, write_json
from reports.formats.card import make_card, to_yaml
from tests.command_line import run as command_line
from tests.reports.conftest import HOSTILE, MakeRun, make_old

SIGNATURE = {
    "audio": {"sample_rate": 22050, "n_fft": 1024, "hop_length": 512, "window": "hann", "mixdown": "mean"},
    "dtype": "float16",
    "scaler": {"kind": "none", "offset": [], "scale": []},
    "schema_version": 1,
}


def parse(card: str) -> tuple[dict[str, object], str]:
    """Return metadata and text, split as Hugging Face does: at lines of three hyphens."""
    start, metadata, text = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(metadata), text


def test_metadata_and_text_hold_the_values_of_the_evaluation(make_run: MakeRun) -> None:
    run = make_run(others={"procedure": "regression", "sequence": {"frames": 430}}, noise=1.0)
    write_json(run / "signature.json", SIGNATURE)
    evaluation = read_json(run / "evaluation.json")
    metadata, text = parse(make_card(run, "me/songs", "cc-by-4.0"))
    assert metadata["license"] == "cc-by-4.0" and metadata["datasets"] == ["me/songs"]
    (model,) = metadata["model-index"]
    (result,) = model["results"]
    assert model["name"] == "cnn" and result["dataset"]["split"] == "test"
    assert {"type", "name"} <= result["task"].keys() & result["dataset"].keys()
    measured = {metric["args"].get("kind", metric["type"]): metric for metric in result["metrics"]}
    for kind, (first, *_) in evaluation["overlap"].items():
        metric = measured.pop(kind)
        assert metric["type"] == "overlap@5" and metric["value"] == first["overlap"]
        assert metric["args"] == {
            name: first.get(name, kind) for name in ("kind", "k", "chance", "low", "high")
        }
    ranking = evaluation["ranking"]["predictors"]["model"]
    for name in ("ndcg@5", "recall@5"):
        metric = measured.pop(name)
        assert {"mean": metric["value"], **metric["args"]} == ranking[name]
    assert not measured
    assert set(metadata["metrics"]) == {metric["type"] for metric in result["metrics"]}
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| popularity, ")]
    groups = evaluation["groups"]["predictors"]["model"]["overlap"]["popularity"]
    for row, group in zip(rows, groups, strict=True):
        assert f"({group['n']} tracks)" in row[1]
        expected = f"{100 * group['mean']:.1f} [{100 * group['low']:.1f}, {100 * group['high']:.1f}]"
        assert row[2].strip() == expected
    assert "Recordings shorter than 10.0 s" in text  # 430 * 512 / 22050
    assert f"{evaluation['losses']['test']['r2']:.3f}" in text
    assert 'cs.load_run("2024-05-01-cnn-0123456789")' in text


def test_limits_are_those_that_the_run_shows(make_run: MakeRun) -> None:
    good = make_run("2024-05-01-cnn-aaaaaaaaaa", noise=0.1)
    bad = make_run("2024-05-01-cnn-bbbbbbbbbb", noise=1000.0)
    evaluation = read_json(bad / "evaluation.json")
    evaluation["n_known_artists"] = evaluation["n_tracks"]["test"]
    write_json(bad / "evaluation.json", evaluation)
    _, of_good = parse(make_card(good))
    _, of_bad = parse(make_card(bad))
    for sentence in (
        "not significantly above chance",
        "popularity, rarest quarter: overlap",
        "New artists: ",
    ):
        assert sentence in of_bad and sentence not in of_good, sentence
    assert "Recordings shorter" not in of_good  # no input is known
    metadata, _ = parse(make_card(good))
    assert "license" not in metadata and "datasets" not in metadata


def test_runs_of_earlier_releases_and_unfinished_ones(make_run: MakeRun) -> None:
    run = make_run()
    make_old(run)
    metadata, text = parse(make_card(run))
    assert "For whom" not in text and len(metadata["model-index"][0]["results"][0]["metrics"]) == 2
    assert command_line("card", run, "--out", run.parent / "README.md") == 0
    assert (run.parent / "README.md").read_text() == make_card(run)
    (run / "DONE").unlink()
    with pytest.raises(StorageError, match="not a finished run"):
        make_card(run)


@pytest.mark.parametrize("value", [5e-05, 1e300, -1e-7, 0.1, 3, 0, None, True, *HOSTILE])
def test_yaml_is_read_as_it_was(value: object) -> None:
    shown = value
    if isinstance(value, str):  # on one line
        shown = "".join(c if c.isprintable() else " " for c in value)
    nested = {"a": {"b": [value, value]}, "c": [{"d": value, "e": {"f": value}}, {"d": value}]}
    expected = {"a": {"b": [shown, shown]}, "c": [{"d": shown, "e": {"f": shown}}, {"d": shown}]}
    found = yaml.safe_load(to_yaml(nested))
    assert found == expected and type(found["c"][1]["d"]) is type(shown)
