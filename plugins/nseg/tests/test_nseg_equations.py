"""Each equation of the method by itself, against a slow and obvious reading of it."""

from __future__ import annotations

import itertools
import math
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.explain.config import ModelConfig

from zoo_core.errors import InputError, UnknownNameError
from zoo_nseg import noise
from zoo_nseg.bounds import pns_bounds, pns_objective
from zoo_nseg.computation_graph import Neighbourhoods
from zoo_nseg.instance import Instance
from zoo_nseg.logits import MaskLogits, drifted
from zoo_nseg.masks import World, blend, complement, worlds
from zoo_nseg.objective import coefficient, constant, entropy, regulariser, settles_below
from zoo_nseg.outcome import Outcome
from zoo_nseg.presets import PRESETS, preset
from zoo_nseg.tasks import Whole, graph_task, node_task
from zoo_nseg.ties import opposite, ties

MULTICLASS, BINARY = "multiclass_classification", "binary_classification"
CASES = {
    "edge": ["complement whole"],
    "feature": ["whole complement"],
    "joint": ["complement complement", "complement set", "set complement"],
}
chances = st.floats(0, 1)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- masked inputs, and the cases in which the explanation is not set ---


@pytest.mark.parametrize("kind", list(CASES))
@pytest.mark.parametrize("n_samples", [(2, 2, 2), (1, 3, 5)])
def test_the_cases_of_not_a_in_the_order_of_the_loss(
    kind: str, n_samples: tuple[int, int, int]
) -> None:
    numbers = {"edge": n_samples[1:2], "feature": n_samples[2:], "joint": n_samples}[kind]
    every = [name for name, number in zip(CASES[kind], numbers, strict=True) for _ in range(number)]
    present, *absent = worlds(kind, n_samples)
    assert [f"{each.edges} {each.features}" for each in absent] == every
    assert present.present
    assert present.share == 1
    assert not any(each.present for each in absent)
    assert all(each.share == pytest.approx(1 / sum(numbers)) for each in absent)
    present, *absent = worlds(kind, n_samples, sampled=False)
    assert [f"{each.edges} {each.features}" for each in absent] == CASES[kind]
    shares = [number / sum(numbers) for number in numbers]
    assert [each.share for each in absent] == pytest.approx(shares)


def test_what_event_a_does() -> None:
    first = {kind: worlds(kind, (2, 2, 2))[0] for kind in CASES}
    assert first["edge"] == World("set", "whole", 1.0, True)
    assert first["feature"] == World("whole", "set", 1.0, True)
    assert first["joint"] == World("set", "set", 1.0, True)


def test_blends_of_features() -> None:
    kept, x, x_cf = uniform(2, 3), uniform(3, 4, seed=1), uniform(3, 4, seed=2)
    found = blend(kept, x, x_cf)
    for copy, node, column in itertools.product(range(2), range(3), range(4)):
        q = kept[copy, node]
        expected = q * x[node, column] + (1 - q) * x_cf[node, column]
        assert float(found[copy, node, column]) == pytest.approx(float(expected), abs=1e-15)
    assert torch.equal(blend(torch.ones(3, dtype=x.dtype), x, x_cf), x)
    assert torch.equal(blend(torch.zeros(3, dtype=x.dtype), x, x_cf), x_cf)


def test_complements_are_not_clipped() -> None:
    mask = torch.tensor([0.0, 0.25, 1.0])
    shift = torch.tensor([0.02, -0.01, -0.02])
    torch.testing.assert_close(complement(mask, shift), torch.tensor([1.02, 0.74, -0.02]))
    assert complement(mask, None).tolist() == [1.0, 0.75, 0.0]


# --- the loss ---


@given(st.lists(chances, min_size=7, max_size=7), st.sampled_from(list(CASES)))
def test_the_loss_of_the_prediction(probabilities: list[float], kind: str) -> None:
    run = worlds(kind, (1, 2, 3))
    taken = list(zip(run, probabilities, strict=False))
    sufficient = taken[0][1]
    others = [p for _, p in taken[1:]]
    necessary = sum(others) / len(others)
    expected = {"pns": -(sufficient - necessary), "ps": -sufficient, "pn": -(1 - necessary)}
    for objective, loss in expected.items():
        found = constant(objective) + sum(coefficient(world, objective) * p for world, p in taken)
        assert found == pytest.approx(loss, abs=1e-12)


@given(st.floats(-30, 30))
def test_entropy_from_logits(logit: float) -> None:
    theta = torch.tensor(logit, dtype=torch.float64)
    m = theta.sigmoid()
    n = (-theta).sigmoid()  # 1 - m without cancellation
    expected = -m * (m + 1e-15).log() - n * (n + 1e-15).log()
    # torch's softplus is linear above 20, where it drops e^-20 = 2e-9.
    bound = 1e-12 if abs(logit) < 20 else 3e-9
    assert float(entropy(theta)) == pytest.approx(float(expected), abs=bound)
    assert float(entropy(theta)) == pytest.approx(float(entropy(-theta)), abs=bound)


def test_entropy_is_finite_for_every_logit() -> None:
    logits = torch.tensor([-1e4, -700.0, 0.0, 700.0, 1e4], requires_grad=True)
    found = entropy(logits)
    found.sum().backward()
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, math.log(2), 0.0, 0.0]))
    assert bool(logits.grad.isfinite().all())


def test_regulariser_is_a_sum_of_sizes_and_a_mean_of_entropies() -> None:
    theta = 6 * uniform(9) - 3
    m = theta.sigmoid()
    h = -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()
    found = regulariser(theta, 0.3, torch.tensor(0.7 / 9, dtype=theta.dtype)).sum()
    assert float(found) == pytest.approx(float(0.3 * m.sum() + 0.7 * h.mean()), abs=1e-12)


def loss_of_two(mask: Tensor) -> Tensor:
    """Some smooth function of a mask, in place of a network."""
    return (mask * torch.arange(1, len(mask) + 1)).sin().sum() + mask.prod()


@pytest.mark.parametrize("tied", [False, True])
def test_the_logits_gradient_is_autograds(tied: bool) -> None:
    initial = 4 * uniform(7) - 2
    weight = uniform(7, seed=1)
    instance = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    roots = torch.tensor([0, 0, 2, 3, 3, 5, 6]) if tied else torch.arange(7)
    copies = torch.tensor([1, 1, 2, 1, 1, 1, 2.0], dtype=torch.float64)
    logits = MaskLogits(
        initial,
        0.2,
        weight,
        instance,
        2,
        roots if tied else None,
        copies if tied else None,
    )
    mask = logits.mask()
    loss_of_two(mask).backward()
    prices = logits.descend(mask)

    theta = initial.clone().requires_grad_()
    m = theta[roots].sigmoid()
    h = -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()
    price = (0.2 * m + weight * h) * (copies if tied else 1)
    (loss_of_two(m) + price.sum()).backward()
    torch.testing.assert_close(mask.detach(), m.detach(), atol=1e-14, rtol=0)
    torch.testing.assert_close(logits.parameter.grad, theta.grad, atol=1e-12, rtol=0)
    expected = torch.stack([price[instance == place].sum() for place in (0, 1)])
    torch.testing.assert_close(prices, expected.detach(), atol=1e-12, rtol=0)


def test_the_logits_gradient_without_influence_is_the_regularisers() -> None:
    initial = 4 * uniform(5) - 2
    weight = torch.full((5,), 0.06, dtype=torch.float64)
    logits = MaskLogits(initial, 0.2, weight, torch.zeros(5, dtype=torch.long), 1)
    logits.descend(logits.mask())
    slope = initial.sigmoid() * (1 - initial.sigmoid())
    expected = slope * (0.2 - 0.06 * initial)
    torch.testing.assert_close(logits.parameter.grad, expected, atol=1e-15, rtol=0)


@pytest.mark.parametrize("steps", [0, 1, 40])
def test_entries_without_influence_drift_as_autograds_adam_moves_them(steps: int) -> None:
    initial = 2 * uniform(11) - 1
    theta = initial.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=0.07)
    for _ in range(steps):
        m = theta.sigmoid()
        h = -m * (m + 1e-15).log() - (1 - m) * (1 - m + 1e-15).log()
        optimizer.zero_grad()
        (0.01 * m.sum() + 0.5 * h.mean()).backward()
        optimizer.step()
    found = drifted(initial, size=0.01, entropy_weight=0.5 / 11, lr=0.07, steps=steps)
    torch.testing.assert_close(found, theta.detach().sigmoid(), atol=1e-10, rtol=0)


@given(st.floats(1e-5, 0.5), st.floats(1e-3, 2), st.integers(1, 4000))
def test_the_logit_at_which_the_regulariser_turns(size: float, weight: float, entries: int) -> None:
    at = settles_below(size, weight, entries)
    for logit, sign in ((at - 0.01 * at - 1e-6, 1), (at + 0.01 * at + 1e-6, -1)):
        slope = size - weight / entries * logit  # of the loss: positive shrinks the entry
        assert math.copysign(1, slope) == sign
    shrinks = entries**1.5 > weight / size
    if abs(entries**1.5 * size / weight - 1) > 1e-9:
        assert (at > 1 / math.sqrt(entries)) == shrinks


def test_the_regulariser_alone_sorts_entries_at_that_logit() -> None:
    at = settles_below(0.01, 0.4, 20)
    assert at == pytest.approx(0.5)
    start = torch.tensor([at - 0.1, at + 0.1], dtype=torch.float64)
    below, above = drifted(start, size=0.01, entropy_weight=0.4 / 20, lr=0.05, steps=300)
    assert float(below) < 0.1
    assert float(above) > 0.9
    assert settles_below(0.01, 0.0, 20) == math.inf
    assert settles_below(0.0, 0.0, 20) == 0


# --- the bounds ---


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda q: sum(q) > 0.1))
def test_bounds_of_an_enumerated_causal_model(weights: list[float]) -> None:
    """Exogenous noise picks how Y responds to A and to not-A; the PNS is that of one response."""
    kept, always, never, reversed_ = (each / sum(weights) for each in weights)
    # Y_A = y, and Y_notA = y, for each response.
    responses = [(kept, 1, 0), (always, 1, 1), (never, 0, 0), (reversed_, 0, 1)]
    p_suff = sum(q * with_a for q, with_a, _ in responses)
    p_nec = sum(q * (1 - without) for q, _, without in responses)
    pns = sum(q * with_a * (1 - without) for q, with_a, without in responses)
    p_suff, p_nec = min(p_suff, 1.0), min(p_nec, 1.0)
    lower, upper = (
        float(each)
        for each in pns_bounds(
            torch.tensor(p_suff, dtype=torch.float64), torch.tensor(p_nec, dtype=torch.float64)
        )
    )
    assert -1e-12 <= lower <= pns + 1e-12
    assert pns <= upper + 1e-12
    gap = pns - float(pns_objective(torch.tensor(p_suff), torch.tensor(p_nec)))
    assert gap == pytest.approx(reversed_, abs=1e-6)


@given(chances, chances)
def test_bounds_are_attained(p_with: float, p_without: float) -> None:
    """One uniform number drives both worlds: the same way (monotone), or opposite ways."""
    steps = 4000
    grid = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    with_a = grid < p_with
    p_suff = with_a.double().mean()
    together, apart = grid < p_without, grid > 1 - p_without
    for without, place in ((together, 0), (apart, 1)):
        p_nec = (~without).double().mean()
        pns = (with_a & ~without).double().mean()
        bound = pns_bounds(p_suff, p_nec)[place]
        assert float(bound) == pytest.approx(float(pns), abs=1e-9)


def test_bounds_of_the_textbook_and() -> None:
    """Y = U and A with U a fair coin: monotone, so the PNS is 1/2 and both are known."""
    lower, upper = pns_bounds(0.5, 1.0)
    assert (float(lower), float(upper)) == (0.5, 0.5)
    # Tian and Pearl: PNS = P(A, y) PN + P(not A, not y) PS with A a fair coin, PN = 1, PS = 1/2.
    assert float(lower) == 0.5 * 0.5 * 1 + 0.5 * 1 * 0.5


def test_bounds_broadcast_and_floor_at_zero() -> None:
    lower, upper = pns_bounds(torch.tensor([[0.2], [0.9]]), torch.tensor([0.1, 0.7]))
    torch.testing.assert_close(lower, torch.tensor([[0.0, 0.0], [0.0, 0.6]]))
    torch.testing.assert_close(upper, torch.tensor([[0.1, 0.2], [0.1, 0.7]]))
    objective = pns_objective(torch.tensor(0.2), torch.tensor(0.1))
    torch.testing.assert_close(objective, torch.tensor(-0.7))


@pytest.mark.parametrize(("p_suff", "p_nec"), [(1.2, 0.5), (0.5, -0.1), (math.nan, 0.5)])
def test_bounds_refuse_what_is_no_probability(p_suff: float, p_nec: float) -> None:
    with pytest.raises(InputError, match=r"expected probabilities in \[0, 1\]"):
        pns_bounds(p_suff, p_nec)


# --- the outcome ---


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("return_type", ["raw", "probs", "log_probs"])
def test_probability_of_a_label_of_several(return_type: str, temperature: float) -> None:
    logits = 6 * uniform(5, 4) - 3
    labels = torch.tensor([0, 3, 1, 2, 2])
    output = {
        "raw": logits,
        "probs": logits.softmax(-1),
        "log_probs": logits.log_softmax(-1),
    }[return_type]
    outcome = Outcome(ModelConfig(MULTICLASS, "node", return_type), temperature)
    found = outcome.probability(outcome.check(output), labels)
    for row, label in enumerate(labels.tolist()):
        powers = [math.exp(float(z) / temperature) for z in logits[row]]
        expected = powers[label] / sum(powers)
        assert float(found[row]) == pytest.approx(expected, abs=1e-12)
    assert outcome.labels(output).tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
@pytest.mark.parametrize("return_type", ["raw", "probs"])
def test_probability_of_a_label_of_two(
    return_type: str, shape: tuple[int, ...], temperature: float
) -> None:
    logits = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 0])
    output = (logits if return_type == "raw" else logits.sigmoid()).view(shape)
    outcome = Outcome(ModelConfig(BINARY, "node", return_type), temperature)
    found = outcome.probability(outcome.check(output), labels)
    for row, label in enumerate(labels.tolist()):
        one = 1 / (1 + math.exp(-float(logits[row]) / temperature))
        assert float(found[row]) == pytest.approx(one if label else 1 - one, abs=1e-12)
    assert outcome.labels(output).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_in_float32(dtype: torch.dtype) -> None:
    output = torch.tensor([[8.0, 1.0], [2.0, 7.5]], dtype=dtype)
    labels = torch.tensor([0, 0])
    outcome = Outcome(ModelConfig(MULTICLASS, "node", "raw"))
    found = outcome.probability(output, labels)
    assert found.dtype == torch.float32
    expected = output.double().softmax(-1)[:, 0].float()
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("return_type", ["raw", "probs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_of_a_certain_binary_model_are_finite(
    return_type: str, dtype: torch.dtype
) -> None:
    certain = [1.0, 0.0, 1.0, 0.0] if return_type == "probs" else [200.0, -200.0, 200.0, -200.0]
    output = torch.tensor(certain, dtype=dtype, requires_grad=True)
    outcome = Outcome(ModelConfig(BINARY, "node", return_type), temperature=4.0)
    found = outcome.probability(output, torch.tensor([1, 0, 0, 1]))
    found.sum().backward()
    torch.testing.assert_close(found.detach(), torch.tensor([1, 1, 0, 0], dtype=dtype))
    assert bool(output.grad.isfinite().all())


@pytest.mark.parametrize(
    ("output", "mode", "return_type", "told"),
    [
        (torch.ones(3), MULTICLASS, "raw", r"output is \[3\]"),
        (torch.ones(3, 2), BINARY, "raw", r"output is \[3, 2\]"),
        (torch.ones(3, 2, dtype=torch.long), MULTICLASS, "raw", "expected a floating-point"),
        ([1.0], MULTICLASS, "raw", "the model returns list"),
        (torch.ones(0, 2), MULTICLASS, "raw", r"output is \[0, 2\]"),
        (torch.tensor([[math.nan, 0]]), MULTICLASS, "raw", "not finite"),
        (torch.tensor([[math.inf, 0]]), MULTICLASS, "raw", "not finite"),
        (torch.tensor([[1.5, -0.5]]), MULTICLASS, "probs", "said to return probs"),
        (torch.tensor([[0.5, -0.5]]), MULTICLASS, "log_probs", "said to return log_probs"),
    ],
)
def test_outputs_that_cannot_be_read(
    output: object, mode: str, return_type: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        Outcome(ModelConfig(mode, "node", return_type)).check(output)


def test_log_probabilities_may_be_minus_infinity() -> None:
    outcome = Outcome(ModelConfig(MULTICLASS, "node", "log_probs"))
    output = outcome.check(torch.tensor([[0.0, -math.inf]]))
    assert outcome.probability(output, torch.tensor([1])).tolist() == [0]


# --- both directions of an edge ---


edge_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=25)


@given(edge_lists)
@settings(max_examples=60, deadline=None)
def test_opposite_edges_are_found_as_by_walking_the_list(
    reference: ModuleType, edges: list[tuple[int, int]]
) -> None:
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    found = opposite(edge_index)
    assert found.tolist() == reference.opposite(edge_index)
    assert torch.equal(found[found], torch.arange(len(edges)))


def test_opposite_edges_by_hand() -> None:
    #        0        1        2        3        4        5        6        7
    pairs = [(1, 2), (2, 1), (0, 0), (1, 2), (3, 1), (2, 1), (1, 2), (0, 0)]
    found = opposite(torch.tensor(pairs).T)
    assert found.tolist() == [1, 0, 2, 5, 4, 3, 6, 7]


@given(edge_lists.filter(len), st.data())
@settings(max_examples=60, deadline=None)
def test_ties_of_chosen_edges(
    reference: ModuleType, edges: list[tuple[int, int]], data: st.DataObject
) -> None:
    edge_index = torch.tensor(edges).T
    chosen = sorted(data.draw(st.sets(st.integers(0, len(edges) - 1), min_size=1)))
    start, tied, copies = ties(edge_index, torch.tensor(chosen), symmetric=True)
    partner = reference.opposite(edge_index)
    for place, edge in enumerate(chosen):
        other = partner[edge]
        assert int(start[place]) == min(edge, other)
        assert chosen[int(tied[place])] == (min(edge, other) if other in chosen else edge)
        assert float(copies[place]) == (1 if other in chosen else 2)
    start, tied, copies = ties(edge_index, torch.tensor(chosen), symmetric=False)
    assert start.tolist() == chosen
    assert tied.tolist() == list(range(len(chosen)))
    assert copies.tolist() == [1] * len(chosen)


# --- the order of the random draws ---


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
@pytest.mark.parametrize("kind", list(CASES))
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


# --- the hyperparameters of the official configurations ---


def test_presets_are_the_official_configurations() -> None:
    table = """
        ba-shapes     edge   1000  0.01  0.005   1
        ba-shapes     joint   500  0.01  0.005   1      0.005   1
        tree-cycles   edge    500  0.01  0.01    1
        tree-cycles   joint   500  0.01  0.01    1      0.001   1
        tree-grid     edge    500  0.01  0.05    1
        tree-grid     joint   500  0.01  0.01    1      0.01    1
        msrc21        edge    500  0.01  0.0005  1
        msrc21        joint   500  0.05  0.0005  1      0.0005  1
        mutagenicity  edge    500  0.01  0.0001  0.001
        mutagenicity  joint   500  0.01  0.0001  0.001  0.0001  0.001
    """
    names = ("epochs", "lr", "alpha_e", "beta_e", "alpha_f", "beta_f")
    rows = [line.split() for line in table.strip().splitlines()]
    assert len(rows) == len(PRESETS)
    for name, kind, *values in rows:
        found = preset(name, kind)
        assert found == dict(zip(names, map(float, values), strict=False))
        found["lr"] = 9.0  # a caller's own copy
        assert preset(name, kind)["lr"] != 9.0


def test_a_preset_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="ba-shapes"):
        preset("ba-shape")
    with pytest.raises(UnknownNameError, match="feature"):
        preset("ba-shapes", "feature")
