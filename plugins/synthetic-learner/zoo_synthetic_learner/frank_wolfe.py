"""Sparse weights by stopping a Frank-Wolfe search early, as the package `synthdid` for R does.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), and what its authors' package adds: a short
search, small weights set to 0, and a long search from there.
"""

from __future__ import annotations

import numpy as np

from zoo_synthetic_learner.panel import Floats

FIRST, SECOND = 100, 10_000
"""The most steps of the short and of the long search."""

SHARE = 1e-5
"""A step whose gain in root mean square is less than this share of the noise level is the last."""


def sparse_simplex_weights(
    gram: Floats, cross: Floats, level: Floats, ridge: float, noise: float
) -> Floats:
    """Returns sparse weights that nearly minimise w'G w - 2 c'w + level + ridge |w|^2.

    Args:
        gram: [p, p] float64, G.
        cross: [p, q] float64; a column c for each target.
        level: [q] float64, the mean squares of the targets.
        ridge: zeta squared.
        noise: the noise level sigma.

    Returns:
        [p, q] float64, on the simplex.
    """
    weights = np.full(cross.shape, 1 / len(gram))
    least = (SHARE * noise) ** 2
    weights = _searched(gram, cross, level, ridge, weights, least, FIRST)
    weights[weights <= weights.max(axis=0) / 4] = 0
    weights /= weights.sum(axis=0)
    return _searched(gram, cross, level, ridge, weights, least, SECOND)


def _searched(
    gram: Floats,
    cross: Floats,
    level: Floats,
    ridge: float,
    weights: Floats,
    least: float,
    steps: int,
) -> Floats:
    """Goes to the best vertex by exact line search, each target until it gains little."""
    weights = weights.copy()
    diagonal = gram.diagonal()
    before = np.full(cross.shape[1], np.inf)
    going = np.arange(cross.shape[1])
    product = gram @ weights
    for step in range(steps):
        if not going.size:
            break
        part, image, aim = weights[:, going], product[:, going], cross[:, going]
        gradient = image - aim + ridge * part
        vertex = gradient.argmin(axis=0)
        place = (vertex, np.arange(going.size))
        slope = np.einsum("pq,pq->q", part, gradient) - gradient[place]
        square = np.einsum("pq,pq->q", part, part)
        # |A(e - w)|^2 + ridge |e - w|^2, the curvature along the way to the vertex e.
        curvature = diagonal[vertex] - 2 * image[place] + np.einsum("pq,pq->q", part, image)
        curvature += ridge * (1 - 2 * part[place] + square)
        length = np.where(curvature > 0, slope / np.where(curvature > 0, curvature, 1), 0)
        length = np.clip(length, 0, 1)
        part = part * (1 - length)
        part[place] += length
        image = image * (1 - length) + length * gram[:, vertex]
        weights[:, going], product[:, going] = part, image
        after = np.einsum("pq,pq->q", part, image) - 2 * np.einsum("pq,pq->q", part, aim)
        after += level[going] + ridge * np.einsum("pq,pq->q", part, part)
        gain = before[going] - after
        before[going] = after
        going = going[(gain > least) | (step < 1)]
    return weights
