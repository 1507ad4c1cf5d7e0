from dataclasses import replace

import numpy as np
import pytest

from cs_keras.data.demo.style import GENRES, Style
from cs_keras.errors import ConfigError


@pytest.mark.parametrize("genre", GENRES)
def test_vector_round_trip(genre: str) -> None:
    vector = GENRES[genre].to_vector()
    np.testing.assert_allclose(Style.from_vector(vector).to_vector(), vector, atol=1e-12)


@pytest.mark.parametrize("end", [-2.0, 2.0, -9.0, 9.0])
def test_ends_and_beyond_are_clipped_to_the_range(end: float) -> None:
    vector = Style.from_vector(np.full(len(Style.names()), end)).to_vector()
    np.testing.assert_allclose(vector, np.clip(end, -2, 2), atol=1e-12)


def test_values_outside_their_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="tempo_bpm must be 60 to 180. Received: 300"):
        replace(GENRES["techno"], tempo_bpm=300)
    with pytest.raises(ConfigError, match="decay_s"):
        replace(GENRES["techno"], decay_s=float("nan"))
    with pytest.raises(ConfigError, match="12 finite numbers"):
        Style.from_vector(np.zeros(3))
