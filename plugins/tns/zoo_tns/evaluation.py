"""Scores of a stream's events, each made before the event is known to the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_tns.events import check_events, edge_features
from zoo_tns.metrics import checked_batch_size, link_measures
from zoo_tns.negatives import RandomNegatives
from zoo_tns.splits import EventSplit

if TYPE_CHECKING:
    from zoo_tns.graph import TemporalGraph
    from zoo_tns.model import TemporalGNN

NEGATIVE_SEEDS = {"val": 0, "new_node_val": 1, "test": 2, "new_node_test": 3}
"""The seeds of the negatives in evaluation, as in the official TGN code."""

_SAMPLING_SEED = 0

Part = Literal["val", "test"]


class Negatives(Protocol):
    """What draws negatives; see `zoo_tns.negatives`."""

    def reset(self) -> None:
        """Starts the drawing anew."""

    def draw(self, src: Tensor, dst: Tensor) -> Tensor:
        """Returns a destination for each event, int64 [B]."""


@dataclass(frozen=True)
class Scores:
    """Logits of events and of one negative each.

    Attributes:
        positive: floating [E].
        negative: floating [E].
        batch_size: events of a batch.
    """

    positive: Tensor
    negative: Tensor
    batch_size: int

    def losses(self) -> Tensor:
        """Returns each event's loss, BCE(positive, 1) + BCE(negative, 0), floating [E]."""
        return F.softplus(-self.positive) + F.softplus(self.negative)

    def measures(self) -> dict[str, float]:
        """Returns the mean loss and what `link_measures` does."""
        found = link_measures(self.positive, self.negative, self.batch_size)
        return found | {"loss": float(self.losses().double().mean())}


def score_events(
    model: TemporalGNN,
    data: TemporalData,
    graph: TemporalGraph,
    negatives: Negatives,
    batch_size: int = 200,
) -> Scores:
    """Streams events through a model in evaluation mode, and scores each batch before it is known.

    The memory goes on from what the model has, and afterwards knows the events. The model is left
    bound to `graph`; its mode and all random states are those from before, so that it may be
    evaluated between steps of training. From the same memory, every evaluation gives the same
    scores; see `evaluating` for uniform sampling.

    Args:
        model: on any device.
        data: the events, in order of time.
        graph: all events that may be looked up; of those only earlier ones are.
        negatives: reset first, so that every evaluation has the same.
        batch_size: events of a batch. It decides what the memory knows, so it changes the scores.

    Raises:
        InputError: unusable data.
    """
    data = check_events(data)
    checked_batch_size(batch_size)
    negatives.reset()
    model.bind(graph)
    positive, negative = [], []
    with evaluating(model):
        for src, dst, t, features in batches(data, batch_size):
            good, bad = model(src, dst, t, negatives.draw(src, dst))
            positive.append(good.cpu())
            negative.append(bad.cpu())
            model.update(src, dst, t, features)
    return Scores(torch.cat(positive), torch.cat(negative), batch_size)


def evaluate(
    model: TemporalGNN,
    data: TemporalData,
    graph: TemporalGraph,
    negatives: Negatives,
    batch_size: int = 200,
) -> dict[str, float]:
    """Returns ap, auc, acc, ap_pooled, auc_pooled, acc_pooled and loss; see `score_events`."""
    return score_events(model, data, graph, negatives, batch_size).measures()


def evaluate_part(
    model: TemporalGNN,
    split: EventSplit,
    part: Part,
    graph: TemporalGraph,
    batch_size: int = 200,
) -> dict[str, dict[str, float]]:
    """Evaluates a part of a split on all its events, then on those with new nodes.

    Both start from the memory that the model has; afterwards it has that of all the part's
    events. The negatives are random destinations, of all events of the stream and of the part's
    new-node events.

    Args:
        model: after the events before this part.
        split: the stream.
        part: "val" or "test".
        graph: with the events of the whole stream.
        batch_size: events of a batch.

    Returns:
        The measures under "val" and "new_node_val", or "test" and "new_node_test". Where no event
        has a new node, the latter is left out.
    """
    if part not in ("val", "test"):
        raise InputError(f"part is {part!r}; expected 'val' or 'test'.")
    before = model.bind(graph).memory_state()
    negatives = RandomNegatives(split.data.dst, NEGATIVE_SEEDS[part])
    events = split.val if part == "val" else split.test
    found = {part: evaluate(model, events, graph, negatives, batch_size)}
    new = split.new_node_val if part == "val" else split.new_node_test
    if len(new):
        after = model.memory_state()
        model.load_memory_state(before)
        name = f"new_node_{part}"
        negatives = RandomNegatives(new.dst, NEGATIVE_SEEDS[name])
        found[name] = evaluate(model, new, graph, negatives, batch_size)
        model.load_memory_state(after)
    return found


@torch.no_grad()
def replay(model: TemporalGNN, data: TemporalData, batch_size: int = 200) -> None:
    """Takes the events of a stream into a model's memory, without scoring them.

    What training leaves in the memory was made by weights that changed on the way; this makes it
    by those that the model has. Raw seconds turn small differences of the time encoder's
    frequencies into large ones of phase, so the two are not close.

    Args:
        model: on any device; its memory goes on from what it has.
        data: the events, in order of time.
        batch_size: events of a batch, which do not see each other.

    Raises:
        InputError: unusable data.
    """
    data = check_events(data)
    for src, dst, t, features in batches(data, checked_batch_size(batch_size)):
        model.update(src, dst, t, features)


@contextmanager
def evaluating(model: TemporalGNN) -> Iterator[None]:
    """Sets evaluation mode without gradients; mode and random states are put back afterwards.

    What draws in evaluation is uniform sampling. It goes on from the generators that
    `TemporalGNN.seed_dropout` gave the model, and without them starts at a fixed seed: either way
    the next evaluation draws the same. Another seed in `seed_dropout` gives another drawing.
    """
    modes = {module: module.training for module in model.modules()}
    state: Mapping[str, Tensor] = model.random_state()
    everyones = torch.get_rng_state()
    model.eval()
    try:
        with torch.no_grad():
            if not state:
                torch.default_generator.manual_seed(_SAMPLING_SEED)
            yield
    finally:
        model.load_random_state(state)
        torch.set_rng_state(everyones)
        for module, training in modes.items():
            module.training = training


def batches(data: TemporalData, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yields (src, dst, t, edge features) of one batch after the other, in order."""
    features = edge_features(data)
    for start in range(0, len(data.src), batch_size):
        rows = slice(start, start + batch_size)
        yield data.src[rows], data.dst[rows], data.t[rows], features[rows]
