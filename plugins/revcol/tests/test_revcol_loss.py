"""The loss is the paper's sum, with its weights, and lets no gradient into the image."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.loss import (
    classification_weight,
    reconstruction_target,
    reconstruction_weight,
    revcol_loss,
)
from zoo_revcol.model import RevCol
from zoo_revcol.supervision import SupervisedOutput
from zoo_revcol.transforms import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture
def outputs(images):
    """Random outputs for two images of 6 x 5 pixels and 7 classes."""
    return SupervisedOutput(
        [images(2, 7, seed=seed) for seed in range(4)],
        [images(2, 3, 6, 5, seed=10 + seed) for seed in range(3)],
    )


@pytest.fixture
def image(images):
    return 2 * images(2, 3, 6, 5)


CLASSES = torch.tensor([3, 0])


def test_the_weights_of_the_released_configurations():
    assert [reconstruction_weight(i) for i in range(3)] == pytest.approx([3.0, 2.0, 1.0])
    assert [classification_weight(i) for i in range(4)] == pytest.approx([0.175, 0.35, 0.525, 1.0])


def test_the_weights_scale_with_their_coefficients():
    assert [reconstruction_weight(i, 4.0) for i in range(3)] == pytest.approx([4, 8 / 3, 4 / 3])
    assert [classification_weight(i, 0.8) for i in range(4)] == pytest.approx([0.2, 0.4, 0.6, 1])


def test_an_example_worked_by_hand():
    # A pixel of 2 x 0.25 + 0.5 = 1, taken for 0.99; a classifier that is right with 3 in 4.
    image = torch.full((1, 1, 1, 1), 2.0)
    logits = [torch.tensor([[0.0, math.log(3)]])] * 4
    zeros, three_to_one = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), math.log(3))
    outputs = SupervisedOutput(logits, [zeros, three_to_one, -three_to_one])
    loss, parts = revcol_loss(
        outputs, image, torch.tensor([1]), mean=[0.5], std=[0.25], label_smoothing=0.0
    )
    entropy = math.log(4 / 3)
    even = math.log(2)
    right = -(0.99 * math.log(0.75) + 0.01 * math.log(0.25))
    wrong = -(0.99 * math.log(0.25) + 0.01 * math.log(0.75))
    assert list(parts) == ["ce_0", "ce_1", "ce_2", "ce_3", "bce_0", "bce_1", "bce_2"]
    assert [value.item() for value in parts.values()] == pytest.approx(
        [entropy] * 4 + [even, right, wrong]
    )
    expected = (0.175 + 0.35 + 0.525 + 1) * entropy + 3 * even + 2 * right + 1 * wrong
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [None, 0.0, 0.3])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("coefficients", [{}, {"bce": 4.0, "ce": 0.8}, {"bce": 0.0, "ce": 0.0}])
def test_the_equation(smoothing, soft, coefficients, outputs, image, reference, images):
    target = images(2, 7, seed=99).softmax(1) if soft else CLASSES
    options = {} if smoothing is None else {"label_smoothing": smoothing}
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    loss, parts = revcol_loss(outputs, image, target, mean=mean, std=std, **coefficients, **options)
    expected = reference.loss(
        *outputs,
        image,
        target,
        mean=mean,
        std=std,
        smoothing=0.1 if smoothing is None else smoothing,
        **coefficients,
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    assert not any(value.requires_grad for value in parts.values())


def test_probabilities_of_one_class_are_that_class(outputs, image):
    hard, _ = revcol_loss(outputs, image, CLASSES, label_smoothing=0.0)
    soft, _ = revcol_loss(outputs, image, one_hot(CLASSES, 7).float())
    torch.testing.assert_close(soft, hard)


def test_logits_alone_are_plain_cross_entropy(outputs, image):
    loss, parts = revcol_loss(outputs.logits[0], image, CLASSES)
    expected = cross_entropy(outputs.logits[0], CLASSES, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    assert parts.keys() == {"ce_3"}
    assert parts["ce_3"] == loss


def test_the_target_is_the_image_before_it_was_normalised(images):
    pixels = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    pixels[0, :, 0, 0] = torch.tensor([0.0, 0.005, 1.0])
    mean = torch.tensor(IMAGENET_MEAN, dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, dtype=torch.float64).view(3, 1, 1)
    target = reconstruction_target((pixels - mean) / std)
    torch.testing.assert_close(target, pixels.clamp(0.01, 0.99))
    assert target[0, :, 0, 0].tolist() == pytest.approx([0.01, 0.01, 0.99])
    # Erased and noisy pixels lie outside [0, 1].
    beyond = reconstruction_target(torch.tensor([-9.0, 9.0]).view(1, 1, 1, 2), [0.5], [0.2])
    assert beyond.flatten().tolist() == pytest.approx([0.01, 0.99])


def test_no_gradient_flows_into_the_target(outputs, image):
    image.requires_grad_()
    assert not reconstruction_target(image).requires_grad
    for each in (*outputs.logits, *outputs.reconstructions):
        each.requires_grad_()
    loss, _ = revcol_loss(outputs, image, CLASSES)
    loss.backward()
    assert image.grad is None
    assert all(each.grad.any() for each in (*outputs.logits, *outputs.reconstructions))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, outputs, image):
    halves = SupervisedOutput(*([each.to(dtype) for each in part] for part in outputs))
    loss, parts = revcol_loss(halves, image.to(dtype), CLASSES)
    wide = SupervisedOutput(*([each.float() for each in part] for part in halves))
    expected, _ = revcol_loss(wide, image.to(dtype).float(), CLASSES)
    assert loss.dtype == torch.float32
    assert {value.dtype for value in parts.values()} == {torch.float32}
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)


def test_a_step_lowers_it(images):
    torch.manual_seed(0)
    config = {"channels": [4, 6, 8, 10], "layers": [1, 1, 1, 1], "num_columns": 4}
    model = RevCol(
        **config, num_classes=7, layer_scale_init=0.1, intermediate_supervision=True
    ).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    image = images(2, 3, 64, 64)
    before = [part.item() for part in revcol_loss(model(image), image, CLASSES)[1].values()]
    for _ in range(8):
        optimizer.zero_grad()
        revcol_loss(model(image), image, CLASSES)[0].backward()
        optimizer.step()
    after = [part.item() for part in revcol_loss(model(image), image, CLASSES)[1].values()]
    assert all(new < old for old, new in zip(before, after, strict=True))


def test_values_on_a_device_are_not_waited_for():
    # The meta device has no values: asking for one raises.
    with torch.device("meta"):
        outputs = SupervisedOutput([torch.ones(2, 7)] * 4, [torch.ones(2, 3, 6, 5)] * 3)
        loss, _ = revcol_loss(outputs, torch.ones(2, 3, 6, 5), torch.ones(2, dtype=torch.int64))
    assert loss.shape == ()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (torch.tensor([3, 7]), "classes from 3 to 7; expected 0 to 6"),
        (torch.tensor([-1, 3]), "classes from -1 to 3"),
        (torch.tensor([3, 0], dtype=torch.int32), r"dtype torch.int32 for logits \[2, 7\]"),
        (torch.tensor([3.0, 0.0]), r"shape \(2,\) and dtype torch.float32"),
        (torch.tensor([3, 0, 1]), r"shape \(3,\)"),
        (torch.ones(2, 6), r"shape \(2, 6\)"),
        (torch.ones(2, 7, dtype=torch.int64), r"shape \(2, 7\) and dtype torch.int64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(target, said, outputs, image):
    for given in (outputs, outputs.logits[0]):
        with pytest.raises(InputError, match=said):
            revcol_loss(given, image, target)


def test_outputs_that_do_not_fit_are_refused(outputs, image, images):
    with pytest.raises(InputError, match="4 logits and 2 reconstructions; expected 4 and 3"):
        revcol_loss(outputs._replace(reconstructions=outputs[1][:2]), image, CLASSES)
    with pytest.raises(InputError, match="3 logits and 3 reconstructions"):
        revcol_loss(outputs._replace(logits=outputs[0][:3]), image, CLASSES)
    with pytest.raises(InputError, match=r"shape \(2, 3, 6, 5\), the images \(2, 3, 6, 6\)"):
        revcol_loss(outputs, images(2, 3, 6, 6), CLASSES)
    with pytest.raises(InputError, match=r"logits have shape \(7,\)"):
        revcol_loss(torch.zeros(7), image, CLASSES)
    with pytest.raises(InputError, match=r"logits .* dtype torch.int64"):
        revcol_loss(torch.zeros(2, 7, dtype=torch.int64), image, CLASSES)
    with pytest.raises(InputError, match="at least one image"):
        revcol_loss(torch.zeros(0, 7), image[:0], CLASSES[:0])
    with pytest.raises(InputError, match=r"images have .* dtype torch.uint8"):
        revcol_loss(outputs, image.byte(), CLASSES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bce": -1.0}, "bce is -1.0"),
        ({"ce": float("nan")}, "ce is nan"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"mean": [0.5]}, r"mean is \[0.5\]; expected 3 numbers"),
        ({"std": [0.5, 0.5, 0.0]}, "std is 0.0"),
    ],
)
def test_options_out_of_their_range_are_refused(options, said, outputs, image):
    with pytest.raises(ConfigError, match=said):
        revcol_loss(outputs, image, CLASSES, **options)
