"""Training, validation and test events by time, and the nodes that training never sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_tns.events import check_events
from zoo_tns.seeds import checked_seed


@dataclass(frozen=True)
class EventSplit:
    """A stream, and which of its events are for what.

    Attributes:
        data: all events, in order of time.
        num_nodes: V; larger than every id.
        train_mask: bool [E], the events to train on: early, and without a hidden node.
        val_mask: bool [E].
        test_mask: bool [E].
        new_node_val_mask: bool [E], the validation events with a node that training never saw.
        new_node_test_mask: bool [E], such test events.
        hidden_nodes: int64, sorted; the drawn nodes whose events were taken out of training.
    """

    data: TemporalData
    num_nodes: int
    train_mask: Tensor
    val_mask: Tensor
    test_mask: Tensor
    new_node_val_mask: Tensor
    new_node_test_mask: Tensor
    hidden_nodes: Tensor

    @property
    def train(self) -> TemporalData:
        """The events to train on."""
        return self.data[self.train_mask]

    @property
    def val(self) -> TemporalData:
        """The validation events."""
        return self.data[self.val_mask]

    @property
    def test(self) -> TemporalData:
        """The test events."""
        return self.data[self.test_mask]

    @property
    def new_node_val(self) -> TemporalData:
        """The validation events with a node that training never saw."""
        return self.data[self.new_node_val_mask]

    @property
    def new_node_test(self) -> TemporalData:
        """The test events with a node that training never saw."""
        return self.data[self.new_node_test_mask]


def chronological_split(
    data: TemporalData,
    val_ratio: float = 0.15,
    test_ratio: float = 0.15,
    *,
    new_node_ratio: float = 0.1,
    seed: int = 2020,
    num_nodes: int | None = None,
) -> EventSplit:
    """Splits a stream at quantiles of its times: train t <= q70 < val t <= q85 < test.

    For the inductive task some nodes are drawn among those with an event after q70, and all their
    events are taken out of training. The drawing is by a generator of its own from the sorted ids;
    the official TGN code draws from a set, which depends on how Python orders one.

    Args:
        data: the stream, in order of time.
        val_ratio: the share of validation events, in (0, 1); equal times make it uneven.
        test_ratio: the share of test events.
        new_node_ratio: how many nodes are hidden from training, as a share of all nodes that have
            an event, in [0, 1). 0 hides none, as for node classification.
        seed: of the drawing.
        num_nodes: V; None is one more than the largest id.

    Raises:
        InputError: arguments out of range, unusable data, or a part that would have no events.
    """
    data = check_events(data)
    checked_seed(seed)
    for name, value in (("val_ratio", val_ratio), ("test_ratio", test_ratio)):
        if not _is_number(value) or not 0 < value < 1:
            raise InputError(f"{name} is {value!r}; expected a share between 0 and 1.")
    if val_ratio + test_ratio >= 1:
        raise InputError(
            f"val_ratio and test_ratio are {val_ratio} and {test_ratio}; expected less than 1 "
            "together."
        )
    if not _is_number(new_node_ratio) or not 0 <= new_node_ratio < 1:
        raise InputError(f"new_node_ratio is {new_node_ratio!r}; expected a share in [0, 1).")
    num_nodes = data.num_nodes if num_nodes is None else num_nodes
    if isinstance(num_nodes, bool) or not isinstance(num_nodes, int):
        raise InputError(f"num_nodes is {num_nodes!r}; expected an integer, or None.")
    if data.num_nodes > num_nodes:
        raise InputError(
            f"num_nodes is {num_nodes}, but the largest id is {data.num_nodes - 1}; expected more."
        )
    times = data.t.cpu().numpy()
    early, middle = np.quantile(times, [1 - val_ratio - test_ratio, 1 - test_ratio])
    before = torch.from_numpy(times <= early)
    val_mask = torch.from_numpy((times > early) & (times <= middle))
    test_mask = torch.from_numpy(times > middle)
    hidden = _drawn(data, ~before, new_node_ratio, seed)
    train_mask = before & ~_has(data, hidden, torch.logical_or)
    for name, mask in (("training", train_mask), ("validation", val_mask), ("test", test_mask)):
        if not bool(mask.any()):
            raise InputError(f"there would be no {name} events; give more events, or other ratios.")
    seen = torch.cat([data.src[train_mask], data.dst[train_mask]]).unique()
    unseen = ~_has(data, seen, torch.logical_and)
    return EventSplit(
        data,
        num_nodes,
        train_mask,
        val_mask,
        test_mask,
        val_mask & unseen,
        test_mask & unseen,
        hidden,
    )


def _drawn(data: TemporalData, late: Tensor, ratio: float, seed: int) -> Tensor:
    candidates = torch.cat([data.src[late], data.dst[late]]).unique()
    everyone = torch.cat([data.src, data.dst]).unique()
    number = min(int(ratio * len(everyone)), len(candidates))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(candidates), generator=generator)[:number]
    return candidates[chosen].sort().values


def _has(data: TemporalData, nodes: Tensor, both: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Which events have their source, their destination among nodes: bool [E]."""
    return both(torch.isin(data.src, nodes), torch.isin(data.dst, nodes))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
