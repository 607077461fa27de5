"""The training loop against a plain one, and what it does beside: negatives, epochs, records."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn import functional
from torch_geometric.data import TemporalData

from zoo_core.errors import ConfigError, InputError, ZooError, ZooWarning
from zoo_tns.evaluation import evaluate, evaluate_part
from zoo_tns.graph import TemporalGraph
from zoo_tns.model import TemporalGNN
from zoo_tns.negatives import RandomNegatives
from zoo_tns.seeds import derived
from zoo_tns.splits import chronological_split
from zoo_tns.training import TrainingConfig, train_link_prediction

NODES = 24


def stream(count=260, seed=0, width=2):
    """Sources have favourites among the destinations, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(8, (count,), generator=generator)
    dst = 8 + (2 * src + torch.randint(3, (count,), generator=generator)) % 16
    return TemporalData(
        src=src,
        dst=dst,
        t=torch.randint(4 * count, (count,), generator=generator).sort().values,
        msg=torch.randn(count, width, generator=generator),
    )


def network(seed=0, edge_dim=2, **changes):
    torch.manual_seed(seed)
    config = {"node_dim": 6, "time_dim": 6, "hidden": 6, "k": 3, "dropout": 0.0}
    return TemporalGNN(None, edge_dim, **(config | changes))


def train(model, data, **changes):
    config = {"epochs": 3, "batch_size": 50, "lr": 1e-2}
    names = ("out", "callbacks", "node_features")
    options = {name: changes.pop(name) for name in names if name in changes}
    return train_link_prediction(
        model, data, config=TrainingConfig(**(config | changes)), progress=False, **options
    )


def untimed(history):
    return [{key: each[key] for key in each if key != "seconds"} for each in history]


@pytest.mark.parametrize("changes", [{}, {"sampler": "recent"}, {"memory": False, "aggr": "tgat"}])
def test_it_is_the_plain_loop(changes):
    data = stream()
    split = chronological_split(data)
    model = network(**changes).double()
    outcome = train(model, data, epochs=2, alpha=0.5, seed=3)

    plain = network(**changes).double()
    optimizer = torch.optim.Adam(plain.param_groups(1e-2, 0.5))
    negatives = RandomNegatives(split.train.dst, derived(3, "negatives"))
    train_graph = TemporalGraph.from_data(split.train, NODES)
    graph = TemporalGraph.from_data(data, NODES)
    best, losses = None, []
    for epoch in range(2):
        plain.bind(train_graph).train()
        plain.reset_memory()
        total = 0.0
        for batch, start in enumerate(range(0, len(split.train.src), 50)):
            events = split.train[start : start + 50]
            negatives.reset(epoch, batch)
            drawn = negatives.draw(events.src, events.dst)
            good, bad = plain(events.src, events.dst, events.t, drawn)
            bce = functional.binary_cross_entropy_with_logits
            loss = bce(good, torch.ones_like(good)) + bce(bad, torch.zeros_like(bad))
            plain.update(events.src, events.dst, events.t, events.msg)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(events.src)
        losses.append(total / len(split.train.src))
        found = evaluate_part(plain, split, "val", graph, 50)
        record = outcome.history[epoch]
        for part in ("val", "new_node_val"):
            for name, value in found[part].items():
                assert record[f"{part}_{name}"] == pytest.approx(value, abs=1e-9)
        if best is None or found["val"]["ap"] > best[0]:
            weights = {name: value.clone() for name, value in plain.state_dict().items()}
            best = (found["val"]["ap"], weights, plain.memory_state())
    assert [each["loss"] for each in outcome.history] == pytest.approx(losses, abs=1e-9)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, best[1][name], atol=1e-9, rtol=1e-7)
    assert model.memory_state().keys() == best[2].keys()
    plain.load_state_dict(best[1])
    plain.load_memory_state(best[2])
    tested = evaluate_part(plain, split, "test", graph, 50)
    assert outcome.test["ap"] == pytest.approx(tested["test"]["ap"], abs=1e-9)
    assert outcome.new_node_test["auc"] == pytest.approx(tested["new_node_test"]["auc"], abs=1e-9)


def test_it_learns():
    data, features = stream(700), torch.eye(NODES)
    model = network(memory=False, sampler="recent", node_dim=NODES)
    split = chronological_split(data)
    graph = TemporalGraph.from_data(data, NODES, features)
    untrained = evaluate_part(model, split, "test", graph)["test"]
    outcome = train(model, split, epochs=8, node_features=features)
    assert outcome.test["ap_pooled"] > untrained["ap_pooled"] + 0.1
    assert outcome.history[-1]["loss"] < outcome.history[0]["loss"] - 0.1


def test_the_model_is_left_so_that_its_test_can_be_repeated():
    data = stream()
    model = network(dropout=0.1)
    outcome = train(model, data)
    assert not model.training
    split = chronological_split(data)
    negatives = RandomNegatives(data.dst, 2)
    assert evaluate(model, split.test, model.graph, negatives, 50) == outcome.test
    assert model.graph.num_events == len(data.src)


@pytest.mark.parametrize("memory", [True, False])
def test_a_rate_held_at_1_trains_as_the_most_recent_neighbours(memory):
    data = stream()
    recent = network(sampler="recent", memory=memory, dropout=0.2)
    held = network(sampler="tns", memory=memory, dropout=0.2)
    held.hold_rate(1.0)
    first, second = train(recent, data), train(held, data)
    rates = ("mean_rate", "closed_share", "active_share")
    for one, other in zip(untimed(first.history), untimed(second.history), strict=True):
        assert {**one, **dict.fromkeys(rates)} == {**other, **dict.fromkeys(rates)}
    assert first.test == second.test
    for name, value in recent.state_dict().items():
        assert torch.equal(value, held.state_dict()[name])


def test_it_is_decided_by_its_seed_alone():
    data = stream()
    torch.manual_seed(5)
    first, one = train(network(dropout=0.3), data, seed=1), torch.rand(1)
    again, other = train(network(dropout=0.3), data, seed=1), torch.rand(1)
    assert untimed(first.history) == untimed(again.history)
    assert first.test == again.test
    assert torch.equal(one, other)  # the global generator is left alone
    assert untimed(train(network(dropout=0.3), data, seed=2).history) != untimed(first.history)


def test_it_ends_when_validation_gets_no_better(monkeypatch):
    aps = iter([0.5, 0.7, 0.7, 0.6, 0.9, 0.4])
    model = network()
    weights, calls = [], []

    def judged(model, split, part, graph, batch_size):
        calls.append((part, graph.num_events, batch_size))
        weights.append(model.predictor.fc1.weight.detach().clone())
        return {part: {"ap": next(aps) if part == "val" else 0.1, "acc": 0.2}}

    monkeypatch.setattr("zoo_tns.training.trainer.evaluate_part", judged)
    outcome = train(model, stream(), epochs=9, patience=2, eval_batch_size=7)
    assert [each["val_ap"] for each in outcome.history] == [0.5, 0.7, 0.7, 0.6]
    assert (outcome.best_epoch, outcome.best_val_ap) == (2, 0.7)
    assert calls == [("val", 260, 7)] * 4 + [("test", 260, 7)]
    assert torch.equal(weights[-1], weights[1])
    assert torch.equal(model.predictor.fc1.weight, weights[1])
    assert outcome.test == {"ap": 0.1, "acc": 0.2}
    assert outcome.new_node_test == {}


def test_without_patience_all_epochs_are_done(monkeypatch):
    monkeypatch.setattr("zoo_tns.training.trainer.evaluate_part", lambda *it: {it[2]: {"ap": 0.5}})
    assert len(train(network(), stream(), epochs=4, patience=None).history) == 4
    assert len(train(network(), stream(), epochs=4, patience=1).history) == 2


def test_training_sees_training_events_alone():
    data = stream()
    split = chronological_split(data)
    hidden = set(split.hidden_nodes.tolist())
    model = network()
    plain, seen = model.forward, []

    def noted(src, dst, t, negative):
        if model.training:
            seen.append((model.graph.num_events, src.tolist(), dst.tolist(), negative.tolist()))
        return plain(src, dst, t, negative)

    model.forward = noted
    train(model, split, epochs=1)
    assert [node for each in seen for node in each[1]] == split.train.src.tolist()
    assert {each[0] for each in seen} == {len(split.train.src)}
    assert not hidden & {node for each in seen for node in each[1] + each[2] + each[3]}
    assert {node for each in seen for node in each[3]} <= set(split.train.dst.tolist())


def test_a_shuffled_order_is_a_new_one_in_every_epoch_and_needs_no_memory():
    data = stream()
    split = chronological_split(data)
    model = network(memory=False)
    plain, seen = model.forward, []

    def noted(src, dst, t, negative):
        if model.training:
            seen.extend(zip(src.tolist(), dst.tolist(), t.tolist(), strict=True))
        return plain(src, dst, t, negative)

    model.forward = noted
    train(model, split, epochs=2, order="shuffled")
    events = split.train
    expected = list(zip(events.src.tolist(), events.dst.tolist(), events.t.tolist(), strict=True))
    first, second = seen[: len(expected)], seen[len(expected) :]
    assert sorted(first) == sorted(second) == sorted(expected)
    assert first != second
    assert expected not in (first, second)
    with pytest.raises(ConfigError, match="needs events in order of time"):
        train(network(), data, order="shuffled")


def test_each_epoch_is_told_and_logged(tmp_path):
    told = []
    outcome = train(network(init_rate=1.5), stream(), out=tmp_path, callbacks=[told.append])
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == told == list(outcome.history)
    assert [each["epoch"] for each in told] == [1, 2, 3]
    measures = ("ap", "auc", "acc", "ap_pooled", "auc_pooled", "acc_pooled", "loss")
    expected = {"epoch", "loss", "seconds", "mean_rate", "closed_share", "active_share"}
    expected |= {f"{part}_{name}" for part in ("val", "new_node_val") for name in measures}
    assert told[0].keys() == expected
    assert 1.0 < told[0]["mean_rate"] < 2.0
    assert 0 < told[0]["active_share"] < 1
    assert 0 <= told[0]["closed_share"] < 1


def test_the_log_is_whole_after_every_epoch(tmp_path):
    lines = []

    def count(record):
        text = (tmp_path / "log.jsonl").read_text()
        lines.append([json.loads(line)["epoch"] for line in text.splitlines()])

    train(network(), stream(), out=tmp_path, callbacks=[count])
    assert lines == [[1], [1, 2], [1, 2, 3]]


def test_rates_are_means_over_the_epoch():
    model = network(k=2, sampler="tns", init_rate=2.0, memory=False)
    rates, plain = [], model.expansions[0].forward

    def noted(h, messages, mask, count, now=None):
        found = plain(h, messages, mask, count, now)
        if model.training:
            rates.append((found.detach(), count > 2))
        return found

    model.expansions[0].forward = noted
    record = train(model, stream(), epochs=1).history[0]
    rate, active = (torch.cat(each) for each in zip(*rates, strict=True))
    assert record["mean_rate"] == pytest.approx(float(rate[active].mean()))
    assert record["active_share"] == pytest.approx(float(active.float().mean()))


def test_models_without_rates_have_none_to_tell():
    record = train(network(sampler="recent"), stream(), epochs=1).history[0]
    assert record["mean_rate"] is record["closed_share"] is record["active_share"] is None


def test_a_closed_gate_is_told_once():
    model = network(gate="strict")
    torch.nn.init.constant_(model.expansions[0].aggregator.last.bias, 0.5)
    with pytest.warns(ZooWarning, match="in epoch 1 .* the gate is closed") as found:
        outcome = train(model, stream())
    assert len(found) == 1
    assert [each["closed_share"] for each in outcome.history] == [1, 1, 1]


def test_a_loss_that_is_not_finite_ends_it_before_a_step(tmp_path):
    model = network()
    torch.nn.init.constant_(model.predictor.fc2.bias, math.nan)
    before = model.predictor.fc1.weight.detach().clone()
    with pytest.raises(ZooError, match=r"the loss is nan in epoch 1, batch 1 of 4"):
        train(model, stream(), out=tmp_path)
    assert torch.equal(model.predictor.fc1.weight, before)
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="edge_dim"):
        train(network(edge_dim=3), stream())
    torch.manual_seed(0)
    with pytest.raises(InputError, match="num_nodes is 20"):
        train(TemporalGNN(20, 2, 4, 4, 4), stream())
    with pytest.raises(InputError, match="expected a TemporalData"):
        train(network(), [1, 2])
    with pytest.raises(ConfigError, match="config is a dict"):
        train_link_prediction(network(), stream(), config={"epochs": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"patience": 0}, "patience is 0"),
        ({"eval_batch_size": True}, "eval_batch_size is True"),
        ({"checkpoint_every": -1}, "checkpoint_every is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"lr": 0.0}, "lr is 0.0; expected more than 0"),
        ({"lr": math.inf}, "lr is inf"),
        ({"alpha": -0.1}, "alpha is -0.1"),
        ({"order": "shufled"}, "Did you mean shuffled"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**changes)
