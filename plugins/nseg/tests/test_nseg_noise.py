"""The random numbers, their bounds and the order in which they are drawn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo_nseg import noise
from zoo_nseg.computation_graph import Neighbourhoods
from zoo_nseg.instance import Instance
from zoo_nseg.masks import worlds
from zoo_nseg.tasks import Whole, graph_task, node_task

KINDS = ("edge", "feature", "joint")


def whole(nodes: int, edges: int, seed: int = 0) -> Whole:
    generator = torch.Generator().manual_seed(seed)
    return Whole(
        x=torch.randn(nodes, 2, generator=generator, dtype=torch.float64),
        x_cf=torch.zeros(nodes, 2, dtype=torch.float64),
        edge_index=torch.randint(nodes, (2, edges), generator=generator),
        arguments={},
        batch=None,
        output=torch.zeros(nodes, 2, dtype=torch.float64),
        labels=torch.zeros(nodes, dtype=torch.long),
        symmetric=False,
    )


def graph_instance(nodes: int, edges: int, seed: int = 0) -> Instance:
    return graph_task(
        whole(nodes, edges, seed), torch.zeros(1, dtype=torch.long), batched=True
    ).small


class Official:
    """The draws of one explanation, one number after the other from one generator."""

    def __init__(self, seed: int, nodes: int, edges: int) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self._sizes = {"edges": edges, "nodes": nodes}
        self.node_logits = self._within(nodes) / math.sqrt(nodes)
        self.edge_logits = self._within(edges) / math.sqrt(edges)

    def _within(self, number: int) -> Tensor:
        drawn = [torch.rand(1, generator=self._random) for _ in range(number)]
        return torch.cat(drawn) * 2 - 1

    def step(self, kind: str, n_samples: tuple[int, int, int], eps: float) -> list[list[Tensor]]:
        both, edges_only, features_only = n_samples
        parts = {
            "edge": [["edges"]] * edges_only,
            "feature": [["nodes"]] * features_only,
            "joint": [["edges", "nodes"]] * both
            + [["edges"]] * edges_only
            + [["nodes"]] * features_only,
        }[kind]
        return [[eps * self._within(self._sizes[name]) for name in part] for part in parts]


def found_noise(drawn: list[tuple[Tensor | None, Tensor | None]]) -> list[list[Tensor]]:
    return [[each for each in pair if each is not None] for pair in drawn]


@pytest.mark.parametrize("block", [1, 130, 1 << 21])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_drawn_in_the_official_order(
    monkeypatch: pytest.MonkeyPatch, kind: str, block: int
) -> None:
    """For every instance, and whatever is drawn at once."""
    monkeypatch.setattr(noise, "_BLOCK", block)
    n_samples = (2, 1, 3)
    sizes = [(5, 8), (6, 11), (5, 8)]
    instances = [graph_instance(*size, seed=place) for place, size in enumerate(sizes)]
    run = worlds(kind, n_samples)
    draws = noise.Draws(instances, run, 13, 0.04, torch.float64)
    official = [Official(13, *size) for size in sizes]
    close = {"atol": 1e-8, "rtol": 0}
    for name in ("edge_logits", "node_logits"):
        expected = torch.cat([getattr(each, name) for each in official]).double()
        torch.testing.assert_close(getattr(draws, name), expected, **close)
    for _ in range(5):
        present, *absent = found_noise(draws.step())
        assert present == []
        wanted = [each.step(kind, n_samples, 0.04) for each in official]
        for place, parts in enumerate(absent):
            expected = [
                torch.cat(pieces) for pieces in zip(*[each[place] for each in wanted], strict=True)
            ]
            assert len(parts) == len(expected)
            for part, one in zip(parts, expected, strict=True):
                torch.testing.assert_close(part, one.double(), **close)


def test_a_node_draws_the_numbers_of_its_edges_in_the_whole_graph() -> None:
    graph = whole(14, 20, seed=5)
    task = node_task(graph, torch.tensor([3]), 2, Neighbourhoods(graph.edge_index, 14))
    small = task.small
    assert 0 < len(small.messages) < 20
    run = worlds("joint", (1, 1, 1))
    draws = noise.Draws([small], run, 4, 0.04, torch.float64)
    official = Official(4, 14, 20)
    torch.testing.assert_close(
        draws.edge_logits, official.edge_logits[small.edge_ids].double(), atol=1e-8, rtol=0
    )
    for _ in range(3):
        _, both, edges, nodes = draws.step()
        expected = official.step("joint", (1, 1, 1), 0.04)
        for part, one, ids in (
            (both[0], expected[0][0], small.edge_ids),
            (both[1], expected[0][1], small.node_ids),
            (edges[0], expected[1][0], small.edge_ids),
            (nodes[1], expected[2][0], small.node_ids),
        ):
            torch.testing.assert_close(part, one[ids].double(), atol=1e-8, rtol=0)
        assert edges[1] is None
        assert nodes[0] is None


def test_noise_is_uniform_within_its_bounds() -> None:
    draws = noise.Draws(
        [graph_instance(300, 900)], worlds("joint", (2, 2, 2)), 0, 0.025, torch.float64
    )
    parts = [each for _ in range(4) for pair in found_noise(draws.step()) for each in pair]
    drawn = torch.cat(parts)
    assert len(drawn) == 4 * (4 * 900 + 4 * 300)
    assert float(drawn.abs().max()) <= 0.025
    assert float(drawn.mean()) == pytest.approx(0, abs=5e-4)
    assert float(drawn.std()) == pytest.approx(0.05 / math.sqrt(12), rel=0.02)
    assert len(set(drawn.tolist())) > 0.99 * len(drawn)  # nothing is shared between the cases
    assert float(draws.edge_logits.abs().max()) <= 1 / math.sqrt(900)
    assert float(draws.node_logits.abs().max()) > 0.9 / math.sqrt(300)


def test_without_noise_nothing_is_drawn() -> None:
    draws = noise.Draws([graph_instance(5, 8)], worlds("joint", (2, 2, 2)), 0, 0.0, torch.float64)
    assert all(each is None for pair in draws.step() for each in pair)
