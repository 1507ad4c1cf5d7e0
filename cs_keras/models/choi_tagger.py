"""The music tagger of Choi et al. 2017 as it was published: audio to probabilities of fifty tags.

Only the second generation of its weights holds the layer that gives the tags; see `choi_weights`.
"""

import dataclasses
from pathlib import Path

import keras

from cs_keras.errors import DataError
from cs_keras.models.choi_features import VARIANTS, build_features
from cs_keras.models.choi_weights import AUDIO, FILTERS, POOL_FRAMES, POOL_MELS, read_tag_layer

# The fifty most frequent tags of the Million Song Dataset's Last.fm subset, in the order of the tagger's outputs.
TAGS = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul"),
    *("indie rock", "mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies"),
    *("blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar", "hip-hop"),
    *("70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal"),
    *("progressive rock", "60s", "rnb", "indie pop", "sad", "house", "happy"),
)


def build_tagger(weights: Path) -> keras.Model:
    """Build the tagger from magnitudes, (batch, 1360, 257), at `choi_weights.AUDIO`, to probabilities, (batch, 50).

    Raises
    ------
    StorageError
        When the weights cannot be read.
    DataError
        When they are not those of the tagger's second generation.
    """
    kernel, bias = read_tag_layer(weights)
    if kernel.shape != (FILTERS, len(TAGS)):
        raise DataError(
            f"{weights} has a layer of shape {kernel.shape}; the tagger's is {(FILTERS, len(TAGS))}."
        )
    baseline = VARIANTS["choi-features"]
    model = dataclasses.replace(baseline.model, weights=str(weights), own_audio=True)
    features = build_features(dataclasses.replace(baseline, model=model), AUDIO)
    maps = features.get_layer(f"elu_{len(POOL_FRAMES)}").output
    x = keras.layers.MaxPooling2D((POOL_FRAMES[-1], POOL_MELS[-1]), name="last_pool")(maps)
    x = keras.layers.Flatten(name="maps")(x)
    layer = keras.layers.Dense(len(TAGS), "sigmoid", name="tags")
    tagger = keras.Model(features.input, layer(x), name="choi_tagger")
    layer.set_weights([kernel, bias])
    return tagger
