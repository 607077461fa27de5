"""Nothing from the future reaches an embedding."""

from __future__ import annotations

import pytest
import torch

from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN

_NODES, _EVENTS, _NOW = 6, 60, 30


def _events(seed=0):
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(_NODES, (_EVENTS,), generator=generator)
    dst = torch.randint(_NODES, (_EVENTS,), generator=generator)
    # Many times are shared, that of the queries among them.
    t = torch.randint(60, (_EVENTS,), generator=generator)
    t[:4] = _NOW
    return src, dst, t, torch.randn(_EVENTS, 2, generator=generator)


def _graph(events):
    src, dst, t, msg = events
    return TemporalGraph(TemporalIndex(src, dst, t, num_nodes=_NODES), msg)


def _model(**changes):
    torch.manual_seed(0)
    made = {"edge_dim": 2, "node_dim": 6, "time_dim": 6, "hidden": 6, "k": 3, "layers": 2}
    model = TemporalGNN(**(made | changes)).double().eval()
    with torch.no_grad():
        for each in model.expansions:
            each.aggregator.last.weight.normal_(std=3)
            each.aggregator.last.bias.fill_(2)
    return model


def _embedded(model, events):
    model.seed_dropout(0)
    return model.bind(_graph(events)).embed(torch.arange(_NODES), torch.full((_NODES,), _NOW))


@pytest.mark.parametrize("aggr", ["attention", "tgat", "mean"])
@pytest.mark.parametrize("neighbor_time", ["query", "event"])
@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize(
    ("sampler", "more"),
    [
        ("tns", {}),
        ("recent", {}),
        ("uniform", {}),
        ("expanded", {"rate": 2.5}),
        ("expanded", {"rate": 4, "short": "clip"}),
    ],
)
def test_events_at_or_after_a_query_are_not_seen(sampler, more, neighbor_time, memory, aggr):
    model = _model(sampler=sampler, neighbor_time=neighbor_time, memory=memory, aggr=aggr, **more)
    if memory:
        # A memory of a stream that ended before the queries.
        model.bind(_graph(_events())).update([0, 1, 2], [3, 4, 5], [0, 0, 1], torch.ones(3, 2))
    src, dst, t, msg = _events()
    expected = _embedded(model, (src, dst, t, msg))
    late = t >= _NOW
    assert 10 < int(late.sum()) < 50
    poisoned = torch.where(late.unsqueeze(1), 1e6, msg.double()).to(msg)
    flipped = torch.where(late, (src + 1) % _NODES, src)
    futures = {
        "other features": (src, dst, t, poisoned),
        "other partners": (flipped, dst, t, msg),
        "all at the moment of the queries": (src, dst, torch.where(late, _NOW, t), msg),
        "none": (src[~late], dst[~late], t[~late], msg[~late]),
        "later": (src, dst, torch.where(late, t + 1000, t), msg),
    }
    for what, events in futures.items():
        assert torch.equal(_embedded(model, events), expected), what
    # The same changes before the queries do show.
    assert not torch.equal(_embedded(model, (src, dst, t, msg + 1)), expected)
    pulled = torch.where(late, _NOW - 1, t)
    assert not torch.equal(_embedded(model, (src, dst, pulled, msg)), expected)


@pytest.mark.parametrize("memory", [True, False])
def test_a_batch_is_scored_before_its_own_events_enter_the_memory(memory):
    model = _model(memory=memory)
    src, dst, t, msg = _events()
    order = t.argsort(stable=True)
    src, dst, t, msg = src[order], dst[order], t[order], msg[order]
    model.bind(_graph((src, dst, t, msg)))
    model.update(src[:20], dst[:20], t[:20], msg[:20])
    rows = slice(20, 40)
    before = model(src[rows], dst[rows], t[rows])
    assert torch.equal(model(src[rows], dst[rows], t[rows]), before)
    model.update(src[rows], dst[rows], t[rows], msg[rows])
    assert torch.equal(model(src[rows], dst[rows], t[rows]), before) is not memory
