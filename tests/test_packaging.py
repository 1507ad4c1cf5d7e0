"""setup.py is the one list of requirements; everything else that names versions must agree with it."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import setuptools
import uv
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import cs_keras

ROOT = Path(__file__).parents[1]
PACKAGES = ("cs_keras", "pipelines", "tuning", "reports")


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
    files = (ROOT / name for name in ("requirements.lock", "requirements-spark.lock"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    pins = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def sources(suffix: str) -> list[Path]:
    """Return the files of the four packages whose names end with `suffix`."""
    files = [path for name in PACKAGES for path in (ROOT / name).rglob(f"*{suffix}") if path.is_file()]
    return [path for path in files if "__pycache__" not in path.parts]


def test_lock_file_holds_every_requirement_at_an_allowed_version(package: dict[str, Any]) -> None:
    pins = locked()
    extras = package["extras_require"]
    locked_extras = [line for name in ("dev", "dask", "spark", "tfio") for line in extras[name]]
    for line in [*package["install_requires"], *locked_extras]:
        wanted = Requirement(line)
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, line


def test_environment_installs_what_setup_says_and_the_same_python(package: dict[str, Any]) -> None:
    text = (ROOT / "environment.yml").read_text()
    (extra,) = re.findall(r"^ +- -e \.\[(\w+)\]$", text, re.MULTILINE)
    assert extra in package["extras_require"]
    versions = re.search(r"python (\S+)", text)
    assert versions is not None
    assert versions[1] == package["python_requires"]
    named = re.findall(r"^\s+- ([a-z][\w-]*)", text, re.MULTILINE)
    assert set(named) <= {"conda-forge", "python", "pip"}, "requirements belong in setup.py alone"


def test_only_the_library_is_installed(package: dict[str, Any]) -> None:
    folders = {path.parent.relative_to(ROOT) for path in sources(".py")}
    assert {".".join(folder.parts) for folder in folders} == set(package["packages"])


def test_versions_of_python_and_tensorflow_are_given_once(package: dict[str, Any]) -> None:
    assert package["version"] == cs_keras.__version__
    tensorflow = next(Requirement(r) for r in package["install_requires"] if r.startswith("tensorflow"))
    gpu = Requirement(package["extras_require"]["gpu"][0])
    assert (gpu.name, gpu.specifier) == ("tensorflow", tensorflow.specifier)
    named = [line.rpartition(" ")[2] for line in package["classifiers"] if ":: Python :: 3." in line]
    minor = range(11, 100)
    allowed = SpecifierSet(package["python_requires"])
    assert named == [f"3.{number}" for number in minor if f"3.{number}" in allowed]


def test_extras_that_documents_and_messages_name_exist(package: dict[str, Any]) -> None:
    paths = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *sources(".py")]
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    named = set(re.findall(r"(?:cs-keras|install \.)\[(\w+)\]", text))
    assert {"tfio", "gpu"} <= named <= set(package["extras_require"])


def test_pyproject_leaves_the_metadata_to_setup() -> None:
    assert "\n[project]" not in (ROOT / "pyproject.toml").read_text()


def test_nothing_committed_names_a_machine() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "index" not in lock


def test_a_wheel_built_from_the_source_distribution_runs(tmp_path: Path) -> None:
    """The tree gives an sdist, this gives a wheel, and that a command in an environment with the same packages."""
    tree = tmp_path / "tree"  # links, so that building writes nothing into this one
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", *PACKAGES):
        (tree / name).symlink_to(ROOT / name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: object, cwd: Path = tmp_path) -> str:
        return subprocess.check_output([*map(str, command)], text=True, cwd=cwd, env=environment)

    def build(kind: str, source: Path) -> None:
        code = f"from setuptools import build_meta; build_meta.build_{kind}({str(tmp_path)!r})"
        call(sys.executable, "-c", code, cwd=source)

    build("sdist", tree)
    (sdist,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path, filter="data")
    build("wheel", tmp_path / sdist.name.removesuffix(".tar.gz"))
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {str(path.relative_to(ROOT)) for path in sources("")}

    venv.create(tmp_path / "new", symlinks=True)
    (library,) = (tmp_path / "new").glob("lib/python*/site-packages")
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    python = tmp_path / "new" / "bin" / "python"
    call(uv.find_uv_bin(), "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel)
    assert call(python.with_name("cs-keras"), "--version").strip().endswith(cs_keras.__version__)
    assert Path(call(python, "-c", "import cs_keras; print(cs_keras.__file__)")).is_relative_to(library)
