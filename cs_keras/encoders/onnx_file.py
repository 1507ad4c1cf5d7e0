"""Encoders in ONNX files, run by onnxruntime on the CPU or a GPU that it knows.

A file ``NAME.toml`` beside ``NAME.onnx`` says what the network takes:

- ``sample_rate`` in Hz;
- ``window_s``, seconds of a window; left out where the network takes any length, and gets whole recordings;
- ``hop_s``, seconds from one window to the next; by default ``window_s``;
- ``layout`` of the input: ``batch samples`` (the default), ``batch channel samples`` or ``batch samples channel``;
- ``input`` and ``output``, names of tensors; by default the first ones.

The output has shape (batch, n_features), or (batch, n_frames, n_features), whose frames are then vectors of their
own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cs_keras import config
from cs_keras.config import check_choice, check_range
from cs_keras.encoders import Vectors, sha256
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.parsing import parse_toml
from cs_keras.runs import digest

AXES = {
    "batch samples": (),
    "batch channel samples": (1,),
    "batch samples channel": (2,),
}  # to insert, of size 1


@dataclass(frozen=True)
class OnnxConfig:
    """What the network of an ONNX file takes; see this module."""

    sample_rate: int = 16_000
    window_s: float | None = None
    hop_s: float | None = None
    layout: str = "batch samples"
    input: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        check_range("sample_rate", self.sample_rate, 1000)
        check_choice("layout", self.layout, AXES)
        for name in ("window_s", "hop_s"):
            value = getattr(self, name)
            if value is not None and not value * self.sample_rate >= 1:
                raise ConfigError(f"{name} must be at least one sample. Received: {value} s.")


def open_session(path: Path) -> Any:
    """Return an onnxruntime session of a file.

    Raises ConfigError where onnxruntime is not installed, StorageError where there is no file, DataError where it
    is not ONNX.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f'{path} needs onnxruntime: pip install "cs-keras[embed]".') from error
    if not path.is_file():
        raise StorageError(f"There is no file {path}.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # its classes of errors are those of a C++ library
        raise DataError(f"{path} is not an ONNX network that onnxruntime can run.") from error


class OnnxEncoder:
    """A network of the user's; see `cs_keras.encoders.Encoder`. Its `digest` is of the file and the settings."""

    pooling: tuple[str, ...] = ("mean", "std")

    def __init__(self, path: Path) -> None:
        settings = path.with_suffix(".toml")
        if not settings.is_file():
            raise ConfigError(f"{path} needs {settings.name} beside it: expected at least sample_rate = HZ.")
        try:
            given = parse_toml(settings.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{settings} is not TOML: {error}.") from error
        self._config = config.replace(OnnxConfig(), given, f"{settings}: ")
        self._session = open_session(path)
        self._input = _choose(path, self._session.get_inputs(), self._config.input, "input")
        self._output = _choose(path, self._session.get_outputs(), self._config.output, "output")
        self.sample_rate = self._config.sample_rate
        self.digest = digest([sha256(path), sha256(settings)])
        seconds = self._config.window_s or 1.0
        self.n_features = self.encode(np.zeros(round(seconds * self.sample_rate), np.float32)).shape[1]

    def encode(self, waveform: Vectors) -> Vectors:
        """Return features of windows, or of the network's own frames, shape (n_frames, n_features).

        `waveform` has shape (n_samples,); its last window is followed by silence.
        """
        return np.concatenate([self._run(window) for window in self._cut(waveform)])

    def _cut(self, samples: Vectors) -> list[Vectors]:
        if self._config.window_s is None:
            return [samples]
        size = round(self._config.window_s * self.sample_rate)
        hop = round((self._config.hop_s or self._config.window_s) * self.sample_rate)
        n = 1 + max(0, -(-(len(samples) - size) // hop))
        padded = np.pad(samples, (0, max(0, (n - 1) * hop + size - len(samples))))
        return [padded[first : first + size] for first in range(0, n * hop, hop)]

    def _run(self, window: Vectors) -> Vectors:
        batch = np.expand_dims(window[np.newaxis], AXES[self._config.layout])
        (output,) = self._session.run([self._output], {self._input: batch})
        if output.ndim not in (2, 3):
            raise DataError(
                f"The output {self._output} must have shape (batch, n_features) or (batch, n_frames, n_features). "
                f"Received: {output.shape}."
            )
        return np.asarray(output.reshape(-1, output.shape[-1]), np.float32)


def _choose(path: Path, tensors: Any, name: str | None, kind: str) -> str:
    names = [tensor.name for tensor in tensors]
    if name is not None and name not in names:
        raise ConfigError(f"{path} has no {kind} {name!r}: expected one of {', '.join(names)}.")
    return name or str(names[0])
