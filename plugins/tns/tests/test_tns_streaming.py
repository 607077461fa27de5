"""The stream: memory that goes on, that is restored, and a live graph."""

from __future__ import annotations

import copy

import pytest
import torch

from zoo_core.errors import ConfigError, InputError
from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN

_EVENTS, _NODES = 60, 8


def _stream():
    generator = torch.Generator().manual_seed(3)
    src = torch.randint(_NODES, (_EVENTS,), generator=generator)
    dst = torch.randint(_NODES, (_EVENTS,), generator=generator)
    t = torch.randint(100, (_EVENTS,), generator=generator).sort().values
    return src, dst, t, torch.randn(_EVENTS, 2, generator=generator)


def _model(**changes):
    torch.manual_seed(0)
    made = {"edge_dim": 2, "node_dim": 6, "time_dim": 4, "hidden": 6, "k": 3, "init_rate": 1.7}
    model = TemporalGNN(**(made | changes)).double().eval()
    with torch.no_grad():
        for each in model.expansions:
            each.aggregator.last.weight.normal_()
    return model


def _graph(events=_EVENTS, nodes=_NODES):
    src, dst, t, msg = (each[:events] for each in _stream())
    return TemporalGraph(TemporalIndex(src, dst, t, num_nodes=nodes), msg.float())


def _batches(start=0, stop=_EVENTS, size=10):
    src, dst, t, msg = _stream()
    for first in range(start, stop, size):
        rows = slice(first, min(first + size, stop))
        yield src[rows], dst[rows], t[rows], msg[rows]


def test_a_live_stream_gives_the_embeddings_of_a_known_one():
    known, live = _model().bind(_graph()), _model().bind(_graph(events=10))
    with torch.no_grad():
        for src, dst, t, msg in _batches(0, 10):
            known.update(src, dst, t, msg)
            live.update(src, dst, t, msg)
        # One event at a time: of a batch's own events, those before are seen where all are known.
        for src, dst, t, msg in _batches(10, size=1):
            assert torch.equal(known(src, dst, t), live(src, dst, t))
            known.update(src, dst, t, msg)
            live.observe(src, dst, t, msg)
    assert live.graph.num_events == _EVENTS


def test_memory_goes_on_from_its_state_and_its_pending_messages():
    model, other = _model().bind(_graph()), _model().bind(_graph())
    for batch in _batches(0, 30):
        model.update(*batch)
    state = {name: each.clone() for name, each in model.memory_state().items()}
    assert len(state["pending_nodes"]) > 0
    other.load_memory_state(state)
    with torch.no_grad():
        for src, dst, t, msg in _batches(30):
            assert torch.equal(model(src, dst, t), other(src, dst, t))
            model.update(src, dst, t, msg)
            other.update(src, dst, t, msg)
    for name, value in model.memory_state().items():
        assert torch.equal(value, other.memory_state()[name]), name


def test_a_state_is_a_copy():
    model = _model().bind(_graph())
    model.update(*next(_batches()))
    state = model.memory_state()
    kept = copy.deepcopy(state)
    for batch in _batches(10):
        model.update(*batch)
    assert all(torch.equal(state[name], kept[name]) for name in state)
    model.load_memory_state(state)
    for batch in _batches(10):
        model.update(*batch)
    assert all(torch.equal(state[name], kept[name]) for name in state)


def test_scoring_leaves_the_memory_alone():
    model = _model().bind(_graph()).train()
    for batch in _batches(0, 30):
        model.update(*batch)
    before = model.memory_state()
    src, dst, t, _ = next(_batches(30))
    model(src, dst, t).sum().backward()
    assert all(torch.equal(each, before[name]) for name, each in model.memory_state().items())


def test_after_reset_the_stream_begins_anew():
    model = _model().bind(_graph())
    for batch in _batches():
        model.update(*batch)
    model.reset_memory()
    fresh = _model().bind(_graph())
    assert all(
        torch.equal(each, fresh.memory_state()[name]) for name, each in model.memory_state().items()
    )


def test_unix_times_keep_their_seconds():
    src, dst, t, msg = _stream()
    plain, late = _model().bind(_graph()), _model()
    late.bind(
        TemporalGraph(TemporalIndex(src, dst, t + 1_600_000_000, num_nodes=_NODES), msg.float())
    )
    with torch.no_grad():
        # What is before the first event shows up in the elapsed time of first messages alone.
        state = plain.memory_state() | {"last_update": plain.memory_state()["last_update"]}
        late.load_memory_state(state | {"last_update": state["last_update"] + 1_600_000_000})
        for a, b, when, features in _batches():
            assert torch.equal(plain(a, b, when), late(a, b, when + 1_600_000_000))
            plain.update(a, b, when, features)
            late.update(a, b, when + 1_600_000_000, features)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"src": [0]}, "src has length 1; expected 2"),
        ({"dst": [0, 99]}, "dst has the id 99, but there are 8 nodes"),
        ({"dst": [0, -1]}, "dst has the negative id -1"),
        ({"src": [0.5, 1.0]}, "src are of type float"),
        ({"t": [500.0, float("nan")]}, "t has NaN or infinite"),
        ({"t": [501, 500]}, "t decreases"),
        ({"t": [3, 500]}, "t starts at 3, before the latest event taken in, at"),
        ({"edge_features": None}, "edge_features is None; the model was made with edge_dim=2"),
        ({"edge_features": torch.zeros(2, 3)}, r"edge_features is \[2, 3\]; expected .*\[2, 2\]"),
        ({"edge_features": torch.full((2, 2), float("nan"))}, "edge_features has values that are"),
    ],
)
def test_refused_events_leave_everything_as_it_was(change, said):
    model = _model(num_nodes=_NODES).bind(_graph())
    for batch in _batches():
        model.update(*batch)
    before = model.memory_state()
    given = {"src": [0, 1], "dst": [2, 3], "t": [500, 501], "edge_features": torch.zeros(2, 2)}
    for call in (model.update, model.observe):
        with pytest.raises(InputError, match=said):
            call(**(given | change))
    assert all(torch.equal(each, before[name]) for name, each in model.memory_state().items())
    assert model.graph.num_events == _EVENTS


def test_events_out_of_order_can_be_allowed():
    model = _model().bind(_graph())
    for batch in _batches():
        model.update(*batch)
    latest = model.memory_state()["latest"]
    model.update([0], [1], [3], torch.zeros(1, 2), allow_out_of_order=True)
    assert model.memory_state()["latest"] == latest


def test_new_nodes_of_a_live_stream_get_a_memory():
    model = _model().bind(_graph())
    for batch in _batches():
        model.update(*batch)
    before = model.memory_state()["memory"]
    model.observe([11], [0], [1000], torch.ones(1, 2))
    after = model.memory_state()
    assert len(after["memory"]) == 12
    assert torch.equal(after["memory"][1:8], before[1:])
    assert 11 in after["pending_nodes"]
    assert model.embed([11, 11], [1000, 1001]).isfinite().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": None}, "lacks memory"),
        ({"other": torch.zeros(1)}, "tensors not known: other"),
        ({"memory": torch.zeros(8, 5)}, r"memory has the shape \[8, 5\]; expected \[8, 6\]"),
        ({"last_update": torch.zeros(7)}, "last_update has the shape"),
        ({"pending_nodes": torch.tensor([0, 8])}, "pending_nodes|pending_messages"),
        ({"latest": torch.tensor(float("nan"))}, "latest has values that are not finite"),
        ({"memory": torch.full((8, 6), float("nan"))}, "memory has values that are not finite"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, said):
    model = _model(num_nodes=_NODES).bind(_graph())
    for batch in _batches(0, 30):
        model.update(*batch)
    state = {
        name: each for name, each in (model.memory_state() | change).items() if each is not None
    }
    before = model.memory_state()
    with pytest.raises(InputError, match=said):
        model.load_memory_state(state)
    assert all(torch.equal(each, before[name]) for name, each in model.memory_state().items())


def test_a_state_of_other_nodes_names_both_numbers():
    model, other = (
        _model(num_nodes=_NODES).bind(_graph()),
        _model(num_nodes=9).bind(_graph(nodes=9)),
    )
    with pytest.raises(InputError, match=r"the state is of 9 nodes; .*num_nodes=8"):
        model.load_memory_state(other.memory_state())


def test_a_state_grown_by_anothers_events_is_taken_back():
    graph = _graph()
    first, second = _model().bind(graph), _model(num_nodes=_NODES).bind(graph)
    first.observe([0], [_NODES], [1000], torch.zeros(1, 2))
    second.load_memory_state(second.memory_state())
    with pytest.raises(InputError, match="the state is of 12 nodes"):
        second.load_memory_state(_model(num_nodes=12).bind(_graph(nodes=12)).memory_state())


def test_scores_in_inference_mode_do_not_freeze_the_memory():
    model = _model().bind(_graph())
    batches = list(_batches(0, 30))
    with torch.inference_mode():
        model(*batches[0][:3])
        model.update(*batches[0])
    model.update(*batches[1])
    with torch.inference_mode():
        model.load_memory_state(model.memory_state())
    model.update(*batches[2])
    model.train()(*batches[2][:3]).sum().backward()
    plain = _model().bind(_graph())
    for batch in batches:
        plain.update(*batch)
    for name, value in plain.memory_state().items():
        assert torch.equal(value, model.memory_state()[name]), name


def test_a_node_is_scored_before_its_first_event():
    declared = _model(num_nodes=12).bind(_graph())
    assert declared.embed([11], [1000]).isfinite().all()
    declared.observe([11], [0], [1000], torch.ones(1, 2))
    open_ = _model().bind(_graph())
    with pytest.raises(InputError, match="nodes has the id 11, but there are 8 nodes"):
        open_.embed([11], [1000])
    open_.graph.grow(12)
    open_.observe([11], [0], [1000], torch.ones(1, 2))
    assert torch.equal(open_.embed([11, 0], [2000] * 2), declared.embed([11, 0], [2000] * 2))


def test_late_events_of_a_live_stream_can_be_allowed():
    model = _model().bind(_graph())
    for batch in _batches():
        model.update(*batch)
    late = ([0], [1], [3], torch.zeros(1, 2))
    with pytest.raises(InputError, match="t starts at 3"):
        model.observe(*late)
    model.observe(*late, allow_out_of_order=True)
    assert model.graph.num_events == _EVENTS + 1
    model.observe([], [], [])
    assert model.graph.num_events == _EVENTS + 1


def test_features_that_overflow_are_refused():
    model = _model().float().bind(_graph())
    large = torch.full((1, 2), 1e300, dtype=torch.float64)
    for call in (model.update, model.observe):
        with pytest.raises(InputError, match=r"not finite as torch.float32"):
            call([0], [1], [1000], large)
        with pytest.raises(InputError, match=r"edge_features is torch.int64; expected a floating"):
            call([0], [1], [1000], torch.ones(1, 2).long())


def test_without_memory_there_is_no_state():
    model = _model(memory=False).bind(_graph())
    model.update([0], [1], [3], torch.zeros(1, 2))
    model.update([0], [1], [1], torch.zeros(1, 2))
    assert model.memory_state() == {}
    model.load_memory_state({})
    with pytest.raises(InputError, match="the model has no memory"):
        model.load_memory_state({"memory": torch.zeros(1)})
    with pytest.raises(ConfigError, match="the model has no memory"):
        model.state()


def test_the_memory_follows_the_weights_dtype_and_keeps_float64_times():
    model = _model().bind(_graph())
    for batch in _batches():
        model.update(*batch)
    model.float()
    src, dst, t, _ = next(_batches(50))
    assert model(src, dst, t).dtype == torch.float32
    state = model.memory_state()
    assert (state["memory"].dtype, state["last_update"].dtype) == (torch.float32, torch.float64)
