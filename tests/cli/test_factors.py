"""``cs-keras factors``, as a user runs it."""

import csv
from pathlib import Path

import pytest

from cs_keras.data.dataset import Dataset
from tests.command_line import run


def test_it_says_in_words_what_became_of_the_rows(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = Dataset(dataset).tracks.ids.tolist()
    rows = [(p, track_id, 1) for p in range(8) for track_id in ids[p::8] + ids[p::4]]  # some twice
    n_pairs = len({row[:2] for row in rows})
    more = [(0, ids[1], 0), (0, "unknown", 1)]
    few = [
        "--n-factors",
        4,
        "--iterations",
        1,
        "--no-ceiling",
        "--targets",
        "in-sample",
        "--items",
        "dataset",
    ]

    def read(rows: list[tuple[int, str, int]]) -> str:
        with open(tmp_path / "plays.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("playlist_id", "track_id", "count"), *rows])
        capfd.readouterr()
        assert run("factors", tmp_path / "plays.csv", dataset, *few) == 0
        return capfd.readouterr().out

    printed = read([*rows, *more])
    assert (
        f"{len(rows) + 2} rows read: {len(rows) - n_pairs} added to an earlier one of the same playlist and track, "
        "1 left out with a count of 0.\n" in printed
    )
    assert "Left out: 1 track not in the dataset (such as unknown).\n" in printed
    assert f"{n_pairs} rows read.\n" in read(sorted({*rows}))
