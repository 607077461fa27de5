"""What a temporal graph network is made from and asked, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from zoo_core import lean
from zoo_core.errors import ConfigError, InputError, ZooError
from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN

_SMALL = {"edge_dim": 0, "node_dim": 6, "time_dim": 4, "hidden": 6, "k": 3}
_SAMPLERS = ("tns", "recent", "uniform", "expanded")


def _graph(**changes):
    given = {"src": [0, 1, 0, 1, 0, 2], "dst": [2, 2, 1, 3, 2, 3], "t": [1, 2, 3, 4, 5, 6]}
    return TemporalGraph(TemporalIndex(**(given | changes), num_nodes=5))


def _model(**changes):
    torch.manual_seed(0)
    return TemporalGNN(**(_SMALL | changes)).eval()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "k is 0; expected an integer of at least 1"),
        ({"k": 2.0}, "k is 2.0; expected an integer"),
        ({"layers": True}, "layers is True; expected an integer"),
        ({"edge_dim": -1}, "edge_dim is -1"),
        ({"num_nodes": 0}, "num_nodes is 0"),
        ({"aggr": "attn"}, r"aggr is 'attn'; expected one of 'attention'.*"),
        ({"sampler": "recents"}, "Did you mean recent"),
        ({"sampler": None}, "sampler is None"),
        ({"neighbor_time": "now"}, "neighbor_time is 'now'; expected one of 'query', 'event'"),
        ({"gate": "open"}, "gate is 'open'"),
        ({"short": "pad"}, "short is 'pad'"),
        ({"last_by": "id"}, "last_by is 'id'"),
        ({"expansion": "sum"}, "expansion is 'sum'"),
        ({"rate": 0.5}, "rate is 0.5; expected a finite number of at least 1"),
        ({"rate": float("inf")}, "rate is inf"),
        ({"init_rate": 0}, "init_rate is 0"),
        ({"sigma": -1}, "sigma is -1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a number below 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"memory": 1}, "memory is 1; expected True or False"),
        ({"heads": 3}, "heads is 3, which does not divide the attention's width 10"),
        ({"aggr": "tgat", "edge_dim": 1}, "heads is 2, which does not divide .* width 11"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        TemporalGNN(**(_SMALL | change))


def test_widths_need_not_be_divided_where_nothing_attends():
    TemporalGNN(**(_SMALL | {"aggr": "mean", "heads": 7}))


@pytest.mark.parametrize(
    ("nodes", "times", "said"),
    [
        ([0, 1], [1], "nodes has length 2; expected 1"),
        ([0], [1, 2], "nodes has length 1; expected 2"),
        ([5], [1], "nodes has the id 5, but there are 5 nodes"),
        ([-1], [1], "nodes has the negative id -1"),
        ([0.0], [1], "nodes are of type float64; expected integers"),
        ([[0]], [1], "nodes has shape"),
        ([0], [float("nan")], "times has NaN or infinite"),
        ([0], [float("inf")], "times has NaN or infinite"),
        ([0], ["1"], "times are of type"),
    ],
)
def test_queries_that_do_not_fit_are_refused(nodes, times, said):
    model = _model().bind(_graph())
    for call in (model.embed, model.rates):
        with pytest.raises(InputError, match=said):
            call(nodes, times)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dst": [2]}, "dst has length 1; expected 2"),
        ({"src": [0, 9]}, "src has the id 9"),
        ({"dst": [2, 9]}, "dst has the id 9"),
        ({"negative": [1]}, r"negative has the shape \[1\]; expected \[2\] or \[2, n\]"),
        ({"negative": [[[1]], [[1]]]}, r"negative has the shape \[2, 1, 1\]"),
        ({"negative": [1, 9]}, "negative has the id 9"),
        ({"negative": [[1], [1, 2]]}, "negative is no array of ids"),
        ({"negative": "ab"}, "negative is no array of ids"),
        ({"t": [4, float("nan")]}, "t has NaN or infinite"),
    ],
)
def test_links_that_do_not_fit_are_refused(change, said):
    model = _model().bind(_graph())
    with pytest.raises(InputError, match=said):
        model(**({"src": [0, 1], "dst": [2, 3], "t": [4, 5]} | change))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ([1], "graph is a list; expected a TemporalGraph"),
        ("wide", "the graph's events have 2 features; the model was made with edge_dim=0"),
        ("nodes", "the graph's nodes have 3 features; the model was made with node_dim=6"),
        ("many", "the graph has 5 nodes; the model was made with num_nodes=4"),
    ],
)
def test_graphs_that_do_not_fit_are_refused(graph, said):
    index = _graph().index
    graph = (
        {
            "wide": TemporalGraph(index, torch.zeros(6, 2)),
            "nodes": TemporalGraph(index, None, torch.zeros(5, 3)),
            "many": TemporalGraph(index),
        }.get(graph, graph)
        if isinstance(graph, str)
        else graph
    )
    model = _model(num_nodes=4)
    with pytest.raises(InputError, match=said):
        model.bind(graph)
    with pytest.raises(InputError, match=r"no graph to look events up in: call bind"):
        model.embed([0], [1])


@pytest.mark.parametrize("sampler", _SAMPLERS)
def test_an_empty_batch_gives_an_empty_result(sampler):
    model = _model(sampler=sampler).bind(_graph())
    assert model.embed([], []).shape == (0, 6)
    assert model([], [], []).shape == (0,)
    positive, negative = model([], [], [], torch.zeros(0, 2).long())
    assert (positive.shape, negative.shape) == ((0,), (0, 2))


@pytest.mark.parametrize("aggr", ["attention", "tgat", "mean", "sum"])
@pytest.mark.parametrize("sampler", _SAMPLERS)
def test_a_node_without_history_is_embedded_from_itself_and_has_gradients(aggr, sampler):
    model = _model(aggr=aggr, sampler=sampler).bind(_graph())
    # Without features and memory nodes differ by their histories alone, and these have none.
    h = model.embed([4, 0], [3, 0])
    assert h.isfinite().all()
    assert torch.equal(h[0], h[1])
    model.train().embed([4, 0], [3, 0]).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_many_negatives_score_as_one_at_a_time():
    model = _model(sampler="recent").bind(_graph())
    negative = torch.tensor([[0, 1, 2], [4, 4, 0]])
    scores, against = model([0, 1], [2, 3], [5, 6], negative)
    assert torch.equal(scores, model.score([0, 1], [2, 3], [5, 6]))
    for column in range(3):
        alone = model([0, 1], [2, 3], [5, 6], negative[:, column])[1]
        torch.testing.assert_close(against[:, column], alone, rtol=0, atol=1e-6)


def test_rates_of_samplers_without_a_network():
    queries = ([0, 0, 4], [9, 2, 9])
    assert torch.equal(
        _model(sampler="recent").bind(_graph()).rates(*queries), torch.ones(3, 1).double()
    )
    # Histories of 3, 1 and 0 events, of which 2 are read.
    wide = {"sampler": "expanded", "rate": 5, "k": 2}
    found = _model(**wide, short="clip").bind(_graph()).rates(*queries)
    assert found.flatten().tolist() == [2, 1, 1]
    assert _model(**wide).bind(_graph()).rates(*queries).flatten().tolist() == [5, 5, 5]
    with pytest.raises(InputError, match="'uniform', which has no rate"):
        _model(sampler="uniform").bind(_graph()).rates(*queries)
    with pytest.raises(ConfigError, match="the sampler is 'recent'; only 'tns' has rates to hold"):
        _model(sampler="recent").hold_rate(2)


def test_rates_leave_modes_and_statistics_alone():
    model = _model(layers=2, k=2, init_rate=1.4).train().bind(_graph())
    model.predictor.eval()
    found = model.rates([0, 2], [9, 9])
    assert found.shape == (2, 2)
    assert model.training
    assert not model.predictor.training
    assert model.rate_stats()["active_share"] != model.rate_stats()["active_share"]
    model.embed([0, 2], [9, 9])
    assert model.rate_stats()["active_share"] > 0
    assert model.rate_stats()["mean_rate"] == pytest.approx(1.4, abs=0.01)
    model.reset_rate_stats()
    assert model.rate_stats()["mean_rate"] != model.rate_stats()["mean_rate"]


def test_parameters_learn_in_their_groups():
    model = _model(layers=2)
    groups = model.param_groups(1e-3, alpha=0.5, weight_decay=0.1)
    grouped = [id(each) for group in groups for each in group["params"]]
    assert sorted(grouped) == sorted(id(each) for each in model.parameters())
    rates = {id(each): group["lr"] for group in groups for each in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (5e-4 if name.startswith("expansions") else 1e-3)
    decays = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    for each in model.expansions:
        assert decays[id(each.aggregator.last.bias)] == 0
        assert decays[id(each.aggregator.last.weight)] == 0.1
    assert len(_model(sampler="recent").param_groups(1e-3)) == 1
    torch.optim.AdamW(groups)
    with pytest.raises(ConfigError, match="alpha is -1"):
        model.param_groups(1e-3, alpha=-1)


def test_weights_do_not_depend_on_the_sampler_and_start_again_as_they_did():
    backbone = _model(sampler="recent").state_dict()
    model = _model(sampler="tns", layers=1)
    for name, value in backbone.items():
        assert torch.equal(model.state_dict()[name], value), name
    last = model.expansions[0].aggregator.last
    with torch.no_grad():
        last.weight.fill_(1)
        last.bias.fill_(7)
    model.reset_parameters()
    assert last.bias.item() == 1
    assert 0 < last.weight.abs().max() < 1e-4
    model.load_state_dict(
        model.state_dict() | {"expansions.0.aggregator.merger.fc2.bias": torch.tensor([2.5])}
    )
    assert last.bias.item() == 2.5


def test_it_is_built_without_memory_copied_and_pickled():
    skeleton = lean.build(TemporalGNN, _SMALL)
    assert {name for name, _ in skeleton.named_parameters()} == {
        name for name, _ in _model().named_parameters()
    }
    model = _model().bind(_graph())
    model.seed_dropout(1)
    model.update([0], [1], [7])
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(other.embed([0, 1], [8, 9]), model.embed([0, 1], [8, 9]))


def test_weights_that_are_not_finite_say_so():
    model = _model(k=2).bind(_graph())
    with torch.no_grad():
        model.expansions[0].aggregator.last.bias.fill_(float("nan"))
    for context in (torch.no_grad(), torch.enable_grad()):
        with context, pytest.raises(ZooError, match="an expansion rate is not finite"):
            model.score([0], [2], [9])


def test_what_a_model_was_made_with_cannot_be_changed():
    model = _model()
    for name in ("k", "sampler", "rate", "short", "neighbor_time", "node_dim"):
        assert getattr(model, name) == getattr(model.settings, name)
        with pytest.raises(AttributeError):
            setattr(model, name, 5)


def test_an_expansion_module_needs_all_its_messages():
    module = _model().expansions[0]
    with pytest.raises(InputError, match="messages has 2 of each node; expected k=3"):
        module(torch.zeros(1, 6), torch.zeros(1, 2, 10), torch.ones(1, 2).bool(), torch.ones(1))


def test_weight_decay_is_the_optimizers_unless_given():
    groups = _model().param_groups(1e-3)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.3)
    assert [each["weight_decay"] for each in optimizer.param_groups] == [0.3, 0.3, 0.0]


def test_random_states_go_on_where_they_were():
    model = _model(dropout=0.5).train().bind(_graph())
    assert model.random_state() == {}
    model.seed_dropout(3)
    model.embed([0, 1], [9, 9])
    state = model.random_state()
    one = model.embed([0, 1], [9, 9])
    model.load_random_state(state)
    assert torch.equal(model.embed([0, 1], [9, 9]), one)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model.embed([0, 1], [9, 9])
    assert torch.equal(torch.get_rng_state(), before)
    kept = model.random_state()
    for broken in ({"dropout": state["dropout"]}, state | {"dropout": torch.zeros(3)}):
        with pytest.raises(InputError, match="the random state"):
            model.load_random_state(broken)
    assert all(torch.equal(kept[name], each) for name, each in model.random_state().items())


def test_it_runs_in_lower_precision_and_moves():
    model = _model(sampler="tns", init_rate=1.5, k=2).bind(_graph())
    exact = model.double().embed([0, 2], [9, 9])
    half = model.to(torch.bfloat16).embed([0, 2], [9, 9])
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), exact, rtol=0.1, atol=0.1)
