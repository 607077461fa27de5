"""Trains the networks that are to be explained, and measures how often they are right."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from zoo_core.errors import InputError
from zoo_nseg.networks import GNN

Progress = Callable[[Iterable[int]], Iterable[int]]
"""Shows the progress of a loop over epochs."""


def initialised(seed: int, **config: Any) -> GNN:
    """Returns `GNN(**config)` with the initial weights of a seed; no global state is changed."""
    with seeded(seed):
        return GNN(**config)


def train_node(
    model: nn.Module,
    data: Data,
    *,
    epochs: int = 2000,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Progress = iter,
) -> list[float]:
    """Trains a network for nodes in place: Adam on the cross-entropy of all training nodes at once.

    The defaults are what the official checkpoints record.

    Args:
        model: called as `model(x, edge_index)`, gives logits [N, C]; left in evaluation mode.
        data: `x`, `edge_index`, `y` [N] int64, and `train_mask` [N] bool.
        epochs: steps.
        lr: the learning rate.
        weight_decay: Adam's.
        seed: of dropout, if the network has some; no global random state is changed.
        progress: wraps the loop over epochs.

    Returns:
        The loss before each step.

    Raises:
        InputError: the graph lacks labels or training nodes, or an argument is out of range.
    """
    for name in ("x", "edge_index", "y", "train_mask"):
        if not isinstance(data.get(name), Tensor):
            raise InputError(f"the graph has no {name}; expected x, edge_index, y and train_mask.")
    _at_least_one("epochs", epochs)
    if not data.train_mask.any():
        raise InputError("train_mask has no node; expected at least one to train on.")
    optimizer = _adam(model, lr, weight_decay)
    losses = []
    with _training(model, seed):
        for _ in progress(range(epochs)):
            logits = model(data.x, data.edge_index)[data.train_mask]
            loss = cross_entropy(logits, data.y[data.train_mask])
            losses.append(_step(loss, optimizer))
    return losses


def train_graph(
    model: nn.Module,
    graphs: Sequence[Data],
    *,
    epochs: int = 100,
    lr: float = 5e-3,
    batch_size: int = 64,
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Progress = iter,
) -> list[float]:
    """Trains a network for graphs in place: Adam on the cross-entropy of shuffled batches.

    Args:
        model: called as `model(x, edge_index, batch)`, gives logits [B, C]; left in evaluation
            mode.
        graphs: each with `x`, `edge_index` and `y` [1] int64.
        epochs: over all graphs.
        lr: the learning rate.
        batch_size: graphs a step.
        weight_decay: Adam's.
        seed: of the order of the graphs, and of dropout; no global random state is changed.
        progress: wraps the loop over epochs.

    Returns:
        The mean loss of each epoch's graphs.

    Raises:
        InputError: there are no graphs, some lack labels, or an argument is out of range.
    """
    _check_labelled(graphs)
    _at_least_one("epochs", epochs)
    _at_least_one("batch_size", batch_size)
    optimizer = _adam(model, lr, weight_decay)
    losses = []
    with _training(model, seed):
        loader = DataLoader(list(graphs), batch_size=batch_size, shuffle=True)
        for _ in progress(range(epochs)):
            total = 0.0
            for batch in loader:
                loss = cross_entropy(model(batch.x, batch.edge_index, batch.batch), batch.y)
                total += _step(loss, optimizer) * batch.num_graphs
            losses.append(total / len(graphs))
    return losses


@torch.inference_mode()
def node_accuracy(model: nn.Module, data: Data, mask: Tensor | None = None) -> float:
    """Returns the share of nodes that are classified right, in [0, 1].

    Args:
        model: as for `train_node`; evaluated without dropout, and left in the mode that it was in.
        data: `x`, `edge_index`, `y`.
        mask: [N] bool, the nodes that count; None is all.

    Raises:
        InputError: no node counts.
    """
    with _evaluating(model):
        right = model(data.x, data.edge_index).argmax(dim=1) == data.y
    return _share(right if mask is None else right[mask])


@torch.inference_mode()
def graph_accuracy(model: nn.Module, graphs: Sequence[Data], batch_size: int = 256) -> float:
    """Returns the share of graphs that are classified right, in [0, 1].

    Args:
        model: as for `train_graph`; evaluated without dropout, and left in the mode that it was in.
        graphs: each with `x`, `edge_index` and `y`.
        batch_size: graphs that are classified at once.

    Raises:
        InputError: there are no graphs, or some lack labels.
    """
    _check_labelled(graphs)
    with _evaluating(model):
        right = [
            model(batch.x, batch.edge_index, batch.batch).argmax(dim=1) == batch.y
            for batch in DataLoader(list(graphs), batch_size=batch_size)
        ]
    return _share(torch.cat(right))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws from a seed meanwhile, and gives back torch's global random state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _training(model: nn.Module, seed: int) -> Iterator[None]:
    with seeded(seed):
        model.train()
        try:
            yield
        finally:
            model.eval()


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _adam(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Adam:
    if not (math.isfinite(lr) and lr > 0):
        raise InputError(f"lr is {lr!r}; expected a finite number above 0.")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise InputError(f"weight_decay is {weight_decay!r}; expected a finite number, 0 or more.")
    return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)


def _at_least_one(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}; expected a whole number of at least 1.")


def _step(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _share(right: Tensor) -> float:
    if not right.numel():
        raise InputError("no node is to be classified; expected at least one.")
    return right.double().mean().item()


def _check_labelled(graphs: Sequence[Data]) -> None:
    if not len(graphs):
        raise InputError("there are no graphs; expected at least one.")
    for number, graph in enumerate(graphs):
        label = graph.get("y")
        if not isinstance(label, Tensor) or label.shape != (1,) or label.dtype != torch.int64:
            raise InputError(f"graph {number} has no label y; expected int64 [1].")
