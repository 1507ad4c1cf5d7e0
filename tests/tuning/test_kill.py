"""A SIGKILL of anybody at any moment costs a search time only: the same command ends with the same trials."""

import functools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from cs_keras.runs import read_json
from cs_keras.storage.location import locate
from tests.storage.servers import BUCKET, emulator, reached_through
from tests.tuning.processes import (
    Company,
    children,
    company,
    finish,
    free_address,
    is_running,
    kill,
    wait_until,
)
from tests.tuning.studies import make_study, records, results, without_clocks
from tests.tuning.trainers import Rehearsal, epochs_trained, lines
from tuning.search import WorkerPool
from tuning.worker import WorkerConfig

pytestmark = pytest.mark.slow
Found = dict[str, dict[str, Any]]
Undisturbed = Callable[[str], Found]
WISHES: dict[str, dict[str, Any]] = {
    "random": {"max_trials": 6},
    "hyperband": {"factor": 2},  # of 4 epochs: 15 trials in brackets of three, two rounds and one
}
EPOCHS = {"random": 3, "hyperband": 4}
SEEDS = range(2)
N_KILLS = 4
SHORT_LEASE_S = 4.0


def rehearse(processes: Company, folder: Path, tuner: str) -> Found:
    """Search without a disturbance and return what came out."""
    study, trainer = make_study(folder / "study", tuner, **WISHES[tuner]), Rehearsal(folder, EPOCHS[tuner])
    address = free_address()
    chief = processes.chief(study, trainer, WorkerPool(0, address))
    finish(chief, processes.worker(study, trainer, WorkerConfig("worker", address)))
    return results(folder / "study")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Results by tuner."""

    @functools.cache
    def results_of(tuner: str) -> Found:
        with company() as processes:
            return rehearse(processes, tmp_path_factory.mktemp(tuner), tuner)

    return results_of


def notes_of(ledger: Path, trials: Collection[str]) -> Counter[str]:
    """Return how often anything was done for some trials."""
    return Counter(line.split()[0] for line in lines(ledger) if line.split()[0] in trials)


def test_hyperband_trains_what_it_promotes_only_further(
    undisturbed: Undisturbed,
) -> None:
    found = undisturbed("hyperband")
    rounds = Counter((r["hyperband"]["bracket"], r["hyperband"]["round"]) for r in found.values())
    assert rounds == {(2, 0): 4, (2, 1): 2, (2, 2): 1, (1, 0): 3, (1, 1): 2, (0, 0): 3}
    for record in found.values():
        earlier = record["hyperband"]["from_trial"]
        if earlier is not None:
            assert record["parameters"] == found[earlier]["parameters"]
            round_ = [
                r
                for r in found.values()
                if r["hyperband"]["bracket"] == record["hyperband"]["bracket"]
                and r["hyperband"]["round"] == record["hyperband"]["round"] - 1
            ]
            best = sorted((r["score"] for r in round_), reverse=True)
            n_promoted = rounds[(record["hyperband"]["bracket"], record["hyperband"]["round"])]
            assert found[earlier]["score"] >= best[n_promoted - 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tuner", WISHES)
def test_killed_at_random_moments_it_ends_like_an_undisturbed_one(
    tuner: str,
    seed: int,
    undisturbed: Undisturbed,
    processes: Company,
    address: str,
    tmp_path: Path,
) -> None:
    chance, folder = random.Random(seed), tmp_path / "study"
    study, trainer = make_study(folder, tuner, **WISHES[tuner]), Rehearsal(tmp_path, EPOCHS[tuner], 0.1)
    team, place = WorkerPool(0, address), WorkerConfig("worker", address)
    both = {"chief": processes.chief(study, trainer, team), "worker": processes.worker(study, trainer, place)}
    for _ in range(N_KILLS):
        time.sleep(chance.uniform(0.05, 1.2))
        victims = chance.choice((["chief"], ["worker"], ["chief", "worker"]))
        for name in victims:
            kill(both[name])
        ended = list(records(folder))
        before = notes_of(tmp_path, ended)
        for name in victims:
            both[name] = (
                processes.chief(study, trainer, team)
                if name == "chief"
                else processes.worker(study, trainer, place)
            )
        time.sleep(0.1)
        assert notes_of(tmp_path, ended) == before, "a finished trial was trained again"
    finish(*both.values())
    assert results(folder) == undisturbed(tuner)
    n_came_back = sum(len(record["interruptions"]) for record in records(folder).values())
    assert len(lines(tmp_path)) - len(set(lines(tmp_path))) <= n_came_back <= N_KILLS


def test_a_killed_training_resumes_after_its_last_epoch(
    undisturbed: Undisturbed, processes: Company, address: str, tmp_path: Path
) -> None:
    study, trainer = make_study(tmp_path / "study", max_trials=6), Rehearsal(tmp_path, 3, 0.3)
    chief = processes.chief(study, trainer, WorkerPool(0, address))
    worker = processes.worker(study, trainer, WorkerConfig("worker", address))
    wait_until(lambda: "0002 execution-0 epoch 2" in lines(tmp_path), chief, worker)
    kill(worker)
    kill(chief)
    half_written = study.folder / "trials/0002/execution-0/.weights.12345678.tmp"
    half_written.touch()
    quick = Rehearsal(tmp_path, 3)
    chief = processes.chief(study, quick, WorkerPool(0, address))
    finish(chief, processes.worker(study, quick, WorkerConfig("worker", address)))
    assert results(study.folder) == undisturbed("random")
    interruptions = {trial: record["interruptions"] for trial, record in records(study.folder).items()}
    assert interruptions == {f"000{n}": ["epoch 2"] if n == 2 else [] for n in range(6)}
    assert epochs_trained(tmp_path) == {f"000{n}": 3 for n in range(6)}
    assert half_written.exists()  # a worker elsewhere might have been at it


def test_a_chief_keeps_its_workers_alive_and_they_end_with_it(
    undisturbed: Undisturbed, processes: Company, tmp_path: Path
) -> None:
    study, trainer = make_study(tmp_path / "study", max_trials=6), Rehearsal(tmp_path, 3, 0.2)
    chief = processes.chief(study, trainer, WorkerPool(1))
    wait_until(lambda: "0001 execution-0 epoch 1" in lines(tmp_path), chief)
    (worker,) = children(chief.pid)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "0002 execution-0 epoch 1" in lines(tmp_path), chief)
    (second,) = children(chief.pid)
    family = [second, *children(second)]
    assert second != worker and len(family) == 2
    kill(chief)
    wait_until(lambda: not any(map(is_running, family)))
    finish(processes.chief(study, trainer, WorkerPool(1)))
    assert results(study.folder) == undisturbed("random")


def test_the_trial_of_a_lost_worker_goes_to_another(
    undisturbed: Undisturbed, processes: Company, address: str, tmp_path: Path
) -> None:
    study, trainer = make_study(tmp_path / "study", max_trials=6), Rehearsal(tmp_path, 3, 0.3)
    early = processes.worker(study, trainer, WorkerConfig("early", address))
    time.sleep(1)
    chief = processes.chief(study, trainer, WorkerPool(0, address, SHORT_LEASE_S))
    wait_until(lambda: "0001 execution-0 epoch 2" in lines(tmp_path), chief, early)
    late = processes.worker(study, trainer, WorkerConfig("late", address))
    wait_until(lambda: len({line.split()[0] for line in lines(tmp_path)}) > 2, chief, late)
    kill(early)
    finish(chief, late)
    assert results(study.folder) == undisturbed("random")
    taken_over = [record for record in records(study.folder).values() if record["interruptions"]]
    assert [record["worker"] for record in taken_over] == ["late"]
    state = read_json(study.folder / "oracle.json")
    assert state["losses"] == {taken_over[0]["trial"]: 1}


def test_two_workers_that_start_at_once_do_the_trials_of_one(
    undisturbed: Undisturbed, processes: Company, address: str, tmp_path: Path
) -> None:
    study, trainer = make_study(tmp_path / "study", max_trials=6), Rehearsal(tmp_path, 3, 0.2)
    workers = [processes.worker(study, trainer, WorkerConfig(name, address)) for name in ("one", "other")]
    finish(processes.chief(study, trainer, WorkerPool(0, address)), *workers)
    assert results(study.folder) == undisturbed("random")
    assert {record["worker"] for record in records(study.folder).values()} == {"one", "other"}


def test_a_search_in_a_bucket_resumes_where_its_chief_was_killed(
    undisturbed: Undisturbed, processes: Company, address: str, tmp_path: Path
) -> None:
    with emulator() as port, reached_through(port):
        study = make_study(locate(f"gs://{BUCKET}/study"), max_trials=6)
        there = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
        trainer, place = Rehearsal(tmp_path, 3, 0.1), WorkerConfig("worker", address, tmp_path / "work")
        chief = processes.chief(study, trainer, WorkerPool(0, address), **there)
        worker = processes.worker(study, trainer, place, **there)
        wait_until(lambda: "0002 execution-0 epoch 1" in lines(tmp_path), chief, worker)
        kill(chief)
        finish(processes.chief(study, trainer, WorkerPool(0, address), **there), worker)
        assert study.is_done()
        found = {
            trial: read_json(study.folder / "trials" / trial / "trial.json")
            for trial in undisturbed("random")
        }
        assert without_clocks(found) == undisturbed("random")
        assert epochs_trained(tmp_path) == {trial: 3 for trial in found}
