"""Lasso and elastic net from a Gram matrix, exactly, for paths of penalties of many targets."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from zoo_synthetic_learner.active_set import FLOOR, Face, products
from zoo_synthetic_learner.blas_threads import FEW, one_blas_thread
from zoo_synthetic_learner.panel import Floats, Ints

_TOLERANCE = 1e-11


def elastic_net_paths(gram: Floats, cross: Floats, absolute: Floats, squared: Floats) -> Floats:
    """Returns the minimisers of w'G w - 2 c'w + 2 absolute |w|_1 + squared |w|^2.

    Each target goes down its own path, from one penalty's support to the next one's.

    Args:
        gram: [p, p] float64, G, symmetric and positive semidefinite.
        cross: [p, q] float64; a column c for each target.
        absolute: [k, q] float64, above 0; best if they descend.
        squared: [k, q] float64, at least 0.

    Returns:
        [k, p, q] float64.
    """
    p, q = cross.shape
    paths = np.zeros((len(absolute), p, q))
    size = gram.diagonal().max(initial=0.0)
    if not size:
        return paths
    # Targets of any scale are brought to one, so that the tolerance is the same for all.
    scales = np.abs(cross).max(axis=0)
    targets = np.flatnonzero(scales > 0)
    hessian = np.divide(gram, size, order="C")
    hessian.flat[:: p + 1] += FLOOR
    faces = [
        _SignedFace(
            hessian,
            cross[:, target] / scales[target],
            absolute[:, target] / scales[target],
            squared[:, target] / size,
        )
        for target in targets
    ]
    while faces:
        left = np.array([face.cross for face in faces]) - products(faces, hessian)[0]
        with one_blas_thread() if len(faces) > FEW else nullcontext():
            going = np.array(
                [
                    face.advance(left[row], paths[:, :, target])
                    for row, (face, target) in enumerate(zip(faces, targets, strict=True))
                ]
            )
        faces = [face for face, goes in zip(faces, going, strict=True) if goes]
        targets = targets[going]
    paths *= scales / size
    return paths


class _SignedFace(Face):
    """Weights of known signs, held by their sizes; a target's own place on its path."""

    def __init__(self, hessian: Floats, cross: Floats, absolute: Floats, squared: Floats) -> None:
        self.hessian = hessian
        self.cross = cross
        self.support = np.zeros(0, dtype=np.int64)
        self.weights = np.zeros(0)
        self.objective = 0.0
        self.signs = np.ones(len(cross))
        self.absolute = absolute
        self.squared = squared
        self.place = 0
        super().__init__()

    def signed(self) -> Floats:
        return self.signs[self.support] * self.weights

    def minimum(self, support: Ints) -> tuple[Floats, float]:
        if not support.size:
            return np.zeros(0), 0.0
        signs = self.signs[support]
        right = self.cross[support] - self.absolute[self.place] * signs
        found = self.factored(support, right[:, None], self.squared[self.place])[:, 0]
        return signs * found, -float(right @ found)

    def advance(self, correlation: Floats, path: Floats) -> bool:
        """Moves on, over all penalties that the support is best for; False at the path's end.

        Args:
            correlation: [p] the cross products of donors and what is left of the target.
            path: [k, p], which receives the weights of each penalty that is finished.
        """
        outside = np.ones(len(correlation), dtype=bool)
        outside[self.support] = False
        self.signs[outside] = np.where(correlation[outside] < 0, -1.0, 1.0)
        gain = np.abs(correlation) - self.absolute[self.place]
        gain[self.support] = 0
        if self.improve(gain, int(gain.argmax()), _TOLERANCE):
            return True
        path[self.place, self.support] = self.signed()
        self.place += 1
        if self.place == len(self.absolute):
            return False
        self.renew()
        self._settle(self.support, self.weights, *self.minimum(self.support))
        return True
