"""Seed edges and their negatives: torch_geometric's layout, the times, and what is drawn."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.sampler import EdgeSamplerInput, NegativeSampling
from torch_geometric.sampler.neighbor_sampler import edge_sample

from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex
from zoo_tns.samplers import RecentSampler

NODES = 8


@pytest.fixture
def index() -> TemporalIndex:
    """A bipartite graph: 0..3 act on 4..6; 7 has no events."""
    return TemporalIndex([0, 1, 2, 3, 0], [4, 5, 6, 4, 5], [1, 2, 3, 4, 5], num_nodes=NODES)


def seeds(label: torch.Tensor | None = None, size: int = 3) -> EdgeSamplerInput:
    row, col, time = torch.tensor([[0, 1, 2], [4, 5, 6], [6, 7, 8]])[:, :size]
    return EdgeSamplerInput(torch.arange(size) + 10, row, col, label, time)


def one_hot(node: int) -> torch.Tensor:
    return torch.eye(NODES)[node]


LABELS = [None, torch.tensor([1, 2, 1]), torch.tensor([1.0, 1.0, 1.0])]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    ("negative", "label"),
    [
        *[(None, each) for each in LABELS],
        *[(("binary", amount), each) for amount in (1, 2, 0.5, 1.5) for each in LABELS],
        *[(("triplet", amount), None) for amount in (1, 2)],
    ],
)
def test_nodes_and_metadata_are_laid_out_as_by_torch_geometric(
    index, negative, label, size
) -> None:
    """Its negatives have all their weight on one node, so that nothing is random."""
    neg_sampling = negative and NegativeSampling(
        *negative, src_weight=one_hot(3), dst_weight=one_hot(7)
    )
    sampler = RecentSampler([2, 2]).bind(index)
    label = None if label is None else label[:size]
    found = sampler.sample_from_edges(seeds(label, size), neg_sampling)
    expected = edge_sample(
        seeds(label, size),
        lambda nodes, times: sampler._hops(nodes, times)[0],
        NODES,
        disjoint=True,
        neg_sampling=neg_sampling,
    )
    for name in ("node", "row", "col", "edge", "batch"):
        assert getattr(found, name).equal(getattr(expected, name)), name
    *metadata, _ = found.metadata
    assert len(metadata) == len(expected.metadata)
    for one, other in zip(metadata, expected.metadata, strict=True):
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype
            assert one.equal(other)
        else:
            assert one is other


def endpoints(sampler: RecentSampler, mode: str, amount: float) -> tuple[torch.Tensor, ...]:
    """Returns source, destination and time of each negative edge."""
    found = sampler.sample_from_edges(seeds(), NegativeSampling(mode, amount))
    time = found.metadata[-1].node_time
    if mode == "binary":
        src, dst = found.metadata[1][:, 3:]
        assert time[src].equal(time[dst])
    else:
        dst = found.metadata[3]
        src = found.metadata[1].view(-1, 1).expand_as(dst.view(3, -1)).reshape(dst.shape)
    return found.node[src], found.node[dst], time[dst]


def test_negatives_are_drawn_from_all_nodes(index) -> None:
    sampler = RecentSampler(1, seed=0).bind(index)
    src, dst, time = endpoints(sampler, "binary", 100)
    assert src.unique().tolist() == list(range(NODES))
    assert dst.unique().tolist() == list(range(NODES))
    assert time.view(100, 3).unique(dim=0).tolist() == [[6, 7, 8]]
    src, dst, time = endpoints(sampler, "triplet", 100)
    assert src.unique(dim=1).tolist() == [[0], [1], [2]]
    assert dst.unique().tolist() == list(range(NODES))
    assert time.unique(dim=1).tolist() == [[6], [7], [8]]


def test_negatives_are_drawn_from_destinations_and_keep_the_source(index) -> None:
    sampler = RecentSampler(1, seed=0, negatives="destinations").bind(index)
    src, dst, time = endpoints(sampler, "binary", 100)
    assert src.view(100, 3).unique(dim=0).tolist() == [[0, 1, 2]]
    assert dst.unique().tolist() == [4, 5, 6]
    assert time.view(100, 3).unique(dim=0).tolist() == [[6, 7, 8]]
    assert endpoints(sampler, "triplet", 100)[1].unique().tolist() == [4, 5, 6]


def test_negatives_follow_the_weights(index) -> None:
    weight = torch.tensor([0.0, 1.0, 0, 0, 3.0, 0, 0, 0])
    sampler = RecentSampler(1, seed=0, negatives="destinations").bind(index)
    negative = NegativeSampling("binary", 1000, src_weight=weight, dst_weight=weight)
    found = sampler.sample_from_edges(seeds(), negative)
    for drawn in found.node[found.metadata[1][:, 3:]]:
        assert drawn.unique().tolist() == [1, 4]
        assert (drawn == 4).double().mean().item() == pytest.approx(0.75, abs=0.05)


def test_a_seed_repeats_the_negatives(index) -> None:
    first, again, other = (
        endpoints(RecentSampler(1, seed=seed).bind(index), "binary", 20) for seed in (3, 3, 4)
    )
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_no_edges_have_no_negatives(index) -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    given = EdgeSamplerInput(empty, empty, empty, None, empty)
    sampler = RecentSampler(1).bind(index)
    for negative in (
        None,
        NegativeSampling("binary", 2),
        NegativeSampling("triplet", 2),
        NegativeSampling("binary", 1, dst_weight=one_hot(1), src_weight=one_hot(1)),
    ):
        assert sampler.sample_from_edges(given, negative).node.numel() == 0


def test_what_edges_cannot_be(index) -> None:
    sampler = RecentSampler(1).bind(index)
    given = seeds()
    with pytest.raises(InputError, match="a dst_weight of 3 entries; expected one for each of the"):
        sampler.sample_from_edges(given, NegativeSampling("triplet", dst_weight=torch.ones(3)))
    with pytest.raises(InputError, match="a src_weight of 2 entries"):
        sampler.sample_from_edges(given, NegativeSampling("binary", src_weight=torch.ones(2)))
    given.time = None
    with pytest.raises(InputError, match="edge_label_time is None"):
        sampler.sample_from_edges(given)
    given = seeds()
    given.input_type = ("user", "edits", "page")
    with pytest.raises(InputError, match="expected a graph with one type of nodes"):
        sampler.sample_from_edges(given)
    for name, value, message in [
        ("row", torch.tensor([0, 1, NODES]), f"edge_label_index has the id {NODES}, but there are"),
        ("col", torch.tensor([0, 1, -1]), "edge_label_index has the negative id -1"),
        ("col", torch.tensor([0, 1]), "edge_label_index has length 2; expected 3"),
        (
            "row",
            torch.zeros(3, dtype=torch.int64, device="meta"),
            "edge_label_index is on the meta",
        ),
        ("time", torch.tensor([1, 2, float("nan")]), "edge_label_time has NaN"),
        ("time", torch.zeros(3, device="meta"), "edge_label_time is on the meta device"),
    ]:
        given = seeds()
        setattr(given, name, value)
        with pytest.raises(InputError, match=message):
            sampler.sample_from_edges(given, NegativeSampling("binary"))
    nothing = TemporalIndex([], [], [], num_nodes=NODES)
    with pytest.raises(InputError, match="the index has no events"):
        RecentSampler(1, negatives="destinations").bind(nothing).sample_from_edges(
            seeds(), NegativeSampling("triplet")
        )
