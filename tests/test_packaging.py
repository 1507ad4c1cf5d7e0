"""setup.py is the one list of requirements; everything else that names versions must agree with it."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cs_keras

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    """What setup.py gives to setuptools."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def test_lock_file_holds_every_requirement_at_an_allowed_version(package: dict[str, Any]) -> None:
    pins = locked()
    for line in [*package["install_requires"], *package["extras_require"]["dev"]]:
        wanted = Requirement(line)
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, line


def test_environment_installs_what_setup_says_and_the_same_python(package: dict[str, Any]) -> None:
    text = (ROOT / "environment.yml").read_text()
    assert "-e .[dev]" in text
    versions = re.search(r"python (\S+)", text)
    assert versions is not None
    assert versions[1] == package["python_requires"]
    named = re.findall(r"^\s+- ([a-z][\w-]*)", text, re.MULTILINE)
    assert set(named) <= {"conda-forge", "python", "pip"}, "requirements belong in setup.py alone"


def test_only_the_library_is_installed(package: dict[str, Any]) -> None:
    top = {name.partition(".")[0] for name in package["packages"]}
    assert top == {"cs_keras", "pipelines", "tuning", "reports"}
    folders = {path.parent.relative_to(ROOT) for name in top for path in (ROOT / name).rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} == set(package["packages"])


def test_extras_and_version(package: dict[str, Any]) -> None:
    assert set(package["extras_require"]) == {"gpu", "embed", "beam", "spotify", "dev"}
    assert package["version"] == cs_keras.__version__
    tensorflow = next(Requirement(r) for r in package["install_requires"] if r.startswith("tensorflow="))
    gpu = Requirement(package["extras_require"]["gpu"][0])
    assert (gpu.name, gpu.specifier) == ("tensorflow", tensorflow.specifier)


def test_pyproject_leaves_the_metadata_to_setup() -> None:
    assert "\n[project]" not in (ROOT / "pyproject.toml").read_text()


def test_nothing_committed_names_a_machine() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "index" not in lock
