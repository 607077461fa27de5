from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.networks import GNN


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small networks gain nothing from more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The slow reference of the method: nseg_reference.py."""
    name = "zoo_nseg_tests_nseg_reference"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "nseg_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def network():
    """Builds a GNN in float64 whose output moves when messages do, biases included."""

    def build(conv: str, level: str, seed: int = 0, classes: int = 3, scale: float = 1.0) -> GNN:
        model = GNN(conv, 4, (8, 8, 8), classes, level).double().eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                if name == "classify.weight":
                    # Sums over a graph's nodes, and over neighbours, would saturate the softmax.
                    scale *= {"node": 1.0, "graph": 0.12}[level] * {"gcn": 1.0, "gin": 0.08}[conv]
                    parameter.copy_(scale * drawn)
                elif parameter.ndim > 1:
                    parameter.copy_(drawn * (2 / parameter.shape[1]) ** 0.5)
                else:
                    parameter.copy_(0.2 * drawn)
        return model

    return build


@pytest.fixture(scope="session")
def ring():
    """Builds a ring with chords, a parallel edge, a self-loop and one-way edges: x, edge_index.

    It is wide enough for nodes that lie beyond three hops of each other.
    """

    def build(nodes: int = 22, chords: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        around = [(node, (node + 1) % nodes) for node in range(nodes)]
        starts = torch.randperm(nodes, generator=generator)[:chords].tolist()
        short = [(start, (start + 2) % nodes) for start in starts]
        both = [*around, *short]
        both += [(target, source) for source, target in both]
        one_way = [(0, 3), (5, 5), (0, 1)]
        edges = torch.tensor([*both, *one_way])
        order = torch.randperm(len(edges), generator=generator)
        x = torch.randn(nodes, 4, generator=generator, dtype=torch.float64)
        return x, edges[order].T.contiguous()

    return build


@pytest.fixture(scope="session")
def connected():
    """Builds an explainer that is connected to a configuration, as `Explainer` would connect it."""
    masks = {
        "edge": {"edge_mask_type": "object"},
        "feature": {"node_mask_type": "object"},
        "joint": {"node_mask_type": "object", "edge_mask_type": "object"},
    }

    def build(
        kind: str,
        level: str,
        *,
        mode: str = "multiclass_classification",
        return_type: str = "raw",
        **settings: object,
    ) -> NSEGExplainer:
        explainer = NSEGExplainer(**settings)
        explainer.connect(
            {"explanation_type": "model", **masks[kind]},
            {"mode": mode, "task_level": level, "return_type": return_type},
        )
        return explainer

    return build
