"""A decoder of labels learns from embeddings of a frozen encoder, each made before its event."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch_geometric.data import TemporalData

from zoo_core.errors import ConfigError, InputError
from zoo_tns.graph import TemporalGraph
from zoo_tns.model import TemporalGNN
from zoo_tns.node_classification import NodeClassifier, embed_sources, train_node_classification
from zoo_tns.splits import chronological_split

NODES = 20


def stream(count=600, seed=0):
    """Labels say whether the source's last event before had a positive feature."""
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(8, (count,), generator=generator)
    dst = torch.randint(8, NODES, (count,), generator=generator)
    msg = torch.randint(2, (count, 1), generator=generator).float() * 2 - 1
    last, labels = torch.zeros(NODES), []
    for source, feature in zip(src.tolist(), msg[:, 0], strict=True):
        labels.append(int(last[source] > 0))
        last[source] = feature
    return TemporalData(src=src, dst=dst, t=torch.arange(count), msg=msg, y=torch.tensor(labels))


def encoder(memory=True):
    torch.manual_seed(3)
    return TemporalGNN(None, 1, node_dim=8, time_dim=8, hidden=8, k=1, memory=memory)


def test_the_decoder_has_the_official_shape():
    decoder = NodeClassifier(172)
    shapes = [tuple(each.weight.shape) for each in decoder.layers if isinstance(each, nn.Linear)]
    assert shapes == [(80, 172), (10, 80), (1, 10)]
    kinds = [type(each).__name__ for each in decoder.layers]
    assert kinds == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    assert {each.p for each in decoder.layers if isinstance(each, nn.Dropout)} == {0.1}
    assert decoder(torch.zeros(3, 172)).shape == (3,)


@pytest.mark.parametrize("memory", [True, False])
def test_a_source_is_embedded_before_its_batch_is_known(memory):
    data, model = stream(90), encoder(memory).train()
    graph = TemporalGraph.from_data(data, NODES)
    found = embed_sources(model, data, graph, batch_size=25)
    assert model.training
    model.eval()
    model.reset_memory()
    expected = []
    for start in range(0, 90, 25):
        batch = data[start : start + 25]
        with torch.no_grad():
            expected += [
                model.embed(batch.src[i : i + 1], batch.t[i : i + 1]) for i in range(len(batch.src))
            ]
        model.update(batch.src, batch.dst, batch.t, batch.msg)
    torch.testing.assert_close(found, torch.cat(expected))
    assert not found.requires_grad


def test_it_learns_what_the_embeddings_tell_and_leaves_the_encoder_alone():
    data, model = stream(), encoder()
    model.bind(TemporalGraph.from_data(data, NODES))
    model.update(data.src[:5], data.dst[:5], data.t[:5], data.msg[:5])
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    memory = model.memory_state()
    found = train_node_classification(
        model, data, epochs=40, lr=1e-2, batch_size=20, progress=False
    )
    assert found.test_auc > 0.9
    assert found.history[-1]["loss"] < found.history[0]["loss"] / 2
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())
    assert all(value.equal(memory[name]) for name, value in model.memory_state().items())
    test = chronological_split(data, new_node_ratio=0).test
    assert found.test_auc == pytest.approx(roc_auc_score(test.y, found.test_logits))
    assert not found.decoder.training


def test_it_is_decided_by_its_seed():
    data, options = stream(200), {"epochs": 2, "progress": False, "batch_size": 30}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = train_node_classification(encoder(), data, seed=4, **options)
    torch.manual_seed(2)
    second = train_node_classification(encoder(), data, seed=4, **options)
    other = train_node_classification(encoder(), data, seed=5, **options)
    assert torch.equal(first.test_logits, second.test_logits)
    assert first.history == second.history
    assert not torch.equal(first.test_logits, other.test_logits)
    torch.set_rng_state(state)
    model = encoder()
    state = torch.get_rng_state()
    train_node_classification(model, data, **options)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_last_epoch_is_kept_or_the_best_on_validation():
    data = stream(300, seed=2)
    options = {"epochs": 12, "lr": 0.05, "batch_size": 20, "progress": False}
    last = train_node_classification(encoder(), data, **options)
    best = train_node_classification(encoder(), data, select="val", **options)
    scores = [each["val_auc"] for each in last.history]
    assert [each["val_auc"] for each in best.history] == scores
    assert last.epoch == 12
    assert best.epoch == 1 + scores.index(max(scores)) < 12
    assert not torch.equal(last.test_logits, best.test_logits)


def test_labels_of_one_class_are_refused_in_training_and_give_no_auc_in_test():
    data = stream(200)
    split = chronological_split(data, new_node_ratio=0)
    options = {"epochs": 1, "progress": False}
    data.y[split.test_mask] = 0
    assert math.isnan(train_node_classification(encoder(), data, **options).test_auc)
    data.y[split.val_mask] = 1
    found = train_node_classification(encoder(), data, **options)
    assert math.isnan(found.history[0]["val_auc"])
    with pytest.raises(InputError, match="all validation events have the label 1"):
        train_node_classification(encoder(), data, select="val", **options)
    data.y[split.train_mask] = 0
    with pytest.raises(InputError, match="all training events have the label 0"):
        train_node_classification(encoder(), data, **options)


def test_unusable_labels_and_settings_are_refused():
    data, model = stream(200), encoder()
    for changes, message in (
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"select": "best"}, "select is 'best'"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"lr": "a"}, "lr is 'a'"),
        ({"dropout": None}, "dropout None"),
    ):
        with pytest.raises(ConfigError, match=message):
            train_node_classification(model, data, **changes)
    with pytest.raises(InputError, match="seed is 'a'"):
        train_node_classification(model, data, seed="a")
    data.y[3] = 2
    with pytest.raises(InputError, match="other than 0 and 1"):
        train_node_classification(model, data)
    del data.y
    with pytest.raises(InputError, match="no labels"):
        train_node_classification(model, data)
