"""A fit on several devices is the fit on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
HOME = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-devices")
    command = [sys.executable, "-m", "tests.training.two_devices", str(folder)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads((folder / "results.json").read_text())


def same(one, two, rtol):
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=rtol)
    np.testing.assert_allclose(two["predicted"], one["predicted"], rtol=rtol, atol=rtol)
    assert two["sum of weights"] == pytest.approx(one["sum of weights"], rel=rtol)


def test_all_devices_are_used_by_default(results):
    assert results["default"] == 2


# Float32 sums in another order; losses and predictions are of size 1. Adam's first steps have full size even where
# a gradient is nothing but rounding, so single weights may differ by more.
@pytest.mark.parametrize("key", ["cnn", "cnn-bn"])
def test_two_devices_give_the_losses_and_predictions_of_one(results, key):
    same(results[f"{key} on 1"], results[f"{key} on 2"], rtol=1e-5)
    assert np.std(results[f"{key} on 1"]["predicted"]) > 0


def test_a_fit_begun_on_two_devices_resumes_with_one(results):
    same(results["cnn on 1"], results["cnn on 2, then 1"], rtol=1e-5)  # as above


def test_a_fit_interrupted_on_two_devices_ends_as_an_undisturbed_one(results):
    undisturbed, interrupted = results["lstm on 2"], results["lstm on 2, then 2"]
    for what in ("losses", "predicted", "sum of weights"):
        assert interrupted[what] == undisturbed[what]
    assert np.isfinite(undisturbed["losses"]).all()
    assert results["optimizer"] == "LossScaleOptimizer"


def test_a_model_of_two_devices_predicts_without_them(results):
    assert results["loaded lstm"]["replicas"] == 1
    # Float16 sums in batches of another size.
    np.testing.assert_allclose(
        results["loaded lstm"]["predicted"], results["lstm on 2"]["predicted"], atol=1e-2
    )


def test_waiting_is_a_share_on_two_devices_too(results):
    assert all(0 < share < 1 for share in results["cnn on 2"]["shares"])
