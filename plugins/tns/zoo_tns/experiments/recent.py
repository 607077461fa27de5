"""Whether the most recent events tell more than events drawn from the whole history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import RECENT, UNIFORM, compared
from zoo_tns.experiments.streams import BITCOIN, COLLEGE, CONFERENCE, WIKIPEDIA, first_events

STREAMS: Final = (COLLEGE, CONFERENCE, WIKIPEDIA, BITCOIN)
_POINTS: Final = 3.0


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains with both ways to sample on each stream."""
    splits = {name: first_events(context, name) for name in STREAMS}
    yield from compared(context, splits, (UNIFORM, RECENT))


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether it is at least 3 points of AP on each stream."""
    gaps = {name: difference(rows, RECENT.name, UNIFORM.name, data=name) for name in STREAMS}
    shown = ", ".join(f"{name} {gap}" for name, gap in gaps.items())
    return all(
        gap.mean >= _POINTS for gap in gaps.values()
    ), f"AP of most recent less uniform: {shown}"
