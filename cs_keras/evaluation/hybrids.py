"""What sound and a little listening are worth alone and together, as `pipelines.evaluation.hybrid` measures it."""

from collections.abc import Mapping
from dataclasses import dataclass

from cs_keras.evaluation.overlap import OverlapAtK

SOUND, LISTENING, SWITCHING, WEIGHTING = PREDICTORS = ("sound", "listening", "switching", "weighting")
SIMILARITY, DOT = KINDS = ("similarity", "dot")


@dataclass(frozen=True)
class Hybrids:
    """Overlap of lists with those of the listening that was held back.

    Attributes
    ----------
    k : int
        List length.
    overlap : mapping
        By kind of list, predictor and number of listens that each track is given; ``listening`` has none for 0.
    half_trust : float
        Of ``weighting``, chosen on validation tracks: the listens at which both count alike.
    threshold : int or None
        Of ``switching``, likewise: from how many listens on listening takes the place of sound; None for never.
    n_validation, n_test : int
        Tracks with enough listening to give some and be judged by the rest.
    n_test_in_all : int
        Test tracks with any.
    """

    k: int
    overlap: Mapping[str, Mapping[str, Mapping[int, OverlapAtK]]]
    half_trust: float
    threshold: int | None
    n_validation: int
    n_test: int
    n_test_in_all: int
