"""Quadratic programs with weights of at least 0, for many targets in step: a primal active set.

After Lawson and Hanson (1974, chapter 23): a target holds a support, whose weights minimise its
objective, and lets in what would make that smaller. The gradients of all targets are one matrix
product; a target's own work is a Cholesky factor of its support, which is small.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_array

from zoo_synthetic_learner.panel import Floats, Ints

FLOOR = 1e-11
"""The least ridge, relative to the Gram matrix's largest diagonal entry.

It lets equal donors be factored, and moves the objective by less than this share of that entry.
"""

SPARSE = 1 / 8
"""Weights with a smaller share of non-zeros are multiplied as a sparse matrix."""


def products(faces: Sequence[Face], hessian: Floats) -> tuple[Floats, Ints, Ints]:
    """Returns H w of each face as rows [u, p], and the rows and columns of all supports."""
    sizes = np.array([face.support.size for face in faces])
    columns = np.concatenate([face.support for face in faces])
    rows = np.repeat(np.arange(len(faces)), sizes)
    values = np.concatenate([face.signed() for face in faces])
    shape = (len(faces), len(hessian))
    if columns.size < SPARSE * shape[0] * shape[1]:
        starts = np.concatenate(([0], np.cumsum(sizes)))
        return csr_array((values, columns, starts), shape=shape) @ hessian, rows, columns
    dense = np.zeros(shape)
    dense[rows, columns] = values
    return dense @ hessian, rows, columns


class Face(ABC):
    """A target's support and weights, which are the best that this support can have.

    Attributes:
        hessian: [p, p] float64, with the floor on its diagonal; its largest entry is about 1.
        cross: [p] float64.
        support: [s] int64, ascending.
        weights: [s] float64, above 0.
        objective: of the weights.
    """

    hessian: Floats
    cross: Floats
    support: Ints
    weights: Floats
    objective: float

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forgets how far this target has gone, for a new objective."""
        self._bold = True
        self._left = 10 * len(self.cross) + 100

    @abstractmethod
    def minimum(self, support: Ints) -> tuple[Floats, float]:
        """Returns the best weights of this support, of any sign, and their objective."""

    def signed(self) -> Floats:
        """Returns the weights as they multiply donors."""
        return self.weights

    def improve(self, gain: Floats, best: int, tolerance: float) -> bool:
        """Moves to a better face; False where there is none.

        Args:
            gain: [p] how fast the objective falls with a weight; at most 0 on the support.
            best: where it is largest.
            tolerance: a gain up to this is none.
        """
        if gain[best] <= tolerance or not self._left:
            return False
        self._left -= 1
        if self._bold and self._leap(gain, max(tolerance, 0.02 * gain[best])):
            return True
        return self._walk(best)

    def _leap(self, gain: Floats, least: float) -> bool:
        """Lets several donors in and all negative ones out; False if that is not better."""
        entering = np.flatnonzero(gain > least)
        count = max(8, self.support.size)
        if entering.size > count:
            entering = entering[np.argpartition(gain[entering], -count)[-count:]]
        support = np.concatenate((self.support, entering))
        support.sort()
        while True:
            weights, objective = self.minimum(support)
            positive = weights > 0
            if positive.all():
                break
            support = support[positive]
        if objective >= self.objective:
            # From here on one at a time, which ends: no support can come twice.
            self._bold = False
            return False
        self.support, self.weights, self.objective = support, weights, objective
        return True

    def _walk(self, entering: int) -> bool:
        """Lets one donor in; False if rounding alone made it look better."""
        at = int(np.searchsorted(self.support, entering))
        support = np.insert(self.support, at, entering)
        weights, objective = self.minimum(support)
        if weights[at] <= 0:
            return False
        self._settle(support, np.insert(self.weights, at, 0.0), weights, objective)
        return True

    def _settle(self, support: Ints, current: Floats, weights: Floats, objective: float) -> None:
        """Goes from the current weights straight to the best, leaving out what becomes 0 first."""
        while True:
            falling = np.flatnonzero(weights <= 0)
            if not falling.size:
                break
            way = current[falling] / (current[falling] - weights[falling])
            current = current + way.min() * (weights - current)
            staying = np.ones(support.size, dtype=bool)
            staying[falling[way <= way.min()]] = False
            support, current = support[staying], current[staying]
            weights, objective = self.minimum(support)
        self.support, self.weights, self.objective = support, weights, objective

    def factored(self, support: Ints, right: Floats, ridge: float = 0.0) -> Floats:
        """Returns the solution of the support's equations for right sides [s, k] (F order)."""
        shift = 1e3 * FLOOR
        while True:
            # Symmetric, so the transpose is the same, in the order that LAPACK takes uncopied.
            block = self.hessian[support[:, None], support].T
            if ridge:
                block.T.flat[:: support.size + 1] += ridge
            _, found, info = lapack.dposv(block, right, overwrite_a=True)
            if not info:
                return found
            ridge, shift = ridge + shift, 10 * shift
