"""What the plugin registers: every card gives a working object, and says what is so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import zoo_weights
from torch_geometric.data import Data
from torch_geometric.explain import Explainer

import zoo
from zoo_core.errors import DigestError, FetchError
from zoo_nseg import plugin
from zoo_nseg.networks import GNN
from zoo_nseg.official import to_official
from zoo_nseg.presets import PRESETS
from zoo_nseg.released import FOLDER, VARIABLE
from zoo_nseg.synthetic import ba_shapes
from zoo_nseg.training import node_accuracy

CARDS = {card.name: card for card in plugin.zoo_cards()}
EXPLAINERS = sorted(name for name, card in CARDS.items() if card.kind == "explainer")
NETWORKS = sorted(name for name, card in CARDS.items() if card.kind == "model")
BUNDLED = [
    (name, weights)
    for name in NETWORKS
    for weights in CARDS[name].weights
    if weights.source.startswith("bundled://")
]
WEIGHTS = Path(zoo_weights.__file__).parent


def test_the_names_are_those_of_the_readme() -> None:
    assert set(CARDS) <= set(zoo.list(plugin="nseg"))
    assert len(EXPLAINERS) == 16
    assert {"nseg", "nseg-edge", "nseg-feature", "nseg-joint", "nseg-pn", "nseg-ps"} < {*EXPLAINERS}
    text = (Path(plugin.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    general = ("nseg-edge-", "nseg-joint-", "nseg-gcn-", "nseg-gin-")
    assert all(f"`{stem}DATA`" in text for stem in general)
    missing = [name for name in CARDS if f"`{name}`" not in text]
    assert all(name.startswith(general) for name in missing)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_explainer_explains_in_torch_geometric(name: str) -> None:
    explainer = zoo.load(name, epochs=2)
    kind = explainer.kind or "joint"
    torch.manual_seed(0)
    network = GNN("gcn", 3, (4, 4), 2)
    graph = Data(x=torch.randn(6, 3), edge_index=torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]))
    found = Explainer(
        network,
        explainer,
        explanation_type="model",
        edge_mask_type=None if kind == "feature" else "object",
        node_mask_type=None if kind == "edge" else "object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw",
        },
    )(graph.x, graph.edge_index, index=3)
    assert ("edge_mask" in found) == (kind != "feature")
    assert ("node_mask" in found) == (kind != "edge")
    assert len(found.loss_history) == 2


@pytest.mark.parametrize(("data", "kind"), PRESETS)
def test_a_preset_is_a_card_with_its_numbers(data: str, kind: str) -> None:
    explainer = zoo.load(f"nseg-{kind}-{data}")
    assert explainer.kind == kind
    for name, value in PRESETS[data, kind].items():
        assert getattr(explainer.settings, name) == value
    assert explainer.settings.objective == "pns"
    if kind == "edge":
        assert zoo.load(f"nseg-{data}").settings == explainer.settings


@pytest.mark.parametrize("objective", ["pn", "ps"])
def test_the_halves_have_their_objective(objective: str) -> None:
    assert zoo.load(f"nseg-{objective}").settings.objective == objective


def test_an_explainer_is_saved_as_its_settings(tmp_path: Path) -> None:
    saved = zoo.save(zoo.load("nseg-joint-msrc21", noise=0.01), tmp_path / "mine")
    assert zoo.load(saved).settings == zoo.load("nseg-joint-msrc21", noise=0.01).settings


@pytest.mark.parametrize(("name", "weights"), BUNDLED, ids=[name for name, _ in BUNDLED])
def test_a_card_says_of_its_weights_what_their_folder_says(name, weights) -> None:
    folder = WEIGHTS / f"{name}.{weights.tag}"
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert said["config"] == dict(CARDS[name].config)
    assert said["weights"]["metrics"] == dict(weights.metrics)
    assert tuple(said["weights"]["labels"]) == weights.labels
    assert (folder / "model.safetensors").stat().st_size == weights.size
    model = zoo.load(f"{name}.{weights.tag}")
    assert model.zoo.labels() == list(weights.labels) or model.zoo.labels() == weights.labels


def test_the_network_of_houses_has_the_accuracy_that_its_card_states() -> None:
    graph = ba_shapes(seed=0)
    model = zoo.load("nseg-gcn-ba-shapes")
    stated = CARDS["nseg-gcn-ba-shapes"].weights[0].metrics
    for part, mask in (("train", graph.train_mask), ("test", graph.test_mask)):
        measured = 100 * node_accuracy(model, graph, mask)
        assert measured == pytest.approx(stated[f"{part} accuracy (%)"], abs=0.01)


def test_official_networks_point_to_their_authors_and_are_not_shipped() -> None:
    for name in NETWORKS:
        for weights in CARDS[name].weights:
            if weights.tag == "official":
                assert weights.source.startswith(f"{FOLDER}/")
                assert weights.license == "unknown"
                assert not (WEIGHTS / f"{name}.official").exists()


@pytest.fixture
def fixtures() -> Path:
    root = os.environ.get("ZOO_DATA")
    if not root or not Path(root, "nseg-synthetic").is_dir():
        pytest.skip("needs ZOO_DATA with nseg-synthetic")
    return Path(root, "nseg-synthetic")


@pytest.mark.parametrize("nested", [False, True])
def test_the_users_own_copy_of_an_official_file_is_loaded(
    nested: bool, fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    (own / "GIN").mkdir(parents=True)
    target = own / ("GIN/Tree-Cycles.pth" if nested else "GIN_Tree-Cycles.pth")
    shutil.copy(fixtures / "GIN_Tree-Cycles.pth", target)
    monkeypatch.setenv(VARIABLE, str(own))
    model = zoo.load("nseg-gin-tree-cycles", cache_dir=tmp_path / "cache", local_files_only=True)
    from safetensors.torch import load_file

    wanted = load_file(fixtures / "GIN_Tree-Cycles.safetensors")
    for name, tensor in to_official(model.state_dict()).items():
        assert torch.equal(tensor, wanted[name])


def test_a_copy_of_another_content_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "GIN_Tree-Cycles.pth"
    file.write_bytes(b"something else")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DigestError):
        zoo.load("nseg-gin-tree-cycles", cache_dir=tmp_path / "cache", local_files_only=True)
    assert file.read_bytes() == b"something else"


@pytest.mark.parametrize("folder", [None, "", "nowhere"])
def test_without_a_copy_the_authors_are_asked(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if folder is not None:
        monkeypatch.setenv(VARIABLE, str(tmp_path / folder) if folder else "")
    with pytest.raises(FetchError, match=r"checkpoint/GIN/Tree-Grid\.pth is not in the cache"):
        zoo.load("nseg-gin-tree-grid", cache_dir=tmp_path / "cache", local_files_only=True)


def test_the_variable_mirrors_official_files_alone(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "GCN_BA-Shapes.pth").write_bytes(b"x")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    generated, official = CARDS["nseg-gcn-ba-shapes"].weights
    assert plugin.zoo_fetch(generated, False) is None
    assert plugin.zoo_fetch(official, False) == tmp_path / "GCN_BA-Shapes.pth"


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, zoo_nseg, zoo_nseg.plugin as p; list(p.zoo_cards()); p.zoo_experiments();"
        "heavy = {'torch', 'torch_geometric', 'sklearn', 'numpy', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_where_they_say() -> None:
    import zoo_nseg

    for name in zoo_nseg.__all__:
        assert getattr(zoo_nseg, name) is not None
