"""Our layers and Kapre's in Keras's registry of serializable classes, each imported when a saved model has it.

After ``import cs_keras``, which imports neither, ``keras.models.load_model`` opens the model of a run.
"""

import functools
import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, SimpleNamespace
from typing import Any

CLASSES = {  # by module; all that a model of this or an earlier release can have
    "cs_keras.layers.artists": ("ArtistAttention", "ContentAndArtist", "Fallback", "ShrunkMean"),
    "cs_keras.layers.attention_pooling": ("AttentionPooling",),
    "cs_keras.layers.augmentation": ("RandomGain", "SpectrogramMasks", "TimeStretch"),
    "cs_keras.layers.bag_of_tones": ("BagOfTones", "InverseDocumentFrequency", "SoftBagOfTones"),
    "cs_keras.layers.batch_norm": ("FixedStatisticsNormalization", "FusedBatchNormalization"),
    "cs_keras.layers.branches": ("JoinedBranches",),
    "cs_keras.layers.front_end": ("Decibel",),
    "cs_keras.layers.kernel_regression": ("KernelRegression",),
    "cs_keras.layers.stochastic_pooling": ("StochasticPooling1D",),
    "cs_keras.layers.tree_ensemble": ("TreeEnsemble",),
    "kapre": ("ApplyFilterbank", "Delta", "LogmelToMFCC", "Magnitude", "MagnitudeToDecibel", "STFT"),
}


def register_with_keras() -> None:
    """Register `CLASSES` now, or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _KerasFinder())


class _KerasFinder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "keras" else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _KerasLoader(name, spec.loader.path)
        return spec


class _KerasLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _register(module)


def _register(keras: Any) -> None:
    """Register an object for each class that is not imported yet; importing it replaces the object by the class."""
    registered = keras.saving.get_custom_objects()
    for module, names in CLASSES.items():
        package = "Kapre" if module == "kapre" else "cs_keras"
        for name in names:
            from_config = functools.partial(_from_config, module, name)
            registered.setdefault(f"{package}>{name}", SimpleNamespace(from_config=from_config))


def _from_config(module: str, name: str, config: dict[str, Any]) -> Any:
    return getattr(importlib.import_module(module), name).from_config(config)
