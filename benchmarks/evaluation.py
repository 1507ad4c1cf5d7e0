"""Time and memory of evaluating one model, at the reference thesis's size and at a million tracks.

    python -m benchmarks.evaluation [--n-tracks N --n-queries N --n-factors 200 --n-playlists N --n-permutations N]
                                    [--only-model]

Without sizes it measures three, all with the default 999 permutations: 750 tracks and 8,800 playlists, the
thesis's, and a million tracks with 10,000 queries of each kind. Factors and interactions are synthetic. The
evaluation is complete: all kinds of lists with intervals and permutation tests, ranking metrics, metrics beyond
accuracy, lists with less hubness, groups, the model's single ranking, and, unless only the model is evaluated, all
reference predictors and the gap ladder. It runs in a process of its own; printed are the seconds of each part and
the peak of resident memory.
"""

import argparse
import collections
import dataclasses
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

HELD_BY_PLAYLIST = 13  # test tracks: a fifth of a playlist of 66
TRACKS_OF_ARTIST = 8
N_TRAIN = 39_666  # as in the thesis; only the artist mean uses them
NOISE, REFIT_NOISE = 1.0, 0.5  # in standard deviations of a factor
ALLOWED_GB = 4.0
FUNCTIONS = {  # by the module that calls them, and part
    "pipelines.evaluation.lists": {
        "rank_reference": "lists",
        "rank_predicted": "lists",
        "top_k_dot": "lists",
    },
    "cs_keras.evaluation.overlap": {"permutation_test": "permutations", "_sum_queries": "intervals"},
    "pipelines.evaluation.evaluator": {
        "rank_metrics": "ranking metrics",
        "measure_group_ndcg": "groups",
        "sum_gains": "intervals",
        "top_k_reduced": "lists with less hubness",
    },
    "pipelines.evaluation.evaluation_record": {"make_ladders": "ladder", "make_ranking": "ladder"},
}
OTHER = "reference predictors, other"


@dataclasses.dataclass(frozen=True)
class Size:
    """Size of an evaluation; `queries` is the maximum of each kind."""

    tracks: int
    queries: int
    factors: int
    playlists: int
    permutations: int


THESIS = Size(tracks=11_333, queries=20_000, factors=200, playlists=100_000, permutations=999)
SMALL = dataclasses.replace(THESIS, tracks=750, playlists=8_800)
MILLION = dataclasses.replace(THESIS, tracks=1_000_000, queries=10_000)
ALLOWED_SECONDS = {SMALL: 5, THESIS: 60, MILLION: 900}  # for the model, the reference's lists being there


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in dataclasses.fields(Size):
        default = getattr(THESIS, field.name)
        parser.add_argument(
            f"--n-{field.name}", dest=field.name, type=int, help=f"default: {default:,} if any size is given"
        )
    parser.add_argument("--only-model", action="store_true", help="without reference predictors and ladder")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    is_child, only_model = arguments.pop("child"), arguments.pop("only_model")
    given = {name: value for name, value in arguments.items() if value is not None}
    sizes = (dataclasses.replace(THESIS, **given),) if given else tuple(ALLOWED_SECONDS)
    for size in sizes:
        (measure if is_child else _start)(size, only_model)


def _start(size: Size, only_model: bool) -> None:
    """Evaluate in a process of its own, and print its times and its peak memory."""
    options = [f"--n-{name}={value}" for name, value in dataclasses.asdict(size).items()]
    options += ["--only-model"] * only_model
    command = [sys.executable, "-m", "benchmarks.evaluation", "--child", *options]
    print(
        f"{size.tracks:,} tracks, {size.queries:,} queries of each kind at most, {size.factors} factors, "
        f"{size.playlists:,} playlists, {size.permutations} permutations",
        flush=True,
    )
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    for part, seconds in found["seconds"].items():
        print(f"  {part:<28} {seconds:>8,.1f} s")
    total = sum(found["seconds"].values())
    print(f"  {'all':<28} {total:>8,.1f} s, {found['cpu']:,.0f} s of processor time")
    peak = found["peak_gb"]
    allowed = f" ({ALLOWED_SECONDS[size]} s allowed)" if size in ALLOWED_SECONDS else ""
    seconds, cpu = found["one_model"]
    print(
        f"  {'the model':<28} {seconds:>8,.1f} s{allowed}, {cpu:,.1f} s of processor time\n"
        f"  peak memory {peak:.2f} GB, {found['inputs_gb']:.2f} GB of it factors and interactions "
        f"({ALLOWED_GB:.0f} GB allowed): {'met' if peak <= ALLOWED_GB else 'MISSED'}",
        flush=True,
    )


def measure(size: Size, only_model: bool) -> None:
    """Evaluate a model and, unless `only_model`, all reference predictors; print seconds and memory as JSON."""
    from cs_keras.cli.console import Console
    from cs_keras.run_files.evaluation import MODEL
    from cs_keras.run_files.settings import EvaluationConfig
    from pipelines.evaluation import evaluation_record, evaluator

    reference, predictions = make_inputs(size)
    inputs_gb = _resident_gb()
    clock: collections.Counter[str] = collections.Counter()
    for name, parts in FUNCTIONS.items():
        module = importlib.import_module(name)
        for function, part in parts.items():
            setattr(module, function, _timed(clock, part, getattr(module, function)))
    settings = EvaluationConfig(n_permutations=size.permutations, max_queries=size.queries)
    start, cpu = time.perf_counter(), time.process_time()
    one = evaluator.Evaluator(reference, settings, 0, Console())
    assert one.lists.by_kind
    before = time.perf_counter(), time.process_time()
    predictor = predictions.pop()
    found = {MODEL: one.evaluate(predictor)}
    one.reduce_hubness(predictor, found[MODEL])
    one.evaluate_single_ranking(predictor)
    one_model = time.perf_counter() - before[0], time.process_time() - before[1]
    del predictor
    if not only_model:
        found |= one.reference_predictors
        evaluation_record.make_ladders(one, found)
        evaluation_record.make_ranking(one, found)
    seconds = time.perf_counter() - start
    clock[OTHER] = seconds - clock.total()
    record = {
        "seconds": clock,
        "one_model": one_model,
        "cpu": time.process_time() - cpu,
        "inputs_gb": inputs_gb,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    print(json.dumps(record))


def time_one_model(size: Size) -> float:
    """Return the seconds of one model's evaluation, its single ranking included, after that of the reference."""
    from cs_keras.run_files.settings import EvaluationConfig
    from pipelines.evaluation.evaluator import Evaluator

    def prepare(some: Size) -> tuple[Any, Any]:
        reference, (predictions,) = make_inputs(some)
        settings = EvaluationConfig(n_permutations=some.permutations, max_queries=some.queries)
        one = Evaluator(reference, settings, 0)
        assert one.lists.by_kind
        return one, predictions

    small, predictions = prepare(dataclasses.replace(size, tracks=100, playlists=100, permutations=1))
    small.evaluate(predictions)  # so that what is compiled at its first use is compiled
    one, predictions = prepare(size)
    start = time.perf_counter()
    one.reduce_hubness(predictions, one.evaluate(predictions))
    one.evaluate_single_ranking(predictions)
    return time.perf_counter() - start


def make_inputs(size: Size) -> tuple[Any, list[Any]]:
    """Return a synthetic reference with a refit and interactions, and a model's predictions.

    The predictions are in a list, so that the caller can remove the last reference to them.
    """
    from pipelines.evaluation.reference import Predictor, Reference

    rng = np.random.default_rng(0)
    items = rng.standard_normal((size.tracks, size.factors), np.float32)
    playlists = rng.standard_normal((size.playlists, size.factors), np.float32)
    popularity = 1 / np.arange(1, size.tracks + 1) ** 0.5
    held = rng.choice(size.tracks, (size.playlists, HELD_BY_PLAYLIST), p=popularity / popularity.sum())
    rows = np.repeat(np.arange(size.playlists), HELD_BY_PLAYLIST)
    interactions = scipy.sparse.csr_matrix(
        (np.ones(held.size, np.float32), (rows, held.ravel())), (size.playlists, size.tracks)
    )
    artists = rng.permutation(size.tracks) // TRACKS_OF_ARTIST
    reference = Reference(
        rows={"train": np.arange(N_TRAIN), "test": np.arange(size.tracks)},
        own=Predictor(items, playlists),
        refit=Predictor(_noisy(items, REFIT_NOISE, rng), _noisy(playlists, REFIT_NOISE, rng)),
        interactions=interactions,
        artists=artists,
        train_artists=rng.integers(size.tracks // TRACKS_OF_ARTIST * 2, size=N_TRAIN),
        train_factors=rng.standard_normal((N_TRAIN, size.factors), np.float32),
    )
    return reference, [Predictor(_noisy(items, NOISE, rng), playlists)]


def _noisy(factors: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.standard_normal(factors.shape, np.float32)
    drawn *= np.float32(noise)
    drawn += factors
    return drawn


def _timed(clock: collections.Counter[str], part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            clock[part] += time.perf_counter() - start

    return timed


def _resident_gb() -> float:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
