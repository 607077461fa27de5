"""torch_geometric's loaders and ours run the samplers, without pyg-lib, in workers and without."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data, TemporalData
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.nn import GraphConv
from torch_geometric.sampler import EdgeSamplerInput, NegativeSampling, NodeSamplerInput

from zoo_core.errors import InputError
from zoo_tns.loaders import TemporalLinkLoader, TemporalNodeLoader
from zoo_tns.samplers import ExpandedSampler, RecentSampler, TNSSampler, UniformSampler

EVENTS, NODES, BATCH = 90, 11, 32
SAMPLERS = [
    RecentSampler([3, 2]),
    RecentSampler([3, 2], neighbor_time="event", window=12),
    ExpandedSampler(3, rate=2),
    TNSSampler([3, 2], rate=1.75),
    UniformSampler([3, 2], replace=False),
]


def graph() -> tuple[TemporalData, Data]:
    generator = torch.Generator().manual_seed(0)
    src, dst = torch.randint(NODES, (2, EVENTS), generator=generator)
    t = torch.arange(EVENTS) // 3
    msg = torch.randn(EVENTS, 2, generator=generator)
    x = torch.randn(NODES, 4, generator=generator)
    data = Data(x=x, edge_index=torch.stack((src, dst)), edge_attr=msg, time=t)
    return TemporalData(src=src, dst=dst, t=t, msg=msg), data


EVENTS_OF, DATA = graph()
SEED, TIME = EVENTS_OF.src, EVENTS_OF.t


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [NodeLoader, TemporalNodeLoader])
@pytest.mark.parametrize("sampler", SAMPLERS[:4], ids=str)
def test_node_batches_are_what_the_sampler_finds(sampler, kind, workers) -> None:
    sampler = sampler.bind(EVENTS_OF)
    loader = kind(DATA, sampler, SEED, TIME, batch_size=BATCH, num_workers=workers)
    for number, batch in enumerate(loader):
        seeds = slice(number * BATCH, (number + 1) * BATCH)
        found = sampler.sample_from_nodes(NodeSamplerInput(None, SEED[seeds], TIME[seeds]))
        assert batch.n_id.equal(found.node)
        assert batch.batch.equal(found.batch)
        assert batch.edge_index.equal(torch.stack((found.row, found.col)))
        assert batch.e_id.equal(found.edge)
        assert batch.x.equal(DATA.x[found.node])
        assert batch.edge_attr.equal(EVENTS_OF.msg[found.edge])
        assert batch.time.equal(EVENTS_OF.t[found.edge])
        assert batch.num_sampled_nodes == found.num_sampled_nodes
        assert batch.seed_time.equal(TIME[seeds])
        assert batch.n_id[: batch.batch_size].equal(SEED[seeds])
        # An event joins its edge's endpoints, and happened before the seed.
        ends = torch.stack((batch.n_id[batch.edge_index[0]], batch.n_id[batch.edge_index[1]]))
        assert ends.sort(0).values.equal(DATA.edge_index[:, found.edge].sort(0).values)
        assert bool((batch.time < batch.seed_time[batch.batch[found.col]]).all())
        if kind is TemporalNodeLoader:
            extra = found.metadata[2]
            assert batch.edge_time.equal(extra.edge_time)
            assert batch.edge_time.equal(batch.time)
            assert batch.node_time.equal(extra.node_time)
            weight = extra.edge_weight
            expected = torch.ones(len(found.edge)) if weight is None else weight.float()
            assert batch.edge_weight.equal(expected)
    assert number == 2


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [LinkLoader, TemporalLinkLoader])
@pytest.mark.parametrize("sampler", SAMPLERS[:4], ids=str)
def test_link_batches_are_what_the_sampler_finds(sampler, kind, workers) -> None:
    sampler = sampler.bind(EVENTS_OF)
    label = torch.arange(EVENTS)
    loader = kind(
        DATA,
        sampler,
        edge_label_index=DATA.edge_index,
        edge_label=label,
        edge_label_time=TIME,
        batch_size=BATCH,
        num_workers=workers,
    )
    for number, batch in enumerate(loader):
        seeds = slice(number * BATCH, (number + 1) * BATCH)
        found = sampler.sample_from_edges(
            EdgeSamplerInput(None, *DATA.edge_index[:, seeds], label[seeds], TIME[seeds])
        )
        assert batch.n_id.equal(found.node)
        assert batch.edge_index.equal(torch.stack((found.row, found.col)))
        assert batch.e_id.equal(found.edge)
        assert batch.edge_label.equal(label[seeds])
        assert batch.edge_label_time.equal(TIME[seeds])
        assert batch.n_id[batch.edge_label_index].equal(DATA.edge_index[:, seeds])
        if kind is TemporalLinkLoader:
            assert batch.edge_time.equal(found.metadata[-1].edge_time)
            assert batch.node_time[batch.edge_label_index[0]].equal(TIME[seeds])
    assert number == 2


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [LinkLoader, TemporalLinkLoader])
@pytest.mark.parametrize("mode", ["binary", "triplet"])
def test_negatives_go_through_loaders(kind, mode, workers) -> None:
    sampler = RecentSampler(3, seed=1, negatives="destinations").bind(EVENTS_OF)
    loader = kind(
        DATA,
        sampler,
        DATA.edge_index,
        edge_label_time=TIME,
        neg_sampling=NegativeSampling(mode, 2),
        batch_size=BATCH,
        num_workers=workers,
    )
    first, again = (list(loader) for _ in range(2))
    assert len(first) == 3
    for number, batch in enumerate(first):
        time = TIME[number * BATCH : (number + 1) * BATCH]
        size = len(time)
        if mode == "binary":
            assert batch.edge_label.tolist() == [1.0] * size + [0.0] * 2 * size
            assert batch.edge_label_time.equal(time.repeat(3))
            assert batch.n_id[batch.edge_label_index[0]].equal(
                DATA.edge_index[0, number * BATCH :][:size].repeat(3)
            )
        else:
            assert batch.dst_neg_index.shape == (size, 2)
            assert batch.seed_time.equal(time)
        if workers:
            assert batch.n_id.equal(again[number].n_id)


def test_a_convolution_on_a_batch_sums_interpolated_messages() -> None:
    sampler = TNSSampler(3, rate=1.75).bind(EVENTS_OF)
    batch = next(iter(TemporalNodeLoader(DATA, sampler, SEED, TIME, batch_size=EVENTS)))
    layer = GraphConv(4, 5, aggr="add", bias=False)
    out = layer(batch.x, batch.edge_index, batch.edge_weight)[: batch.batch_size]
    found = sampler.sample(SEED, TIME)
    messages = DATA.x[found.node.clamp(min=0)] * found.weight.unsqueeze(-1).float()
    expected = layer.lin_rel(messages.sum(1)) + layer.lin_root(DATA.x[SEED])
    torch.testing.assert_close(out, expected)


def test_uniform_workers_draw_apart_and_anew_in_every_epoch() -> None:
    sampler = UniformSampler(3).bind(EVENTS_OF)
    seeds, times = torch.zeros(64, dtype=torch.int64), torch.full((64,), 30)
    loader = NodeLoader(DATA, sampler, seeds, times, batch_size=32, num_workers=2)
    torch.manual_seed(0)
    first, second = ([batch.e_id for batch in loader] for _ in range(2))
    assert not first[0].equal(first[1])
    assert not first[0].equal(second[0])
    torch.manual_seed(0)
    assert [batch.e_id.tolist() for batch in loader] == [each.tolist() for each in first]


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [(TemporalNodeLoader, SEED), (TemporalLinkLoader, DATA.edge_index)],
)
def test_a_transform_sees_weights_and_times(kind, seeds) -> None:
    time = {"input_time": TIME} if kind is TemporalNodeLoader else {"edge_label_time": TIME}
    sampler = TNSSampler(2).bind(EVENTS_OF)
    loader = kind(
        DATA,
        sampler,
        seeds,
        **time,
        batch_size=EVENTS,
        transform=lambda batch: (batch.edge_weight, batch.edge_time),
    )
    weight, when = next(iter(loader))
    assert len(weight) == len(when) > 0
    changed = kind(
        DATA,
        sampler,
        seeds,
        **time,
        batch_size=EVENTS,
        transform_sampler_output=lambda out: out.to_bidirectional(),
    )
    with pytest.raises(InputError, match="transform_sampler_output changed the edges"):
        next(iter(changed))


def test_what_loaders_refuse() -> None:
    bound = RecentSampler(2).bind(EVENTS_OF)
    for make, message in (
        (lambda: TemporalNodeLoader(DATA, RecentSampler(2), SEED, TIME), "bound to no events"),
        (lambda: TemporalNodeLoader(DATA, object(), SEED, TIME), "node_sampler is a object"),
        (lambda: TemporalNodeLoader(DATA, bound, SEED), r"input_time is NoneType; .* \[90\]"),
        (lambda: TemporalNodeLoader(DATA, bound, SEED, TIME[1:]), r"input_time is \[89\]"),
        (lambda: TemporalLinkLoader(DATA, object(), DATA.edge_index), "link_sampler is a object"),
        (lambda: TemporalLinkLoader(DATA, bound), "edge_label_time is NoneType"),
        (lambda: next(iter(NodeLoader(DATA, bound, SEED))), "input_time is None"),
        (lambda: next(iter(LinkLoader(DATA, bound))), "edge_label_time is None"),
    ):
        with pytest.raises(InputError, match=message):
            make()
