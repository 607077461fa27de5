"""What the expansion modules did in an epoch, from what they did in its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping

_MEANS = ("mean_rate", "closed_share")


def rate_sums(stats: Mapping[str, float], rows: int) -> dict[str, float]:
    """Returns the statistics of a step as sums, which steps and processes can add up.

    Args:
        stats: of `TemporalGNN.rate_stats`, of this step alone.
        rows: the events of the step.
    """
    active = stats.get("active_share", math.nan) * rows
    sums = {
        "rows": 0.0 if math.isnan(active) else rows,
        "active": 0.0,
        **dict.fromkeys(_MEANS, 0.0),
    }
    if active > 0:  # not NaN, as where there are no rates to speak of
        sums |= {"active": active} | {name: stats[name] * active for name in _MEANS}
    return sums


def rate_means(sums: Mapping[str, float]) -> dict[str, float | None]:
    """Returns mean_rate, closed_share and active_share of summed steps; None where unknown."""
    active, rows = sums["active"], sums["rows"]
    means = {name: sums[name] / active if active else None for name in _MEANS}
    return means | {"active_share": active / rows if rows else None}
