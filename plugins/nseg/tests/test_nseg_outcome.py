"""From a model's output to the probability of a label."""

from __future__ import annotations

import math

import pytest
import torch
from nseg_small import uniform
from torch_geometric.explain.config import ModelConfig

from zoo_core.errors import InputError
from zoo_nseg.outcome import Outcome

MULTICLASS, BINARY = "multiclass_classification", "binary_classification"


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
