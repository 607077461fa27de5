"""Counterfactual features X^cf: for each row the nearest observed row that differs from it.

The official code takes X^cf as an argument and has nothing that makes it; earlier abstracts of the
paper (arXiv 2212.07056) name nearest-neighbour matching. The distance, the candidates and the rule
for ties are ours.
"""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any, Final, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from zoo_core.errors import ConfigError, InputError, ZooWarning
from zoo_nseg.settings import choice

FALLBACKS: Final = ("error", "zeros")
BLOCK_ENTRIES: Final = 2**22
"""How many distances are held at once."""
TREE_ABOVE: Final = 20_000
"""With more candidates than this, a KD-tree finds the few that are measured."""
_TIE = 1 + 1e-12
_TREE_SLACK = 1 + 1e-9
_LARGEST = 1e150
Floats = NDArray[np.float64]


class NearestNeighborMatcher(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Replaces each row by the nearest row of a reference that is different from it.

    Distances are Euclidean, in float64. Of rows equally near (to a relative 1e-12; one-hot rows
    always are) the most frequent one is taken, and of those equally frequent the first in
    lexicographic order. So the result depends on the set of reference rows, never on their order.

    Args:
        reference: [R, F] rows to match with, array or tensor; None for those that `fit` is given.
            Used by `fitted` alone.
        tol: rows no further apart than this are the same row.
        fallback: what becomes of a row that has no different one: "error" refuses, "zeros" warns
            and puts zeros.
        contrast: match only with rows of another label, such as the one the network predicts.

    Attributes:
        unique_rows_: [K, F] float64, the reference without repetitions (with `contrast`, of a row
            and label together), in lexicographic order.
        counts_: [K] int64, how often each occurs.
        labels_: [K] int64 with `contrast`, else None.
        n_features_in_: F.
    """

    def __init__(
        self,
        reference: Any = None,
        *,
        tol: float = 1e-8,
        fallback: str = "error",
        contrast: bool = False,
    ) -> None:
        self.reference = reference
        self.tol = tol
        self.fallback = fallback
        self.contrast = contrast

    def fit(self, x: Any, labels: Any = None) -> Self:
        """Learns the rows to match with.

        Args:
            x: [R, F] finite integers or floats, array or tensor.
            labels: [R] whole numbers; needed with `contrast`, else not read.

        Raises:
            InputError: x or labels are not as above, or a parameter is not one allowed.
        """
        self._check_parameters()
        rows = self._checked(x, reset=True)
        unique = _unique(_float64(rows), self._checked_labels(labels, len(rows)))
        self.unique_rows_, self.counts_, self.labels_ = unique.rows, unique.counts, unique.labels
        return self

    def transform(self, x: Any, labels: Any = None) -> Any:
        """Returns x_cf [N, F], to each row of x its nearest different row.

        Args:
            x: [N, F] finite integers or floats, array or tensor.
            labels: [N] whole numbers; needed with `contrast`, else not read.

        Returns:
            A tensor of x's dtype on x's device if x is a tensor, else an array of x's dtype.

        Raises:
            InputError: x or labels are not as above; a row has no different one; or the one it has
                cannot be told from it in x's dtype.
        """
        check_is_fitted(self)
        self._check_parameters()
        if self.contrast != (self.labels_ is not None):
            raise InputError(f"contrast became {self.contrast} after the fit; fit again.")
        rows = self._checked(x, reset=False)
        given = _unique(_float64(rows), self._checked_labels(labels, len(rows)))
        found = self._search(given)
        missing = found < 0
        if missing.any():
            self._report_missing(missing[given.inverse])
        values = np.where(missing[:, None], 0.0, self.unique_rows_[found])
        kind = x.dtype if isinstance(x, Tensor) else rows.dtype
        cast, held = _cast(values, kind)
        same = _distances(held, given.rows) <= self.tol
        lost = (held != values).any(1) & (
            same | ~np.isfinite(held).all(1) | (rows.dtype.kind != "f")
        )
        if lost.any():
            row = np.flatnonzero(lost[given.inverse])[0]
            raise InputError(
                f"the counterfactual of row {row} cannot be told from it, or not be held, in "
                f"{kind}; give x and the reference in one dtype."
            )
        if isinstance(x, Tensor):
            return cast[torch.from_numpy(given.inverse)].to(x.device)
        return cast[given.inverse]

    def fit_transform(self, x: Any, y: Any = None) -> Any:
        """Returns `fit(x, y).transform(x, y)`: the rows matched among themselves, `y` the labels.

        Named as scikit-learn passes it.
        """
        return self.fit(x, y).transform(x, y)

    def fitted(self, x_default: Any, labels: Any = None) -> NearestNeighborMatcher:
        """Returns this matcher if it is fitted, else a new one: on `reference` if that is given.

        Args:
            x_default: [R, F] rows to fit on if `reference` is None.
            labels: [R] their labels; needed with `contrast`.

        Raises:
            InputError: as `fit` does; `contrast` with a `reference`, whose labels only `fit` takes.
        """
        if hasattr(self, "unique_rows_"):
            return self
        if self.reference is None:
            return type(self)(**self.get_params(deep=False)).fit(x_default, labels)
        if self.contrast:
            raise InputError(
                "contrast=True needs the labels of the reference; call fit(rows, labels) first."
            )
        return type(self)(**self.get_params(deep=False)).fit(self.reference)

    def _search(self, given: _Rows) -> NDArray[np.int64]:
        """Which of `unique_rows_` each row gets, -1 for none."""
        if given.labels is None:
            return _nearest_different(given.rows, self.unique_rows_, self.counts_, self.tol)
        found = np.full(len(given.rows), -1)
        for label in np.unique(given.labels):
            mine = np.flatnonzero(given.labels == label)
            others = np.flatnonzero(self.labels_ != label)
            if len(others):
                rows, counts = self.unique_rows_[others], self.counts_[others]
                nearest = _nearest_different(given.rows[mine], rows, counts, self.tol)
                found[mine] = np.where(nearest < 0, -1, others[nearest])
        return found

    def _report_missing(self, missing: NDArray[np.bool_]) -> None:
        first, number = int(np.flatnonzero(missing)[0]), int(missing.sum())
        who = f"row {first}" + (f" and {number - 1} more have" if number > 1 else " has")
        what = (
            f"{who} no different row{' of another label' if self.contrast else ''} among the "
            f"{len(self.unique_rows_)} unique reference rows (tol={self.tol:g})"
        )
        if self.fallback == "error":
            raise InputError(
                f"{what}, so no counterfactual features; explain edges alone, give another "
                "reference, or put zeros with fallback='zeros'."
            )
        warnings.warn(f"{what}; zeros take its place.", ZooWarning, stacklevel=4)

    def _check_parameters(self) -> None:
        choice("fallback", self.fallback, FALLBACKS)
        tol = self.tol
        if isinstance(tol, bool) or not isinstance(tol, Real) or not 0 <= tol < math.inf:
            raise InputError(f"tol is {tol!r}; expected a finite number of at least 0.")
        if not isinstance(self.contrast, bool):
            raise InputError(f"contrast is {self.contrast!r}; expected True or False.")

    def _checked(self, x: Any, reset: bool) -> NDArray[Any]:
        """`x` as a numeric array [N, F] of finite numbers, of its own dtype where numpy has it."""
        if isinstance(x, Tensor):
            if x.layout != torch.strided or x.is_complex() or x.is_quantized:
                raise InputError(f"x is a {x.layout} tensor of {x.dtype}; expected dense numbers.")
            x = x.detach().cpu()
            x = (x.double() if x.dtype == torch.bfloat16 else x).numpy()
        try:
            x = validate_data(self, x, reset=reset, ensure_all_finite=False)
        except ValueError as error:
            raise InputError(" ".join(str(error).split())) from error
        except TypeError as error:
            raise ConfigError(" ".join(str(error).split())) from error
        if x.dtype.kind not in "iuf":
            raise InputError(f"x has dtype {x.dtype}; expected integers or floats.")
        bad = np.argwhere(~(np.abs(x.astype(np.float64)) < _LARGEST))
        if len(bad):
            raise InputError(
                f"x holds {x[tuple(bad[0])]} in row {bad[0][0]}, column {bad[0][1]}; expected "
                f"finite numbers (neither NaN nor inf) below {_LARGEST:g}."
            )
        return x

    def _checked_labels(self, labels: Any, number: int) -> NDArray[np.int64] | None:
        """`labels` [number] as int64 with `contrast`, else None."""
        if not self.contrast:
            return None
        if labels is None:
            raise InputError("contrast=True matches across labels; give labels, one a row.")
        array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
        if array.shape != (number,) or array.dtype.kind not in "iub":
            raise InputError(
                f"labels have shape {array.shape} and dtype {array.dtype}; expected {number} whole "
                "numbers, one a row of x."
            )
        return array.astype(np.int64)


def counterfactual_features(
    matcher: Any,
    x: Tensor,
    reference: Any = None,
    labels: Any = None,
    reference_labels: Any = None,
    *,
    source: str = "the matcher",
) -> Tensor:
    """Returns X^cf [N, F] for features x, in x's dtype on x's device, without gradient.

    Args:
        matcher: a `NearestNeighborMatcher`; any object with `transform`, fitted if it needs it;
            or a callable. The last two get a copy of x, a scikit-learn estimator as a float64
            array, and return x_cf as an array or a tensor.
        x: [N, F] features.
        reference: [R, F] rows for a matcher that is not fitted and has no reference of its own;
            None for x itself. Others do not see it.
        labels: [N] labels of x, read by a matcher with `contrast`.
        reference_labels: [R] labels of `reference`, likewise.
        source: what gives x_cf, for the message.

    Raises:
        InputError: no matcher; x_cf is not finite or not of x's shape; as `fit` and `transform`.
    """
    if isinstance(matcher, type) or not (hasattr(matcher, "transform") or callable(matcher)):
        raise InputError(
            f"matcher is {matcher!r}; expected a NearestNeighborMatcher, an object with transform, "
            "or a callable that takes x and returns x_cf."
        )
    if not isinstance(x, Tensor):
        raise InputError(f"x is a {type(x).__name__}; expected a tensor [N, F].")
    if isinstance(matcher, NearestNeighborMatcher):
        rows = (x, labels) if reference is None else (reference, reference_labels)
        return matcher.fitted(*rows).transform(x, labels)
    copy: Any = x.detach().clone()
    if isinstance(matcher, BaseEstimator):
        copy = copy.cpu().double().numpy()
    given = matcher.transform(copy) if hasattr(matcher, "transform") else matcher(copy)
    if not isinstance(given, (Tensor, np.ndarray)):
        raise InputError(f"{source} gave a {type(given).__name__}; expected an array or a tensor.")
    if tuple(given.shape) != tuple(x.shape):
        raise InputError(
            f"{source} gave shape {tuple(given.shape)}; expected that of x, {tuple(x.shape)}."
        )
    x_cf = torch.as_tensor(given).detach().to(device=x.device, dtype=x.dtype)
    if not bool(x_cf.isfinite().all()):
        raise InputError(f"{source} gave NaN, inf, or numbers too large for {x.dtype}.")
    return x_cf


class _Rows(NamedTuple):
    """Rows without repetitions, in lexicographic order."""

    rows: Floats
    labels: NDArray[np.int64] | None
    counts: NDArray[np.int64]
    inverse: NDArray[np.int64]
    """[N] which of them each row given is."""


def _float64(x: NDArray[Any]) -> Floats:
    """`x` in float64, -0.0 made 0.0."""
    return np.ascontiguousarray(x, dtype=np.float64) + 0.0


def _unique(x: Floats, labels: NDArray[np.int64] | None) -> _Rows:
    keys = [] if labels is None else [labels]
    order = np.lexsort([*keys, *x.T[::-1]])
    x = x[order]
    new = np.ones(len(x), dtype=bool)
    new[1:] = (x[1:] != x[:-1]).any(axis=1)
    if labels is not None:
        labels = labels[order]
        new[1:] |= labels[1:] != labels[:-1]
        labels = labels[new]
    inverse = np.empty(len(x), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    counts = np.diff(np.flatnonzero(new), append=len(x))
    return _Rows(x[new], labels, counts, inverse)


def _cast(values: Floats, dtype: Any) -> tuple[Any, Floats]:
    """`values` in a torch or numpy dtype, as a tensor or an array, and what it kept of them."""
    if isinstance(dtype, torch.dtype):
        tensor = torch.from_numpy(values).to(dtype)
        return tensor, tensor.double().numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(dtype)
    return array, array.astype(np.float64)


def _distances(left: Floats, right: Floats) -> Floats:
    """[N] the distance of each row to the row of the same number."""
    return np.sqrt(((left - right) ** 2).sum(axis=1))


def _nearest_different(
    queries: Floats, candidates: Floats, counts: NDArray[np.int64], tol: float
) -> NDArray[np.int64]:
    """Returns [Q] the number of the candidate that each query gets, -1 for none.

    Args:
        queries: [Q, F].
        candidates: [K, F] in lexicographic order.
        counts: [K].
        tol: candidates no further away are no candidates.
    """
    # The first of several equally near is then the most frequent, and of those the smallest.
    order = np.argsort(-counts, kind="stable")
    search = _by_tree if len(candidates) > TREE_ABOVE else _by_blocks
    found = search(queries, candidates[order], tol)
    return np.where(found < 0, -1, order[found])


def _by_blocks(queries: Floats, candidates: Floats, tol: float) -> NDArray[np.int64]:
    found = np.empty(len(queries), dtype=np.int64)
    step = max(1, BLOCK_ENTRIES // len(candidates))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        found[part] = _first_nearest(cdist(queries[part], candidates), tol)
    return found


def _by_tree(queries: Floats, candidates: Floats, tol: float) -> NDArray[np.int64]:
    # Median splits take long where coordinates repeat, as counts and one-hot columns do.
    tree = cKDTree(candidates, balanced_tree=False)
    distances = tree.query(queries, k=2)[0]
    radius = np.where(distances > tol, distances, np.inf).min(axis=1)
    found = np.full(len(queries), -1)
    for each in np.flatnonzero(np.isfinite(radius)):
        near = np.sort(tree.query_ball_point(queries[each], radius[each] * _TREE_SLACK))
        first = _first_nearest(cdist(queries[each : each + 1], candidates[near]), tol)[0]
        found[each] = near[first] if first >= 0 else -1
    left = np.flatnonzero(found < 0)  # more than one candidate within tol
    found[left] = _by_blocks(queries[left], candidates, tol)
    return found


def _first_nearest(distances: Floats, tol: float) -> NDArray[np.int64]:
    """[Q] the first column of the smallest distance above tol, -1 for none; writes `distances`."""
    distances[distances <= tol] = np.inf
    nearest = distances.min(axis=1)
    first = np.argmax(distances <= nearest[:, None] * _TIE, axis=1)
    return np.where(np.isfinite(nearest), first, -1)
