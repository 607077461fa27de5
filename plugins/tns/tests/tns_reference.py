"""A slow float64 reference of TNS, TGN and TGAT: one query at a time, in Python loops.

Tensors go by the names of the official TGN and TGAT code where it has them. What it lacks, by ours:
`mean_models.{l}.fc{1,2}` for Eq. 5, whose sums have the same names, and `expansion_models.{l}` for
AGGR_r, whose tensors are those of its kind of aggregator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


class Event(NamedTuple):
    """An event; features [d_e] may have width 0."""

    source: int
    destination: int
    time: float
    features: Tensor


@dataclass(frozen=True)
class Setting:
    """What is not in the tensors."""

    aggr: str = "attention"
    layers: int = 1
    k: int = 3
    sampler: str = "recent"
    rate: float = 1.0
    short: str = "truncate"
    expansion: str = "same"
    neighbor_time: str = "query"
    heads: int = 2
    gate: str = "inward"
    held: float | None = None


def history(events: Sequence[Event], node: int, time: float) -> list[tuple[int, Event]]:
    """Returns (partner, event) of all events of a node strictly before a time, most recent first.

    Events of equal times stay in their order. A self-loop is there twice.
    """
    found: list[tuple[int, Event]] = []
    for event in sorted(events, key=lambda each: each.time):
        if event.time < time:
            if event.source == node:
                found.append((event.destination, event))
            if event.destination == node:
                found.append((event.source, event))
    return found[::-1]


def upper_bound(count: int, k: int) -> float:
    """Returns the upper bound of Eq. 8; 1 where there is nothing to expand."""
    return (count - 1) / (k - 1) if count >= k and k > 1 else 1.0


def _value(number: float | Tensor) -> float:
    return float(number.detach()) if isinstance(number, Tensor) else float(number)


def positions(rate: float | Tensor, count: int, k: int) -> list[Any]:
    """Returns the positions of Eq. 6 and 9, as floats or, with a gradient, as tensors.

    A position that only rounding has carried beyond the oldest event is the oldest event's.
    """
    found: list[Any] = []
    for step in range(k):
        position = 1 + step * rate
        value = _value(position)
        if value > count and not math.isclose(value, count, rel_tol=1e-12):
            break
        found.append(position if value <= count else float(count))
    return found


def interpolated(messages: Sequence[Tensor], position: float | Tensor) -> Tensor:
    """Returns m(n), as the sum over all events of Eq. 10.

    The derivative by n is m(f + 1) - m(f) with f = floor(n), also where n is an integer; 0 at N.
    """
    value = _value(position)
    result = torch.zeros_like(messages[0])
    for order, message in enumerate(messages, start=1):
        result = result + max(0.0, 1 - abs(value - order)) * message
    floor = math.floor(value)
    if isinstance(position, Tensor) and floor < len(messages):
        slope = (messages[floor] - messages[floor - 1]).detach()
        result = result + (position - position.detach()) * slope
    return result


def rate_gradient(
    messages: Sequence[Tensor], rate: float, gradients: Sequence[Tensor], k: int
) -> float:
    """Returns dL/dr of Eq. 13 from dL/dm(n_s), one gradient a position."""
    total = 0.0
    for step, (position, gradient) in enumerate(
        zip(positions(rate, len(messages), k), gradients, strict=True)
    ):
        floor = math.floor(position)
        if floor < len(messages):
            total += step * float(gradient @ (messages[floor] - messages[floor - 1]))
    return total


def gate_gradient(x: float, count: int, k: int, slope: float, gate: str) -> float:
    """Returns dL/dx from dL/dr, through the truncation of Eq. 8."""
    upper = upper_bound(count, k)
    if upper <= 1:
        return 0.0
    if x < 1:
        return slope if gate == "inward" and slope < 0 else 0.0
    if x > upper:
        return slope if gate == "inward" and slope > 0 else 0.0
    return slope


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, k: int, gate: str) -> Tensor:
        ctx.known = (_value(x), count, k, gate)
        return x.new_tensor(min(max(1.0, _value(x)), upper_bound(count, k)))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        x, count, k, gate = ctx.known
        return slope.new_tensor(gate_gradient(x, count, k, float(slope), gate)), None, None, None


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors below a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def encoded(tensors: Mapping[str, Tensor], elapsed: float) -> Tensor:
    """Returns phi of a difference of times, [d_t]."""
    if "time_encoder.basis_freq" in tensors:
        return torch.cos(
            elapsed * tensors["time_encoder.basis_freq"] + tensors["time_encoder.phase"]
        )
    frequency = tensors["time_encoder.w.weight"][:, 0]
    return torch.cos(elapsed * frequency + tensors["time_encoder.w.bias"])


def merged(tensors: Mapping[str, Tensor], first: Tensor, second: Tensor) -> Tensor:
    """Returns fc2(ReLU(fc1(first, second)))."""
    hidden = F.linear(torch.cat([first, second]), tensors["fc1.weight"], tensors["fc1.bias"])
    return F.linear(hidden.relu(), tensors["fc2.weight"], tensors["fc2.bias"])


def mean_layer(tensors: Mapping[str, Tensor], own: Tensor, messages: Sequence[Tensor]) -> Tensor:
    """Eq. 5."""
    width = tensors["fc1.weight"].shape[1]
    total = sum(messages, torch.zeros(width, dtype=own.dtype))
    return _eq5(tensors, own, total / max(1, len(messages)))


def sum_layer(tensors: Mapping[str, Tensor], own: Tensor, messages: Sequence[Tensor]) -> Tensor:
    """Eq. 5 with the sum of the messages instead of their mean."""
    width = tensors["fc1.weight"].shape[1]
    return _eq5(tensors, own, sum(messages, torch.zeros(width, dtype=own.dtype)))


def _eq5(tensors: Mapping[str, Tensor], own: Tensor, pooled: Tensor) -> Tensor:
    hidden = F.linear(pooled, tensors["fc1.weight"], tensors["fc1.bias"]).relu()
    return F.linear(torch.cat([own, hidden]), tensors["fc2.weight"], tensors["fc2.bias"])


def tgn_layer(
    tensors: Mapping[str, Tensor],
    own: Tensor,
    now: Tensor,
    messages: Sequence[Tensor],
    k: int,
    heads: int,
) -> Tensor:
    """Temporal attention as TGN has it: a padded batch of one through torch's own module.

    Args:
        tensors: of `embedding_module.attention_models.{l}`.
        own: h of the node, [d].
        now: phi(0).
        messages: at most k.
        k: slots.
        heads: of the attention.
    """
    weights = part(tensors, "multi_head_target.")
    query = torch.cat([own, now])
    names = ("k_proj_weight", "in_proj_weight")
    width = next(weights[name].shape[1] for name in names if name in weights)
    attention = nn.MultiheadAttention(
        len(query), heads, kdim=width, vdim=width, dtype=torch.float64, dropout=0.0
    ).eval()
    slots = [*messages, *[torch.zeros(width, dtype=own.dtype)] * (k - len(messages))]
    padded = torch.arange(k) >= len(messages)
    padded[0] = False
    keys = torch.stack(slots).unsqueeze(1)
    found, _ = functional_call(
        attention, weights, (query.view(1, 1, -1), keys, keys), {"key_padding_mask": padded[None]}
    )
    found = found.view(-1)
    if not messages:
        found = torch.zeros_like(found)
    return merged(part(tensors, "merger."), found, own)


def tgat_layer(
    tensors: Mapping[str, Tensor],
    own: Tensor,
    now: Tensor,
    messages: Sequence[Tensor],
    k: int,
    heads: int,
) -> Tensor:
    """Attention as TGAT has it, with residual and layer norm; args as `tgn_layer`."""
    weights = part(tensors, "multi_head_target.")
    width = weights["w_ks.weight"].shape[1]
    between = torch.zeros(width - len(own) - len(now), dtype=own.dtype)
    query = torch.cat([own, between, now])
    slots = [*messages, *[torch.zeros(width, dtype=own.dtype)] * (k - len(messages))]
    projected = weights["w_qs.weight"] @ query
    keys = [weights["w_ks.weight"] @ slot for slot in slots]
    values = [weights["w_vs.weight"] @ slot for slot in slots]
    size = width // heads
    outputs = []
    for head in range(heads):
        here = slice(head * size, (head + 1) * size)
        scores = [projected[here] @ key[here] / math.sqrt(size) for key in keys]
        scores = [
            score if slot < len(messages) else torch.full_like(score, -1e10)
            for slot, score in enumerate(scores)
        ]
        share = torch.stack(scores).softmax(0)
        outputs.append(sum(share[slot] * values[slot][here] for slot in range(k)))
    output = F.linear(torch.cat(outputs), weights["fc.weight"], weights["fc.bias"])
    output = F.layer_norm(
        output + query, (width,), weights["layer_norm.weight"], weights["layer_norm.bias"]
    )
    return merged(part(tensors, "merger."), output, own)


class Reference:
    """Embeddings, rates and scores, one query at a time.

    Args:
        tensors: float64, in the names described above.
        events: those that can be looked up.
        setting: the method.
        start: h^(0) of each node, [V, d_0]: features, with TGN's memory added.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        events: Sequence[Event],
        setting: Setting,
        start: Tensor,
    ) -> None:
        self.tensors, self.events, self.setting, self.start = tensors, events, setting, start
        self.now = encoded(tensors, 0.0)
        self._known: dict[tuple[int, float, int], tuple[Tensor, Tensor]] = {}

    def embed(self, node: int, time: float) -> Tensor:
        """Returns h^(L)."""
        return self._layer(node, time, self.setting.layers)[0]

    def rates(self, node: int, time: float) -> list[float]:
        """Returns r^(l) of the node's own query, of layers 1 to L."""
        return [
            _value(self._layer(node, time, layer)[1]) for layer in range(1, self.setting.layers + 1)
        ]

    def score(self, source: int, destination: int, time: float) -> Tensor:
        """Returns the logit of a link, 0-dimensional."""
        pair = self.embed(source, time), self.embed(destination, time)
        return merged(part(self.tensors, "affinity_score."), *pair)[0]

    def _layer(self, node: int, time: float, layer: int) -> tuple[Tensor, Tensor]:
        if layer == 0:
            return self.start[node], torch.tensor(math.nan)
        key = (node, time, layer)
        if key not in self._known:
            own = self._layer(node, time, layer - 1)[0]
            past = history(self.events, node, time)
            messages = [self._message(*each, time, layer) for each in past]
            rate = self._rate(own, messages, layer)
            read = [interpolated(messages, n) for n in positions(rate, len(past), self.setting.k)]
            self._known[key] = self._aggregate(layer, own, read), torch.as_tensor(rate)
        return self._known[key]

    def _message(self, partner: int, event: Event, time: float, layer: int) -> Tensor:
        """Eq. 2."""
        when = time if self.setting.neighbor_time == "query" else event.time
        neighbor = self._layer(partner, when, layer - 1)[0]
        return torch.cat([neighbor, event.features, encoded(self.tensors, time - event.time)])

    def _rate(self, own: Tensor, messages: Sequence[Tensor], layer: int) -> float | Tensor:
        setting, count = self.setting, len(messages)
        upper = upper_bound(count, setting.k)
        if setting.sampler == "recent":
            return 1.0
        if setting.sampler == "expanded":
            return setting.rate if setting.short == "truncate" else min(setting.rate, upper)
        if setting.held is not None:
            return min(setting.held, upper)
        if count < setting.k:
            return 1.0
        x = self._expansion(own, messages[: setting.k], layer)
        return _Gate.apply(x, count, setting.k, setting.gate)

    def _expansion(self, own: Tensor, messages: Sequence[Tensor], layer: int) -> Tensor:
        """Returns x of Eq. 7."""
        kind = self.setting.aggr if self.setting.expansion == "same" else "mean"
        tensors = part(self.tensors, f"expansion_models.{layer - 1}.")
        return self._aggregated(kind, tensors, own, messages)[0]

    def _aggregate(self, layer: int, own: Tensor, messages: Sequence[Tensor]) -> Tensor:
        prefix = {
            "attention": "embedding_module.attention_models.",
            "tgat": "attn_model_list.",
            "mean": "mean_models.",
            "sum": "mean_models.",
        }[self.setting.aggr]
        tensors = part(self.tensors, f"{prefix}{layer - 1}.")
        return self._aggregated(self.setting.aggr, tensors, own, messages)

    def _aggregated(
        self, kind: str, tensors: Mapping[str, Tensor], own: Tensor, messages: Sequence[Tensor]
    ) -> Tensor:
        if kind == "mean":
            return mean_layer(tensors, own, messages)
        if kind == "sum":
            return sum_layer(tensors, own, messages)
        layer = tgn_layer if kind == "attention" else tgat_layer
        return layer(tensors, own, self.now, messages, self.setting.k, self.setting.heads)


class Memory:
    """TGN's memory: dicts of nodes, of lists of messages.

    Args:
        tensors: as for `Reference`.
        num_nodes: V.
        last_by: "role": sources' messages are stored before destinations'; "time": by event.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], num_nodes: int, last_by: str = "role"
    ) -> None:
        self.tensors, self.last_by = tensors, last_by
        width = tensors["memory_updater.memory_updater.weight_hh"].shape[1]
        self.memory = {node: torch.zeros(width, dtype=torch.float64) for node in range(num_nodes)}
        self.last_update = dict.fromkeys(range(num_nodes), 0.0)
        self.messages: dict[int, list[tuple[Tensor, float]]] = {
            node: [] for node in range(num_nodes)
        }

    def updated(self, node: int) -> tuple[Tensor, float]:
        """Returns memory and time of last update with the messages of earlier batches in it."""
        if not self.messages[node]:
            return self.memory[node], self.last_update[node]
        message, time = self.messages[node][-1]
        weights = part(self.tensors, "memory_updater.memory_updater.")
        cell = nn.GRUCell(len(message), len(self.memory[node]), dtype=torch.float64)
        state = functional_call(cell, weights, (message[None], self.memory[node][None]))
        return state[0], time

    def all(self) -> Tensor:
        """Returns the updated memory of all nodes, [V, d], with its gradient."""
        return torch.stack([self.updated(node)[0] for node in self.memory])

    def store(self, batch: Sequence[Event]) -> None:
        """Persists the update of a batch's nodes, clears their messages and stores the batch's."""
        nodes = {event.source for event in batch} | {event.destination for event in batch}
        for node in nodes:
            memory, self.last_update[node] = self.updated(node)
            self.memory[node] = memory.detach()
        for node in nodes:
            self.messages[node].clear()
        sources = [(event.source, event.destination, event) for event in batch]
        destinations = [(event.destination, event.source, event) for event in batch]
        roles = [*sources, *destinations]
        if self.last_by == "time":
            roles = [role for pair in zip(sources, destinations, strict=True) for role in pair]
        for own, other, event in roles:
            elapsed = encoded(self.tensors, event.time - self.last_update[own])
            message = torch.cat([self.memory[own], self.memory[other], event.features, elapsed])
            self.messages[own].append((message.detach(), event.time))
