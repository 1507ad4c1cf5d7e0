"""Several tables of attributes: a row and a branch of fusion for each, named on the command line and in keys."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from cs_keras import config
from cs_keras.cli.options import TableFile, name_tables
from cs_keras.data.attributes.columns import NumericColumn
from cs_keras.data.attributes.table import AttributeTable, align_tables, make_table
from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError
from cs_keras.evaluation.losses import measure_regression_losses
from cs_keras.models import expand_tables, get_baseline
from cs_keras.runs import read_json, read_npz
from pipelines.run_baselines import run_baselines
from pipelines.training.attribute_files import AttributeFiles
from pipelines.training.requirements import DEFAULT_MODELS, attributes_digest, choose_models, require_inputs
from pipelines.training.run_config import identity, resolve, resolve_branch
from reports.runs.labels import family_of
from tests.pipelines.planted_evidence import Planted, write_evidence
from tuning.results import to_toml

N_TRACKS = 1000
HEAD = {"model": {"dense": [64], "dropout": 0.0}, "training": {"epochs": 40}}
QUICK = {
    "evaluation": {"n_permutations": 9, "ks": [10]},
    "models": {
        "attributes@expert": HEAD,
        "attributes@sound": HEAD,
        "fusion": HEAD | {"model": {"branches": ["attributes@expert", "attributes@sound"], **HEAD["model"]}},
    },
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_evidence(tmp_path_factory.mktemp("planted") / "dataset", N_TRACKS)


def sound(planted: Planted, has: np.ndarray) -> AttributeTable:
    """Return the levels behind the audio of some tracks, as a table."""
    return make_table(planted.ids[has].tolist(), {"level": NumericColumn(planted.audible[has])}, "levels")


@pytest.mark.slow
def test_each_table_is_a_row_and_fusion_joins_them_where_they_are(planted: Planted, tmp_path: Path) -> None:
    """Linear factors of known shares: the best prediction is known for a track with both tables, and with one."""
    has = np.arange(N_TRACKS) // 10 % 2 == 0
    tables = {"expert": planted.table(), "sound": sound(planted, has)}
    models = ["attributes-linear@expert", "attributes-linear@sound", "fusion"]
    done = run_baselines(planted.folder, models, tmp_path, QUICK, tables=tables)
    assert not done.failed
    expert, level, fused = done.runs
    assert "-attributes-linear@expert-" in expert.name
    assert read_json(expert / "config.json")["key"] == "attributes-linear@expert"
    both = planted.by_audio + planted.by_attributes
    rows = [
        (expert, planted.by_attributes, has, 0.01),
        (level, planted.by_audio, has, 0.01),
        (fused, both, has, 0.06),
        (fused, planted.by_attributes, ~has, 0.06),
    ]
    for folder, best, chosen, loss in rows:
        of = dict(zip(*read_npz(folder / "predictions.npz", "track_ids", "factors").values(), strict=True))
        tested = np.flatnonzero(planted.test & chosen)
        predicted = np.stack([of[track_id] for track_id in planted.ids[tested]])
        found, least = (
            measure_regression_losses(planted.factors[tested], one.astype(np.float32)).cosine_distance
            for one in (predicted, best[tested])
        )
        assert least - 0.02 < found < least + loss
    assert sorted(one.name for one in (fused / "branches").iterdir()) == models_of(fused)


def models_of(folder: Path) -> list[str]:
    return list(read_json(folder / "config.json")["model"]["branches"])


def test_keys_stand_for_tables() -> None:
    linear = get_baseline("attributes-linear@musicnn")
    assert (linear.key, linear.table) == ("attributes-linear@musicnn", "musicnn")
    assert linear.model == get_baseline("attributes-linear").model
    assert family_of(linear.key) == "Attributes"
    for key, message in {
        "bot@musicnn": "bot takes no table of attributes of its own. Received: 'bot@musicnn'",
        "fusion@musicnn": "fusion takes no table",
        "attributes@": "Expected the name of a table after @",
        "attributes@a.b": "Expected the name of a table after @",
        "attributes@a+": "Expected the name of a table after @",
        "attributes@a+a": "several names with [+] between them, each once. Received: 'attributes@a[+]a'",
        "none@musicnn": "There is no model 'none'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            get_baseline(key)
    joined = get_baseline("attributes-linear@a+b")
    assert (joined.tables, joined.network_name) == (("a", "b"), "attributes-linear.a.b")
    residual = get_baseline("artist-residual@musicnn")
    assert residual.model.branches == ("attributes-linear@musicnn",)
    assert expand_tables(["artist-mean", "artist-residual"], ["a"]) == ("artist-mean", "artist-residual@a")
    keys = ["cnn-bn", "attributes", "attributes@c"]
    assert expand_tables(keys, ["a", "b"]) == ("cnn-bn", "attributes@a", "attributes@b", "attributes@c")
    assert expand_tables(keys, ["", "b"]) == ("cnn-bn", "attributes", "attributes@b", "attributes@c")
    assert expand_tables(keys, []) == expand_tables(keys, [""]) == tuple(keys)


def test_settings_are_those_of_the_whole_key() -> None:
    changes = config.parse_overrides(["models.attributes@a.model.dense=[7]", "models.fusion.seed=3"])
    assert resolve("attributes@a", changes).model.dense == (7,)
    assert resolve("attributes", changes).model.dense == (1024, 1024)
    fusion = resolve("fusion", changes, ["a", "b"])
    assert fusion.model.branches == ("cnn-bn", "attributes@a", "attributes@b")
    assert resolve_branch(fusion, "attributes@a").model.dense == (7,)
    assert resolve_branch(fusion, "attributes@b").model.dense == (1024, 1024)
    own = {"models": {"fusion": {"model": {"branches": ["attributes@a", "genre-label"]}}}}
    assert resolve("fusion", own, ["a", "b"]).model.branches == ("attributes@a", "genre-label")
    assert resolve("fusion", {}, [""]) == resolve("fusion", {})
    best = {"models": {"attributes@a": {"model": {"dense": [7]}, "seed": 1}}}
    assert tomllib.loads(to_toml(best)) == best  # where a key with @ needs quotes


def test_a_run_is_identified_by_the_tables_that_it_uses(planted: Planted) -> None:
    every = np.ones(N_TRACKS, np.bool_)
    given = {"": planted.table(), "a": planted.table(), "b": sound(planted, every)}
    dataset = Dataset(planted.folder)
    tables, tracks = align_tables(given, dataset.tracks, "d"), dataset.tracks

    def settings(key: str, *names: str) -> dict[str, object]:
        run = resolve(key, {}, names)
        return identity(run, attributes_digest(run, tracks, {name: tables[name] for name in names}))

    assert settings("attributes", "") == settings("attributes", "", "a", "b")
    assert settings("attributes@a", "a") == settings("attributes@a", "a", "b")
    assert settings("attributes@b", "b")["attributes"] != settings("attributes@a", "a")["attributes"]
    joined = settings("attributes@a+b", "a", "b")["attributes"]
    assert joined not in (
        settings("attributes@a", "a")["attributes"],
        settings("attributes@b", "b")["attributes"],
    )
    assert settings("fusion", "a") != settings("fusion", "a", "b")
    assert "attributes" not in settings("bot", "a")


def test_defaults_follow_the_tables_and_what_does_not_fit_is_refused(planted: Planted) -> None:
    dataset = Dataset(planted.folder)
    tracks = dataset.tracks
    assert choose_models(None, tracks, ["a", "b"])[0] == [*DEFAULT_MODELS, "attributes@a", "attributes@b"]
    able = choose_models("all", tracks, ["a", "b"])[0]
    assert {"attributes-linear@b", "estimated-attributes@a", "fusion"} <= set(able)
    assert "attributes" not in able
    tables = align_tables({"a": planted.table()}, tracks, "d")
    for key, message in {
        "attributes@b": "attributes@b needs a table of that name: --features b=FILE. Received: a",
        "attributes@a+b": "attributes@a[+]b needs a table of that name: --features b=FILE. Received: a",
        "attributes": "attributes needs a table .* Keys on the tables with names: attributes@a",
        "bot": "None of bot takes the table a of --features; models that do: attributes@a, attributes-linear@a, ",
    }.items():
        with pytest.raises(ConfigError, match=message):
            require_inputs([resolve(key, {}, ["a"])], tracks, tables)
    absent = {"models": {"fusion": {"model": {"branches": ["cnn-bn", "attributes@b"]}}}}
    with pytest.raises(ConfigError, match="attributes@b needs a table of that name"):
        require_inputs([resolve("fusion", absent, ["a"])], tracks, tables)


def test_the_command_line_names_tables(tmp_path: Path) -> None:
    read = TableFile().convert
    assert read("musicnn=x.npz", None, None) == ("musicnn", Path("x.npz"))
    assert read("x.npz", None, None) == ("", Path("x.npz"))
    assert read("./a=b.csv", None, None) == ("", Path("./a=b.csv"))
    assert list(name_tables([("b", Path("1")), ("", Path("2")), ("a", Path("3"))])) == ["", "a", "b"]
    with pytest.raises(ConfigError, match="Table a of --features may be given once; .* Received: 1, 2"):
        name_tables([("a", Path("1")), ("a", Path("2"))])
    with pytest.raises(ConfigError, match="A table of --features without a name may be given once"):
        name_tables([("", Path("1")), ("", Path("2"))])
    (tmp_path / "one.csv").write_text("item,year\nt1,1990\n")
    (tmp_path / "two.csv").write_text("tempo,item\n120,t1\n")
    np.savez(tmp_path / "three.npz", ids=["t1"], features=[[1.0]])
    paths = {"a": tmp_path / "one.csv", "b": tmp_path / "two.csv", "c": tmp_path / "three.npz"}
    files = AttributeFiles(paths, {"year": "categorical"}, "item")
    found = files.read()
    assert {name: table.describe() for name, table in found.items()} == {
        "a": "categorical: year",
        "b": "numeric: tempo",
        "c": "numeric: features",
    }
    assert files.options["--features"][0] == f"a={tmp_path / 'one.csv'}"
    with pytest.raises(ConfigError, match="No table of --features has a column 'mood'"):
        AttributeFiles(paths, {"mood": "labels"}).read()
