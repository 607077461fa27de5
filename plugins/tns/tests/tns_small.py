"""Small temporal graphs, and models on them beside their reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tns_reference import Event, Memory, Reference, Setting
from torch import Tensor

from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN
from zoo_tns.official import to_official

NODES = 7
"""The last of them has no event."""
WIDTHS = {"edge_dim": 2, "node_dim": 4, "time_dim": 6, "hidden": 4}


def events(count: int = 30, edge_dim: int = 2, seed: int = 0) -> list[Event]:
    """Returns events with equal times, repeated partners and self-loops, in order of time."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.randint(2 * count // 3, (count,), generator=generator).sort().values.tolist()
    ends = torch.randint(NODES - 1, (count, 2), generator=generator).tolist()
    ends[count // 3] = [2, 2]
    features = torch.randn(count, edge_dim, generator=generator, dtype=torch.float64)
    return [
        Event(*pair, float(time), it) for pair, time, it in zip(ends, times, features, strict=True)
    ]


def node_features(width: int = 4, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(NODES, width, generator=generator, dtype=torch.float64)


def columns(batch: Sequence[Event]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns sources, destinations, times and features."""
    return (
        torch.tensor([each.source for each in batch]),
        torch.tensor([each.destination for each in batch]),
        torch.tensor([each.time for each in batch], dtype=torch.float64),
        torch.stack([each.features for each in batch]),
    )


def graph(of: Sequence[Event], features: Tensor | None = None) -> TemporalGraph:
    src, dst, t, edge_features = columns(of)
    return TemporalGraph(TemporalIndex(src, dst, t, num_nodes=NODES), edge_features, features)


def model(seed: int = 0, **config: Any) -> TemporalGNN:
    """Builds a model in float64 and evaluation mode, all of whose parameters matter.

    Args:
        seed: of the weights.
        config: of the model, over small widths, k = 3 and no memory.
    """
    built = TemporalGNN(**{**WIDTHS, "k": 3, "memory": False, **config}).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name == "time_encoder.weight":
                parameter.copy_(0.3 * drawn)
            elif "norm.weight" in name:
                parameter.copy_(1 + 0.2 * drawn)
            elif parameter.ndim > 1:
                parameter.copy_(1.5 * drawn / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(0.3 * drawn)
    return built


def bound(of: Sequence[Event], features: Tensor | None = None, **config: Any) -> TemporalGNN:
    """Builds a model on a graph, with rates in all of their range: at both bounds and between."""
    built = model(**config).bind(graph(of, features))
    for module in built.expansions:
        seen: list[Tensor] = []
        hook = module.aggregator.register_forward_hook(lambda *it, seen=seen: seen.append(it[2]))
        with torch.no_grad():
            built.embed(*queries(of))
            hook.remove()
            if not seen:
                continue
            # A fifth of the rates is held to each bound.
            low, high = torch.cat(seen).quantile(torch.tensor([0.2, 0.8]).double())
            scale = 2.3 / (high - low)
            module.aggregator.last.weight.mul_(scale)
            module.aggregator.last.bias.sub_(low).mul_(scale).add_(0.95)
    return built


def setting(built: TemporalGNN) -> Setting:
    names = ("aggr", "layers", "k", "sampler", "rate", "short", "expansion", "heads", "gate")
    of = {name: getattr(built.settings, name) for name in names}
    held = built.expansions[0].held if len(built.expansions) else None
    return Setting(**of, neighbor_time=built.neighbor_time, held=held)


def reference_tensors(built: TemporalGNN) -> dict[str, Tensor]:
    """Returns the parameters in the reference's names, connected to the model's for gradients."""
    state = built.state_dict(keep_vars=True)
    aggr = built.settings.aggr
    tensors = _named({name: it for name, it in state.items() if "expansions" not in name}, aggr)
    backbone = {name: it for name, it in state.items() if name.startswith(("time", "predictor"))}
    expansions = {
        name.replace("expansions.", "aggregators.").replace(".aggregator.", "."): it
        for name, it in state.items()
        if name.startswith("expansions.")
    }
    if expansions:
        kind = aggr if built.settings.expansion == "same" else "mean"
        for name, tensor in _named({**backbone, **expansions}, kind).items():
            for prefix in _LAYERS:
                if name.startswith(prefix):
                    tensors["expansion_models." + name.removeprefix(prefix)] = tensor
    return tensors


_LAYERS = ("embedding_module.attention_models.", "attn_model_list.", "mean_models.")


def _named(state: Mapping[str, Tensor], aggr: str) -> dict[str, Tensor]:
    if aggr in ("attention", "tgat"):
        return to_official(state, {"aggr": aggr})
    prefixes = {
        "aggregators.": "mean_models.",
        "predictor.": "affinity_score.",
        "memory.cell.": "memory_updater.memory_updater.",
    }
    tensors = {}
    for name, tensor in state.items():
        for own, other in prefixes.items():
            name = name.replace(own, other)
        tensors[name] = tensor
    tensors["time_encoder.w.weight"] = tensors.pop("time_encoder.weight").unsqueeze(1)
    tensors["time_encoder.w.bias"] = tensors.pop("time_encoder.bias")
    return tensors


def reference(
    built: TemporalGNN,
    of: Sequence[Event],
    features: Tensor | None = None,
    memory: Memory | None = None,
) -> Reference:
    """Returns the reference with the model's own parameters, on what the model is bound to."""
    tensors = reference_tensors(built)
    if memory is not None:
        memory.tensors = tensors
    start = torch.zeros(NODES, built.node_dim, dtype=torch.float64)
    start = start if features is None else start + features
    start = start if memory is None else start + memory.all()
    return Reference(tensors, of, setting(built), start)


def queries(of: Sequence[Event]) -> tuple[Tensor, Tensor]:
    """Returns every node at times before, between, at and after the events."""
    times = [of[0].time, of[len(of) // 2].time, of[-1].time - 0.5, of[-1].time + 3]
    nodes = torch.arange(NODES).repeat(len(times))
    return nodes, torch.tensor(times, dtype=torch.float64).repeat_interleave(NODES)
