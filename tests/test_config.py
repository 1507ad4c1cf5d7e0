import dataclasses
import math

import pytest

from cs_keras import config
from cs_keras.errors import ConfigError, StorageError


@dataclasses.dataclass(frozen=True)
class Inner:
    dropout: float = 0.5
    units: tuple[int, ...] = (1, 2)
    f_max: float | None = 100.0

    def __post_init__(self) -> None:
        config.check_range("inner.dropout", self.dropout, 0, 1)


@dataclasses.dataclass(frozen=True)
class Outer:
    epochs: int = 5
    loss: str = "mse"
    batch_norm: bool = False
    inner: Inner = Inner()


def test_replace_changes_only_named_settings_of_a_copy():
    outer = Outer()
    changed = config.replace(outer, {"epochs": 3, "inner": {"dropout": 0.1}})
    assert changed == Outer(epochs=3, inner=Inner(dropout=0.1))
    assert outer == Outer()


def test_replace_with_nothing_is_the_same():
    assert config.replace(Outer(), {}) == Outer()


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(ConfigError) as error:
        config.replace(Outer(), {"epoch": 3})
    assert str(error.value) == (
        "Unknown setting 'epoch'. Did you mean epochs? "
        "Valid settings at the top level: epochs, loss, batch_norm, inner."
    )


def test_an_unknown_nested_name_is_given_by_its_dotted_path():
    with pytest.raises(ConfigError) as error:
        config.replace(Outer(), {"inner": {"dropuot": 0.1}})
    assert str(error.value) == (
        "Unknown setting 'inner.dropuot'. Did you mean inner.dropout? "
        "Valid settings under 'inner': dropout, units, f_max."
    )


def test_nothing_is_suggested_for_a_name_like_no_other():
    with pytest.raises(ConfigError, match="^Unknown setting 'xyz'. Valid"):
        config.replace(Outer(), {"xyz": 1})


def test_a_whole_number_serves_as_float_and_a_list_as_tuple():
    inner = config.replace(Outer(), {"inner": {"dropout": 1, "units": [3, 4, 5]}}).inner
    assert inner == Inner(dropout=1.0, units=(3, 4, 5))
    assert type(inner.dropout) is float
    assert type(inner.units) is tuple


@pytest.mark.parametrize("nothing", [None, "none"])
def test_optional_settings_can_be_none(nothing):
    assert config.replace(Inner(), {"f_max": nothing}).f_max is None


def test_optional_settings_are_coerced():
    f_max = config.replace(Inner(), {"f_max": 8000}).f_max
    assert f_max == 8000.0 and type(f_max) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2.5}, "'epochs' must be a whole number. Received: 2.5"),
        ({"epochs": True}, "'epochs' must be a whole number. Received: True"),
        ({"epochs": "3"}, "'epochs' must be a whole number. Received: '3'"),
        ({"epochs": None}, "'epochs' must be a whole number. Received: None"),
        ({"loss": 3}, "'loss' must be text. Received: 3"),
        ({"batch_norm": 1}, "'batch_norm' must be true or false. Received: 1"),
        ({"inner": 3}, "'inner' is a group of settings, not one value. Received: 3"),
        ({"inner": {"dropout": True}}, "'inner.dropout' must be a number. Received: True"),
        ({"inner": {"dropout": "none"}}, "'inner.dropout' must be a number. Received: 'none'"),
        ({"inner": {"units": 3}}, "'inner.units' must be a list, each a whole number. Received: 3"),
        ({"inner": {"units": [1, 2.5]}}, "'inner.units' must be a whole number. Received: 2.5"),
        ({"inner": {"f_max": "loud"}}, "'inner.f_max' must be a number. Received: 'loud'"),
        ({"inner": {"dropout": 2}}, "inner.dropout must be 0 to 1. Received: 2.0"),
    ],
)
def test_values_of_the_wrong_type_or_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        config.replace(Outer(), changes)


def test_settings_become_plain_json_values():
    assert config.to_dict(Outer()) == {
        "epochs": 5,
        "loss": "mse",
        "batch_norm": False,
        "inner": {"dropout": 0.5, "units": [1, 2], "f_max": 100.0},
    }


def test_replace_accepts_the_output_of_to_dict():
    changed = Outer(epochs=9, inner=Inner(f_max=None, units=()))
    assert config.replace(Outer(), config.to_dict(changed)) == changed


def test_overrides_are_read_as_toml_and_otherwise_as_text():
    assignments = [
        "model.dropout=0.3",
        "model.units=[64, 64]",
        "training.loss=cosine",
        "training.name='a=b'",
        "fast=true",
        " spaced = 7 ",
        "empty=",
    ]
    assert config.parse_overrides(assignments) == {
        "model": {"dropout": 0.3, "units": [64, 64]},
        "training": {"loss": "cosine", "name": "a=b"},
        "fast": True,
        "spaced": 7,
        "empty": "",
    }


def test_the_last_override_of_a_name_counts():
    assert config.parse_overrides(["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize("assignment", ["epochs", "=3", "model.=3", ".epochs=3", ""])
def test_an_override_without_name_or_value_is_refused(assignment):
    with pytest.raises(ConfigError, match="Expected NAME=VALUE, such as training.epochs=3"):
        config.parse_overrides([assignment])


def test_an_override_below_a_value_is_refused():
    with pytest.raises(ConfigError, match="'model.units=3' sets a group of settings"):
        config.parse_overrides(["model=cnn", "model.units=3"])


def test_merge_updates_a_copy():
    base, changes = {"a": {"x": 1, "y": 2}, "b": 3, "c": {"z": 4}}, {"a": {"y": 5}, "b": {"w": 6}, "c": 7}
    assert config.merge(base, changes) == {"a": {"x": 1, "y": 5}, "b": {"w": 6}, "c": 7}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3, "c": {"z": 4}}
    assert changes == {"a": {"y": 5}, "b": {"w": 6}, "c": 7}


def test_a_toml_file_is_read(tmp_path):
    (tmp_path / "run.toml").write_text("[training]\nepochs = 3\n# Björk\n", encoding="utf-8")
    assert config.load_toml(tmp_path / "run.toml") == {"training": {"epochs": 3}}


def test_a_line_that_is_not_toml_is_named(tmp_path):
    (tmp_path / "run.toml").write_text("[training]\nepochs = \n")
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML: .*line 2"):
        config.load_toml(tmp_path / "run.toml")


def test_a_settings_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "run.toml").write_bytes("# Björk\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML: .*utf-8"):
        config.load_toml(tmp_path / "run.toml")


def test_a_settings_file_that_is_missing_or_a_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"Cannot read settings file .*none\.toml: No such file"):
        config.load_toml(tmp_path / "none.toml")
    with pytest.raises(StorageError, match="Is a directory"):
        config.load_toml(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "value", "expected"),
    [(1, None, 0, "at least 1"), (None, 3, 4, "at most 3"), (1, 3, 4, "1 to 3"), (0, None, math.nan, "0")],
)
def test_a_value_out_of_range_is_refused(low, high, value, expected):
    with pytest.raises(ConfigError, match=f"^speed must be .*{expected}. Received: {value}"):
        config.check_range("speed", value, low, high)


def test_the_ends_of_a_range_belong_to_it():
    config.check_range("speed", 1, 1, 3)
    config.check_range("speed", 3, 1, 3)
    config.check_range("speed", 1e300)


def test_a_choice_outside_lists_the_choices():
    config.check_choice("order", "a", ("a", "b"))
    with pytest.raises(ConfigError, match="order must be one of a, b. Received: 'c'"):
        config.check_choice("order", "c", iter(("a", "b")))
