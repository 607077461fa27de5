"""A trained model is a folder that `zoo.load` reads, its memory a file beside."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch_geometric.data import TemporalData

import zoo
from zoo_core.errors import CheckpointError, InputError, SaveError
from zoo_tns.evaluation import evaluate
from zoo_tns.graph import TemporalGraph
from zoo_tns.model import TemporalGNN
from zoo_tns.negatives import RandomNegatives
from zoo_tns.splits import chronological_split
from zoo_tns.training import (
    TrainingConfig,
    load_memory,
    save_trained,
    saving,
    train_link_prediction,
)

CONFIG = {"node_dim": 4, "time_dim": 4, "hidden": 4, "k": 3}


def stream(count=200):
    generator = torch.Generator().manual_seed(0)
    src = torch.randint(8, (count,), generator=generator)
    return TemporalData(
        src=src,
        dst=8 + (2 * src + torch.randint(3, (count,), generator=generator)) % 16,
        t=torch.randint(4 * count, (count,), generator=generator).sort().values,
        msg=torch.randn(count, 2, generator=generator),
    )


def train(model, out, **options):
    config = TrainingConfig(epochs=2, batch_size=40, lr=1e-2)
    return train_link_prediction(model, stream(), config=config, out=out, progress=False, **options)


@pytest.mark.parametrize("from_zoo", [True, False])
def test_the_folder_has_the_model_that_was_tested(tmp_path, from_zoo):
    torch.manual_seed(0)
    if from_zoo:
        model = zoo.load("tns-tgn", pretrained=False, edge_dim=2, num_nodes=24, **CONFIG)
        outcome = train(model, tmp_path)
    else:
        outcome = train(TemporalGNN(24, 2, **CONFIG), tmp_path, name="tns-tgn")
    loaded = zoo.load(tmp_path)
    data = stream()
    load_memory(loaded.bind(TemporalGraph.from_data(data, 24)), tmp_path)
    test = chronological_split(data).test
    found = evaluate(loaded, test, loaded.graph, RandomNegatives(data.dst, 2), 40)
    assert found == outcome.test
    metrics = json.loads((tmp_path / "config.json").read_text())["weights"]["metrics"]
    assert metrics == {
        "test AP (%)": round(100 * outcome.test["ap"], 2),
        "test accuracy (%)": round(100 * outcome.test["acc"], 2),
        "new-node test AP (%)": round(100 * outcome.new_node_test["ap"], 2),
    }


def test_a_model_without_a_card_leaves_checkpoints_alone(tmp_path):
    train(TemporalGNN(None, 2, **CONFIG), tmp_path)
    assert not (tmp_path / "config.json").exists()
    assert not (tmp_path / "memory.safetensors").exists()
    with pytest.raises(SaveError):
        save_trained(TemporalGNN(24, 2, **CONFIG), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_without_memory_leaves_none_behind(tmp_path):
    model = TemporalGNN(24, 2, **CONFIG).bind(TemporalGraph.from_data(stream(), 24))
    save_trained(model, tmp_path, name="tns-tgn")
    assert (tmp_path / "memory.safetensors").exists()
    save_trained(TemporalGNN(24, 2, **CONFIG, memory=False), tmp_path, name="tns-tgn")
    assert not (tmp_path / "memory.safetensors").exists()
    assert not zoo.load(tmp_path).settings.memory


def test_a_memory_of_another_model_is_refused(tmp_path):
    graph = TemporalGraph.from_data(stream(), 24)
    model = TemporalGNN(24, 2, **CONFIG).bind(graph)
    model.update(*(each[:5] for each in (stream().src, stream().dst, stream().t, stream().msg)))
    save_trained(model, tmp_path, name="tns-tgn")
    other = TemporalGNN(24, 2, **CONFIG).bind(graph)
    load_memory(other, tmp_path)
    for name, value in model.memory_state().items():
        assert torch.equal(value, other.memory_state()[name])
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_memory(TemporalGNN(24, 2, **(CONFIG | {"node_dim": 6})), tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_memory(model, tmp_path / "none")


def remembering(events):
    model = TemporalGNN(24, 2, **CONFIG).bind(TemporalGraph.from_data(stream(), 24))
    model.update(
        *(each[:events] for each in (stream().src, stream().dst, stream().t, stream().msg))
    )
    return model


def test_a_full_disk_leaves_no_model_without_its_memory(tmp_path, monkeypatch):
    def full(path, tensors):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(saving, "write_tensors", full)
    out = tmp_path / "new" / "run"
    with pytest.raises(SaveError, match=r"cannot write .*memory\.safetensors: .*No space left"):
        save_trained(remembering(5), out, name="tns-tgn")
    assert list(tmp_path.iterdir()) == []


def test_the_memory_is_there_before_the_model(tmp_path, monkeypatch):
    plain = saving.save

    def looked(model, folder, **options):
        found = load_file(tmp_path / "memory.safetensors")
        assert all(torch.equal(found[name], it) for name, it in model.memory_state().items())
        return plain(model, folder, **options)

    monkeypatch.setattr(saving, "save", looked)
    for events in (5, 20):
        save_trained(remembering(events), tmp_path, name="tns-tgn")
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"README.md", "config.json", "memory.safetensors", "model.safetensors"}


def test_a_model_that_cannot_be_written_leaves_the_memory_from_before(tmp_path, monkeypatch):
    save_trained(remembering(5), tmp_path, name="tns-tgn")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def refused(*given, **options):
        raise SaveError("no")

    monkeypatch.setattr(saving, "save", refused)
    with pytest.raises(SaveError, match="no"):
        save_trained(remembering(20), tmp_path, name="tns-tgn")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize("memory", [True, False])
def test_a_file_in_the_folders_place_is_refused(tmp_path, memory):
    (tmp_path / "file").touch()
    model = TemporalGNN(24, 2, **CONFIG, memory=memory)
    with pytest.raises(SaveError, match="not a folder"):
        save_trained(model, tmp_path / "file", name="tns-tgn")
    with pytest.raises(InputError, match="no usable path"):
        save_trained(model, "", name="tns-tgn")
