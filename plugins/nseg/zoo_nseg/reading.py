"""What metrics read of an `Explanation`, of NSEG or of another algorithm, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data.data import BaseData
from torch_geometric.explain import Explanation
from torch_geometric.explain.config import ModelConfig, ModelMode

from zoo_core.errors import InputError
from zoo_nseg import inputs
from zoo_nseg.errors import IndexOutOfRangeError
from zoo_nseg.settings import choice

REGIONS = ("influencing", "neighbourhood", "all")
_MADE = "expected an Explanation that Explainer, explain_nodes or explain_graphs made."


@dataclass(frozen=True)
class Case:
    """An explanation with all that it takes to run the model under it.

    Attributes:
        name: which it is, for messages.
        x: [N, F].
        edge_index: [2, E].
        x_cf: [N, F], as x; None where features are not explained.
        edges: [E] mask, or None.
        nodes: [N] mask of the features, or None.
        arguments: of the model.
        config: how its output is read.
        target: [rows of the output], labels.
        rows: [R], those that are explained.
        given: what tells inputs of the model apart; explanations of many nodes of a graph share it.
        kept_alive: what `given` was made of.
    """

    name: str
    x: Tensor
    edge_index: Tensor
    x_cf: Tensor | None
    edges: Tensor | None
    nodes: Tensor | None
    arguments: dict[str, Any]
    config: ModelConfig
    target: Tensor
    rows: Tensor
    given: tuple[Any, ...]
    kept_alive: Explanation

    @property
    def kind(self) -> str:
        """Returns "edge", "feature" or "joint"."""
        if self.nodes is None:
            return "edge"
        return "feature" if self.edges is None else "joint"


def cases(explanations: Any) -> list[Case]:
    """Returns one explanation or several, ready to be run.

    Raises:
        InputError: none, something else, or one that lacks what it takes.
        IndexOutOfRangeError: a row or node that is not there.
    """
    if isinstance(explanations, BaseData):
        return [_case("the explanation", explanations)]
    if not isinstance(explanations, Iterable):
        raise InputError(f"explanations is a {type(explanations).__name__}; {_MADE}")
    found = [_case(f"explanations[{place}]", each) for place, each in enumerate(explanations)]
    if not found:
        raise InputError("explanations is empty; expected at least one.")
    return found


def masks(explanation: Any) -> tuple[Tensor | None, Tensor | None]:
    """Returns the edge mask [E] and the mask of the nodes' features [N], None where there is none.

    Raises:
        InputError: no torch_geometric Explanation of a homogeneous graph, neither mask, or one of
            another shape or with NaN or infinite values.
    """
    x, edge_index = _graph(explanation)
    edges, nodes = explanation.get("edge_mask"), explanation.get("node_mask")
    if edges is None and nodes is None:
        raise InputError("the explanation has neither an edge_mask nor a node_mask.")
    if edges is not None:
        _check("edge_mask", edges, (edge_index.shape[1],), "a number an edge")
        edges = edges.detach()
    if nodes is not None:
        _check("node_mask", nodes, (len(x), 1), "a number a node, as of node_mask_type='object'")
        nodes = nodes.detach().squeeze(-1)
    return edges, nodes


def edge_mask(explanation: Any) -> Tensor:
    """Returns the edge mask [E].

    Raises:
        InputError: it has none; or as `masks`.
    """
    edges, _ = masks(explanation)
    if edges is None:
        raise InputError("the explanation has no edge_mask; explain edges, or edges and features.")
    return edges


def edges_of(explanation: Explanation, edges: str | Sequence[int] | Tensor) -> Tensor:
    """Returns ids [K] int64, ascending, each once, of the edges that are meant.

    Args:
        explanation: with a graph.
        edges: "neighbourhood", those between nodes within L hops of the explained one;
            "influencing", those whose messages reach it; "all"; ids; or a bool mask [E]. Of an
            explanation that does not say what its neighbourhood is, such as one of a graph, all.

    Raises:
        InputError: an unknown name, or no ids.
        IndexOutOfRangeError: an id that is not there.
    """
    edge_index = _graph(explanation)[1]
    number, device = edge_index.shape[1], edge_index.device
    if isinstance(edges, str):
        choice("edges", edges, REGIONS)
        influencing = explanation.get("influencing_edge_mask")
        around = explanation.get("khop_edge_ids")
        if edges == "influencing" and influencing is not None:
            return influencing.nonzero().squeeze(-1)
        if edges == "neighbourhood" and around is not None:
            return around.sort().values
        return torch.arange(number, device=device)
    try:
        ids = torch.as_tensor(edges, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"edges is a {type(edges).__name__}; expected ids.") from error
    if ids.dtype == torch.bool and ids.shape == (number,):
        return ids.nonzero().squeeze(-1)
    if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        shown = f"{list(ids.shape)} {ids.dtype}"
        raise InputError(f"edges is {shown}; expected whole numbers [K] or a bool mask [{number}].")
    outside = (ids < 0) | (ids >= number)
    if bool(outside.any()):
        raise IndexOutOfRangeError(
            f"edges holds {int(ids[outside][0])}; expected ids from 0 to {number - 1}."
        )
    return ids.long().unique()


def influencing_nodes(explanation: Explanation) -> Tensor:
    """Returns ids [K] int64, ascending, of the nodes whose features the output depends on.

    They are the ends of the influencing edges and the explained nodes; of an explanation that does
    not say which edges these are, all.
    """
    x, edge_index = _graph(explanation)
    influencing, index = explanation.get("influencing_edge_mask"), explanation.get("index")
    if influencing is None or index is None:
        return torch.arange(len(x), device=x.device)
    matters = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    matters[edge_index[:, influencing]] = True
    matters[index] = True
    return matters.nonzero().squeeze(-1)


def real(name: str, value: Any) -> float:
    """Returns a finite number, or raises InputError."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{name} is {value!r}; expected a finite number.")
    return float(value)


def _graph(explanation: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(explanation, Explanation):
        raise InputError(f"the explanation is a {type(explanation).__name__}; {_MADE}")
    x, edge_index = explanation.get("x"), explanation.get("edge_index")
    if not isinstance(x, Tensor) or not x.ndim or not isinstance(edge_index, Tensor):
        raise InputError(f"the explanation has no tensors x and edge_index; {_MADE}")
    return x, edge_index


def _check(name: str, mask: Any, shape: tuple[int, ...], what: str) -> None:
    if not isinstance(mask, Tensor) or mask.shape != shape:
        shown = list(mask.shape) if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
        raise InputError(f"{name} is {shown}; expected {list(shape)}, {what}.")
    if not bool(mask.isfinite().all()):
        raise InputError(f"{name} holds NaN or infinite values; expected finite ones.")


def _case(name: str, explanation: Any) -> Case:
    edges, nodes = masks(explanation)
    config = getattr(explanation, "_model_config", None)
    target = explanation.get("target")
    if not isinstance(config, ModelConfig) or not isinstance(target, Tensor):
        raise InputError(
            f"{name} does not say how outputs are read (_model_config) and what is explained "
            f"(target); {_MADE}"
        )
    if config.mode == ModelMode.regression:
        raise InputError(f"{name} is of a regression; expected one of a classifier.")
    kind = "edge" if nodes is None else "feature"
    x, edge_index = inputs.graph(explanation.x, explanation.edge_index, kind=kind, what=name)
    target, index = target.reshape(-1), explanation.get("index")
    rows = torch.arange(len(target), device=x.device)
    if index is not None:
        rows = inputs.nodes(index, len(target), x.device, f"index of {name}")
    names = sorted(getattr(explanation, "_model_args", None) or [])
    arguments = {each: explanation[each] for each in names}
    parts = [explanation.x, explanation.edge_index, *arguments.values()]
    settings = config.mode, config.task_level, config.return_type
    return Case(
        name=name,
        x=x,
        edge_index=edge_index,
        x_cf=None if nodes is None else _counterfactual(name, explanation),
        edges=edges,
        nodes=nodes,
        arguments=arguments,
        config=config,
        target=target,
        rows=rows,
        given=(*settings, *names, *(id(each) for each in parts)),
        kept_alive=explanation,
    )


def _counterfactual(name: str, explanation: Explanation) -> Tensor:
    x, x_cf = explanation.x, explanation.get("x_cf")
    if not isinstance(x_cf, Tensor):
        raise InputError(
            f"{name} has a node_mask but no x_cf [N, F], the counterfactual features of nodes that "
            "are left out; set it (NearestNeighborMatcher finds them), or explain edges alone."
        )
    if x_cf.shape != x.shape or not bool(x_cf.isfinite().all()):
        shown = list(x_cf.shape)
        raise InputError(f"x_cf of {name} is {shown}; expected finite numbers {list(x.shape)}.")
    return x_cf.to(x)
