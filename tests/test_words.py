"""The field's words, in sources, documents, and the text that commands print."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cs_keras.cli import COMMANDS, group
from tests.words import find_words

ROOT = Path(__file__).parents[1]
FOLDERS = ("cs_keras", "pipelines", "tuning", "reports", "benchmarks", "tests", "docs")
SUFFIXES = {".py", ".md", ".js", ".css", ".html", ".j2", ".toml"}
SPELT_HERE = {"tests/words.py", "tests/test_words.py"}


def own_files() -> Iterator[Path]:
    """Yield the project's own text files."""
    yield from (path for path in ROOT.iterdir() if path.suffix in {".md", ".py", ".toml"})
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES)


def test_sources_and_documents_use_the_fields_words() -> None:
    found = []
    for path in own_files():
        name = path.relative_to(ROOT).as_posix()
        if name not in SPELT_HERE:
            found += [f"{name}: {finding.word!r} in the file's name" for finding in find_words(name)]
            found += [f"{name}:{finding}" for finding in find_words(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_uses_the_fields_words(command: str) -> None:
    answer = CliRunner().invoke(group, [*filter(None, [command]), "--help"], catch_exceptions=False)
    assert answer.exit_code == 0
    assert not [str(finding) for finding in find_words(answer.output)], answer.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("UNTRAINED_EARS", ["EARS"]),
        ("class NobodyToldIt", ["Told"]),
        ("n_heard = 3  # as HeardBy says", ["heard", "Heard"]),
        ("an early year; an unheard-of idea, appear, clear, search, ideal", []),
        ("shard.tell() and def tell(self)", []),
        ("tell() shows", ["tell"]),
    ],
)
def test_names_are_split_and_longer_words_are_free(text: str, words: list[str]) -> None:
    assert [finding.word for finding in find_words(text)] == words


def test_a_finding_says_what_to_write() -> None:
    (finding,) = find_words("first\nhow it is judged")
    assert str(finding) == "2: 'judged'; write: evaluate, evaluation, Evaluator"
