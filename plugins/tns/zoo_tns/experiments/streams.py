"""The streams of the experiments: the first events of real ones."""

from __future__ import annotations

from typing import Final

from zoo_core.experiment import Context
from zoo_tns.events import compact_nodes, load_dataset
from zoo_tns.splits import EventSplit, chronological_split

COLLEGE: Final = "collegemsg"
CONFERENCE: Final = "sfhh-conference"
WIKIPEDIA: Final = "jodie-wikipedia"
BITCOIN: Final = "bitcoin-otc"
FIRST: Final = 12_000
"""How many events of a stream a small experiment has."""


def first_events(context: Context, name: str, events: int = FIRST) -> EventSplit:
    """Returns the first events of a stream, split by time, with 10 % of the nodes hidden."""
    data = load_dataset(name, context.data(name).parent)
    return chronological_split(compact_nodes(data[:events])[0])
