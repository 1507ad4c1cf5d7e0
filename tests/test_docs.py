"""What documents name exists: files, modules, commands with their options, and linked pages."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from cs_keras.cli import COMMANDS, group
from cs_keras.models.registry import REGISTRY, split_key

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = "cs_keras|pipelines|tuning|reports|benchmarks|tests"
SECTIONS = "model|training|sequence|front_end|augment|evaluation|execution"  # of a run's settings
PLACEHOLDERS = re.compile(r"^(all|best)$|[A-Z]{2}|[$…]")  # in place of keys of models
# Options of others that documents mention alone, in a sentence.
FOREIGN_OPTIONS = frozenset({"--sdk_container_image", "--environment_config", "--experiments"})  # Apache Beam


@cache
def options_of(command: str) -> frozenset[str]:
    """Return the options of a command of the command line, or of all commands of a group."""
    found = group.get_command(click.Context(group), command)
    assert found is not None, f"there is no command {command!r}"
    commands = found.commands.values() if isinstance(found, click.Group) else [found]
    shown = [
        one for own in commands for one in own.params if isinstance(one, click.Option) and not one.hidden
    ]
    return frozenset({"-h", "--help"}.union(*(option.opts + option.secondary_opts for option in shown)))


def known_options(words: list[str]) -> frozenset[str]:
    """Return the options of a command, or of a part of one that begins with an option."""
    if words[0] == "cs-keras" and not words[1].startswith("-"):
        words = words[1:]
    benchmark = re.search(r"\bbenchmarks\.(\w+)", " ".join(words))
    if benchmark is not None:
        return benchmark_options(f"{benchmark[1]}.py")
    if words[0].startswith("--"):
        return FOREIGN_OPTIONS.union(benchmark_options("*.py"), *map(options_of, COMMANDS))
    return (
        options_of(words[0]) if words[0] in COMMANDS else frozenset(word.partition("=")[0] for word in words)
    )


def benchmark_options(pattern: str) -> frozenset[str]:
    """Return the options that benchmarks define or show in their first lines."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob(pattern)]
    return frozenset(re.findall(r"--[a-z][\w-]+", " ".join(sources)))


def code_of(text: str) -> Iterator[str]:
    """Yield the lines of code blocks, continued lines joined, and the inline code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        yield from block.replace("\\\n", "").splitlines()
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text))


def expand_braces(path: str) -> list[str]:
    """Return a/{b,c}.py as a/b.py and a/c.py."""
    match = re.match(r"(.*)\{(.*)\}(.*)", path)
    return [path] if match is None else [match[1] + part + match[3] for part in match[2].split(",")]


def exists_dotted(name: str) -> bool:
    """Say whether a dotted name is a module or a name at the top level of one, without importing it."""
    parts = name.split(".")
    path = ROOT
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    source = path / f"{parts[0]}.py" if parts else path / "__init__.py"
    if parts and source.exists():
        parts.pop(0)
    else:
        source = path / "__init__.py"
    if not parts:
        return source.exists()
    return source.exists() and parts[0] in top_level_names(source.read_text(encoding="utf-8"))


def top_level_names(source: str) -> set[str]:
    """Return the names that a module defines, and the strings it holds, by which names are imported lazily."""
    tree = ast.parse(source)
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_modules_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(
        rf"(?<![\w/.-])(?:{PACKAGES}|docs|\.ci)/[\w/{{}},.-]*[\w}}]\.(?:py|md|toml|js|css|j2)\b", text
    )
    paths = [path for name in named for path in expand_braces(name) if "NAME" not in path]
    missing = [path for path in paths if not (ROOT / path).exists()]
    dotted = re.findall(rf"(?<![\w/.-])(?:{PACKAGES})(?:\.[A-Za-z_]\w*)+", text)
    missing += [name for name in dotted if not name.endswith((".py", ".md")) and not exists_dotted(name)]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert not [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_have_the_options_shown(document: Path) -> None:
    for code in filter(lambda code: "--" in code, code_of(document.read_text(encoding="utf-8"))):
        words = shlex.split(code.partition(" -- ")[0], comments=True)
        options = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        unknown = options - known_options(words)
        assert not unknown, f"{code}: {sorted(unknown)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_names_in_code_style_are_in_the_sources(document: Path) -> None:
    codes = [code.partition("=")[0] for code in code_of(document.read_text(encoding="utf-8"))]
    names = {code for code in codes if re.fullmatch(r"(\w+\.)*[a-z0-9]+(_[a-z0-9]+)+", code)}
    names |= {code for code in codes if re.fullmatch(rf"({SECTIONS})\.\w+", code)}
    names = {name.rpartition(".")[2] for name in names}
    assert not names - words_of_sources()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_models_and_settings_of_commands_exist(document: Path) -> None:
    """Keys of models are in the registry, and settings in a section of them."""
    for code in code_of(document.read_text(encoding="utf-8")):
        keys = [key for named in re.findall(r"--models ([^\s`]+)", code) for key in named.split(",")]
        unknown = {key for key in keys if split_key(key)[0] not in REGISTRY and not PLACEHOLDERS.search(key)}
        settings = re.findall(r"--set ['\"]?(?:models\.[\w@+$-]+\.)?(\w+)\.(\w+)=", code)
        unknown |= {name for name in settings if name[0] not in SECTIONS.split("|")}
        unknown |= {name for name in settings if name[1] not in words_of_sources()}
        assert not unknown, code


@cache
def words_of_sources() -> frozenset[str]:
    """Return all words of the sources and their tests."""
    paths = [path for package in PACKAGES.split("|") for path in (ROOT / package).rglob("*.py")]
    return frozenset().union(*(re.findall(r"\w+", path.read_text(encoding="utf-8")) for path in paths))
