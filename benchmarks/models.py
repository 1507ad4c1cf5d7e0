"""Seconds of training of every model for 1,000 tracks, on two CPU cores: a column of `cs-keras models`.

    python -m benchmarks.models WORK [--only cnn-bn,lstm] [--write]

makes demo tracks of 8 to 12 s in the folder WORK, as magnitudes and as waveforms, with 200 factors, trains every
model on them and prints a table. --write stores the values, of two significant digits, in
cs_keras/models/seconds.csv.

An epoch is one sequence of each of 1,000 tracks, without validation: measured are the training steps of the second
epoch, as the first one includes tracing, on a share of the tracks. Models whose input is computed before the first
epoch, and those that train others first, are trained whole, with their own number of epochs. Weights are random;
fine-tuned networks train all of their layers.
"""

import argparse
import csv
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras.cli.console import Console
from cs_keras.models.registry import REGISTRY, SECONDS_FILE

N_FACTORS = 200
CORES = 2
N_FRAMES, FRAME_SIZE = 80, 200  # of a table of frames, as `embed --encoder musicnn --sequences` writes them
N_EPOCH, N_FIT = 128, 500  # train tracks of an epoch and of a whole fit on audio
SLOW = {  # fewer of them
    **dict.fromkeys(("cnn-60s", "lstm-60s", "choi-60s", "xception-finetune", "xception-random"), 64),
    **dict.fromkeys(("musicnn", "fusion", "fusion-genres", "fusion-estimated"), 200),
}
NOT_MEASURED = "n/a"
N_UNSEEN = 50  # validation tracks, and as many test tracks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for the data, which are made once")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[*REGISTRY], metavar="KEY,KEY")
    parser.add_argument(
        "--n-tracks", type=int, default=1400, help="demo tracks, of which 70 %% are train tracks"
    )
    parser.add_argument("--write", action="store_true", help=f"store the values in {SECONDS_FILE}")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(os, "sched_setaffinity"):  # Linux; before TensorFlow counts the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    start = time.perf_counter()
    timer = Timer(arguments.work, arguments.n_tracks)
    with SECONDS_FILE.open(encoding="utf-8", newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    for key in arguments.only:
        try:
            seconds, per = timer.measure(key)
            rows[key] = {"key": key, "seconds": f"{float(f'{seconds:.2g}'):g}", "per": per}
        except Exception as error:  # the others are measured all the same
            print(f"{key} is not measured: {error}")
            rows.setdefault(key, {"key": key, "seconds": NOT_MEASURED, "per": NOT_MEASURED})
        print(f"{key:<26} {rows[key]['seconds']:>7} {rows[key]['per']}", flush=True)
        if arguments.write:
            with SECONDS_FILE.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, ("key", "seconds", "per"), NOT_MEASURED, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows.get(one, {"key": one}) for one in REGISTRY)
    print(f"{len(arguments.only)} models in {(time.perf_counter() - start) / 60:.1f} minutes")


class Timer:
    """Trains models on the data in a folder, which it makes where they are missing."""

    def __init__(self, work: Path, n_tracks: int) -> None:
        import keras

        from cs_keras.data.demo.config import DemoConfig

        self._work, self._demo = work, DemoConfig.of_size(n_tracks)
        self._sources = {content: self._open(content) for content in ("magnitude", "waveform")}
        self._xception = work / "xception.weights.h5"
        if not self._xception.exists():
            keras.applications.Xception(include_top=False, weights=None).save_weights(self._xception)

    def measure(self, key: str) -> tuple[float, str]:
        """Return seconds for 1,000 tracks, and what takes them: ``fit`` or ``epoch``."""
        from cs_keras.models import get_baseline
        from cs_keras.models.declaration import ATTRIBUTES, GENRE_SPACE, GENRES, TRIPLET, Input
        from cs_keras.models.spec import required_audio
        from cs_keras.run_files.names import METRICS_FILE
        from pipelines.training.objectives import make_training_targets
        from pipelines.training.procedures import TrainingJob
        from pipelines.training.requirements import required_inputs
        from pipelines.training.run_config import resolve
        from pipelines.training.targets import make_training_data
        from pipelines.training.train import run_procedure

        baseline = get_baseline(key)
        has_vectors = baseline.procedure in (ATTRIBUTES, GENRES)
        is_fit = baseline.procedure.is_precomputed and (not has_vectors or baseline.model.is_solved)
        changes: dict[str, Any] = {}
        if not is_fit:
            changes = {"training": {"epochs": 2, "frozen_epochs": 0}}
        if baseline.procedure is TRIPLET:
            changes["model"] = {"embedding_epochs": 2}
        if baseline.procedure is GENRE_SPACE:
            changes["model"] = {"min_tracks": 1}
        if baseline.model.weights is not None:
            changes["model"] = {"weights": str(self._xception)}
        run = resolve(key, changes)
        dataset, factors = self._sources[required_audio(baseline).content]
        data = make_training_data(dataset, factors, 1.0, self._tables(dataset, key))
        has_audio = Input.AUDIO in required_inputs(baseline)
        n_train = SLOW.get(key, N_FIT if is_fit else N_EPOCH) if has_audio else 1000
        tests = np.setdiff1d(data.unseen, data.validation)[:N_UNSEEN]
        validation = data.validation[:N_UNSEEN]
        unseen = np.concatenate([validation, tests])
        data = dataclasses.replace(data, train=data.train[:n_train], validation=validation, unseen=unseen)
        with tempfile.TemporaryDirectory(dir=self._work) as runs:
            folder = Path(runs) / key
            folder.mkdir()
            targets = make_training_targets(data, factors, run.training)
            start = time.perf_counter()
            run_procedure(TrainingJob(run, data, targets, factors, folder, Path(runs), Console()))
            if is_fit:
                return 1000 / len(data.train) * (time.perf_counter() - start), "fit"
            # Of a model of several stages: the slowest, which is the network on audio.
            last = [json.loads(path.read_text().splitlines()[-1]) for path in Path(runs).rglob(METRICS_FILE)]
            n_sequences = 3000 if baseline.procedure is TRIPLET else 1000
            return n_sequences / min(epoch["sequences_per_s"] for epoch in last), "epoch"

    def _open(self, content: str) -> tuple[Any, Any]:
        """Return the dataset of magnitudes or of waveforms, and its factors."""
        from cs_keras.audio.settings import AudioConfig
        from cs_keras.data.catalogue import read_catalogue
        from cs_keras.data.demo.write import write_demo_source
        from cs_keras.factors.wmf import WmfConfig
        from pipelines.dataset.ingest import IngestConfig, ingest
        from pipelines.factors.fit import FactorsConfig, make_factors
        from pipelines.factors.open import open_dataset

        folder, source = self._work / content, self._work / "source"
        if not (folder / "factors").exists():
            write_demo_source(source, self._demo)
            # Artists with train and test tracks, which models of artists need.
            settings = IngestConfig(AudioConfig(content=content), fold_by="track")
            ingest(read_catalogue(source / "tracks.csv"), folder, settings)
            wmf = WmfConfig(factors=N_FACTORS, iterations=2)  # how well they fit does not matter
            make_factors(source / "listening.csv", folder, FactorsConfig(wmf, ceiling=False))
        return open_dataset(folder)

    def _tables(self, dataset: Any, key: str) -> dict[str, Any]:
        """Return random attributes, or frames of them, of all tracks."""
        from cs_keras.data.attributes.columns import NumericColumn, SequenceColumn
        from cs_keras.data.attributes.table import align_tables, make_table
        from cs_keras.models.attributes import N_ATTRIBUTES

        random, n_tracks = np.random.default_rng(0), len(dataset.tracks)
        column: Any
        if key == "attributes-attention":
            frames = random.standard_normal((n_tracks * N_FRAMES, FRAME_SIZE), np.float32)
            column = SequenceColumn(frames, np.arange(n_tracks + 1) * N_FRAMES)
        else:
            column = NumericColumn(random.standard_normal((n_tracks, N_ATTRIBUTES), np.float32))
        table = make_table(dataset.tracks.ids.tolist(), {"numbers": column}, "random numbers")
        return align_tables({"": table}, dataset.tracks, "the dataset")


if __name__ == "__main__":
    main()
