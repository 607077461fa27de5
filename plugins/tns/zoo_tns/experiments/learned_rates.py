"""Whether TNS learns rates, and is at least as good as the most recent events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import RECENT, TNS, Variant, compared
from zoo_tns.experiments.streams import COLLEGE, CONFERENCE, WIKIPEDIA, first_events
from zoo_tns.model import TemporalGNN
from zoo_tns.positions import largest_rate
from zoo_tns.splits import EventSplit

STREAMS: Final = (COLLEGE, CONFERENCE, WIKIPEDIA)
STRICT: Final = Variant("TNS, strict gate", {"sampler": "tns", "gate": "strict"})
_FASTER: Final = tuple(
    Variant(f"TNS, alpha 1, from {start}", {"sampler": "tns", "init_rate": start}, alpha=1.0)
    for start in (1, 3, 5)
)
_STRICT_FASTER: Final = Variant(
    "TNS, strict gate, alpha 1, from 5", {"sampler": "tns", "gate": "strict", "init_rate": 5}, 1.0
)
VARIANTS: Final = (RECENT, TNS, STRICT, *_FASTER, _STRICT_FASTER)
_MARGIN: Final = 1.0
_OPEN: Final = 0.5
FREE: Final = "spread between bounds"
_DIFFERENT: Final = 1e-4
"""Above what float32 leaves of rates that are all the same."""
_ROUNDING: Final = 1e-6


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains with the most recent events, and with TNS under both gates and from several rates."""
    splits = {name: first_events(context, name) for name in STREAMS}
    yield from compared(context, splits, VARIANTS, also=free_spread)


def free_spread(model: TemporalGNN, split: EventSplit) -> dict[str, float | None]:
    """Returns the standard deviation of the test events' rates between the bounds of Eq. 8.

    Bounds follow from how long histories are; so where all nodes want the same rate, this is 0,
    and the spread of all rates is not.
    """
    if model.sampler != "tns":
        return {FREE: None}
    test = split.test
    nodes, times = torch.cat([test.src, test.dst]), torch.cat([test.t, test.t])
    rates = model.rates(nodes, times)[:, -1]
    upper = largest_rate(model.graph.index.count(nodes, times), model.k)
    free = rates[(rates > 1) & (rates < upper - _ROUNDING)]
    return {FREE: float(free.std()) if len(free) > 1 else 0.0}


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether TNS is not worse by a point, its gates stay open, and its rates differ."""
    shown, right = [], True
    for name in STREAMS:
        gap = difference(rows, TNS.name, RECENT.name, data=name)
        closed, strict = (_mean(rows, "closed gates", name, variant) for variant in (TNS, STRICT))
        rate, spread = (_mean(rows, each, name, TNS) for each in ("mean rate", FREE))
        right = right and gap.mean > -_MARGIN and closed < _OPEN and spread > _DIFFERENT
        shown.append(
            f"{name} {gap}, rate {rate:.3f}, between the bounds ± {spread:.4f}, closed "
            f"{closed:.0%} (strict {strict:.0%})"
        )
    return right, f"AP of TNS less most recent: {'; '.join(shown)}"


def _mean(rows: Sequence[dict[str, Any]], measure: str, data: str, variant: Variant) -> float:
    found = values(rows, measure, data=data, sampling=variant.name)
    return sum(found) / len(found)
