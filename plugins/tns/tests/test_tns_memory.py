"""TGN's memory over a stream: against the reference, PyTorch Geometric's, and what may not leak."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tns_reference import Event, Memory
from tns_small import (
    NODES,
    bound,
    columns,
    events,
    graph,
    model,
    node_features,
    reference,
    reference_tensors,
)
from torch import Tensor
from torch_geometric.nn.models.tgn import IdentityMessage, LastAggregator, TGNMemory

from zoo_core.errors import ConfigError, InputError
from zoo_tns.model import TemporalGNN

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def batches(of: Sequence[Event], size: int = 6) -> list[Sequence[Event]]:
    return [of[start : start + size] for start in range(0, len(of), size)]


def _stream(seed: int = 0) -> list[Event]:
    """Events in which nodes often have both roles in one batch."""
    return events(30, seed=seed)


@pytest.mark.parametrize("last_by", ["role", "time"])
@pytest.mark.parametrize(
    "config",
    [
        {"aggr": "attention", "sampler": "recent"},
        {"aggr": "attention", "sampler": "tns"},
        {"aggr": "attention", "sampler": "tns", "layers": 2},
        {"aggr": "mean", "sampler": "tns"},
        {"aggr": "attention", "sampler": "expanded", "rate": 2.0},
    ],
    ids=["recent", "tns", "tns-two-layers", "tns-mean", "expanded"],
)
def test_batch_by_batch(config: dict[str, Any], last_by: str) -> None:
    past, features = _stream(), node_features()
    built = bound(past, features, memory=True, last_by=last_by, **config)
    memory = Memory(reference_tensors(built), NODES, last_by)
    nodes = torch.arange(NODES)
    for batch in batches(past):
        now = batch[-1].time
        times = torch.full((NODES,), now).double()
        expected = reference(built, past, features, memory)
        wanted = torch.stack([expected.embed(node, now) for node in range(NODES)])
        torch.testing.assert_close(built.embed(nodes, times), wanted, **EXACT)
        memory.store(batch)
        built.update(*columns(batch))
        state = built.memory_state()
        torch.testing.assert_close(
            state["memory"], torch.stack(list(memory.memory.values())), **EXACT
        )
        assert state["last_update"].tolist() == list(memory.last_update.values())
        pending = {node: it[-1] for node, it in memory.messages.items() if it}
        assert state["pending_nodes"].tolist() == sorted(pending)
        assert state["pending_times"].tolist() == [pending[node][1] for node in sorted(pending)]
        messages = torch.stack([pending[node][0] for node in sorted(pending)])
        torch.testing.assert_close(state["pending_messages"], messages, **EXACT)


@pytest.mark.parametrize("layers", [1, 2])
def test_gradients_reach_the_cell_through_pending_messages(layers: int) -> None:
    past, features = _stream(), node_features()
    built = bound(past, features, memory=True, sampler="tns", layers=layers, gate="strict")
    memory = Memory(reference_tensors(built), NODES)
    for batch in batches(past)[:3]:
        memory.store(batch)
        built.update(*columns(batch))
    now, slopes = past[18].time, torch.randn(NODES, 4, dtype=torch.float64)
    expected = reference(built, past, features, memory)
    wanted = torch.stack([expected.embed(node, now) for node in range(NODES)])
    names, parameters = zip(*built.named_parameters(), strict=True)
    gradients = torch.autograd.grad((wanted * slopes).sum(), parameters, allow_unused=True)
    found = built.embed(torch.arange(NODES), torch.full((NODES,), now).double())
    (found * slopes).sum().backward()
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        if not name.startswith("predictor."):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-9)
    assert bool((built.memory.cell.weight_ih.grad != 0).any())


def test_the_official_order_in_a_step_of_training() -> None:
    # Memory of earlier batches, scores, update, and only then backward and the optimizer's step.
    past = _stream()
    built = bound(past, memory=True, sampler="tns").train()
    optimizer = torch.optim.Adam(built.param_groups(1e-2))
    for batch in batches(past):
        src, dst, t, features = columns(batch)
        positive, negative = built(src, dst, t, dst.flip(0))
        built.update(src, dst, t, features)
        stored = copy.deepcopy(built.memory_state())
        optimizer.zero_grad()
        (negative - positive).exp().mean().backward()
        optimizer.step()
        state = built.memory_state()
        assert not any(it.requires_grad for it in state.values())
        assert all(torch.equal(it, stored[name]) for name, it in state.items())


def test_a_node_of_both_roles_keeps_its_last_message_as_a_destination() -> None:
    batch = [
        Event(0, 1, 1.0, torch.tensor([1.0, 0.0]).double()),
        Event(1, 2, 2.0, torch.tensor([2.0, 0.0]).double()),
    ]
    for last_by, kept in (("role", 1.0), ("time", 2.0)):
        built = bound(batch, memory=True, sampler="recent", last_by=last_by)
        built.update(*columns(batch))
        state = built.memory_state()
        row = state["pending_nodes"].tolist().index(1)
        assert state["pending_messages"][row, 8:10].tolist() == [kept, 0.0]
        assert state["pending_times"][row] == kept


def test_with_distinct_times_it_is_that_of_pytorch_geometric() -> None:
    # There a message is made when it is taken in, not when it is left, and a GRU without a message
    # gets zeros: the same where every batch has every node and the cell has no bias.
    torch.manual_seed(0)
    size, nodes, width, edge, time = 12, 6, 4, 2, 6
    built = model(memory=True, sampler="recent", last_by="time").float()
    for bias in (built.memory.cell.bias_ih, built.memory.cell.bias_hh):
        torch.nn.init.zeros_(bias)
    module = TGNMemory(
        nodes, edge, width, time, IdentityMessage(edge, width, time), LastAggregator()
    )
    module.gru.load_state_dict(built.memory.cell.state_dict())
    with torch.no_grad():
        module.time_enc.lin.weight.copy_(built.time_encoder.weight.unsqueeze(1))
        module.time_enc.lin.bias.copy_(built.time_encoder.bias)
    module.train()
    stream = []
    for batch in range(4):
        pairs = torch.cat([torch.randperm(nodes).view(-1, 2) for _ in range(size // 3)])
        times = torch.arange(len(pairs)) + batch * 20
        stream.append((pairs[:, 0], pairs[:, 1], times, torch.randn(len(pairs), edge)))
    built.bind(graph([Event(0, 1, 0.0, torch.zeros(2).double())]))
    for batch in stream:
        built.update(*batch)
        module.update_state(*batch)
        module.detach()
        expected, last = module(torch.arange(nodes))
        state = built.state()
        found = built.memory.updated(state, torch.arange(nodes))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert state.message_time[:nodes].tolist() == last.tolist()


def _through(built: TemporalGNN, of: Sequence[Sequence[Event]]) -> list[Tensor]:
    scores = []
    with torch.no_grad():
        for batch in of:
            scores.append(built.score(*columns(batch)[:3]))
            built.update(*columns(batch))
    return scores


def test_a_snapshot_restores_the_stream_with_its_pending_messages() -> None:
    past = _stream()
    built = bound(past, memory=True, sampler="tns")
    parts = batches(past)
    _through(built, parts[:2])
    snapshot = built.memory_state()
    copied = copy.deepcopy(snapshot)
    assert len(snapshot["pending_nodes"])
    first = _through(built, parts[2:])
    assert all(torch.equal(it, copied[name]) for name, it in snapshot.items())
    built.load_memory_state(snapshot)
    assert all(map(torch.equal, first, _through(built, parts[2:])))
    assert all(torch.equal(it, copied[name]) for name, it in snapshot.items())
    fresh = bound(past, memory=True, sampler="tns")
    fresh.load_memory_state(snapshot)
    assert all(map(torch.equal, first, _through(fresh, parts[2:])))
    lossy = {**snapshot, "pending_nodes": snapshot["pending_nodes"][:0]}
    lossy |= {name: snapshot[name][:0] for name in ("pending_messages", "pending_times")}
    fresh.load_memory_state(lossy)
    assert not all(map(torch.equal, first, _through(fresh, parts[2:])))


def test_reset_forgets_everything() -> None:
    past = _stream()
    built = bound(past, memory=True, sampler="tns")
    first = _through(built, batches(past))
    built.reset_memory()
    state = built.memory_state()
    assert not any(bool(state[name].any()) for name in ("memory", "last_update"))
    assert len(state["pending_nodes"]) == 0
    assert all(map(torch.equal, first, _through(built, batches(past))))
    assert not any("state" in name or name == "memory.memory" for name in built.state_dict())


def test_a_batch_sees_neither_its_own_nor_later_events() -> None:
    past = _stream()
    parts = batches(past)
    built = bound(past, memory=True, sampler="tns")
    _through(built, parts[:2])
    scores = built.score(*columns(parts[2])[:3])
    assert torch.equal(built.score(*columns(parts[2])[:3]), scores)
    built.update(*columns(parts[2]))
    assert not torch.equal(built.score(*columns(parts[2])[:3]), scores)
    now = parts[2][0].time
    changed = [each if each.time < now else each._replace(source=0) for each in past]
    other = bound(past, memory=True, sampler="tns").bind(graph(changed))
    _through(other, parts[:2])
    first = sum(each.time == now for each in parts[2])
    src, dst, t, _ = (it[:first] for it in columns(parts[2]))
    torch.testing.assert_close(other.score(src, dst, t), scores[:first], **EXACT)


def test_embeddings_and_rates_leave_the_memory_alone() -> None:
    past = _stream()
    built = bound(past, memory=True, sampler="tns")
    _through(built, batches(past)[:2])
    before = built.memory_state()
    built.embed(torch.arange(NODES), torch.full((NODES,), past[-1].time).double())
    built.rates(torch.arange(NODES), torch.full((NODES,), past[-1].time).double())
    assert all(torch.equal(it, before[name]) for name, it in built.memory_state().items())


def test_what_was_persisted_is_not_pending_any_more() -> None:
    past = _stream()
    built = bound(past, memory=True, sampler="recent")
    built.update(*columns(past[:6]))
    state, nodes = built.state(), torch.arange(NODES)
    expected = built.memory.updated(state, nodes).detach()
    pending = state.pending.clone()
    assert 1 < int(pending.sum()) < NODES
    for _ in range(2):
        built.memory.persist(state, nodes)
        assert torch.equal(state.memory, expected)
        assert not bool(state.pending.any())
    assert torch.equal(state.last_update[pending], state.message_time[pending])


def test_bad_streams_and_states() -> None:
    past = _stream()
    built = bound(past, memory=True, sampler="recent", num_nodes=NODES)
    src, dst, t, features = columns(past)
    bad: list[tuple[tuple[Any, ...], str]] = [
        ((src, dst[:-1], t, features), "dst has length"),
        ((src, dst + NODES, t, features), "dst has the id"),
        ((src, dst, t.where(t < 5, torch.nan), features), "NaN"),
        ((src, dst, t, features[:, :1]), "edge_features is"),
        ((src, dst, t, None), "edge_features is None"),
        ((src, dst, t, features * torch.inf), "not finite"),
        ((src, dst, t.flip(0), features), "t decreases"),
    ]
    for arguments, message in bad:
        with pytest.raises(InputError, match=message):
            built.update(*arguments)
    assert not bool(built.memory_state()["pending_nodes"].any())
    built.update(src, dst, t, features)
    with pytest.raises(InputError, match="before the latest event"):
        built.update(src[:1], dst[:1], t[:1], features[:1])
    state = built.memory_state()
    smaller = bound(past, memory=True, sampler="recent").memory_state()
    smaller |= {name: smaller[name][:3] for name in ("memory", "last_update")}
    for bad_state, message in [
        (smaller, f"of 3 nodes; the model was made with num_nodes={NODES}"),
        ({**state, "last_update": state["last_update"][:3]}, r"last_update has the shape \[3\]"),
        ({**state, "memory": state["memory"] * torch.nan}, "memory has values that are not finite"),
        ({**state, "pending_nodes": state["pending_nodes"] * 0}, "not different ids"),
        ({**state, "surplus": state["memory"]}, "not known: surplus"),
    ]:
        with pytest.raises(InputError, match=message):
            built.load_memory_state(bad_state)
    with pytest.raises(InputError, match="lacks latest"):
        built.load_memory_state({name: it for name, it in state.items() if name != "latest"})
    assert all(torch.equal(it, state[name]) for name, it in built.memory_state().items())
    without = bound(past, memory=False, sampler="recent")
    without.update(src, dst, t, features)
    assert without.memory_state() == {}
    with pytest.raises(ConfigError, match="no memory"):
        without.state()
