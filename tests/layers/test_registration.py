"""Keras knows every class that a saved model can have, before it is imported."""

import importlib
import pkgutil

import kapre
import keras
import pytest

import cs_keras.layers
from cs_keras.layers import registration


def test_every_layer_of_the_package_is_listed() -> None:
    for module in pkgutil.iter_modules(cs_keras.layers.__path__, "cs_keras.layers."):
        importlib.import_module(module.name)
    registered = {
        name.removeprefix("cs_keras>"): kind.__module__
        for name, kind in keras.saving.get_custom_objects().items()
        if name.startswith("cs_keras>") and kind.__module__.startswith("cs_keras.layers.")
    }
    listed = {name: module for module, names in registration.CLASSES.items() for name in names}
    assert listed == registered | {name: "kapre" for name in registration.CLASSES["kapre"]}


def test_a_class_is_imported_when_a_config_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = kapre.Magnitude(name="one")
    saved = keras.saving.serialize_keras_object(layer)
    monkeypatch.delitem(keras.saving.get_custom_objects(), "Kapre>Magnitude")
    with pytest.raises(TypeError, match="Could not locate class"):
        keras.saving.deserialize_keras_object(saved)
    registration.register_with_keras()
    loaded = keras.saving.deserialize_keras_object(saved)
    assert isinstance(loaded, kapre.Magnitude) and loaded.name == "one"
