"""Overlap of lists of new and known tracks, separately for each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.evaluation.search.intersection import count_shared
from cs_keras.evaluation.search.topk import TopK
from cs_keras.evaluation.statistics.permutation_test import check_comparable


@dataclass(frozen=True)
class PartOverlap:
    """Overlap of the entries of one part of the items, over all queries; shares from 0 to 1.

    Attributes
    ----------
    in_reference, in_predicted : float
        Share of the entries of the lists that are in the part.
    overlap : float or None
        Share of the reference lists' entries in the part that are in the predicted lists as well; None if there are
        none.
    """

    in_reference: float
    in_predicted: float
    overlap: float | None


def measure_part(reference: TopK, predicted: TopK, is_part: npt.ArrayLike) -> PartOverlap:
    """Measure the overlap of the entries of a part of the items.

    Parameters
    ----------
    reference, predicted : TopK
        Of the same queries and items, and of one length.
    is_part : array_like, shape (n_items,), bool

    Returns
    -------
    PartOverlap

    Raises
    ------
    DataError
        Lists cannot be compared, or are of different lengths.
    """
    check_comparable(reference, predicted)
    if reference.k != predicted.k:
        raise DataError(
            f"the lists differ in length: expected {reference.k} entries. Received: {predicted.k}."
        )
    part, k, n_items = np.asarray(is_part, dtype=bool), reference.k, reference.n_items
    own, other = part[reference.indices], part[predicted.indices]
    # Entries of the rest become numbers that no other list has, so that they are never shared.
    outside = n_items + np.arange(2 * k)
    lists = np.where(own, reference.indices, outside[:k])
    others = np.where(other, predicted.indices, outside[k:])
    n_shared = int(count_shared(lists, others, (k,), n_items + 2 * k).sum())
    n_own = int(np.count_nonzero(own))
    return PartOverlap(float(own.mean()), float(other.mean()), n_shared / n_own if n_own else None)
