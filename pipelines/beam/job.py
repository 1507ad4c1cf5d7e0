"""The Beam pipeline: the only module that imports Apache Beam, in the process that runs it."""

import contextlib
import io
import logging
import re
import traceback
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineState
from apache_beam.utils.shared import Shared

from cs_keras import errors
from cs_keras.errors import ConfigError, CsKerasError
from pipelines.beam.parts import DASK_RUNNER
from pipelines.beam.protocols import BeamPart, PartMaker

# Beam's text of a worker's error: its class by full name, the message, and the step that raised it.
_WORKER_ERROR = re.compile(r"cs_keras\.errors\.(\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)


class MakePart(beam.DoFn):  # type: ignore[misc]
    """Makes parts with a pickled maker, whose resources are loaded once in each process."""

    def __init__(self, maker: PartMaker[Any]) -> None:
        super().__init__()
        self._maker, self._shared = maker, Shared()

    def setup(self) -> None:
        """Load the maker's resources, which threads of one process share."""
        self._make = self._shared.acquire(self._maker.open)

    def process(self, element: Any) -> None:
        """Make one part."""
        self._make(element)


def run(parts: Sequence[BeamPart], maker: PartMaker[Any], flags: Sequence[str]) -> CsKerasError | None:
    """Run a pipeline that makes `parts`; return the error that stopped it, None on success."""
    try:
        options = _options(flags)
        make_runner = _RUNNERS.get(options.view_as(StandardOptions).runner)
        pipeline = beam.Pipeline(make_runner(options) if make_runner else None, options)
        _ = pipeline | "parts" >> beam.Create(list(parts)) | "make" >> beam.ParDo(MakePart(maker))
        state = pipeline.run().wait_until_finish()
    except CsKerasError as error:
        return type(error)(str(error).partition(" [while running ")[0])
    except Exception as error:  # runners wrap a worker's error in their own
        logging.exception("The pipeline failed")
        return _translate(error)
    return None if state == PipelineState.DONE else CsKerasError(f"The Beam pipeline ended as {state}.")


def _options(flags: Sequence[str]) -> PipelineOptions:
    """Return Beam's options.

    Raises ConfigError when Beam's parser rejects one, or an option is unknown to the local runner.
    """
    if flags[0] == DASK_RUNNER:
        from apache_beam.runners.dask import dask_runner  # defines its options

    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            options = PipelineOptions(flags)
            known = options.get_all_options()
            unknown = set(options.get_all_options(retain_unknown_options=True)) - set(known)
    except SystemExit:
        reason = (stderr.getvalue().strip().splitlines() or ["no reason given"])[-1].partition("error: ")[2]
        raise ConfigError(f"Apache Beam rejects its options: {reason}.") from None
    if unknown and known["runner"] in _RUNNERS:
        raise ConfigError(f"Apache Beam has no option --{min(unknown)}.")
    debug = options.view_as(DebugOptions)
    if debug.number_of_worker_harness_threads is None:  # one part at a time in each process bounds memory
        debug.number_of_worker_harness_threads = 1
    if flags[0] == DASK_RUNNER:
        dask = options.view_as(dask_runner.DaskOptions)
        if not (
            dask.npartitions or dask.partition_size
        ):  # a lost worker costs one part, not Beam's default of 128
            dask.partition_size = 1
    return options


def _local_runner(options: PipelineOptions) -> fn_runner.FnApiRunner:
    """Return the runner on local processes.

    The name ``DirectRunner`` would first download another runner, Prism, which starts no processes of its own.
    """
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))


def _dask_runner(options: PipelineOptions) -> Any:
    """Return the runner on a Dask cluster, which Beam does not know by its name."""
    from apache_beam.runners.dask.dask_runner import DaskRunner

    return DaskRunner()


_RUNNERS = {"DirectRunner": _local_runner, "DaskRunner": _dask_runner}


def _translate(error: Exception) -> CsKerasError:
    """Return the error of a worker, if the text of `error` has one, else its last line."""
    text = "".join(traceback.format_exception_only(error)).strip()
    found = _WORKER_ERROR.findall(text)
    if found:
        name, message = found[-1]
        return getattr(errors, name, CsKerasError)(message)
    return CsKerasError(f"The Beam pipeline failed: {text.splitlines()[-1].rstrip('.')}.")
