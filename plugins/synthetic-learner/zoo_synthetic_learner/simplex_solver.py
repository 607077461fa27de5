"""Least squares on the simplex from a Gram matrix, exactly and for many targets at once.

A primal active set method after Lawson and Hanson (1974, chapter 23), with the sum of weights held
at one. All targets go in step, so that the gradients of all of them are one matrix product;
a target's own work is a Cholesky factor of its support, which is small.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from scipy.linalg import lapack

from zoo_core.errors import InputError
from zoo_synthetic_learner.blas_threads import one_blas_thread
from zoo_synthetic_learner.panel import Floats, Ints

FLOOR = 1e-11
"""The least ridge, relative to the Gram matrix's largest diagonal entry.

It lets equal donors be factored, and moves the objective by less than this share of it.
"""

FEW = 4
"""Up to so many targets are not worth a change of the number of threads."""

_TOLERANCE = 1e-12


def simplex_weights(gram: Floats, cross: Floats, ridge: float = 0.0) -> Floats:
    """Returns for each target the minimiser of w'(G + ridge I)w - 2 c'w, w >= 0, sum of w 1.

    The conditions of optimality hold to about 1e-11 of the largest entry of G or c. Where the
    minimiser is not unique, as with equal donors and no ridge, the result is one of them, the same
    each time. Errors of rounding grow with the level of the outcomes: subtract the donors' mean of
    a row from donors and targets first, which changes no minimiser.

    Args:
        gram: [p, p] float64, G, symmetric and positive semidefinite: P'P of donors P.
        cross: [p, q] float64, P'Q; a column c for each target.
        ridge: zeta squared, at least 0, in units of G.

    Returns:
        [p, q] float64.

    Raises:
        InputError: shapes do not fit, there is no donor, or a value is not finite.
    """
    gram, cross = _checked(gram, cross, ridge)
    p, q = cross.shape
    if p == 1 or q == 0:
        return np.ones((p, q))
    size = gram.diagonal().max() + ridge
    size = size if size > 0 else max(np.abs(cross).max(), np.finfo(float).tiny)
    hessian = np.divide(gram, size, order="F")
    hessian.flat[:: p + 1] += ridge / size + FLOOR
    return _solve(hessian, np.divide(cross, size, order="F"))


def _checked(gram: Floats, cross: Floats, ridge: float) -> tuple[Floats, Floats]:
    gram = np.asarray(gram, dtype=np.float64)
    cross = np.asarray(cross, dtype=np.float64)
    if gram.ndim != 2 or cross.ndim != 2 or gram.shape != (len(cross), len(cross)):
        raise InputError(
            f"gram has the shape {list(gram.shape)} and cross {list(cross.shape)}; expected "
            "[p, p] and [p, q]."
        )
    if not len(gram):
        raise InputError("gram has no rows; expected at least one donor.")
    for name, value in (("gram", gram), ("cross", cross), ("ridge", np.asarray(ridge))):
        if not np.isfinite(value).all():
            raise InputError(f"{name} has values that are not finite; expected finite numbers.")
    if ridge < 0:
        raise InputError(f"ridge is {ridge!r}; expected a number of at least 0.")
    if gram.diagonal().min() < 0:
        raise InputError("gram has a negative entry on its diagonal; expected P'P of donors P.")
    return gram, cross


def _solve(hessian: Floats, cross: Floats) -> Floats:
    p, q = cross.shape
    weights = np.zeros((p, q), order="F")
    vertex = np.argmin(hessian.diagonal()[:, None] - 2 * cross, axis=0)
    weights[vertex, np.arange(q)] = 1
    faces = [_Face(hessian, cross[:, each], np.array([vertex[each]])) for each in range(q)]
    tolerance = _TOLERANCE * (1 + np.abs(cross).max(axis=0))
    unfinished = np.arange(q)
    while unfinished.size:
        part = weights if unfinished.size == q else weights[:, unfinished]
        gradient = hessian @ part
        gradient -= cross if unfinished.size == q else cross[:, unfinished]
        level = np.einsum("ij,ij->j", part, gradient)
        gain = level - gradient
        going = []
        with one_blas_thread() if unfinished.size > FEW else nullcontext():
            for column, each in enumerate(unfinished):
                face = faces[each]
                if face.improve(gain[:, column], tolerance[each]):
                    weights[:, each] = 0
                    weights[face.support, each] = face.weights
                    going.append(each)
        unfinished = np.array(going, dtype=np.int64)
    return weights


class _Face:
    """A target's way over the faces of the simplex."""

    def __init__(self, hessian: Floats, cross: Floats, support: Ints) -> None:
        self.hessian = hessian
        self.cross = cross
        self.support = support
        self.weights = np.ones(1)
        self.objective = hessian[support[0], support[0]] - 2 * cross[support[0]]
        self.step = 8
        self.left = 10 * len(cross) + 100

    def improve(self, gain: Floats, tolerance: float) -> bool:
        """Moves to a better face; False where there is none."""
        gain[self.support] = 0
        best = int(gain.argmax())
        if gain[best] <= tolerance or not self.left:
            return False
        self.left -= 1
        if self.step > 1 and self._leap(gain, max(tolerance, 0.02 * gain[best])):
            return True
        return self._walk(best)

    def _leap(self, gain: Floats, least: float) -> bool:
        """Lets several donors in and all negative ones out; False if that is not better."""
        entering = np.flatnonzero(gain > least)
        count = max(self.step, self.support.size)
        if entering.size > count:
            entering = entering[np.argpartition(gain[entering], -count)[-count:]]
        support = np.concatenate((self.support, entering))
        support.sort()
        while True:
            weights, objective = self._minimum(support)
            positive = weights > 0
            if positive.all():
                break
            support = support[positive]
        if objective >= self.objective:
            self.step = 1
            return False
        self.support, self.weights, self.objective = support, weights, objective
        return True

    def _walk(self, entering: int) -> bool:
        """Lets one donor in and goes straight on to where a weight becomes zero, until none does."""
        at = int(np.searchsorted(self.support, entering))
        support = np.insert(self.support, at, entering)
        current = np.insert(self.weights, at, 0.0)
        weights, objective = self._minimum(support)
        if weights[at] <= 0:
            return False
        while True:
            falling = weights <= 0
            if not falling.any():
                break
            way = current[falling] / (current[falling] - weights[falling])
            current += way.min() * (weights - current)
            out = falling & (current <= 1e-15)
            out[np.flatnonzero(falling)[way.argmin()]] = True
            support, current = support[~out], current[~out]
            weights, objective = self._minimum(support)
        self.support, self.weights, self.objective = support, weights, objective
        return True

    def _minimum(self, support: Ints) -> tuple[Floats, float]:
        """Returns the minimiser with this support and sum 1, of any sign, and its objective."""
        cross = self.cross[support]
        right = np.empty((support.size, 2), order="F")
        right[:, 0] = cross
        right[:, 1] = 1
        # Symmetric, so the transpose is the same and in the order that LAPACK takes uncopied.
        block = self.hessian[support[:, None], support].T
        _, found, info = lapack.dposv(block, right, overwrite_a=True)
        shift = 1e3 * FLOOR
        while info:
            block = self.hessian[support[:, None], support].T
            block.flat[:: support.size + 1] += shift
            _, found, info = lapack.dposv(block, right)
            shift *= 10
        level = (1 - found[:, 0].sum()) / found[:, 1].sum()
        weights = found[:, 0] + level * found[:, 1]
        return weights, level - cross @ weights
