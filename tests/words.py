"""The words this project does not use, and what to write instead."""

import re
from collections.abc import Iterator
from typing import NamedTuple

WRITE_INSTEAD = {
    "hear": "take audio as input (a model), or listen to (a person)",
    "ear": "audio model, audio encoder",
    "deaf": "without audio input",
    "tell": "report, record, show, distinguish",
    "told": "reported, recorded; 'significantly different' for test results",
    "yardstick": "baseline, reference predictor",
    "judge": "evaluate, evaluation, Evaluator",
    "lesson": "training targets",
    "deal": "shuffle, permute; assign (folds); handle (cases)",
    "hopeless": "pruned (a trial)",
    "insist": "require, retry",
    "contest": "paired comparison, significance test",
    "undefeated": "not significantly worse than the best",
}
FORMS = {
    "hear": "hear hears heard hearing hearable",
    "ear": "ear ears",
    "deaf": "deaf",
    "tell": "tell tells telling",
    "told": "told",
    "yardstick": "yardstick yardsticks",
    "judge": "judge judges judged judging judgement judgements judgment judgments",
    "lesson": "lesson lessons",
    "deal": "deal deals dealt",
    "hopeless": "hopeless",
    "insist": "insist insists insisted insisting",
    "contest": "contest contests contested",
    "undefeated": "undefeated",
}
BANNED = {form: word for word, forms in FORMS.items() for form in forms.split()}

# Text that may contain a banned word, and the reason.
EXCEPTIONS = {
    "ear": (r'"model\.ear\b', "the former name of the setting model.estimator"),
    "tell": (r"(def |\.)tell\(", "the method of Python's files"),
}

_WORD = re.compile(
    r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"
)  # so that snake_case and CamelCase names are split into words


class Finding(NamedTuple):
    """A banned word in a line, counted from 1."""

    line: int
    word: str

    def __str__(self) -> str:
        """Name the line, the word, and what to write instead."""
        return f"{self.line}: {self.word!r}; write: {WRITE_INSTEAD[BANNED[self.word.lower()]]}"


def find_words(text: str) -> Iterator[Finding]:
    """Find the banned words of a text, in names split at underscores and capitals too."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, _ in EXCEPTIONS.values():
            line = re.sub(pattern, "", line)
        for word in _WORD.findall(line):
            if word.lower() in BANNED:
                yield Finding(number, word)
