import subprocess
import sys

import keras
import pytest
from click.testing import CliRunner

from cs_keras.cli.models import command
from cs_keras.models import REGISTRY
from cs_keras.models.thesis import KS, THESIS
from tests.models.test_contract import TRAINABLE_PARAMETERS


def test_matched_rows_have_our_counts_but_for_the_differences_that_are_explained():
    for key, reported in THESIS.items():
        if reported.matched:
            assert TRAINABLE_PARAMETERS[key] == reported.parameters + reported.offset, key
    assert [key for key, reported in THESIS.items() if not reported.matched] == ["cnn-deep-conv"]


def test_every_baseline_of_the_thesis_has_its_row():
    files = {"bot", "cnn", "cnn1d", "lstm", "xception", "choi", "triplet"}
    of_the_thesis = {key for key, entry in REGISTRY.items() if entry.module in files}
    assert of_the_thesis - set(THESIS) == {
        "bot-linear",
        "cnn-best",
        "cnn-heteroscedastic",
        "cnn-infonce",
        "lstm-best",
        "triplet-best",
    }
    assert set(THESIS) <= of_the_thesis


def test_overlaps_are_given_for_every_list_length():
    with_overlaps = {key for key, reported in THESIS.items() if reported.similarity}
    assert with_overlaps == {"bot", "cnn", "cnn-wide-dense", "cnn-18s", "lstm-18s", "choi-60s", "triplet"}
    for key in with_overlaps:
        assert len(THESIS[key].similarity) == len(THESIS[key].dot_product) == len(KS)


def test_it_needs_no_tensorflow():
    code = "import sys, cs_keras.models.thesis; print({'tensorflow', 'keras'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


@pytest.mark.slow
def test_the_command_shows_counts_side_by_side(monkeypatch):
    def zeros(self, shape, dtype=None, **_):  # to draw 169 million normal numbers takes ten seconds
        return keras.ops.zeros(shape, dtype)

    monkeypatch.setattr(keras.initializers.HeNormal, "__call__", zeros)
    result = CliRunner().invoke(command, ["--params"], catch_exceptions=False)
    lines = {line.split()[0]: line for line in result.output.splitlines() if line}
    assert set(REGISTRY) <= set(lines)
    assert lines["cnn-bn"].split()[1:4] == ["8,566,600", "8,566,600", "+0"]
    assert lines["lstm"].split()[1:4] == ["18,571,082", "18,571,850", "-768"]
    assert "CuDNN" in lines["lstm"]
    assert lines["choi-features"].split()[2:] == ["-", "-"]


def test_other_numbers_of_factors_are_not_compared(monkeypatch):
    monkeypatch.setattr("cs_keras.models.REGISTRY", {"cnn": REGISTRY["cnn"]})
    output = CliRunner().invoke(command, ["--params", "--n-factors", "3"], catch_exceptions=False).output
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    assert lines["cnn"].split()[2:] == ["-", "-"]
