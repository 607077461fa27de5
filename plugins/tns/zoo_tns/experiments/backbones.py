"""TGN and TGAT, each as published, with the most recent events, and with TNS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import RECENT, TNS, UNIFORM, Variant, compared, expanded
from zoo_tns.experiments.streams import BITCOIN, WIKIPEDIA, first_events

EVENTS: Final = 20_000
EPOCHS: Final = 5
_WIDTH: Final = {"node_dim": 32, "time_dim": 32, "hidden": 32}
TGN: Final = {**_WIDTH, "k": 10, "memory": True}
TGAT: Final = {**_WIDTH, "k": 5, "memory": False, "layers": 2, "aggr": "tgat"}
_PATIENT: Final = Variant("TNS, alpha 1, from 3", {"sampler": "tns", "init_rate": 3}, alpha=1.0)
VARIANTS: Final[Mapping[str, tuple[Mapping[str, Any], tuple[Variant, ...], str]]] = {
    "TGN": (TGN, (RECENT, UNIFORM, expanded(5), TNS, _PATIENT), "chronological"),
    "TGAT": (TGAT, (UNIFORM, RECENT, TNS), "shuffled"),
}
_MARGIN: Final = 1.0


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains both backbones on the first edits of Wikipedia, and on rated trust."""
    splits = {name: first_events(context, name, EVENTS) for name in (WIKIPEDIA, BITCOIN)}
    for backbone, (shared, variants, order) in VARIANTS.items():
        for name, split in splits.items():
            widths = dict(shared)
            if backbone == "TGAT":
                # A rating takes the place of a part of the time encoding, so that heads divide.
                widths["time_dim"] = _WIDTH["time_dim"] - split.data.msg.shape[1]
            found = compared(context, {name: split}, variants, widths, epochs=EPOCHS, order=order)
            for row in found:
                yield {"backbone": backbone, **row}


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether TNS is above TGAT as published, and not below the most recent events by a point."""
    shown, right = [], True
    for backbone in VARIANTS:
        for data in (WIKIPEDIA, BITCOIN):
            published, recent = (
                difference(rows, TNS.name, each.name, backbone=backbone, data=data)
                for each in (UNIFORM, RECENT)
            )
            right = right and recent.mean > -_MARGIN and published.low > 0
            shown.append(f"{backbone} on {data}: against uniform {published}, most recent {recent}")
    return right, f"AP of TNS: {'; '.join(shown)}"
