"""Labels of events' sources, from a trained encoder that stays as it is (the official TGN code)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch_geometric.data import TemporalData
from tqdm import tqdm

from zoo_core.errors import ConfigError, InputError
from zoo_tns.evaluation import batches, evaluating
from zoo_tns.events import check_events
from zoo_tns.graph import TemporalGraph
from zoo_tns.metrics import measures
from zoo_tns.seeds import checked_seed, derived
from zoo_tns.splits import EventSplit, chronological_split

if TYPE_CHECKING:
    from zoo_tns.model import TemporalGNN

Select = Literal["last", "val"]
"""Which epoch's decoder is kept: the last, or the one with the best validation AUC."""

_WIDTHS = (80, 10)


class NodeClassifier(nn.Module):
    """The decoder: d -> 80 -> 10 -> 1, with ReLU and dropout after the first two.

    Args:
        width: d, of the embeddings.
        dropout: its probability.
    """

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        first, second = _WIDTHS
        self.layers = nn.Sequential(
            nn.Linear(width, first),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(second, 1),
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Maps embeddings [B, d] to logits [B]."""
        return self.layers(embeddings).squeeze(1)


@dataclass(frozen=True)
class NodeOutcome:
    """What came of training a decoder.

    Attributes:
        decoder: in evaluation mode.
        history: of each epoch its epoch (from 1), loss, and val_auc; NaN where the validation
            events have one class only.
        epoch: the one whose decoder was kept.
        test_auc: the ROC AUC of all test events together; NaN where they have one class only.
        test_logits: floating [E_test], in order of time.
    """

    decoder: NodeClassifier
    history: tuple[dict[str, float], ...]
    epoch: int
    test_auc: float
    test_logits: Tensor


def train_node_classification(
    model: TemporalGNN,
    data: TemporalData | EventSplit,
    *,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 3e-4,
    dropout: float = 0.1,
    select: Select = "last",
    seed: int = 0,
    node_features: Tensor | None = None,
    progress: bool = True,
) -> NodeOutcome:
    """Trains a decoder of the state label of each event's source, as of the event.

    The encoder is in evaluation mode and does not change, so its embeddings are the same in every
    epoch: it goes through the stream once (`embed_sources`).

    Args:
        model: a trained encoder; it is left with the memory that it had.
        data: with y [E], 0 or 1; a stream is split 70/15/15 by time, no nodes hidden.
        epochs: over the training events, in order of time.
        batch_size: events of a step, and of a batch of the stream.
        lr: Adam's.
        dropout: of the decoder.
        select: "val" keeps the decoder of the best validation AUC, the first of equals.
        seed: of the decoder's weights and its dropout.
        node_features: floating [V, d_n], or None.
        progress: whether to show a bar on stderr.

    Raises:
        ConfigError: settings out of range.
        InputError: no labels or other ones than 0 and 1, training events of one class, or, for
            select="val", such validation events; no seed.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}; expected an integer of at least 1.")
    if select not in get_args(Select):
        raise ConfigError(f"select is {select!r}; expected 'last' or 'val'.")
    checked_seed(seed)
    real = all(isinstance(each, Real) and not isinstance(each, bool) for each in (lr, dropout))
    if not real or not 0 <= dropout < 1 or not 0 < lr < math.inf:
        raise ConfigError(f"lr is {lr!r}, dropout {dropout!r}; expected more than 0 and [0, 1).")
    events = data.data if isinstance(data, EventSplit) else data
    labels = _labels(events)
    split = data if isinstance(data, EventSplit) else chronological_split(data, new_node_ratio=0)
    _require_both(labels[split.train_mask], "training")
    if select == "val":
        _require_both(labels[split.val_mask], "validation")
    graph = TemporalGraph.from_data(events, split.num_nodes, node_features)
    before = model.bind(graph).memory_state()
    embeddings = embed_sources(model, events, graph, batch_size, progress)
    model.load_memory_state(before)
    labels = labels.to(embeddings.device, embeddings.dtype)
    train, val, test = (
        (embeddings[mask], labels[mask])
        for mask in (split.train_mask, split.val_mask, split.test_mask)
    )
    history: list[dict[str, float]] = []
    kept: dict[str, Tensor] = {}
    best = 0
    with _seeded(derived(seed, "decoder"), embeddings.device):
        decoder = NodeClassifier(embeddings.shape[1], dropout).to(embeddings)
        optimizer = torch.optim.Adam(decoder.parameters(), lr=lr)
        for epoch in tqdm(
            range(1, epochs + 1), desc="decoder", unit="epoch", disable=not progress, leave=False
        ):
            loss = _epoch(decoder, optimizer, *train, batch_size)
            auc = measures(val[1], _logits(decoder, val[0]))["auc"]
            history.append({"epoch": epoch, "loss": loss, "val_auc": auc})
            if select == "last" or not best or auc > history[best - 1]["val_auc"]:
                best = epoch
                kept = {name: value.clone() for name, value in decoder.state_dict().items()}
    decoder.load_state_dict(kept)
    logits = _logits(decoder, test[0])
    auc = measures(test[1], logits)["auc"]
    return NodeOutcome(decoder.eval(), tuple(history), best, auc, logits.cpu())


def embed_sources(
    model: TemporalGNN,
    data: TemporalData,
    graph: TemporalGraph,
    batch_size: int = 100,
    progress: bool = False,
) -> Tensor:
    """Returns the embedding of each event's source at the event's time, floating [E, hidden].

    The stream starts with an empty memory, and a batch is embedded before the memory knows it.
    The model is left bound to `graph`, with the memory of the whole stream.

    Args:
        model: in whatever mode; it is evaluated.
        data: the events, in order of time.
        graph: all events that may be looked up; of those only earlier ones are.
        batch_size: events of a batch.
        progress: whether to show a bar on stderr.

    Raises:
        InputError: unusable data.
    """
    data = check_events(data)
    model.bind(graph).reset_memory()
    found = []
    with (
        evaluating(model),
        tqdm(
            total=len(data.src), desc="embedding", unit="event", disable=not progress, leave=False
        ) as bar,
    ):
        for src, dst, t, features in batches(data, batch_size):
            found.append(model.embed(src, t))
            model.update(src, dst, t, features)
            bar.update(len(src))
    return torch.cat(found)


def _labels(data: TemporalData) -> Tensor:
    labels = getattr(data, "y", None)
    if not isinstance(labels, Tensor) or labels.shape != data.src.shape:
        raise InputError("data has no labels; expected y [E], 0 or 1 for each event.")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise InputError("data.y has values other than 0 and 1.")
    return labels


def _require_both(labels: Tensor, part: str) -> None:
    if labels.min() == labels.max():
        raise InputError(
            f"all {part} events have the label {int(labels.min())}; expected both, 0 and 1."
        )


def _epoch(
    decoder: NodeClassifier,
    optimizer: torch.optim.Optimizer,
    embeddings: Tensor,
    labels: Tensor,
    batch_size: int,
) -> float:
    """Trains for an epoch; returns the mean loss of an event."""
    decoder.train()
    total = 0.0
    for h, y in zip(embeddings.split(batch_size), labels.split(batch_size), strict=True):
        loss = F.binary_cross_entropy_with_logits(decoder(h), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    return total / len(labels)


@torch.no_grad()
def _logits(decoder: NodeClassifier, embeddings: Tensor) -> Tensor:
    return decoder.eval()(embeddings)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's generators for the block, and puts them back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
