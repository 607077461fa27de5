"""What the plugin registers: every card gives a working object, and says what is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import zoo_weights
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader

import zoo
from zoo_core.interfaces import Sampler
from zoo_tns import plugin
from zoo_tns.evaluation import evaluate_part, replay
from zoo_tns.events import load_dataset
from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.splits import chronological_split
from zoo_tns.training.saving import load_memory, save_trained

CARDS = {card.name: card for card in plugin.zoo_cards()}
SAMPLERS = sorted(name for name, card in CARDS.items() if card.kind == "sampler")
MODELS = sorted(name for name, card in CARDS.items() if card.kind == "model")
SRC, DST, T = [0, 1, 0, 2, 0], [3, 3, 4, 3, 3], [10, 20, 30, 40, 50]
WEIGHTS = Path(zoo_weights.__file__).parent / "tns-tgn.wikipedia"


def _index() -> TemporalIndex:
    return TemporalIndex(SRC, DST, T)


def test_the_names_are_those_of_the_readme() -> None:
    assert {"expanded", "recent", "tns", "uniform"} == {*SAMPLERS}
    assert {"tgat-uniform", "tgn-recent", "tns-mean", "tns-tgat", "tns-tgn"} == {*MODELS}
    assert set(CARDS) == set(zoo.list(plugin="tns"))
    text = (Path(plugin.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [name for name in CARDS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_samples_by_itself_and_in_torch_geometrics_loader(name: str) -> None:
    sampler = zoo.load(name, k=2)
    assert isinstance(sampler, Sampler)
    bound = sampler.bind(_index())
    found = bound.sample(torch.tensor([3, 4]), torch.tensor([40, 30]))
    assert found.mask[0].any()
    assert not found.mask[1].any()
    assert bool((found.time[found.mask] < 40).all())
    data = Data(edge_index=torch.tensor([SRC, DST]), num_nodes=5)
    seeds, times = torch.tensor([3, 0]), torch.tensor([41, 31])
    (batch,) = NodeLoader(data, bound, input_nodes=seeds, input_time=times, batch_size=2)
    assert set(batch.e_id.tolist()) <= {0, 1, 2, 3}
    assert batch.n_id[:2].tolist() == [3, 0]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_saved_as_its_settings(name: str, tmp_path: Path) -> None:
    sampler = zoo.load(name, k=[4, 3], window=25, neighbor_time="event", seed=5)
    loaded = zoo.load(zoo.save(sampler, tmp_path / "mine"))
    assert type(loaded) is type(sampler)
    assert (loaded.k, loaded.window, loaded.neighbor_time, loaded.seed) == ([4, 3], 25, "event", 5)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_embeds_learns_and_is_saved(name: str, tmp_path: Path) -> None:
    small = {"edge_dim": 2, "node_dim": 4, "time_dim": 4, "hidden": 4, "k": 2}
    model = zoo.load(name, pretrained=False, num_nodes=5, **small)
    graph = TemporalGraph(_index(), torch.ones(5, 2))
    model.bind(graph).update([0], [3], [10], torch.ones(1, 2))
    model.train()([0, 1], [3, 4], [40, 50]).sum().backward()
    reached = {key for key, each in model.named_parameters() if each.grad is not None}
    backbone = {key for key, _ in model.named_parameters() if not key.startswith("expansions.")}
    assert reached >= backbone
    model.eval()
    with torch.no_grad():
        for each in model.expansions:
            each.aggregator.last.weight.normal_()
    loaded = zoo.load(save_trained(model, tmp_path / "mine")).bind(graph)
    if model.memory is not None:
        load_memory(loaded, tmp_path / "mine")
    if name != "tgat-uniform":
        assert torch.equal(loaded.embed([0, 3], [60, 60]), model.embed([0, 3], [60, 60]))
    assert (model.sampler == "tns") == name.startswith("tns-")


def test_backbones_are_those_of_the_paper() -> None:
    for name in ("tns-tgn", "tgn-recent"):
        of = zoo.load(name, pretrained=False).settings
        assert (of.aggr, of.layers, of.k, of.memory) == ("attention", 1, 10, True)
        assert of.neighbor_time == "query"
    for name in ("tns-tgat", "tgat-uniform"):
        of = zoo.load(name, pretrained=False).settings
        assert (of.aggr, of.layers, of.k, of.memory) == ("tgat", 2, 20, False)
        assert of.neighbor_time == "event"
    of = zoo.load("tns-tgn", pretrained=False).settings
    assert {of.node_dim, of.edge_dim, of.time_dim, of.hidden} == {172}
    assert (of.heads, of.dropout, of.sigma, of.init_rate) == (2, 0.1, 1e-5, 1.0)
    # The official TGN, without its unused layer norm and the bias of keys, has 1.22 million.
    size = sum(each.numel() for each in zoo.load("tgn-recent", pretrained=False).parameters())
    assert size == 1_216_385 - 344


def test_the_card_says_of_its_weights_what_their_folder_says() -> None:
    (weights,) = CARDS["tns-tgn"].weights
    said = json.loads((WEIGHTS / "config.json").read_text(encoding="utf-8"))
    card = {**CARDS["tns-tgn"].config, **weights.config}
    assert {key: said["config"][key] for key in card} == card
    assert said["weights"]["metrics"] == dict(weights.metrics)
    assert (WEIGHTS / "model.safetensors").stat().st_size == weights.size
    model = zoo.load("tns-tgn")
    assert (model.settings.num_nodes, model.settings.edge_dim) == (9227, 0)


def test_the_shipped_model_has_the_scores_that_its_card_states() -> None:
    root = os.environ.get("ZOO_DATA")
    if not root or not (Path(root) / "jodie-wikipedia").is_dir():
        pytest.skip("needs the folder jodie-wikipedia in ZOO_DATA")
    split = chronological_split(load_dataset("jodie-wikipedia", root))
    graph = TemporalGraph.from_data(split.data, split.num_nodes)
    model = zoo.load("tns-tgn").bind(graph)
    replay(model, split.train)
    replay(model, split.val)
    found = evaluate_part(model, split, "test", graph)
    stated = CARDS["tns-tgn"].weights[0].metrics
    assert 100 * found["test"]["ap"] == pytest.approx(stated["test AP (%)"], abs=0.02)
    assert 100 * found["test"]["acc"] == pytest.approx(stated["test accuracy (%)"], abs=0.05)
    new = 100 * found["new_node_test"]["ap"]
    assert new == pytest.approx(stated["new-node test AP (%)"], abs=0.05)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, zoo; zoo.list(plugin='tns'); "
        "print([m for m in ('torch', 'torch_geometric', 'numpy', 'numba') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_importing_the_model_needs_no_extra() -> None:
    code = (
        "import sys, zoo_tns; zoo_tns.TemporalGNN, zoo_tns.TemporalIndex, zoo_tns.TrainingConfig;"
        "print([m for m in ('numba', 'accelerate', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
