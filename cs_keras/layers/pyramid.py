"""Gaussian and Laplacian pyramids of a spectrogram along time (Burt & Adelson 1983), in Keras's own operations."""

from typing import Any

from keras import ops

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # their generating kernel with a = 3/8


def gaussian_pyramid(x: Any, n_levels: int) -> list[Any]:
    """Return `x` and smoothed and halved versions of it: `n_levels` tensors, (batch, ceil(frames / 2**level), n).

    `x` has shape (batch, frames, n), with at least 3 frames at each level but the last.
    """
    levels = [x]
    for _ in range(n_levels - 1):
        levels.append(_reduce(levels[-1]))
    return levels


def laplacian_pyramid(x: Any, n_levels: int) -> list[Any]:
    """Return the differences of neighbouring levels of the Gaussian pyramid, and its last level.

    See `gaussian_pyramid` for parameters and result. Expanded and added up level by level, they give `x`.
    """
    levels = gaussian_pyramid(x, n_levels)
    differences = [
        fine - _expand(coarse, fine.shape[1]) for fine, coarse in zip(levels, levels[1:], strict=False)
    ]
    return [*differences, levels[-1]]


def _reduce(x: Any) -> Any:
    """Smooth, mirrored at the ends, and keep frames 0, 2, 4 ..."""
    n_frames = x.shape[1]
    mirrored = ops.pad(x, ((0, 0), (2, 2), (0, 0)), mode="reflect")
    return sum(weight * mirrored[:, tap : tap + n_frames : 2] for tap, weight in enumerate(BINOMIAL))


def _expand(x: Any, n_frames: int) -> Any:
    """Interpolate to `n_frames`: zeros between the frames, mirrored at the ends, smoothed by twice the kernel."""
    mirrored = ops.pad(x, ((0, 0), (1, 1), (0, 0)), mode="symmetric")
    before, here, after = mirrored[:, :-2], mirrored[:, 1:-1], mirrored[:, 2:]
    even = 2 * (BINOMIAL[0] * before + BINOMIAL[2] * here + BINOMIAL[4] * after)
    odd = 2 * (BINOMIAL[1] * here + BINOMIAL[3] * after)
    between = ops.reshape(ops.stack([even, odd], axis=2), (-1, 2 * x.shape[1], x.shape[2]))
    return between[:, :n_frames]
