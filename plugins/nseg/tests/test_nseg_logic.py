"""Only PNS finds the whole cause, of "A and B" as well as of "A or B".

Six messages reach a node, the label holds with p = sigmoid(10 (w0 + w1 - b)) for their weights w:
b = 1.5 makes it need both of the first two, b = 0.5 one of them. The other four have no influence.
"""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

EDGES = 6
SEEDS = 10
MORE = 100
BIAS = {"and": 1.5, "or": 0.5}


class Threshold(MessagePassing):
    """Its logit at a node is 10 (what neighbours send - the node's own threshold)."""

    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        sent, threshold = x.T
        return 10 * (self.propagate(edge_index, sent=sent.unsqueeze(-1)).squeeze(-1) - threshold)

    def message(self, sent_j: Tensor) -> Tensor:
        return sent_j


def questions(numbers: int) -> tuple[Tensor, Tensor, Tensor]:
    """As many ANDs, then ORs, side by side: x, edge_index, the nodes that answer."""
    x, edges, answers = [], [], []
    for bias in BIAS.values():
        for _ in range(numbers):
            first = len(x)
            x += [(1.0 if source < 2 else 0.0, 0.0) for source in range(EDGES)]
            answers.append(len(x))
            edges += [(first + source, answers[-1]) for source in range(EDGES)]
            x.append((0.0, bias))
    return torch.tensor(x), torch.tensor(edges).T, torch.tensor(answers)


def test_the_model_is_the_formula() -> None:
    x, edge_index, answers = questions(1)
    p = Threshold()(x, edge_index)[answers].sigmoid()
    assert p.tolist() == pytest.approx([1 / (1 + math.exp(-5)), 1 / (1 + math.exp(-15))])


@pytest.fixture(scope="module")
def kept(connected):
    """What is kept of each question's edges: {"and": [seeds, 6], "or": [seeds, 6]} of bools.

    All questions are one problem, of which each has a share: the mean of their objectives with
    alpha in as many parts. Adam does not see the scale of a loss, and works entry by entry, so
    that each mask moves as it would alone.
    """

    @functools.cache
    def found(objective: str, alpha: float) -> dict[str, Tensor]:
        x, edge_index, answers = questions(MORE)
        total = len(answers)
        starts = []
        for _ in BIAS:
            for seed in range(MORE):
                random = torch.Generator().manual_seed(seed)
                drawn = torch.rand(EDGES, generator=random)
                starts.append((2 * drawn - 1) / math.sqrt(EDGES))
        explainer = connected(
            "edge",
            "node",
            mode="binary_classification",
            objective=objective,
            epochs=500,
            lr=0.05,
            alpha_e=alpha / total,
            beta_e=0.1,
            n_samples=(1, 2, 1),
            noise=0.025,
        )
        explanation = explainer(
            Threshold(),
            x,
            edge_index,
            target=(Threshold()(x, edge_index) > 0).long(),
            index=answers,
            edge_logits=torch.cat(starts),
        )
        masks = explanation.hard_edge_mask.view(len(BIAS), MORE, EDGES)
        return dict(zip(BIAS, masks, strict=True))

    return found


def share(masks: Tensor, edges: set[int]) -> float:
    """How often exactly these edges are kept."""
    wanted = torch.tensor([edge in edges for edge in range(EDGES)])
    return float((masks == wanted).all(-1).double().mean())


@pytest.mark.parametrize("alpha", [0.05, 0.1])
@pytest.mark.parametrize("name", list(BIAS))
def test_pns_finds_both_causes(kept, name: str, alpha: float) -> None:
    assert share(kept("pns", alpha)[name], {0, 1}) == 1


# Shares of {0, 1} and of nothing, measured over the 100 seeds, and for the first ten the numbers
# that are known of an independent implementation: 8 of 10 at 0.05, 2 of 10 at 0.1. How often the
# one ends in the other depends on the initial masks, so the shares have a standard error of .05.
FAILURES = [
    ("ps", "and", 0.05, 0.61),
    ("ps", "and", 0.1, 0.27),
    ("pn", "or", 0.05, 0.60),
    ("pn", "or", 0.1, 0.31),
]


@pytest.mark.parametrize(("objective", "name", "alpha", "both"), FAILURES)
def test_one_objective_alone_loses_all_where_it_sees_no_slope(
    kept, objective: str, name: str, alpha: float, both: float
) -> None:
    """Of AND, an edge is not sufficient without the other; of OR, not necessary beside it."""
    masks = kept(objective, alpha)[name]
    assert share(masks, {0, 1}) == pytest.approx(both, abs=0.1)
    assert share(masks, {0, 1}) + share(masks, set()) == pytest.approx(1, abs=0.03)
    ten = share(masks[:SEEDS], {0, 1})
    assert ten == pytest.approx({0.05: 0.8, 0.1: 0.2}[alpha], abs=0.11)


@pytest.mark.parametrize("alpha", [0.05, 0.1])
@pytest.mark.parametrize(("objective", "name"), [("ps", "or"), ("pn", "and")])
def test_one_objective_alone_keeps_one_cause_of_two(
    kept, objective: str, name: str, alpha: float
) -> None:
    """Of OR, one is sufficient; of AND, one is necessary."""
    masks = kept(objective, alpha)[name]
    first, second = share(masks, {0}), share(masks, {1})
    assert first + second == 1
    assert min(first, second) > 0.3
