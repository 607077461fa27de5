"""Runs that differ in how they sample, and in nothing else."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN

_NODES, _EVENTS = 10, 120


def _trained(hold=None, steps=6, seed=0, prepare=None, **changes):
    """The logits of every step, and the backbone's weights at the end, of a short training."""
    generator = torch.Generator().manual_seed(1)
    src = torch.randint(_NODES, (_EVENTS,), generator=generator)
    dst = torch.randint(_NODES, (_EVENTS,), generator=generator)
    t = torch.randint(500, (_EVENTS,), generator=generator).sort().values
    msg = torch.randn(_EVENTS, 2, generator=generator)
    torch.manual_seed(seed)
    made = {"edge_dim": 2, "node_dim": 6, "time_dim": 6, "hidden": 6, "k": 4, "dropout": 0.3}
    model = TemporalGNN(**(made | changes)).train()
    model.bind(TemporalGraph(TemporalIndex(src, dst, t, num_nodes=_NODES), msg))
    model.seed_dropout(7)
    if prepare is not None:
        prepare(model)
    if hold is not None:
        model.hold_rate(hold)
    optimizer = torch.optim.Adam(model.param_groups(1e-2))
    logits = []
    for step in range(steps):
        rows = slice(20 * step, 20 * step + 20)
        negative = torch.randint(_NODES, (20,), generator=generator)
        scores, against = model(src[rows], dst[rows], t[rows], negative)
        labels = torch.cat([torch.ones(20), torch.zeros(20)])
        both = torch.cat([scores, against])
        loss = binary_cross_entropy_with_logits(both, labels)
        model.update(src[rows], dst[rows], t[rows], msg[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logits.append(both.detach())
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("expansions")}
    return logits, weights, model


def _same(one, other):
    return all(map(torch.equal, one[0], other[0])) and all(
        torch.equal(value, other[1][name]) for name, value in one[1].items()
    )


@pytest.mark.parametrize("aggr", ["attention", "tgat", "mean", "sum"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_rate_held_at_1_is_most_recent_sampling_to_the_bit(aggr, layers):
    plain = _trained(sampler="recent", aggr=aggr, layers=layers)
    assert _same(_trained(sampler="tns", hold=1, aggr=aggr, layers=layers), plain)
    assert _same(_trained(sampler="expanded", rate=1, aggr=aggr, layers=layers), plain)
    assert not _same(_trained(sampler="recent", aggr=aggr, layers=layers, seed=1), plain)
    assert not _same(_trained(sampler="expanded", rate=2, aggr=aggr, layers=layers), plain)


def test_a_held_rate_is_a_fixed_expansion_that_is_clipped():
    clipped = _trained(sampler="expanded", rate=3, short="clip")
    assert _same(_trained(sampler="tns", hold=3), clipped)
    assert not _same(_trained(sampler="expanded", rate=3, short="truncate"), clipped)


def test_a_closed_gate_is_most_recent_sampling_to_the_bit_though_it_draws_dropout():
    def close(model):
        torch.nn.init.constant_(model.expansions[0].aggregator.last.bias, 0.5)

    closed = _trained(sampler="tns", gate="strict", prepare=close)
    assert _same(closed, _trained(sampler="recent"))
    stats = closed[2].rate_stats()
    assert (stats["closed_share"], stats["mean_rate"]) == (1, 1)
    assert stats["active_share"] > 0.3


def test_one_samplers_dropout_does_not_shift_anothers():
    first = _trained(sampler="recent", steps=1)[0][0]
    assert torch.equal(_trained(sampler="tns", hold=1, steps=1)[0][0], first)
    # With the rate predicted, AGGR_r draws its masks from a generator of its own.
    free = _trained(sampler="tns", steps=1, sigma=0.0)[0][0]
    torch.testing.assert_close(free, first, rtol=0, atol=1e-6)
