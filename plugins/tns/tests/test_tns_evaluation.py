"""Evaluation scores each batch before the memory knows it, and leaves the model as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError
from zoo_tns.evaluation import (
    NEGATIVE_SEEDS,
    Scores,
    evaluate,
    evaluate_part,
    score_events,
)
from zoo_tns.graph import TemporalGraph
from zoo_tns.model import TemporalGNN
from zoo_tns.negatives import RandomNegatives
from zoo_tns.splits import chronological_split

NODES = 30


def stream(count=200, seed=0, width=2):
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(10, (count,), generator=generator)
    dst = torch.randint(10, NODES, (count,), generator=generator)
    msg = torch.randn(count, width, generator=generator)
    times = torch.randint(4 * count, (count,), generator=generator).sort().values
    return TemporalData(src=src, dst=dst, t=times, msg=msg)


class Watched(nn.Module):
    """Scores a link by how many events its destination had, and notes what it was asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5).eval()
        self.seen = torch.zeros(NODES)
        self.calls, self.random, self.bound = [], torch.tensor([1]), None

    def bind(self, graph):
        self.bound = graph
        return self

    def forward(self, src, dst, t, negative):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.random = self.random + 1
        self.calls.append(("score", t.tolist(), negative.tolist(), self.seen.clone()))
        return self.weight * self.seen[dst], self.weight * self.seen[negative]

    def update(self, src, dst, t, edge_features=None):
        self.calls.append(("update", t.tolist(), edge_features.clone(), None))
        self.seen.index_add_(0, dst, torch.ones(len(dst)))

    def memory_state(self):
        return {"seen": self.seen.clone()}

    def load_memory_state(self, state):
        self.calls.append(("load", None, None, state["seen"]))
        self.seen = state["seen"].clone()

    def random_state(self):
        return {"random": self.random}

    def load_random_state(self, state):
        self.random = state["random"]


def test_the_memory_learns_of_a_batch_after_it_was_scored():
    data, model = stream(), Watched()
    negatives = RandomNegatives(data.dst, 0)
    found = score_events(model, data, "graph", negatives, batch_size=64)
    assert model.bound == "graph"
    assert [call[0] for call in model.calls] == ["score", "update"] * 4
    assert [len(call[1]) for call in model.calls] == [64, 64, 64, 64, 64, 64, 8, 8]
    assert torch.cat([call[2] for call in model.calls[1::2]]).equal(data.msg)
    expected = torch.tensor(
        [
            float((data.dst[: 64 * (event // 64)] == data.dst[event]).sum())
            for event in range(len(data.dst))
        ]
    )
    assert found.positive.equal(expected)


def test_mode_gradients_and_random_state_are_put_back():
    data, model = stream(), Watched().train()
    model.dropout.eval()
    negatives = RandomNegatives(data.dst, 0)
    evaluate(model, data, None, negatives)
    assert model.training
    assert not model.dropout.training
    assert model.random.tolist() == [1]
    assert torch.is_grad_enabled()
    data.msg = data.msg * float("nan")
    with pytest.raises(InputError, match="not finite"):
        evaluate(model, data, None, negatives)
    model.forward = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        evaluate(model, stream(), None, negatives)
    assert model.training


def test_negatives_start_anew_in_every_evaluation():
    data, model = stream(), Watched()
    negatives = RandomNegatives(data.dst, 0)
    negatives.draw(data.src, data.dst)
    evaluate(model, data, None, negatives)
    first = [call[2] for call in model.calls if call[0] == "score"]
    model.calls.clear()
    evaluate(model, data, None, negatives)
    assert [call[2] for call in model.calls if call[0] == "score"] == first


def test_new_nodes_are_evaluated_from_the_memory_before_the_part():
    split = chronological_split(stream(), num_nodes=NODES)
    model = Watched()
    model.seen = torch.arange(NODES).float()
    before = model.seen.clone()
    found = evaluate_part(model, split, "test", "full", batch_size=8)
    assert set(found) == {"test", "new_node_test"}
    kinds = [call[0] for call in model.calls]
    loaded = kinds.index("load")
    assert model.calls[loaded][3].equal(before)
    assert kinds[-1] == "load"  # the memory of all the part's events
    assert model.seen.equal(
        before.clone().index_add_(0, split.test.dst, torch.ones(len(split.test.dst)))
    )
    scored = [call for call in model.calls[loaded:] if call[0] == "score"]
    assert scored[0][3].equal(before)
    assert [t for call in scored for t in call[1]] == split.new_node_test.t.tolist()


def test_negatives_are_drawn_from_the_destinations_of_the_protocol():
    split = chronological_split(stream(), num_nodes=NODES)
    for part, all_events, new in (
        ("val", split.data.dst, split.new_node_val.dst),
        ("test", split.data.dst, split.new_node_test.dst),
    ):
        model = Watched()
        evaluate_part(model, split, part, None, batch_size=500)
        drawn = [call[2] for call in model.calls if call[0] == "score"]
        for name, pool, given in zip(
            (part, f"new_node_{part}"), (all_events, new), drawn, strict=True
        ):
            expected = RandomNegatives(pool, NEGATIVE_SEEDS[name])
            empty = torch.zeros(len(given)).long()
            assert expected.draw(empty, empty).tolist() == given
    assert sorted(NEGATIVE_SEEDS.values()) == [0, 1, 2, 3]


def test_without_new_nodes_there_is_nothing_to_say_of_them():
    data = stream()
    data.src, data.dst = torch.zeros(200).long(), torch.ones(200).long()
    split = chronological_split(data, new_node_ratio=0)
    assert set(evaluate_part(Watched(), split, "val", None)) == {"val"}
    with pytest.raises(InputError, match="part is 'train'"):
        evaluate_part(Watched(), split, "train", None)


def test_losses_are_the_two_cross_entropies_of_each_event():
    scores = Scores(torch.tensor([2.0, -40.0]), torch.tensor([-1.0, 0.5]), 2)
    one = torch.ones(2)
    bce = nn.functional.binary_cross_entropy_with_logits
    expected = bce(scores.positive, one, reduction="none")
    expected = expected + bce(scores.negative, 0 * one, reduction="none")
    torch.testing.assert_close(scores.losses(), expected)
    assert scores.measures()["loss"] == pytest.approx(float(expected.mean()))


@pytest.mark.parametrize("memory", [True, False])
def test_later_events_change_no_score(memory):
    data = stream()
    torch.manual_seed(0)
    model = TemporalGNN(
        None, 2, node_dim=4, time_dim=4, hidden=4, k=3, memory=memory, init_rate=2.0
    ).double()
    data.msg = data.msg.double()
    graph = TemporalGraph.from_data(data, NODES)
    whole = score_events(model, data, graph, RandomNegatives(data.dst, 0), 20)
    changed = data[:]
    changed.dst = torch.cat([data.dst[:120], data.dst[120:].flip(0)])
    changed.msg = torch.cat([data.msg[:120], 5 - data.msg[120:]])
    model.reset_memory()
    graph = TemporalGraph.from_data(changed, NODES)
    other = score_events(model, changed, graph, RandomNegatives(data.dst, 0), 20)
    assert torch.equal(whole.positive[:120], other.positive[:120])
    assert torch.equal(whole.negative[:120], other.negative[:120])
    assert not torch.equal(whole.positive[120:], other.positive[120:])


@pytest.mark.parametrize("size", [0, True, 2.0])
def test_the_batch_size_is_checked(size):
    data = stream()
    with pytest.raises(InputError, match="batch_size"):
        evaluate(Watched(), data, None, RandomNegatives(data.dst, 0), size)


@pytest.mark.parametrize("seeded", [True, False])
def test_uniform_sampling_draws_the_same_in_every_evaluation(seeded):
    data = stream()
    torch.manual_seed(0)
    model = TemporalGNN(
        None, 2, node_dim=4, time_dim=4, hidden=4, k=3, memory=False, sampler="uniform"
    )
    graph = TemporalGraph.from_data(data, NODES)
    if seeded:
        model.seed_dropout(5)

    def scores(seed):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        found = score_events(model, data, graph, RandomNegatives(data.dst, 0), 20)
        assert torch.equal(torch.get_rng_state(), state)
        return found.positive

    first = scores(1)
    assert torch.equal(scores(2), first)
    model.seed_dropout(6)
    assert not torch.equal(scores(1), first)
