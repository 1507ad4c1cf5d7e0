"""The Beam pipeline itself: the one module that imports Apache Beam, and only in the process that runs it."""

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
from pipelines.beam.protocols import BeamPart, PartMaker

# How Beam quotes what a worker raised: the class by its full name, the message, and the step it was raised in.
_QUOTED = re.compile(r"cs_keras\.errors\.(\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)


class MakePart(beam.DoFn):  # type: ignore[misc]
    """Makes the parts it is given; what they need is loaded once in each process.

    Parameters
    ----------
    maker
        Goes to the workers pickled.
    """

    def __init__(self, maker: PartMaker[Any]) -> None:
        super().__init__()
        self._maker, self._shared = maker, Shared()

    def setup(self) -> None:
        """Load what making needs; threads of one process share it."""
        self._make = self._shared.acquire(self._maker.open)

    def process(self, element: Any) -> None:
        """Make one part."""
        self._make(element)


def run(parts: Sequence[BeamPart], maker: PartMaker[Any], flags: Sequence[str]) -> CsKerasError | None:
    """Run a pipeline that makes `parts`, and return what stopped it, or None when it is done."""
    try:
        options = _options(flags)
        is_local = options.view_as(StandardOptions).runner == "DirectRunner"
        pipeline = beam.Pipeline(_local_runner(options) if is_local else None, options)
        _ = pipeline | "parts" >> beam.Create(list(parts)) | "make" >> beam.ParDo(MakePart(maker))
        state = pipeline.run().wait_until_finish()
    except CsKerasError as error:
        return type(error)(str(error).partition(" [while running ")[0])
    except Exception as error:  # whatever a runner makes of a worker's failure
        logging.exception("The pipeline failed")
        return _understood(error)
    return None if state == PipelineState.DONE else CsKerasError(f"The Beam pipeline ended as {state}.")


def _options(flags: Sequence[str]) -> PipelineOptions:
    """Return Beam's options.

    Raises
    ------
    ConfigError
        When Beam's parser refuses one, or it is for a runner on this machine, which reads no others, and unknown.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = PipelineOptions(flags)
            known = options.get_all_options()
            unknown = set(options.get_all_options(retain_unknown_options=True)) - set(known)
    except SystemExit:
        reason = (said.getvalue().strip().splitlines() or ["no reason given"])[-1].partition("error: ")[2]
        raise ConfigError(f"Apache Beam refuses its options: {reason}.") from None
    if unknown and known["runner"] == "DirectRunner":
        raise ConfigError(f"Apache Beam has no option --{min(unknown)}.")
    debug = options.view_as(DebugOptions)
    if debug.number_of_worker_harness_threads is None:  # a part at a time in each process bounds its memory
        debug.number_of_worker_harness_threads = 1
    return options


def _local_runner(options: PipelineOptions) -> fn_runner.FnApiRunner:
    """Return the runner on this machine's processes.

    The name ``DirectRunner`` would first download another runner, Prism, which starts no processes of its own.
    """
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))


def _understood(error: Exception) -> CsKerasError:
    """Return the sentence that a worker raised, if the error quotes one, else the error's last line."""
    text = "".join(traceback.format_exception_only(error)).strip()
    quoted = _QUOTED.findall(text)
    if quoted:
        name, sentence = quoted[-1]
        kind = getattr(errors, name, CsKerasError)
        return kind(sentence)
    return CsKerasError(f"The Beam pipeline failed: {text.splitlines()[-1].rstrip('.')}.")
