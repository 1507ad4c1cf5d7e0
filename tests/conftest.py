"""What all tests share: one small demo dataset and its trained models, made once for all workers of a run."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before TensorFlow is first imported, or it has no effect

from tests.shared_folders import SharedFolders

TrainDemo = Callable[..., Path]
TESTS = Path(__file__).parent
NOT_QUICK = ("cli", "models", "pipelines", "training", "reports")  # train, or make reports


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of `make quick` all tests of the folders in which models are trained and whole reports made."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(NOT_QUICK):
            item.add_marker(pytest.mark.medium)


@pytest.fixture(scope="session")
def shared_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedFolders]:
    """Folders that are made once for all workers of a run. Tests only read them."""
    base = tmp_path_factory.getbasetemp()
    shared = SharedFolders(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    yield shared
    shared.assert_unchanged()


@pytest.fixture(scope="session")
def demo(shared_folders: SharedFolders) -> Path:
    """A small demo dataset; tests that change it take `dataset` instead."""
    from tests.command_line import run

    def make(folder: Path) -> None:
        assert run("demo-data", folder, "--n-tracks", 60, "--n-artists", 30, "--n-playlists", 200) == 0

    return shared_folders.make_once("demo", make)


@pytest.fixture
def dataset(demo: Path, tmp_path: Path) -> Path:
    """A copy of the small demo dataset without its sources."""
    return Path(shutil.copytree(demo, tmp_path / "dataset", ignore=shutil.ignore_patterns("source")))


@pytest.fixture(scope="session")
def train_demo(demo: Path, shared_folders: SharedFolders) -> TrainDemo:
    """Train a model on the demo dataset with small settings and return its run folder; each is trained once."""
    from cs_keras.runs import digest
    from tests.command_line import SMALL, run

    def train(key: str, *options: str) -> Path:
        def make(folder: Path) -> None:
            assert run("run-baselines", demo, "--models", key, "--out", folder, *SMALL, *options) == 0

        runs = shared_folders.make_once(f"runs-{key}-{digest(options)[:8]}", make)
        return next(runs.glob(f"????-??-??-{key}-*"))

    return train


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, which are not part of the project."""
    beside = TESTS.parents[1] / "shared" / "data" / "audio"
    folder = Path(os.environ.get("CS_KERAS_RECORDINGS", beside))
    if not folder.is_dir():
        pytest.skip(f"there are no recordings in {folder}: name their folder by CS_KERAS_RECORDINGS")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _let_go() -> Iterator[None]:
    """Free the graphs and models of each module, which Keras and TensorFlow keep, and iterators of tf.data."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework.ops import gradient_registry

        sys.modules["keras"].backend.clear_session(free_memory=False)
        # TensorFlow keeps the gradient of every function that was traced with one of its own, and by it all graphs:
        # 9 MB and 12,000 objects a small model that was trained, through which each garbage collection then goes.
        for name in [name for name in gradient_registry._registry if name.startswith("CustomGradient-")]:
            del gradient_registry._registry[name]
    gc.collect()
