"""The chief: Keras Tuner's oracle as a gRPC service, which reassigns the trials of lost workers."""

import hmac
import ipaddress
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial
from keras_tuner.src.distribute.oracle_chief import (
    OracleServicer,
)  # not public; the lock file pins the release
from keras_tuner.src.protos import get_service, get_service_grpc

from cs_keras.errors import ConfigError, CsKerasError, StorageError
from tuning.oracles import DurableOracle

SECRET = "CS_KERAS_SECRET"  # environment variable
SECRET_KEY = "cs-keras-secret-bin"  # metadata of a request
SECRET_LENGTH = 16  # characters, at least
CLOSING_S = 2.0  # for which workers on other machines can still learn that the search is over


class Chief:
    """Serves an oracle to workers, and reassigns the trials of workers that send no heartbeat.

    Parameters
    ----------
    oracle
        A new one, or that of an earlier search.
    lease_s
        Seconds without a heartbeat after which a worker counts as lost.
    """

    def __init__(self, oracle: DurableOracle, lease_s: float) -> None:
        self.oracle, self._lease_s = oracle, lease_s
        self._lock = threading.RLock()
        self._heartbeats: dict[str, float] = {}
        self._error: Exception | None = None
        self._server: grpc.Server | None = None

    def start(self, address: str) -> str:
        """Start the service and return its address; port 0 takes a free one.

        Raises
        ------
        ConfigError
            When other machines can reach the address and there is no secret.
        StorageError
            When the address is in use or not of this machine.
        """
        secret = read_secret()
        if not (secret or _is_loopback(address.rpartition(":")[0])):
            raise ConfigError(
                f"Other machines can reach the chief at {address}: expected a secret that chief and workers share, "
                f"by --secret-file or in the environment variable {SECRET}."
            )
        # One thread: Keras Tuner's locks do not survive an exception.
        server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=1),
            interceptors=[_SecretCheck(secret)] if secret else [],
            options=[("grpc.so_reuseport", 0)],
        )
        get_service_grpc().add_OracleServicer_to_server(_Servicer(self), server)
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise StorageError(
                f"The chief cannot listen on {address}; expected a free port of this machine."
            ) from error
        server.start()
        self._server = server
        return f"{address.rpartition(':')[0]}:{port}"

    def is_over(self) -> bool:
        """Return whether the search has ended, after reassigning the trials of lost workers.

        Raises
        ------
        CsKerasError
            When a valid request of a worker has failed, as on a full disk.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            now = time.monotonic()
            for trial in list(self.oracle.ongoing_trials.values()):
                if now - self._heartbeats.setdefault(trial.trial_id, now) > self._lease_s:
                    self.oracle.reassign(trial.trial_id)
                    self._heartbeats.pop(trial.trial_id)
            return self.oracle.is_exhausted and not self.oracle.ongoing_trials

    def stop(self) -> None:
        """Stop the service."""
        if self._server is not None:
            self._server.stop(None).wait()

    def serve(self, call: Callable[[], Trial | None]) -> Any:
        """Answer a request about a trial, which counts as a heartbeat; `is_over` raises errors."""
        with self._lock:
            try:
                trial = call()
            except Exception as error:
                self._error = error if isinstance(error, CsKerasError) else RuntimeError(repr(error))
                raise
            if trial is not None:
                self._heartbeats[trial.trial_id] = time.monotonic()
            return trial


class _Servicer(OracleServicer):  # type: ignore[misc]
    """Keras Tuner's service; each request counts as a heartbeat.

    Messages contain a trial without its parameters, which they would round to seven digits.
    """

    def __init__(self, chief: Chief) -> None:
        super().__init__(chief.oracle)
        self._chief = chief

    def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        if not re.fullmatch(r"[^\x00-\x1f]{1,200}", request.tuner_id):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The name of a worker has 1 to 200 characters.")
        trial = self._chief.serve(lambda: self.oracle.create_trial(request.tuner_id))
        return get_service().CreateTrialResponse(trial=_without_parameters(trial))

    def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        trial = self._serve(request.trial_id, context)
        return get_service().GetTrialResponse(trial=_without_parameters(trial))

    def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        trial = self._serve(request.trial_id, context)
        return get_service().UpdateTrialResponse(trial=_without_parameters(trial))

    def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        self._serve(request.trial.trial_id, context)
        self._chief.serve(lambda: self.oracle.end_by_record(request.trial.trial_id))
        return get_service().EndTrialResponse()

    def UpdateSpace(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "The space of a study does not change.")

    def GetBestTrials(self, request: Any, context: Any) -> Any:  # noqa: N802, D102
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "`cs-keras report` ranks trials.")

    def _serve(self, trial_id: str, context: Any) -> Any:
        """Return a trial; a request about one that does not exist is refused, and the search continues."""
        if trial_id not in self.oracle.trials:
            context.abort(grpc.StatusCode.NOT_FOUND, f"There is no trial {trial_id[:40]!r}.")
        return self._chief.serve(lambda: self.oracle.get_trial(trial_id))


class _SecretCheck(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses requests without the secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Return the handler of a request."""
        given = dict(details.invocation_metadata).get(SECRET_KEY, b"")
        if hmac.compare_digest(given, self._secret):
            return continuation(details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


def _refuse(request: Any, context: Any) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "The worker and the chief have different secrets.")


def read_secret() -> bytes:
    """Return the secret of the environment, empty if there is none; ConfigError if it is short."""
    secret = os.environ.get(SECRET, "")
    if secret and len(secret) < SECRET_LENGTH:
        raise ConfigError(f"A secret has at least {SECRET_LENGTH} characters. Received: {len(secret)}.")
    return secret.encode("utf-8", "surrogateescape")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _without_parameters(trial: Trial) -> Any:
    return Trial(HyperParameters(), trial.trial_id, trial.status).to_proto()
