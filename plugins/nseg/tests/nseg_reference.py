"""NSEG on one graph, read off its equations: dense matrices, loops, autograd for the whole loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
"""(features [N, F], edge weights [E]) -> logits [R, C]."""


def dense(model: torch.nn.Module, edge_index: Tensor) -> Network:
    """The equations of a `zoo_nseg.networks.GNN` on one graph, with N x N matrices."""

    def run(x: Tensor, weights: Tensor) -> Tensor:
        nodes = len(x)
        sends = torch.nn.functional.one_hot(edge_index[0], nodes).to(x)
        takes = torch.nn.functional.one_hot(edge_index[1], nodes).to(x)
        weighted = takes.T @ torch.diag(weights) @ sends
        incoming = torch.diag(takes.sum(0).clamp(min=1) ** -0.5)
        outgoing = torch.diag(sends.sum(0).clamp(min=1) ** -0.5)
        h = x
        for layer in model.convs:
            if model.conv == "gcn":
                h = incoming @ weighted @ outgoing @ h @ layer.lin.weight.T + layer.bias
            else:
                h = ((1 + layer.eps) * h + weighted @ h) @ layer.nn.weight.T + layer.nn.bias
            h = h.clamp(min=0)
        if model.task_level == "graph":
            h = h.sum(0, keepdim=True)
        return h @ model.classify.weight.T + model.classify.bias

    return run


def entropy(m: Tensor) -> Tensor:
    """H(m) = -m ln(m + 1e-15) - (1 - m) ln(1 - m + 1e-15)."""
    return -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()


def blend(kept: Tensor, x: Tensor, x_cf: Tensor) -> Tensor:
    """mix(q) = q X + (1 - q) X^cf."""
    return torch.diag(kept) @ x + torch.diag(1 - kept) @ x_cf


def opposite(edge_index: Tensor) -> list[int]:
    """The edge each edge is paired with, found by walking the list; itself if there is none."""
    edges = [tuple(edge) for edge in edge_index.T.tolist()]
    partner = list(range(len(edges)))
    taken: set[int] = set()
    for place, (source, target) in enumerate(edges):
        if source == target or place in taken:
            continue
        for other, edge in enumerate(edges):
            if other not in taken and edge == (target, source):
                partner[place], partner[other] = other, place
                taken |= {place, other}
                break
    return partner


def distances(edge_index: Tensor, nodes: int, targets: list[int]) -> list[float]:
    """How many messages it takes from each node to the nearest target."""
    found = [math.inf] * nodes
    for target in targets:
        found[target] = 0
    for _ in range(nodes):
        for source, target in edge_index.T.tolist():
            found[source] = min(found[source], found[target] + 1)
    return found


@dataclass
class Result:
    """What the algorithm returned, and what it cost on the way.

    Attributes:
        edge_mask: [E].
        node_mask: [N].
        prediction: [T], the loss without regularisers.
        edge_price: [T, E], each edge's share of them.
        node_price: [T, N], each node's.
        p_suff: P(Y_A = y).
        p_nec: P(Y_notA != y).
    """

    edge_mask: Tensor
    node_mask: Tensor
    prediction: Tensor
    edge_price: Tensor
    node_price: Tensor
    p_suff: float
    p_nec: float


def explain(
    run: Network,
    x: Tensor,
    edge_index: Tensor,
    rows: list[int],
    labels: list[int],
    kind: str,
    *,
    x_cf: Tensor | None = None,
    objective: str = "pns",
    epochs: int = 500,
    lr: float = 0.01,
    alpha_e: float = 0.005,
    beta_e: float = 1.0,
    alpha_f: float = 0.005,
    beta_f: float = 1.0,
    n_samples: tuple[int, int, int] = (2, 2, 2),
    noise: float = 0.025,
    temperature: float = 1.0,
    seed: int = 0,
    edge_logits: Tensor | None = None,
    node_logits: Tensor | None = None,
    partner: list[int] | None = None,
    counted_edges: Tensor | None = None,
    counted_nodes: Tensor | None = None,
    return_last: bool = False,
) -> Result:
    """One explanation of the labels of some output rows.

    Args:
        partner: of each edge, the edge with which it shares a mask entry; None ties none.
        counted_edges: bool [E], the edges that the regulariser runs over; None for all.
        counted_nodes: bool [N], likewise.
    """
    nodes, edges = len(x), edge_index.shape[1]
    ones = torch.ones(edges, dtype=x.dtype)
    random = torch.Generator().manual_seed(seed)

    def uniform(entries: int, bound: float, over: float = 1.0) -> Tensor:
        return ((2 * torch.rand(entries, generator=random) - 1) * bound / over).to(x.dtype)

    drawn_f = uniform(nodes, 1.0, math.sqrt(nodes))
    drawn_e = uniform(edges, 1.0, math.sqrt(edges))
    theta_f = (drawn_f if node_logits is None else node_logits).clone().requires_grad_()
    theta_e = (drawn_e if edge_logits is None else edge_logits).clone().requires_grad_()
    root = [min(e, other) for e, other in enumerate(partner or range(edges))]
    in_e = torch.ones(edges, dtype=torch.bool) if counted_edges is None else counted_edges
    in_f = torch.ones(nodes, dtype=torch.bool) if counted_nodes is None else counted_nodes

    def p(weights: Tensor, features: Tensor) -> Tensor:
        probabilities = (run(features, weights) / temperature).softmax(-1)
        chosen = [probabilities[row, label] for row, label in zip(rows, labels, strict=True)]
        return sum(chosen) / len(chosen)

    def worlds(m_e: Tensor, m_f: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """P(Y_A = y), and P(Y_notA = y) from samples around the complement."""
        both, edges_only, features_only = n_samples

        def not_e() -> Tensor:
            return 1 - m_e + (uniform(edges, eps) if eps else 0)

        def not_f() -> Tensor:
            return blend(1 - m_f + (uniform(nodes, eps) if eps else 0), x, x_cf)

        if kind == "edge":
            absent = [p(not_e(), x) for _ in range(edges_only)]
            return p(m_e, x), sum(absent) / edges_only
        if kind == "feature":
            absent = [p(ones, not_f()) for _ in range(features_only)]
            return p(ones, blend(m_f, x, x_cf)), sum(absent) / features_only
        present = blend(m_f, x, x_cf)
        absent = [p(not_e(), not_f()) for _ in range(both)]
        absent += [p(not_e(), present) for _ in range(edges_only)]
        absent += [p(m_e, not_f()) for _ in range(features_only)]
        return p(m_e, present), sum(absent) / sum(n_samples)

    used = {"edge": [theta_e], "feature": [theta_f], "joint": [theta_e, theta_f]}[kind]
    optimizer = torch.optim.Adam(used, lr=lr, betas=(0.9, 0.999), eps=1e-8)
    prediction, edge_prices, node_prices = [], [], []
    for _ in range(epochs):
        m_e, m_f = theta_e[root].sigmoid(), theta_f.sigmoid()
        sufficient, necessary = worlds(m_e, m_f, noise)
        loss = {
            "pns": -(sufficient - necessary),
            "ps": -sufficient,
            "pn": -(1 - necessary),
        }[objective]
        edge_price = (alpha_e * m_e + beta_e * entropy(m_e) / in_e.sum()) * in_e
        node_price = (alpha_f * m_f + beta_f * entropy(m_f) / in_f.sum()) * in_f
        prediction.append(loss.detach())
        edge_prices.append(edge_price.detach())
        node_prices.append(node_price.detach())
        if kind != "feature":
            loss = loss + edge_price.sum()
        if kind != "edge":
            loss = loss + node_price.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if return_last:
        m_e, m_f = theta_e[root].sigmoid(), theta_f.sigmoid()
    with torch.no_grad():
        sufficient, necessary = worlds(m_e, m_f, 0.0)
    return Result(
        m_e.detach(),
        m_f.detach(),
        torch.stack(prediction),
        torch.stack(edge_prices),
        torch.stack(node_prices),
        float(sufficient),
        1 - float(necessary),
    )
