"""Options: an old spelling answers with the new one, and help starts with a short plain sentence."""

import importlib
import re

import click
import pytest
from click.testing import CliRunner

from cs_keras.cli import COMMANDS, GROUPS, group

RENAMED: dict[str, tuple[list[str], str]] = {
    "factors": (["factors", "listening.csv", "data", "--factors", "8"], "use --n-factors."),
    "models": (["models", "--factors", "8"], "use --n-factors."),
    "demo tracks": (["demo-data", "demo", "--tracks", "60"], "use --n-tracks."),
    "demo artists": (
        ["demo-data", "demo", "--artists", "3"],
        "No such option --artists; it is --n-artists now.",
    ),
    "demo playlists": (["demo-data", "demo", "--playlists", "3"], "it is --n-playlists now."),
    "folds": (
        ["classify", "f.npz", "l.csv", "--folds", "5"],
        "use --n-folds, for a table of them --fold-table.",
    ),
    "fusion": (["ensemble", "one", "two", "--by", "ranks"], "use --combine."),  # before --dataset is missed
    "small set": (["size-study", "bot", "data", "--by", "popularity"], "use --small-by."),
    "export": (["recommend", "run", "--export", "csv"], "No such option --export; it is --format now."),
    "listens": (["hybrid", "run", "data", "--listens", "0,1"], "it is --n-interactions now."),
    "worker": (["tune", "bot", "data", "--name", "one"], "use --worker-name."),
}


@pytest.mark.parametrize("name", RENAMED)
def test_an_old_spelling_answers_with_the_new_one(name: str) -> None:
    arguments, expected = RENAMED[name]
    answer = CliRunner().invoke(group, arguments)
    assert answer.exit_code == 2
    (sentence,) = [line for line in answer.stderr.splitlines() if line.startswith("Error: ")]
    assert sentence.endswith(expected)
    named = re.findall(r"(?:use|it is|table of them) (--[a-z-]+)", expected)
    assert named and set(named) <= spellings(arguments[0])


def spellings(command: str) -> set[str]:
    """Return the options that the help of a command shows."""
    module = importlib.import_module(f"cs_keras.cli.{command.replace('-', '_')}")
    shown = [one for one in module.command.params if isinstance(one, click.Option) and not one.hidden]
    return {name for option in shown for name in option.opts}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_starts_with_a_short_sentence_and_hides_old_spellings(command: str) -> None:
    answer = CliRunner().invoke(group, [command, "--help"])
    first = next(line.strip() for line in answer.output.splitlines()[1:] if line.strip())
    assert len(first) <= 60 and first.endswith("."), first
    for arguments, _ in RENAMED.values():
        old = next(word for word in arguments if word.startswith("--"))
        assert arguments[0] != command or old not in spellings(command)


def test_the_list_of_commands_is_in_groups_and_shows_whole_sentences() -> None:
    text = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    for heading, names in GROUPS.items():
        lines = text.partition(f"\n{heading}:\n")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in lines] == list(names)
        assert all(line.endswith(".") and not line.endswith("...") and len(line) <= 80 for line in lines)


def test_every_option_has_a_help_text_and_shared_ones_are_in_one_section() -> None:
    commands = {name: group.get_command(click.Context(group), name) for name in COMMANDS}
    shown = {
        name: [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        for name, command in commands.items()
        if command
    }
    assert shown.keys() == set(COMMANDS)
    assert not [(name, one.name) for name, options in shown.items() for one in options if not one.help]
    answer = CliRunner().invoke(group, ["predict", "--help"]).output
    own, _, shared = answer.partition("Shared options:")
    assert "--out" in own and "--timeout" in shared and "--timeout" not in own
