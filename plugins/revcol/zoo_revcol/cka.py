"""Centred kernel alignment (CKA): how alike two representations of the same inputs are."""

from __future__ import annotations

from torch import Tensor

from zoo_core.errors import InputError


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Returns the linear CKA of two representations, with the unbiased estimate of HSIC.

    Near 0 for unrelated representations, slightly negative ones included, and 1 for such as differ
    by a rotation, a shift and a factor only. Computed in float64. Source: Kornblith et al.,
    "Similarity of Neural Network Representations Revisited", ICML 2019; the estimator is that of
    Song et al., "Feature Selection via Dependence Maximization", JMLR 2012, equation 5.

    Args:
        x: [n, ...], one row an input; what follows is flattened.
        y: [n, ...], for the same inputs in the same order.

    Raises:
        InputError: different numbers of inputs, or fewer than four.
    """
    return cka_of_grams(centred_gram(x), centred_gram(y))


def cka_of_grams(k: Tensor, l: Tensor) -> float:  # noqa: E741 - the paper's letters
    """Returns the CKA of two results of `centred_gram`, for comparing many at little cost."""
    if k.shape != l.shape:
        raise InputError(f"there are {len(k)} and {len(l)} inputs; expected as many of both.")
    return float((k * l).sum() / ((k * k).sum() * (l * l).sum()).sqrt())


def centred_gram(x: Tensor) -> Tensor:
    """Returns the Gram matrix [n, n] of n representations, U-centred, in float64.

    The sum of the products of two such matrices, by n (n - 3), is the unbiased HSIC.

    Args:
        x: [n, ...].

    Raises:
        InputError: fewer than four representations.
    """
    n = len(x)
    if n < 4:
        raise InputError(f"CKA of {n} inputs; expected at least 4.")
    x = x.detach().flatten(1).double()
    x = x - x.mean(0)  # changes nothing in exact arithmetic, and spares digits
    gram = (x @ x.T).fill_diagonal_(0.0)
    rows = gram.sum(1) / (n - 2)
    centred = gram - rows[:, None] - rows[None, :] + gram.sum() / ((n - 1) * (n - 2))
    return centred.fill_diagonal_(0.0)
