"""Checks of what is explained, before any work."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.data.data import BaseData

from zoo_core.errors import InputError
from zoo_nseg.errors import IndexOutOfRangeError
from zoo_nseg.instance import Argument


def graph(x: Any, edge_index: Any, *, kind: str, what: str = "the graph") -> tuple[Tensor, Tensor]:
    """Returns the features and the edges of a graph that can be explained.

    Args:
        x: [N, F], or any [N, ...] where only edges are explained.
        edge_index: [2, E] int64.
        kind: "edge", "feature" or "joint".
        what: which graph, for the message.

    Raises:
        InputError: no tensors of these shapes, no nodes, no edges where they are explained, or
            features that are not finite.
    """
    if isinstance(x, Mapping) or isinstance(edge_index, Mapping):
        raise InputError(f"{what} is heterogeneous; NSEG explains homogeneous graphs.")
    if not isinstance(x, Tensor) or x.ndim < 1:
        raise InputError(f"x of {what} is {_shown(x)}; expected a tensor [N, F].")
    if not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
        raise InputError(
            f"edge_index of {what} is a {type(edge_index).__name__}; expected a dense tensor "
            "[2, E] (of a sparse adjacency, its indices)."
        )
    edge_index = edge_index.as_subclass(Tensor)
    if edge_index.ndim != 2 or len(edge_index) != 2 or edge_index.dtype != torch.long:
        shown = f"{list(edge_index.shape)} {edge_index.dtype}"
        raise InputError(f"edge_index of {what} is {shown}; expected [2, E] int64.")
    if x.is_meta:
        raise InputError(f"x of {what} is on the meta device, without numbers; expected data.")
    if edge_index.device != x.device:
        raise InputError(
            f"x of {what} is on {x.device} and edge_index on {edge_index.device}; move both to one."
        )
    if len(x) == 0:
        raise InputError(f"{what} has no nodes; expected at least one.")
    if edge_index.numel():
        low, high = int(edge_index.min()), int(edge_index.max())
        if low < 0 or high >= len(x):
            wrong = low if low < 0 else high
            raise IndexOutOfRangeError(
                f"edge_index of {what} names node {wrong}; it has nodes 0 to {len(x) - 1}."
            )
    elif kind == "edge":
        raise InputError(f"{what} has no edges, and its edges are what is to be explained.")
    if kind != "edge" and (x.ndim != 2 or not x.is_floating_point() or x.shape[1] == 0):
        shown = f"{list(x.shape)} {x.dtype}"
        raise InputError(
            f"x of {what} is {shown}; to explain features it must be floating-point [N, F]."
        )
    if x.is_floating_point() and not bool(x.isfinite().all()):
        raise InputError(f"x of {what} holds NaN or infinite values; expected finite ones.")
    # A tensor of inference mode could not be a part of autograd's graph.
    return _ordinary(x), _ordinary(edge_index)


def nodes(index: Any, number: int, device: torch.device, name: str = "nodes") -> Tensor:
    """Returns node (or output) ids as int64 [R].

    Args:
        index: an int, a sequence of ints, an integer tensor, or a bool mask [number].
        number: how many there are.
        device: where the result is.
        name: the argument, for the message.

    Raises:
        InputError: no ids.
        IndexOutOfRangeError: an id that is not there.
    """
    try:
        ids = torch.as_tensor(index, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is {_shown(index)}; expected ids such as [3, 7].") from error
    if ids.dtype == torch.bool:
        if ids.shape != (number,):
            raise InputError(f"{name} is a mask {list(ids.shape)}; expected [{number}].")
        ids = ids.nonzero()
    if ids.numel() == 0:
        raise InputError(f"{name} is empty; expected at least one id.")
    if ids.is_floating_point() or ids.is_complex():
        raise InputError(f"{name} is {ids.dtype}; expected whole numbers.")
    ids = ids.reshape(-1).long()
    outside = (ids < 0) | (ids >= number)
    if bool(outside.any()):
        raise IndexOutOfRangeError(
            f"{name} holds {int(ids[outside][0])}; expected ids from 0 to {number - 1}."
        )
    return _ordinary(ids)


def labels(target: Any, rows: int, classes: int, device: torch.device) -> Tensor:
    """Returns given labels as int64 [rows].

    Raises:
        InputError: not that many, or not below the number of classes.
    """
    try:
        given = torch.as_tensor(target, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"target is {_shown(target)}; expected labels [{rows}].") from error
    if given.is_floating_point() and not bool((given == given.round()).all()):
        raise InputError(f"target holds {float(given.flatten()[0])}; expected labels.")
    given = given.reshape(-1).long()
    if len(given) != rows:
        raise InputError(f"target has {len(given)} labels; the model's output has {rows} rows.")
    if bool(((given < 0) | (given >= classes)).any()):
        wrong = given[(given < 0) | (given >= classes)][0]
        raise InputError(f"target holds label {int(wrong)}; the model has {classes} classes.")
    return _ordinary(given)


def logits(name: str, given: Any, entries: int, device: torch.device) -> Tensor | None:
    """Returns given initial logits [entries], or None.

    Raises:
        InputError: another shape, no floating point, or not finite.
    """
    if given is None:
        return None
    found = torch.as_tensor(given, device=device)
    if found.shape != (entries,) or not found.is_floating_point():
        shown = f"{list(found.shape)} {found.dtype}"
        raise InputError(f"{name} is {shown}; expected floating-point [{entries}].")
    if not bool(found.isfinite().all()):
        raise InputError(f"{name} holds NaN or infinite values; expected finite ones.")
    return _ordinary(found.detach())


def arguments(given: Mapping[str, Any], num_nodes: int, num_edges: int) -> dict[str, Argument]:
    """Returns further arguments of the model with what their rows belong to.

    Where a graph has as many nodes as edges, the name decides: one with "edge" in it is of edges.
    """
    return {name: _argument(name, value, num_nodes, num_edges) for name, value in given.items()}


def argument_names(given: Any) -> list[str]:
    """Returns the names of further arguments of the model; one string is one name.

    Raises:
        InputError: no strings, or names of what the model is given anyway.
    """
    if not isinstance(given, Iterable):
        raise InputError(f"arguments is {_shown(given)}; expected names such as ['edge_attr'].")
    found = [given] if isinstance(given, str) else list(given)
    for name in found:
        if not isinstance(name, str):
            raise InputError(f"arguments holds {_shown(name)}; expected names such as 'edge_attr'.")
        if name in ("x", "edge_index"):
            raise InputError(f"arguments names {name!r}, which the model is given anyway.")
    return found


def of_graph(data: Data, names: Sequence[str], what: str) -> dict[str, Any]:
    """Returns the named attributes of a graph.

    Raises:
        InputError: it has no such attribute.
    """
    missing = [name for name in names if data.get(name) is None]
    if missing:
        known = ", ".join(sorted(data.keys()))
        raise InputError(f"{what} has no attribute {missing[0]!r}; it has {known}.")
    return {name: data[name] for name in names}


def graphs(given: Any, name: str = "graphs") -> list[Data]:
    """Returns graphs as a list: from a Batch, a data set, one Data or any iterable of Data.

    Raises:
        InputError: something else, or none.
    """
    if isinstance(given, Batch):
        given = given.to_data_list()
    elif isinstance(given, Data):
        given = [given]
    elif isinstance(given, BaseData) or not isinstance(given, Iterable):
        raise InputError(f"{name} is {_shown(given)}; expected a list of torch_geometric Data.")
    found = list(given)
    if not found:
        raise InputError(f"{name} is empty; expected at least one.")
    for place, each in enumerate(found):
        if not isinstance(each, Data):
            raise InputError(
                f"{name}[{place}] is a {type(each).__name__}; expected a homogeneous "
                "torch_geometric Data."
            )
    return found


def has_parameter(model: nn.Module, name: str) -> bool:
    """Whether the model's forward has a parameter of this name."""
    return name in inspect.signature(model.forward).parameters


def accepts(model: nn.Module, name: str) -> bool:
    """Whether the model's forward takes a keyword argument of this name, or any."""
    parameters = inspect.signature(model.forward).parameters.values()
    return has_parameter(model, name) or any(
        each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters
    )


def _argument(name: str, value: Any, num_nodes: int, num_edges: int) -> Argument:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return Argument(value, "same")
    value = _ordinary(value)
    of_nodes, of_edges = len(value) == num_nodes, len(value) == num_edges
    if of_edges and ("edge" in name or not of_nodes):
        return Argument(value, "edge")
    return Argument(value, "node" if of_nodes else "graph")


def _ordinary(value: Tensor) -> Tensor:
    return value.clone() if value.is_inference() else value.detach()


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
