"""Relaxed explanations: how masks in (0, 1) change the input of the network.

An edge mask multiplies the messages of its edges. A feature mask, one number a node, blends a
node's features with its counterfactual ones. "The explanation is not set" is the surroundings of
the complement: every entry 1 - m, shifted by uniform noise that is drawn anew for every sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Part = Literal["whole", "set", "complement"]
"""What a world does with the edges, or the features: nothing, keeps m of them, or 1 - m."""


@dataclass(frozen=True)
class World:
    """One intervention.

    Attributes:
        edges: what is done with the edges.
        features: what is done with the features.
        share: its weight in P(Y_A = y) or in P(Y_notA = y), whichever it is a part of.
        present: whether the explanation is set (event A).
    """

    edges: Part
    features: Part
    share: float
    present: bool


def worlds(kind: str, n_samples: tuple[int, int, int], *, sampled: bool = True) -> list[World]:
    """Returns event A, then the cases of not-A in the order in which their noise is drawn.

    Args:
        kind: "edge", "feature" or "joint".
        n_samples: how many samples of (E != E', X != X'), (E != E', X = X') and (E = E', X != X').
        sampled: False gives each case once, with the share of its samples.
    """
    both, edges_only, features_only = n_samples
    if kind == "edge":
        cases: list[tuple[Part, Part, int]] = [("complement", "whole", edges_only)]
        present = World("set", "whole", 1.0, True)
    elif kind == "feature":
        cases = [("whole", "complement", features_only)]
        present = World("whole", "set", 1.0, True)
    else:
        cases = [
            ("complement", "complement", both),
            ("complement", "set", edges_only),
            ("set", "complement", features_only),
        ]
        present = World("set", "set", 1.0, True)
    total = sum(number for _, _, number in cases)
    absent = [
        World(edges, features, (1 if sampled else number) / total, False)
        for edges, features, number in cases
        for _ in range(number if sampled else 1)
    ]
    return [present, *absent]


def blend(kept: Tensor, x: Tensor, x_cf: Tensor) -> Tensor:
    """Returns `kept * x + (1 - kept) * x_cf`, row by row.

    Args:
        kept: [..., N], how much of a node's own features it keeps.
        x: [N, F] features.
        x_cf: [N, F] counterfactual features.

    Returns:
        [..., N, F].
    """
    kept = kept.unsqueeze(-1)
    return kept * x + (1 - kept) * x_cf


def complement(mask: Tensor, noise: Tensor | None) -> Tensor:
    """Returns `1 - mask + noise`; not clipped, so it may lie slightly outside [0, 1]."""
    return 1 - mask if noise is None else 1 - mask + noise
