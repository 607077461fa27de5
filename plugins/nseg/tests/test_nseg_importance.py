"""Importances of nodes, the best edges and sparsity: by hand and against loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.importance import node_importance, sparsity, top_edges
from zoo_nseg.networks import GNN


def explanation(edge_index: Any, nodes: int, **masks: Any) -> Explanation:
    masks = {name: torch.as_tensor(value) for name, value in masks.items()}
    return Explanation(x=torch.ones(nodes, 2), edge_index=torch.as_tensor(edge_index), **masks)


def random_explanation(seed: int) -> Explanation:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(9, (2, 40), generator=generator)
    return explanation(edge_index, 10, edge_mask=torch.rand(40, generator=generator).double())


@pytest.mark.parametrize("seed", range(5))
def test_a_node_is_as_important_as_its_edges(seed: int) -> None:
    found = random_explanation(seed)
    wanted = [
        sum(
            float(mask)
            for (source, target), mask in zip(
                found.edge_index.T.tolist(), found.edge_mask, strict=True
            )
            if node in (source, target)
        )
        for node in range(10)
    ]
    assert (found.edge_index[0] == found.edge_index[1]).any()
    assert node_importance(found).tolist() == pytest.approx(wanted)
    assert wanted[9] == 0


def test_where_only_features_are_explained_a_node_is_its_own_mask() -> None:
    mask = torch.tensor([[0.2], [0.9], [0.0]])
    assert node_importance(explanation([[0], [1]], 3, node_mask=mask)).tolist() == pytest.approx(
        [0.2, 0.9, 0]
    )
    joint = explanation([[0], [1]], 3, node_mask=mask, edge_mask=[0.5])
    assert node_importance(joint).tolist() == [0.5, 0.5, 0]


def test_importance_does_not_depend_on_the_order_of_edges() -> None:
    found = random_explanation(7)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    other = explanation(found.edge_index[:, order], 10, edge_mask=found.edge_mask[order])
    torch.testing.assert_close(node_importance(other), node_importance(found))


def test_sparsity_by_hand() -> None:
    edge_index = [[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]]
    mask = [0.5, 0.4, 0.9, 0.0, 0.7]
    nodes = [[0.5], [0.2], [0.1], [0.9]]
    edges_only = explanation(edge_index, 4, edge_mask=mask)
    assert sparsity(edges_only) == pytest.approx(2 / 5)
    assert sparsity(edges_only, 0.51) == pytest.approx(3 / 5)
    assert sparsity(edges_only, threshold=0) == 0
    assert sparsity(edges_only, 2) == 1
    assert sparsity(explanation(edge_index, 4, node_mask=nodes)) == pytest.approx(2 / 4)
    joint = explanation(edge_index, 4, node_mask=nodes, edge_mask=mask)
    assert sparsity(joint) == pytest.approx(4 / 9)


def test_sparsity_counts_what_can_matter() -> None:
    edge_index = [[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]]
    found = explanation(edge_index, 5, edge_mask=[0.9, 0.1, 0.1, 0.0, 0.0], node_mask=[[1.0]] * 5)
    found.influencing_edge_mask = torch.tensor([True, True, False, False, False])
    found.index = torch.tensor([4])  # by itself, with two edges and their ends
    assert sparsity(found) == pytest.approx(1 - (1 + 3) / (2 + 3))
    del found["edge_mask"]
    assert sparsity(found) == 0
    found.node_mask[4] = 0
    assert sparsity(found) == pytest.approx(1 / 3)


def _path() -> tuple[GNN, Tensor, Tensor]:
    torch.manual_seed(0)
    edge_index = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]])
    return GNN("gcn", 2, (8,), 2), torch.randn(6, 2), edge_index


def test_an_explanation_of_nothing_leaves_everything_out() -> None:
    from torch_geometric.data import Data

    model, x, edge_index = _path()
    explainer = NSEGExplainer(epochs=2)
    data = Data(x=x, edge_index=edge_index)
    alone, inner = explainer.explain_nodes(model, data, [5, 0], progress=False)
    assert sparsity(alone) == 1
    assert top_edges(alone, 3).tolist() == []
    kept = int((inner.edge_mask[inner.influencing_edge_mask] >= 0.5).sum())
    assert int(inner.influencing_edge_mask.sum()) == 1
    assert sparsity(inner) == 1 - kept


def test_top_edges_in_the_order_in_which_they_are_taken() -> None:
    #            0>1  1>0  1>2  2>1  2>2  2>3  0>1
    edge_index = [[0, 1, 1, 2, 2, 2, 0], [1, 0, 2, 1, 2, 3, 1]]
    found = explanation(edge_index, 4, edge_mask=[0.5, 0.9, 0.9, 0.2, 1.0, 0.8, 0.3])
    assert top_edges(found, 1).tolist() == [1, 0]
    assert top_edges(found, 2).tolist() == [1, 0, 2, 3]
    assert top_edges(found, 3).tolist() == [1, 0, 2, 3, 5, 6]
    assert top_edges(found, 100).tolist() == [1, 0, 2, 3, 5, 6]
    assert top_edges(found, 2, edges=[3, 5, 0, 5]).tolist() == [5, 0, 3]
    found.edge_mask = torch.full((7,), 0.5)
    assert top_edges(found, 2).tolist() == [0, 1, 2, 3]


def test_bad_input() -> None:
    found = explanation([[0, 1], [1, 0]], 2, edge_mask=[0.5, 0.5])
    for threshold in (torch.nan, "0.5", None):
        with pytest.raises(InputError, match="threshold is"):
            sparsity(found, threshold)
    for function in (node_importance, sparsity, lambda each: top_edges(each, 1)):
        with pytest.raises(InputError, match="neither an edge_mask nor a node_mask"):
            function(explanation([[0], [1]], 2))
        with pytest.raises(InputError, match="the explanation is a dict"):
            function({})
        with pytest.raises(InputError, match="no tensors x and edge_index"):
            function(Explanation(edge_mask=torch.ones(2)))
        with pytest.raises(InputError, match=r"edge_mask is \[3\]; expected \[2\]"):
            function(explanation([[0, 1], [1, 0]], 2, edge_mask=[1.0, 1, 1]))
        with pytest.raises(InputError, match="edge_mask holds NaN or infinite"):
            function(explanation([[0, 1], [1, 0]], 2, edge_mask=[1.0, torch.inf]))
    for shape in ((2,), (2, 2), (3, 1)):
        with pytest.raises(InputError, match=r"node_mask is .*; expected \[2, 1\]"):
            sparsity(explanation([[0, 1], [1, 0]], 2, node_mask=torch.ones(shape)))
