"""The measures against their definitions, pooled and averaged over batches."""

from __future__ import annotations

import math

import pytest
import torch

from zoo_core.errors import InputError
from zoo_tns.metrics import MEASURES, link_measures, measures


def plain_ap(labels, scores):
    """The sum over thresholds of precision times the gain of recall."""
    total, positives, before = 0.0, sum(labels), 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for label, score in zip(labels, scores, strict=True) if score >= threshold]
        recall = sum(chosen) / positives
        total += (recall - before) * sum(chosen) / len(chosen)
        before = recall
    return total


def plain_auc(labels, scores):
    """The share of pairs that are in the right order; ties count half."""
    pairs = [
        (one > other) + (one == other) / 2
        for one, label in zip(scores, labels, strict=True)
        for other, against in zip(scores, labels, strict=True)
        if label and not against
    ]
    return sum(pairs) / len(pairs)


def plain_acc(labels, scores):
    """The share that a sigmoid, at a threshold of 0.5, tells right."""
    right = [
        (1 / (1 + math.exp(-score)) > 0.5) == bool(label)
        for label, score in zip(labels, scores, strict=True)
    ]
    return sum(right) / len(right)


PLAIN = {"ap": plain_ap, "auc": plain_auc, "acc": plain_acc}


def drawn(number, seed):
    generator = torch.Generator().manual_seed(seed)
    # Rounded, so that there are ties, between the classes and at the threshold.
    return (2 * torch.randn(number, generator=generator, dtype=torch.float64)).round()


@pytest.mark.parametrize("seed", range(5))
def test_they_are_what_their_definitions_say(seed):
    scores = drawn(60, seed)
    labels = (scores + drawn(60, seed + 100) > 0).long()
    found = measures(labels, scores)
    assert set(found) == set(MEASURES)
    for name, plain in PLAIN.items():
        assert found[name] == pytest.approx(plain(labels.tolist(), scores.tolist()), abs=1e-12)


def test_links_are_averaged_over_batches_with_a_short_last_one():
    positive, negative = drawn(50, 0) + 1, drawn(50, 1)
    found = link_measures(positive, negative, 20)
    for name, plain in PLAIN.items():
        parts = []
        for start in (0, 20, 40):
            rows = slice(start, start + 20)
            good, bad = positive[rows].tolist(), negative[rows].tolist()
            parts.append(plain([1] * len(good) + [0] * len(bad), good + bad))
        assert found[name] == pytest.approx(sum(parts) / 3, abs=1e-12)
        pooled = plain([1] * 50 + [0] * 50, positive.tolist() + negative.tolist())
        assert found[f"{name}_pooled"] == pytest.approx(pooled, abs=1e-12)
        assert found[name] != pytest.approx(pooled, abs=1e-4)


def test_scores_that_a_sigmoid_in_float32_would_tie_keep_their_order():
    positive, negative = torch.tensor([40.0]), torch.tensor([30.0])
    assert torch.equal(positive.sigmoid(), negative.sigmoid())
    assert link_measures(positive, negative, 1)["auc"] == 1


def test_one_class_alone_has_no_auc():
    scores = torch.tensor([0.5, -0.5])
    ones, zeros = measures(torch.ones(2), scores), measures(torch.zeros(2), scores)
    assert math.isnan(ones["auc"])
    assert math.isnan(zeros["auc"])
    assert math.isnan(zeros["ap"])
    assert ones["ap"] == 1
    assert ones["acc"] == zeros["acc"] == 0.5


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([0, 1], [0.5], "shapes"),
        ([], [], "at least 1"),
        ([0, 2], [0.5, 0.5], "other than 0 and 1"),
        ([0, 1], [0.5, math.nan], "not finite"),
    ],
)
def test_unusable_scores_are_refused(labels, logits, message):
    with pytest.raises(InputError, match=message):
        measures(torch.tensor(labels), torch.tensor(logits))


def test_every_event_needs_a_negative():
    with pytest.raises(InputError, match="expected the same"):
        link_measures(torch.zeros(3), torch.zeros(2), 1)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_has_a_number_of_events(size):
    with pytest.raises(InputError, match="batch_size is"):
        link_measures(torch.zeros(3), torch.zeros(3), size)
