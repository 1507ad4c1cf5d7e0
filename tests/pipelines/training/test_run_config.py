import re
from pathlib import Path

import pytest

from cs_keras.config import load_toml, parse_overrides
from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError
from cs_keras.models import load_model
from cs_keras.runs import read_json
from pipelines.training.run_config import identity, resolve
from tests.command_line import SMALL, run


def test_the_number_of_devices_is_no_part_of_a_runs_identity():
    """So a run that was begun on two GPUs goes on with one."""
    changes = {"execution": {"devices": 2}}
    assert resolve("lstm", changes).execution.devices == 2
    assert identity(resolve("lstm", changes)) == identity(resolve("lstm", {}))


@pytest.mark.parametrize("changes", [{"dtype_policy": "mixed_float16"}, {"jit": True}])
def test_what_changes_numbers_is(changes):
    settings = identity(resolve("lstm", {"execution": changes}))
    assert settings != identity(resolve("lstm", {}))
    assert settings["execution"] == {"dtype_policy": "float32", "jit": False} | changes


@pytest.mark.parametrize("path", ["model", "models.estimated-attributes.model"])
def test_the_former_name_of_a_setting_is_refused_with_its_current_one(path: str, tmp_path: Path) -> None:
    name = "model.ear".removeprefix("model.")
    (tmp_path / "settings.toml").write_text(f"{path}.{name} = 'lstm'\n", encoding="utf-8")
    for changes in (load_toml(tmp_path / "settings.toml"), parse_overrides([f"{path}.{name}=lstm"])):
        with pytest.raises(ConfigError) as error:
            resolve("estimated-attributes", changes)
        assert str(error.value) == f"Setting 'model.{name}' was renamed to 'model.estimator'."


def test_a_setting_that_was_removed_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[evaluation]\nn_bootstrap = 1000\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        resolve("bot", load_toml(tmp_path / "settings.toml"))
    assert (
        str(error.value)
        == "Setting 'evaluation.n_bootstrap' was removed, since nothing uses it any more; delete it."
    )


@pytest.mark.slow
def test_a_run_in_mixed_precision_with_xla_is_a_run_of_its_own_and_its_model_loads(
    demo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run-baselines", demo, "--models", "bot,cnn-bn", "--out", tmp_path, "--epochs", 1, *SMALL]
    assert run(*arguments) == 0
    assert run(*arguments, "--mixed-precision", "--jit", "--devices", 1) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "cnn-bn: epoch 1 of 1" in line]
    assert len(lines) == 2
    losses = r"\[ *[\d.]+ s\] cnn-bn: epoch 1 of 1, loss \d\.\d{4}, validation \d\.\d{4}, [\d.]+ s"
    assert all(re.fullmatch(losses, line) and len(line) <= 80 for line in lines)
    for key in ("bot", "cnn-bn"):
        folders = sorted(tmp_path.glob(f"????-??-??-{key}-*"))
        executions = [read_json(folder / "config.json")["execution"] for folder in folders]
        assert sorted(executions, key=str) == [
            {"dtype_policy": "float32", "jit": False},
            {"dtype_policy": "mixed_float16", "jit": True},
        ]
        for folder, execution in zip(folders, executions, strict=True):
            model = load_model(folder / "model.keras")
            head = model if key == "cnn-bn" else model.get_layer("bot_regressor")
            assert head.get_layer("dense_1").dtype_policy.name == execution["dtype_policy"]
            frames = Dataset(demo).read_track(0)[None, :256]
            assert model(frames, training=False).dtype == "float32"
            (epoch,) = read_json(folder / "training.json")["history"]
            assert epoch["sequences_per_s"] > 0 and epoch["mb_per_s"] > 0
            assert 0 < epoch["input_wait_share"] < 1
            assert read_json(folder / "evaluation.json")["training"]["history"] == []  # of training.json only
