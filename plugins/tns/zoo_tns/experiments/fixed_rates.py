"""Whether the best fixed rate depends on the data, and what a fixed rate gives away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import RECENT, Variant, compared, expanded
from zoo_tns.experiments.streams import COLLEGE, CONFERENCE, first_events

WIDE: Final = Variant("most recent, S = 25", {"sampler": "recent", "k": 25})
MEAN: Final = "mean aggregator, "
_MEANS: Final = tuple(
    Variant(MEAN + each.name, {**each.model, "aggr": "mean"}) for each in (RECENT, expanded(5))
)
VARIANTS: Final = (
    RECENT,
    *(expanded(rate) for rate in (2, 5, 10)),
    expanded(5, "clip"),
    WIDE,
    *_MEANS,
)
_MARGIN: Final = 1.0


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains at each fixed rate on a stream of messages and one of contacts."""
    splits = {name: first_events(context, name) for name in (COLLEGE, CONFERENCE)}
    yield from compared(context, splits, VARIANTS)


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether a rate of 5 costs among contacts, and costs less than a point among messages.

    There it is also to be as good as 25 most recent events, at a fifth of the messages.
    """

    def gap(first: Variant, second: Variant, data: str) -> Any:
        return difference(rows, first.name, second.name, data=data)

    contacts = [gap(expanded(rate), RECENT, CONFERENCE) for rate in (5, 10)]
    messages, wide = gap(expanded(5), RECENT, COLLEGE), gap(expanded(5), WIDE, COLLEGE)
    clipped = gap(expanded(5, "clip"), expanded(5), COLLEGE)
    mean = difference(rows, *(each.name for each in reversed(_MEANS)), data=COLLEGE)
    right = all(each.high < 0 for each in contacts) and all(
        each.mean > -_MARGIN for each in (messages, wide)
    )
    return right, (
        f"AP against most recent: contacts every 5. {contacts[0]}, every 10. {contacts[1]}; "
        f"messages every 5. {messages}, with the mean aggregator {mean}; messages every 5. "
        f"against S = 25 {wide}; and clipped, so that the number of events does not tell the "
        f"degree, against not {clipped}"
    )
