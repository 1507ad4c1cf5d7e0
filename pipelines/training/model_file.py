"""``model.keras``: what predicts, of a run or of a branch of one."""

import os
from pathlib import Path

import keras

from cs_keras.errors import StorageError
from cs_keras.models.spec import stored_bytes
from cs_keras.runs import require_space

MODEL_FILE = "model.keras"


def save_model(model: keras.Model, path: Path) -> None:
    """Write what predicts: without the optimizer, which is twice as large and of which Keras cannot load all.

    Raises
    ------
    StorageError
        When it cannot be written.
    """
    bare = keras.Model(model.input, model.output, name=model.name)
    temporary = path.with_name(f"partial-{path.name}")
    require_space(path.parent, 2 * stored_bytes(bare))  # Keras writes weights apart before it packs them
    try:
        bare.save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error}.") from error
