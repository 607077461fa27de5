"""Negative destinations: which are drawn, how often, and always the same after a reset."""

from __future__ import annotations

import pytest
import torch

from zoo_core.errors import InputError
from zoo_tns.negatives import PartnerNegatives, RandomNegatives
from zoo_tns.seeds import derived

DESTINATIONS = torch.tensor([9, 3, 3, 7, 9, 9])


def test_distinct_destinations_are_drawn_uniformly():
    negatives = RandomNegatives(DESTINATIONS, seed=0)
    drawn = negatives.draw(torch.zeros(30_000).long(), torch.zeros(30_000).long())
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == [3, 7, 9]
    # 6 standard deviations of a binomial of 30,000 and a third.
    assert (counts - 10_000).abs().max() < 6 * (30_000 * 2 / 9) ** 0.5


def test_they_are_reset_and_leave_the_global_generator_alone():
    negatives = RandomNegatives(torch.arange(1000), seed=2)
    events = torch.zeros(50).long()
    state = torch.get_rng_state()
    first, second = negatives.draw(events, events), negatives.draw(events, events)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)
    negatives.reset()
    assert torch.equal(negatives.draw(events, events), first)
    assert torch.equal(RandomNegatives(torch.arange(1000), 2).draw(events, events), first)
    assert not torch.equal(RandomNegatives(torch.arange(1000), 3).draw(events, events), first)


def test_each_place_has_its_own():
    negatives = RandomNegatives(torch.arange(1000), seed=2)
    events = torch.zeros(50).long()
    found = {}
    for place in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        negatives.reset(*place)
        drawn = negatives.draw(events, events)
        assert torch.equal(found.setdefault(place, drawn), drawn)
    assert not torch.equal(found[0, 0], found[0, 1])
    assert not torch.equal(found[0, 1], found[1, 0])


def test_there_must_be_destinations():
    with pytest.raises(InputError, match="no destinations"):
        RandomNegatives(torch.zeros(0).long(), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomNegatives(torch.tensor([1.5, 2.0]), 0), "destinations are of type float"),
        (lambda: RandomNegatives(torch.tensor([-1, 2]), 0), "negative id -1"),
        (lambda: RandomNegatives(DESTINATIONS, "a"), "seed is 'a'"),
        (lambda: RandomNegatives(DESTINATIONS, -1), "seed is -1"),
        (
            lambda: PartnerNegatives(DESTINATIONS, DESTINATIONS[1:], DESTINATIONS, 0),
            "dst has length 5; expected 6",
        ),
        (
            lambda: PartnerNegatives(DESTINATIONS / 2, DESTINATIONS, DESTINATIONS, 0),
            "src are of type float",
        ),
        (
            lambda: PartnerNegatives(DESTINATIONS, DESTINATIONS, DESTINATIONS, 0).draw(
                DESTINATIONS, DESTINATIONS[1:]
            ),
            "src has length 6 and dst 5",
        ),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_destinations_of_bytes_are_ids():
    negatives = RandomNegatives(DESTINATIONS.to(torch.uint8), 0)
    assert negatives.destinations.tolist() == [3, 7, 9]
    assert negatives.draw(DESTINATIONS, DESTINATIONS).dtype == torch.int64


def test_seeds_differ_for_all_their_parts():
    seeds = {derived(*parts) for parts in [(0,), (1,), (0, 0), ("0",), (0, "a"), ("a", 0), (0, 1)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**60 for seed in seeds)


PAIRS = [(0, 5), (0, 6), (0, 6), (0, 7), (1, 5), (2, 6), (2, 8)]


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (0, 6, [5, 7]),
        (0, 5, [6, 7]),
        (0, 7, [5, 6]),
        (0, 9, [5, 6, 7]),
        (2, 8, [6]),
        (1, 5, [20, 21]),
        (3, 5, [20, 21]),
        (40, 50, [20, 21]),
    ],
)
def test_other_partners_of_the_source_are_drawn_uniformly(source, destination, expected):
    src, dst = torch.tensor(PAIRS).T
    negatives = PartnerNegatives(src, dst, torch.tensor([20, 21]), seed=0)
    count = 3000
    drawn = negatives.draw(torch.full((count,), source), torch.full((count,), destination))
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == expected
    share = 1 / len(expected)
    assert (counts - count * share).abs().max() <= 6 * (count * share * (1 - share)) ** 0.5


def test_a_mixed_batch_is_drawn_event_by_event():
    src, dst = torch.tensor(PAIRS).T
    negatives = PartnerNegatives(src, dst, torch.tensor([20, 21]), seed=0)
    allowed = {(0, 6): {5, 7}, (1, 5): {20, 21}, (2, 6): {8}, (9, 6): {20, 21}, (0, 1): {5, 6, 7}}
    batch = torch.tensor(list(allowed)).T
    for _ in range(50):
        drawn = negatives.draw(batch[0], batch[1]).tolist()
        assert all(each in values for each, values in zip(drawn, allowed.values(), strict=True))
    empty = PartnerNegatives(src[:0], dst[:0], torch.tensor([20]), seed=0)
    assert empty.draw(batch[0], batch[1]).tolist() == [20] * 5
