"""What becomes of trials that fail, of trainings that are killed, and of workers without a chief."""

import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from keras_tuner.src.protos import get_service, get_service_grpc

from cs_keras.errors import ConfigError, CsKerasError, StorageError
from cs_keras.runs import write_json
from tests.tuning import trainers
from tests.tuning.studies import UPSTREAM, make_study, records
from tests.tuning.trainers import Rehearsal, Troubled, begun, epochs_trained, score_of
from tuning import worker
from tuning.chief import Chief
from tuning.oracles import make_oracle
from tuning.study import DONE, Study, open_study
from tuning.worker import WorkerConfig, work

pytestmark = pytest.mark.filterwarnings(UPSTREAM)


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a worker does to its process, and let trials start without pytest."""
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        monkeypatch.setenv(f"KERASTUNER_{name}", "")
    monkeypatch.setitem(sys.modules, "__main__", trainers)
    monkeypatch.setattr(worker, "PAUSE_S", 0.01)


def search_here(study: Study, trainer: Rehearsal, **place: Any) -> dict[str, dict[str, Any]]:
    """Be chief and worker at once, and return what is on file of each trial."""
    open_study(study)
    chief = Chief(make_oracle(study, trainer.epochs), 60.0)
    address = chief.start("127.0.0.1:0")
    try:
        work(study, trainer, WorkerConfig("here", address, **place))
        assert chief.is_over()
    finally:
        chief.stop()
    assert isinstance(study.folder, Path)
    return records(study.folder)


def test_a_trial_is_the_mean_of_its_executions(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", max_trials=2, executions=3, seed=5)
    for record in search_here(study, Rehearsal(tmp_path)).values():
        scores = [score_of({**record["settings"], "seed": seed}, 2) for seed in (5, 6, 7)]
        assert [e["seed"] for e in record["executions"]] == [5, 6, 7]
        assert [e["metrics"]["val_overlap@10"] for e in record["executions"]] == scores
        assert record["score"] == pytest.approx(scores[1])  # they are 0.001 apart
        assert record["spread"] == pytest.approx(0.001)
    assert len(records(tmp_path / "study")) == 2


FAILURES = {
    "killed": ("crashed", "its process ended 3 times without an error message, exit status -9", 3),
    "raises": ("crashed", "ZeroDivisionError: no such luck", 1),
    "pruned": ("pruned", "it does not learn", 1),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failed_trial_is_reported_and_the_search_continues(how: str, tmp_path: Path) -> None:
    found = search_here(make_study(tmp_path / "study", max_trials=3), Troubled(tmp_path, how=how))
    cause, reason, times = FAILURES[how]
    failed = found.pop("0001")
    assert (failed["status"], failed["cause"], failed["reason"]) == ("failed", cause, reason)
    assert failed["score"] is None and failed["executions"] == []
    assert begun(tmp_path)["0001"] == times
    assert [record["status"] for record in found.values()] == ["completed"] * 2


def test_a_training_that_is_killed_once_is_begun_again(tmp_path: Path) -> None:
    found = search_here(make_study(tmp_path / "study", max_trials=2), Troubled(tmp_path, times=1))
    assert begun(tmp_path) == {"0001": 2}
    assert [record["status"] for record in found.values()] == ["completed"] * 2


def test_what_is_no_fault_of_a_trial_ends_the_worker(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", max_trials=3)
    with pytest.raises(CsKerasError, match=r"^The dataset has changed\.$"):
        search_here(study, Troubled(tmp_path, how="data"))
    assert list(records(tmp_path / "study")) == ["0000"]
    found = search_here(study, Rehearsal(tmp_path))  # the dataset is as it was: the same command goes on
    assert [record["status"] for record in found.values()] == ["completed"] * 3
    assert found["0001"]["interruptions"] == ["the start"]
    assert epochs_trained(tmp_path) == {"0000": 2, "0001": 2, "0002": 2}


def test_a_trial_on_record_is_not_trained_again(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", max_trials=1)
    before = search_here(study, Rehearsal(tmp_path))
    (tmp_path / "study/oracle.json").unlink()  # as if the chief had been killed before the end was reported
    assert search_here(study, Rehearsal(tmp_path)) == before
    assert epochs_trained(tmp_path) == {"0000": 2}


def test_a_chief_that_is_gone_is_reported_in_one_sentence(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ANSWER_S", 0.2)
    study = make_study(tmp_path / "study")
    with pytest.raises(
        StorageError, match=f"^The chief at {address} has not answered for 0 seconds; start this worker"
    ):
        work(study, Rehearsal(tmp_path), WorkerConfig("here", address, patience_s=0.3))
    write_json(study.folder / DONE, {})
    work(study, Rehearsal(tmp_path), WorkerConfig("here", address))  # the search is over: nothing is wrong


def test_a_chief_that_is_lost_in_the_middle_of_a_trial_is_reported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "ANSWER_S", 0.2)
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.1)
    study = make_study(tmp_path / "study")
    open_study(study)
    chief = Chief(make_oracle(study, 2), 60.0)
    monkeypatch.setattr(chief.oracle, "get_trial", lambda trial: chief.stop())
    with pytest.raises(StorageError, match="has not answered for 0 seconds"):
        work(
            study,
            Rehearsal(tmp_path, epoch_s=30.0),
            WorkerConfig("here", chief.start("127.0.0.1:0"), None, 0.3),
        )
    assert "Traceback" not in capfd.readouterr().err
    assert epochs_trained(tmp_path) == {}


def test_wrong_requests_are_answered_and_the_search_goes_on(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", max_trials=1)
    open_study(study)
    chief, messages = Chief(make_oracle(study, 2), 60.0), get_service()
    address = chief.start("127.0.0.1:0")
    with grpc.insecure_channel(address) as channel:
        stub = get_service_grpc().OracleStub(channel)
        wrong = [
            (stub.GetTrial, messages.GetTrialRequest(trial_id="none"), "NOT_FOUND"),
            (stub.UpdateTrial, messages.UpdateTrialRequest(trial_id=""), "NOT_FOUND"),
            (stub.EndTrial, messages.EndTrialRequest(trial={"trial_id": "../../0000"}), "NOT_FOUND"),
            (stub.CreateTrial, messages.CreateTrialRequest(tuner_id=""), "INVALID_ARGUMENT"),
            (stub.UpdateSpace, messages.UpdateSpaceRequest(), "UNIMPLEMENTED"),
            (stub.GetBestTrials, messages.GetBestTrialsRequest(num_trials=-1), "UNIMPLEMENTED"),
        ]
        for call, request, code in wrong:
            with pytest.raises(grpc.RpcError) as error:
                call(request, timeout=10)
            assert error.value.code().name == code
        assert not chief.is_over()
    try:
        work(study, Rehearsal(tmp_path), WorkerConfig("here", address))
        assert chief.is_over()
    finally:
        chief.stop()


def test_other_machines_need_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "study", max_trials=1)
    open_study(study)
    chief = Chief(make_oracle(study, 2), 60.0)
    with pytest.raises(ConfigError, match="CS_KERAS_SECRET"):
        chief.start("0.0.0.0:0")
    monkeypatch.setenv("CS_KERAS_SECRET", "short")
    with pytest.raises(ConfigError, match="at least 16 characters"):
        chief.start("0.0.0.0:0")
    monkeypatch.setenv("CS_KERAS_SECRET", "0123456789abcdef")
    address = chief.start("0.0.0.0:0").replace("0.0.0.0", "127.0.0.1")
    try:
        monkeypatch.setenv("CS_KERAS_SECRET", "fedcba9876543210")
        with pytest.raises(CsKerasError, match="different secrets"):
            work(study, Rehearsal(tmp_path), WorkerConfig("stranger", address))
        monkeypatch.setenv("CS_KERAS_SECRET", "0123456789abcdef")
        work(study, Rehearsal(tmp_path), WorkerConfig("here", address))
        assert chief.is_over()
    finally:
        chief.stop()
