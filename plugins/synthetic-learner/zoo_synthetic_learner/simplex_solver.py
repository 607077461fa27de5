"""Least squares on the simplex from a Gram matrix, exactly and for many targets at once."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from zoo_core.errors import InputError
from zoo_synthetic_learner.active_set import FLOOR, Face, products
from zoo_synthetic_learner.blas_threads import FEW, one_blas_thread
from zoo_synthetic_learner.panel import Floats, Ints

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
    hessian = np.divide(gram, size, order="C")
    hessian.flat[:: p + 1] += ridge / size + FLOOR
    rows = np.divide(cross.T, size, order="C")
    weights = np.zeros((p, q))
    for target, face in enumerate(_solved(hessian, rows)):
        weights[face.support, target] = face.weights
    return weights


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


class _SimplexFace(Face):
    """A face of the simplex: the weights of the support sum to 1.

    `level` is the derivative that all weights of the support share.
    """

    def __init__(self, hessian: Floats, cross: Floats, vertex: int) -> None:
        self.hessian = hessian
        self.cross = cross
        self.support = np.array([vertex])
        self.weights = np.ones(1)
        self.objective = hessian[vertex, vertex] - 2 * cross[vertex]
        super().__init__()

    @property
    def level(self) -> float:
        return self.objective + float(self.cross[self.support] @ self.weights)

    def minimum(self, support: Ints) -> tuple[Floats, float]:
        cross = self.cross[support]
        right = np.empty((support.size, 2), order="F")
        right[:, 0] = cross
        right[:, 1] = 1
        found = self.factored(support, right)
        level = (1 - found[:, 0].sum()) / found[:, 1].sum()
        weights = found[:, 0] + level * found[:, 1]
        return weights, level - cross @ weights


def _solved(hessian: Floats, cross: Floats) -> list[_SimplexFace]:
    """Returns the best face of each target; cross is [q, p]."""
    vertices = np.argmin(hessian.diagonal() - 2 * cross, axis=1)
    faces = [_SimplexFace(hessian, *each) for each in zip(cross, vertices, strict=True)]
    tolerances = _TOLERANCE * (1 + np.abs(cross).max(axis=1))
    unfinished = np.arange(len(faces))
    while unfinished.size:
        open_faces = [faces[each] for each in unfinished]
        gain, rows, columns = products(open_faces, hessian)
        np.subtract(cross[unfinished], gain, out=gain)
        gain += np.array([face.level for face in open_faces])[:, None]
        gain[rows, columns] = 0
        best = gain.argmax(axis=1)
        with one_blas_thread() if unfinished.size > FEW else nullcontext():
            going = [
                face.improve(gain[row], best[row], tolerances[unfinished[row]])
                for row, face in enumerate(open_faces)
            ]
        unfinished = unfinished[going]
    return faces
