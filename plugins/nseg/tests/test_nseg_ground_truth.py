"""Agreement with known edges: against the official walk edge by edge, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg import synthetic
from zoo_nseg.errors import IndexOutOfRangeError
from zoo_nseg.ground_truth import explanation_auc, motif_edges, recall_at_k, truth_metrics


def explanation(edge_index: Any, mask: Any, **more: Any) -> Explanation:
    edge_index = torch.as_tensor(edge_index)
    nodes = int(edge_index.max()) + 1
    mask = torch.as_tensor(mask, dtype=torch.float64)
    return Explanation(x=torch.ones(nodes, 1), edge_index=edge_index, edge_mask=mask, **more)


def walked(edge_index: Tensor, mask: Tensor, k: int, ids: list[int]) -> list[int]:
    """The walk, one edge after the other: a set of edges not yet taken, each with a partner."""
    pairs = edge_index.T.tolist()
    left, taken = sorted(ids, key=lambda each: (-float(mask[each]), each)), []
    while left and len(taken) < 2 * k:
        edge = left.pop(0)
        source, target = pairs[edge]
        if source == target:
            continue
        taken.append(edge)
        same = [each for each in sorted(ids) if pairs[each] == pairs[edge]]
        back = [each for each in sorted(ids) if pairs[each] == [target, source]]
        place = same.index(edge)
        if place < len(back):
            left.remove(back[place])
            taken.append(back[place])
    return taken[: 2 * k]


def area(scores: list[float], true: list[bool]) -> float:
    """The share of pairs of a true and a false edge in which the true one is ahead."""
    yes = [score for score, each in zip(scores, true, strict=True) if each]
    no = [score for score, each in zip(scores, true, strict=True) if not each]
    won = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
    return won / (len(yes) * len(no))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Graphs with loops, one-way and repeated edges; masks with ties; some edges of each."""
    number = draw(st.integers(2, 24))
    node = st.integers(0, 4)
    pairs = draw(st.lists(st.tuples(node, node), min_size=number, max_size=number))
    mask = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.9]), min_size=number, max_size=number))
    truth = draw(st.lists(st.booleans(), min_size=number, max_size=number))
    ids = draw(st.sets(st.integers(0, number - 1), min_size=1))
    return torch.tensor(pairs).T, torch.tensor(mask), torch.tensor(truth), sorted(ids)


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 6))
def test_recall_is_that_of_the_walk(case: Any, k: int) -> None:
    edge_index, mask, truth, ids = case
    found = explanation(edge_index, mask)
    true = {
        each for each, (source, target) in enumerate(edge_index.T.tolist()) if source != target
    } & set(truth.nonzero().squeeze(-1).tolist())
    if not true:
        with pytest.raises(InputError, match="truth holds no edge"):
            recall_at_k(found, truth, k)
        return
    for edges, chosen in (("all", list(range(len(mask)))), (ids, ids)):
        taken = walked(edge_index, mask, k, chosen)
        recall = recall_at_k(found, truth, k, edges=edges)
        assert recall == pytest.approx(len(true & set(taken)) / len(true))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_auc_counts_pairs(case: Any) -> None:
    edge_index, mask, truth, ids = case
    found = explanation(edge_index, mask)
    for edges, chosen in (("all", list(range(len(mask)))), (torch.tensor(ids), ids)):
        true = [bool(truth[each]) for each in chosen]
        if not any(true):
            with pytest.raises(InputError, match="none of the"):
                explanation_auc(found, truth, edges=edges)
            continue
        scores = [float(mask[each]) for each in chosen]
        wanted = 1.0 if all(true) else area(scores, true)
        assert explanation_auc(found, truth, edges=edges) == pytest.approx(wanted)


def test_an_edge_brings_its_opposite_and_loops_are_skipped() -> None:
    #            0>1  1>0  1>2  2>1  2>2  2>3  3>2
    edge_index = [[0, 1, 1, 2, 2, 2, 3], [1, 0, 2, 1, 2, 3, 2]]
    mask = [0.1, 0.9, 0.3, 0.2, 1.0, 0.8, 0.0]
    truth = torch.tensor([1, 1, 0, 0, 0, 1, 1]).bool()
    found = explanation(edge_index, mask)
    assert [recall_at_k(found, truth, k) for k in (1, 2, 3)] == [0.5, 1, 1]
    assert recall_at_k(found, [0, 0, 1, 1, 0, 0, 0], 2) == 0
    assert recall_at_k(found, truth.int(), 1, edges=[2, 3, 4, 5, 6]) == 0.5


@pytest.fixture
def node_explanation() -> Explanation:
    """Edges 0-3 reach the node, 4 and 5 lie between its neighbours, 6 and 7 further out."""
    edge_index = [[1, 0, 2, 0, 1, 2, 3, 2], [0, 1, 0, 2, 2, 1, 2, 3]]
    return explanation(
        edge_index,
        [0.9, 0.6, 0.2, 0.7, 0.8, 0.1, 1.0, 1.0],
        khop_edge_ids=torch.tensor([5, 4, 3, 2, 1, 0]),
        influencing_edge_mask=torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]).bool(),
    )


def test_the_edges_that_are_ranked(node_explanation: Explanation) -> None:
    truth = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0]).bool()

    def auc(edges: Any) -> float:
        return explanation_auc(node_explanation, truth, edges=edges)

    assert auc("influencing") == pytest.approx(2 / 4)
    assert auc("neighbourhood") == pytest.approx((4 + 1) / 8)
    assert auc("all") == pytest.approx((4 + 1) / 12)
    assert explanation_auc(node_explanation, truth) == auc("neighbourhood")
    assert auc(range(4)) == auc(truth.new_tensor([1, 1, 1, 1, 0, 0, 0, 0])) == auc("influencing")
    assert recall_at_k(node_explanation, truth, 1) == 0.5
    assert recall_at_k(node_explanation, truth, 1, edges="all") == 0
    assert recall_at_k(node_explanation, truth, 2, edges="influencing") == 1


def test_an_explanation_of_a_graph_is_ranked_whole() -> None:
    found = explanation([[0, 1, 2], [1, 2, 0]], [0.9, 0.1, 0.5])
    truth = torch.tensor([True, False, False])
    for edges in ("influencing", "neighbourhood", "all"):
        assert explanation_auc(found, truth, edges=edges) == 1
        assert recall_at_k(found, truth, 1, edges=edges) == 1


@pytest.mark.parametrize("name", ["ba_shapes", "tree_cycles", "tree_grid"])
def test_a_perfect_mask_of_a_motif(name: str) -> None:
    data = getattr(synthetic, name)(seed=3)
    k = {"ba_shapes": 6, "tree_cycles": 6, "tree_grid": 12}[name]
    motif = data.motif_id.tolist()
    pairs = data.edge_index.T.tolist()
    for node in (len(motif) - 1, len(motif) - 20):
        truth = motif_edges(data, node)
        wanted = [motif[a] == motif[b] == motif[node] for a, b in pairs]
        assert truth.tolist() == wanted
        assert 2 * k <= int(truth.sum()) <= 2 * k + 4  # random edges may fall into a motif
        found = explanation(data.edge_index, truth.double())
        assert recall_at_k(found, truth, k) == min(1, 2 * k / int(truth.sum()))
        assert explanation_auc(found, truth) == 1
        found.edge_mask = 1 - found.edge_mask
        assert recall_at_k(found, truth, k) == explanation_auc(found, truth) == 0


def test_metrics_of_many_are_their_means() -> None:
    edge_index = [[0, 1, 1, 2], [1, 0, 2, 1]]
    found = [explanation(edge_index, mask) for mask in ([1, 0, 0.5, 0.5], [0, 0, 1, 0.2])]
    truths = [torch.tensor([1, 1, 0, 0]).bool(), torch.tensor([1, 0, 1, 0]).bool()]
    result = truth_metrics(found, iter(truths), 1)
    pairs = list(zip(found, truths, strict=True))
    assert result.recall == sum(recall_at_k(*pair, 1) for pair in pairs) / 2 == 0.75
    assert result.auc == sum(explanation_auc(*pair) for pair in pairs) / 2
    assert result.n == 2
    inner = truth_metrics(found, truths, 1, edges=[0, 1])
    assert inner.auc == (1 + explanation_auc(found[1], truths[1], edges=[0, 1])) / 2
    for known, given_truths in (([], []), (found, truths[:1])):
        with pytest.raises(InputError, match="a truth for each"):
            truth_metrics(known, given_truths, 1)


def test_motifs_that_are_not_there() -> None:
    data = synthetic.tree_cycles()
    with pytest.raises(InputError, match="node 5 lies in no motif"):
        motif_edges(data, 5)
    for node in (871, -1):
        with pytest.raises(IndexOutOfRangeError, match="node holds"):
            motif_edges(data, node)
    for node in ([600, 601], 600.5, "600"):
        with pytest.raises(InputError, match="node"):
            motif_edges(data, node)
    with pytest.raises(InputError, match="no motif_id"):
        motif_edges(Data(edge_index=data.edge_index), 5)


def test_bad_input(node_explanation: Explanation) -> None:
    truth = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0]).bool()
    for bad, message in (
        (truth[:7], r"truth is \[7\]"),
        (truth * 2, "other values than 0 and 1"),
        ("12345678", "truth is a str"),
        (None, "truth is a NoneType"),
        (torch.full((8,), torch.nan), "other values"),
    ):
        for metric in (lambda *args: recall_at_k(*args, 2), explanation_auc):
            with pytest.raises(InputError, match=message):
                metric(node_explanation, bad)
    for k in (0, -1, 1.5, "2", True):
        with pytest.raises(InputError, match="k is"):
            recall_at_k(node_explanation, truth, k)
    for edges, message in (
        ("influential", "expected one of influencing, neighbourhood, all"),
        ([0.5], "expected whole numbers"),
        (truth[:3], "expected whole numbers"),
        ([[0, 1]], "expected whole numbers"),
        ({0, 1}, "edges is a set"),
    ):
        with pytest.raises(InputError, match=message):
            explanation_auc(node_explanation, truth, edges=edges)
    with pytest.raises(IndexOutOfRangeError, match="edges holds 8; expected ids from 0 to 7"):
        recall_at_k(node_explanation, truth, 1, edges=[0, 8])
    features = Explanation(
        x=node_explanation.x, edge_index=node_explanation.edge_index, node_mask=torch.ones(4, 1)
    )
    with pytest.raises(InputError, match="no edge_mask"):
        recall_at_k(features, truth, 1)
