"""How TNS depends on the learning rate and the first weights of its expansion modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_tns.experiments.runs import Variant, compared
from zoo_tns.experiments.streams import COLLEGE, first_events

ALPHAS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SIGMAS: Final = (1e-6, 1e-4, 1e-2, 1.0)


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains with each pair of values."""
    splits = {COLLEGE: first_events(context, COLLEGE)}
    for alpha in ALPHAS:
        for sigma in SIGMAS:
            variant = Variant("TNS", {"sampler": "tns", "sigma": sigma}, alpha)
            for row in compared(context, splits, [variant]):
                yield {"alpha": alpha, "sigma": sigma, **row}


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the corner of a large alpha and a large sigma is the worst."""
    means = {
        (alpha, sigma): float(np.mean(values(rows, "test AP", alpha=alpha, sigma=sigma)))
        for alpha in ALPHAS
        for sigma in SIGMAS
    }
    worst, corner = min(means, key=means.__getitem__), (ALPHAS[-1], SIGMAS[-1])
    return worst == corner, (
        f"mean AP {min(means.values()):.1f} to {max(means.values()):.1f}; worst at alpha "
        f"{worst[0]:g}, sigma {worst[1]:g}; at alpha {corner[0]:g}, sigma {corner[1]:g} "
        f"{means[corner]:.1f}"
    )
