"""Uniform draws: how they are distributed, when they repeat, and what they are among."""

from __future__ import annotations

import copy
import pickle
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tns_streams import queries, rows, streams
from torch.utils.data import DataLoader

from zoo_tns.draws import Draws
from zoo_tns.index import TemporalIndex
from zoo_tns.samplers import UniformSampler

ROWS = 40_000


@pytest.mark.parametrize("replace", [True, False])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_all_drawn_are_in_the_history_and_in_its_order(replace, data) -> None:
    stream = data.draw(streams())
    nodes, times = data.draw(queries(stream))
    width = data.draw(st.sampled_from([None, 2]))
    sampler = UniformSampler(4, replace=replace, seed=0, window=width).bind(stream.index())
    for query, entries in enumerate(rows(sampler.sample(nodes, times))):
        history = stream.history(nodes[query], times[query])
        if width is not None:
            history = [each for each in history if each[2] >= times[query] - width]
        real = [each for each in entries if each[0] >= 0]
        assert entries[: len(real)] == real
        assert len(real) == (4 if replace and history else min(4, len(history)))
        # Entries of a self-loop are equal: so a drawn entry is found at the first place left.
        places = []
        for each in real:
            later = history[places[-1] if places and replace else (places or [-1])[-1] + 1 :]
            places.append(len(history) - len(later) + later.index(each))
        if not replace and len(history) <= 4:
            assert real == history


def frequencies(drawn: torch.Tensor) -> dict[tuple[int, ...], float]:
    values, counts = drawn.unique(dim=0, return_counts=True)
    share = counts.double() / len(drawn)
    return dict(zip(map(tuple, values.tolist()), share.tolist(), strict=True))


@pytest.mark.parametrize("size", [3, 5, 6])
def test_without_replacement_every_set_is_as_likely(size) -> None:
    found = frequencies(Draws(0).without_replacement(torch.full((ROWS,), size), 3))
    expected = list(combinations(range(1, size + 1), 3))
    assert sorted(found) == expected
    chance = 1 / len(expected)
    for share in found.values():
        assert share == pytest.approx(chance, abs=5 * (chance * (1 - chance) / ROWS) ** 0.5)


def test_with_replacement_every_event_is_as_likely_in_every_draw() -> None:
    drawn = Draws(0).with_replacement(torch.full((ROWS,), 4), 2)
    found = frequencies(drawn)
    assert len(found) == 10
    for (one, other), share in found.items():
        chance = (1 if one == other else 2) / 16
        assert share == pytest.approx(chance, abs=5 * (chance * (1 - chance) / ROWS) ** 0.5)


def test_short_histories_are_whole_and_empty_ones_empty() -> None:
    count = torch.tensor([0, 1, 2, 3, 50])
    whole = Draws(1).without_replacement(count, 3)
    assert whole[:4].tolist() == [[0, 0, 0], [1, 0, 0], [1, 2, 0], [1, 2, 3]]
    assert whole[4].unique().numel() == 3
    drawn = Draws(1).with_replacement(count, 3)
    assert drawn[:2].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert bool((drawn <= count.unsqueeze(1)).all())


@pytest.fixture
def index() -> TemporalIndex:
    return TemporalIndex([0] * 500, [1] * 500, list(range(500)))


def draws(sampler: UniformSampler, times: int = 1) -> list[list[int]]:
    return [sampler.sample([0], [500]).edge_id[0].tolist() for _ in range(times)]


def test_a_seed_repeats_a_run_and_not_a_draw(index) -> None:
    first = draws(UniformSampler(8, seed=5).bind(index), 3)
    assert len({tuple(each) for each in first}) == 3
    assert draws(UniformSampler(8, seed=5).bind(index), 3) == first
    assert draws(UniformSampler(8, seed=6).bind(index), 3) != first


def test_a_seed_neither_hears_nor_moves_torchs_generator(index) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = draws(UniformSampler(8, seed=5).bind(index))
    assert torch.get_rng_state().equal(state)
    torch.manual_seed(1)
    assert draws(UniformSampler(8, seed=5).bind(index)) == first


def test_without_a_seed_torchs_generator_decides(index) -> None:
    sampler = UniformSampler(8).bind(index)
    torch.manual_seed(7)
    first = draws(sampler, 2)
    torch.manual_seed(7)
    assert draws(sampler, 2) == first
    assert first[0] != first[1]


def test_a_copy_starts_from_the_beginning(index) -> None:
    sampler = UniformSampler(8, seed=5).bind(index)
    first = draws(sampler, 2)
    others = (
        sampler.bind(index),
        copy.deepcopy(sampler),
        pickle.loads(pickle.dumps(sampler)),  # noqa: S301
    )
    for other in others:
        assert draws(other, 2) == first


class _Asked(torch.utils.data.Dataset):
    """Item i is the i-th draw of the process it is made in."""

    def __init__(self, sampler: UniformSampler) -> None:
        self.sampler = sampler

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> torch.Tensor:
        return self.sampler.sample([0], [500]).edge_id[0]


def test_workers_draw_apart_and_the_same_in_every_run(index) -> None:
    sampler = UniformSampler(8, seed=5).bind(index)
    main = draws(sampler)[0]

    def run() -> list[list[int]]:
        loader = DataLoader(_Asked(sampler), batch_size=None, num_workers=2)
        return [each.tolist() for each in loader]

    first = run()
    assert len({tuple(each) for each in [*first, main]}) == 5
    assert run() == first
