"""How much a larger budget of neighbours gives, with and without TNS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import RECENT, TNS, Variant, compared
from zoo_tns.experiments.streams import COLLEGE, first_events

BUDGETS: Final = (10, 20, 50)
_MEASURE: Final = "new-node test accuracy"


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains with each budget."""
    splits = {COLLEGE: first_events(context, COLLEGE)}
    for budget in BUDGETS:
        variants = [Variant(each.name, {**each.model, "k": budget}) for each in (RECENT, TNS)]
        for row in compared(context, splits, variants):
            yield {"S": budget, **row}


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether, among new nodes, TNS with 10 neighbours is above 50 most recent ones."""
    same = {
        budget: difference(rows, TNS.name, RECENT.name, _MEASURE, S=budget) for budget in BUDGETS
    }
    small, large = (
        [{**row, "S": 0} for row in rows if row["S"] == budget and row["sampling"] == variant.name]
        for budget, variant in ((BUDGETS[0], TNS), (BUDGETS[-1], RECENT))
    )
    across = difference([*small, *large], TNS.name, RECENT.name, _MEASURE)
    shown = ", ".join(f"S = {budget} {gap}" for budget, gap in same.items())
    return across.low > 0, (
        f"{_MEASURE} of TNS less most recent: {shown}; TNS with {BUDGETS[0]} less most recent with "
        f"{BUDGETS[-1]}: {across}"
    )
