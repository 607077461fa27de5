"""UPerNet against plain formulas in float64, its loss, its training, and sliding windows."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo_core.errors import ConfigError, InputError
from zoo_revcol.layers import layer_id
from zoo_revcol.model import RevCol
from zoo_revcol.segmentation import (
    SegmentationOutput,
    UPerNet,
    segmentation_loss,
    sliding_window,
)
from zoo_revcol.variants import VARIANTS

SMALL = {
    "channels": (8, 12, 16, 20),
    "layers": (1, 1, 2, 1),
    "num_columns": 3,
    "num_classes": 0,
    "global_pool": "",
}
MODES = [
    {"memory": "none"},
    {"memory": "checkpoint"},
    {"memory": "reversible", "anchor_every": 3, "exact": True},
]


@pytest.fixture
def segmenter(make):
    def build(dtype=torch.float64, **arguments) -> UPerNet:
        torch.manual_seed(0)
        options = {"num_classes": 5, "channels": 6, "auxiliary_channels": 4, **arguments}
        model = UPerNet(make(SMALL, dtype=dtype), **options).eval()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if name.startswith("backbone.") or not tensor.is_floating_point():
                    continue
                if name.endswith("running_var"):
                    tensor.copy_(0.5 + torch.rand_like(tensor))
                elif tensor.ndim == 1:
                    tensor.copy_(torch.randn_like(tensor))
        return model

    return build


def resized(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def plain(state, prefix, x, kernel_size):
    """Convolution, batch norm in evaluation, ReLU, from a state dict."""
    x = F.conv2d(x, state[f"{prefix}.0.weight"], padding=kernel_size // 2)
    mean, variance, weight, bias = (
        state[f"{prefix}.1.{name}"].view(1, -1, 1, 1)
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)


def regions(x, scale):
    """Means over a grid of scale x scale parts, as adaptive pooling cuts them."""
    height, width = x.shape[-2:]
    rows = []
    for i in range(scale):
        top, bottom = i * height // scale, -(-(i + 1) * height // scale)
        cells = []
        for j in range(scale):
            left, right = j * width // scale, -(-(j + 1) * width // scale)
            cells.append(x[..., top:bottom, left:right].mean((-2, -1)))
        rows.append(torch.stack(cells, -1))
    return torch.stack(rows, -2)


def reference(state, maps, size):
    """UPerNet's equations, level by level, and the auxiliary head's."""
    pooled = [
        resized(
            plain(state, f"neck.pooling.scales.{index}", regions(maps[3], scale), 1),
            maps[3].shape[-2:],
        )
        for index, scale in enumerate((1, 2, 3, 6))
    ]
    top = plain(state, "neck.pooling.bottleneck", torch.cat([maps[3], *pooled], 1), 3)
    second = plain(state, "neck.laterals.2", maps[2], 1) + resized(top, maps[2].shape[-2:])
    first = plain(state, "neck.laterals.1", maps[1], 1) + resized(second, maps[1].shape[-2:])
    zeroth = plain(state, "neck.laterals.0", maps[0], 1) + resized(first, maps[0].shape[-2:])
    outputs = [
        plain(state, f"neck.outputs.{level}", each, 3)
        for level, each in enumerate((zeroth, first, second))
    ]
    fused = torch.cat([resized(each, maps[0].shape[-2:]) for each in (*outputs, top)], 1)
    fused = plain(state, "neck.fusion", fused, 3)
    logits = F.conv2d(fused, state["classifier.1.weight"], state["classifier.1.bias"])
    auxiliary = F.conv2d(
        plain(state, "auxiliary.0", maps[2], 3),
        state["auxiliary.1.1.weight"],
        state["auxiliary.1.1.bias"],
    )
    return resized(logits, size), resized(auxiliary, size)


@pytest.mark.parametrize("size", [(64, 64), (83, 97), (32, 200)])
def test_the_maths_are_those_of_a_plain_reference(size, segmenter, images):
    model = segmenter()
    x = images(2, 3, *size)
    logits, auxiliary = reference(model.state_dict(), model.backbone.forward_pyramid(x), size)
    assert logits.std() > 1e-3
    torch.testing.assert_close(model(x), logits, rtol=1e-9, atol=1e-9)
    # Training's output, with the statistics and the dropout of evaluation.
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout2d):
            module.eval()
    output = model(x)
    torch.testing.assert_close(output.logits, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.auxiliary, auxiliary, rtol=1e-9, atol=1e-9)


def test_the_paper_s_sizes():
    """Counted by hand: 60M with RevCol-T, as the paper says."""
    with torch.device("meta"):
        model = UPerNet(RevCol(**VARIANTS["tiny"].config(), num_classes=0, global_pool=""))
    channels, widths = 512, (64, 128, 256, 512)

    def convolution(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + 2 * outputs

    expected = (
        4 * convolution(widths[3], channels, 1)
        + convolution(widths[3] + 4 * channels, channels, 3)
        + sum(convolution(width, channels, 1) for width in widths[:3])
        + 3 * convolution(channels, channels, 3)
        + convolution(4 * channels, channels, 3)
        + channels * 150
        + 150
    )
    auxiliary = convolution(widths[2], 256, 3) + 256 * 150 + 150
    sizes = {
        part: sum(it.numel() for it in getattr(model, part).parameters())
        for part in ("backbone", "neck", "classifier", "auxiliary")
    }
    assert sizes["backbone"] == 29_942_144
    assert sizes["neck"] + sizes["classifier"] == expected
    assert sizes["auxiliary"] == auxiliary
    assert round(sum(sizes.values()) / 1e6) == 60


def labels(*shape, classes=5, ignored=True):
    generator = torch.Generator().manual_seed(5)
    target = torch.randint(0, classes, shape, generator=generator)
    if ignored:
        target[torch.rand(shape, generator=generator) < 0.3] = 255
    return target


def test_the_loss_is_the_mean_over_labelled_pixels(images):
    logits, auxiliary = images(2, 5, 8, 9), images(2, 5, 8, 9, seed=1)
    target = labels(2, 8, 9)
    sums = [0.0, 0.0]
    count = 0
    for index, image in enumerate(target):
        for row in range(8):
            for column in range(9):
                label = int(image[row, column])
                if label == 255:
                    continue
                count += 1
                for head, each in enumerate((logits, auxiliary)):
                    scores = each[index, :, row, column]
                    sums[head] += float(scores.exp().sum().log() - scores[label])
    assert 0 < count < target.numel()
    output = SegmentationOutput(logits, auxiliary)
    loss = segmentation_loss(output, target)
    assert loss.item() == pytest.approx((sums[0] + 0.4 * sums[1]) / count, rel=1e-12)
    without = segmentation_loss(output, target, auxiliary_weight=0.0)
    assert without.item() == pytest.approx(sums[0] / count, rel=1e-12)
    again = segmentation_loss(output, target.where(target != 255, 7), ignore_index=7)
    assert again.item() == pytest.approx(loss.item(), rel=1e-12)


def test_images_without_labels_have_no_loss(images):
    logits = images(2, 5, 8, 9).requires_grad_()
    loss = segmentation_loss(SegmentationOutput(logits, logits), torch.full((2, 8, 9), 255))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_half_precision_is_summed_in_float32():
    logits = torch.full((1, 2, 256, 256), 0.1, dtype=torch.bfloat16)
    loss = segmentation_loss(SegmentationOutput(logits, logits), labels(1, 256, 256, classes=2))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1.4 * math.log(2), rel=1e-5)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_training_step_reaches_every_parameter(mode, images):
    torch.manual_seed(0)
    model = UPerNet(RevCol(**SMALL, layer_scale_init=0.3, **mode), 5, 6, 4).train()
    x = images(2, 3, 70, 83, dtype=torch.float32)
    loss = segmentation_loss(model(x), labels(2, 70, 83))
    assert loss.isfinite()
    loss.backward()
    still = [
        name
        for name, it in model.named_parameters()
        if it.grad is None
        or not (it.grad.any() or (".columns.0." in name and name.endswith("alpha")))
    ]
    assert not still, "only the first column's alphas have no effect"


def test_the_memory_modes_train_alike(segmenter, images):
    model = segmenter(dropout=0.0).train()
    x, target = images(2, 3, 64, 64), labels(2, 64, 64)
    gradients = []
    for mode in MODES:
        each = copy.deepcopy(model)
        each.backbone.columns.remember(**mode)
        segmentation_loss(each(x), target).backward()
        gradients.append([it.grad for it in each.parameters()])
    for others in gradients[1:]:
        for one, other in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_training_learns_to_separate_two_halves():
    torch.manual_seed(0)
    model = UPerNet(RevCol(**SMALL, layer_scale_init=0.3), 2, 8, 4).train()
    target = torch.zeros(2, 64, 64, dtype=torch.int64)
    target[:, :, 32:] = 1
    x = target[:, None].float().expand(2, 3, 64, 64) + 0.1 * torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        segmentation_loss(model(x), target).backward()
        optimizer.step()
    with torch.no_grad():
        model.train()
        found = model(x).logits.argmax(1)
    assert (found == target).float().mean() > 0.9


def test_the_backbone_loses_its_head_and_stays_the_caller_s(images):
    classifier = RevCol(**{**SMALL, "num_classes": 9, "global_pool": "avg"})
    model = UPerNet(classifier, 5, 6, 4)
    assert model.backbone is classifier
    assert not [name for name, _ in model.named_parameters() if name.startswith("backbone.head")]
    double = UPerNet(RevCol(**SMALL).double(), 5, 6, 4).eval()
    assert double(images(1, 3, 32, 32)).dtype == torch.float64


def test_weights_of_the_zoo_serve_as_the_backbone():
    backbone = zoo.load("revcol-nano.cifar10", num_classes=0)
    expected = zoo.load("revcol-nano.cifar10")
    x = torch.randn(2, 3, 64, 80)
    model = UPerNet(backbone, 5, 6, 4).eval()
    for one, other in zip(
        model.backbone.forward_pyramid(x), expected.forward_pyramid(x), strict=True
    ):
        assert torch.equal(one, other)
    assert model(x).shape == (2, 5, 64, 80)


def test_the_optimizer_s_groups():
    model = UPerNet(RevCol(**SMALL), 5, 6, 4)
    layer = model.group_matcher()
    depth = sum(SMALL["layers"]) + SMALL["num_columns"]
    for name, _ in model.named_parameters():
        inner = name.removeprefix("backbone.")
        expected = depth if inner == name else layer_id(inner, SMALL["layers"], 3)
        assert layer(name) == expected, name
    undecayed = model.no_weight_decay()
    assert undecayed <= {name for name, _ in model.named_parameters()}
    assert "backbone.columns.1.levels.2.alpha" in undecayed
    assert "backbone.columns.1.levels.2.blocks.0.pwconv1.weight" not in undecayed
    assert "neck.fusion.1.bias" in undecayed
    assert "neck.fusion.0.weight" not in undecayed


def windows(side, crop, stride):
    """Where windows start: by steps, and at the edge for the rest."""
    if side <= crop:
        return [0]
    starts = list(range(0, side - crop, stride))
    return [*starts, side - crop]


@pytest.mark.parametrize(
    ("size", "crop", "stride"),
    [
        ((96, 128), 48, 32),
        ((97, 131), 64, 43),
        ((64, 64), 64, 10),
        ((40, 100), 64, 64),
        ((33, 35), 512, 341),
        ((90, 70), (32, 64), (32, 5)),
    ],
)
def test_sliding_windows_are_averaged(size, crop, stride, images):
    crops = (crop, crop) if isinstance(crop, int) else crop
    strides = (stride, stride) if isinstance(stride, int) else stride
    x = images(2, 3, *size)

    def model(window):
        """Looks at its whole window, so that each window counts."""
        return torch.cat([window, window.mean((-2, -1), keepdim=True).expand_as(window)], 1)

    total, count = torch.zeros(2, 6, *size, dtype=x.dtype), torch.zeros(size, dtype=x.dtype)
    for top in windows(size[0], crops[0], strides[0]):
        for left in windows(size[1], crops[1], strides[1]):
            place = (..., slice(top, top + crops[0]), slice(left, left + crops[1]))
            total[place] += model(x[place])
            count[place] += 1
    assert (count >= 1).all()
    torch.testing.assert_close(sliding_window(model, x, crop, stride), total / count)


def test_sliding_windows_of_a_network(segmenter, images):
    model = segmenter()
    x = images(1, 3, 70, 100)
    torch.testing.assert_close(sliding_window(model, x, 128, 85), model(x))
    logits = sliding_window(model, x, 64, 43)
    assert logits.shape == (1, 5, 70, 100)
    assert not logits.requires_grad
    # The first row and column of windows alone cover the corner.
    torch.testing.assert_close(logits[..., :6, :36], model(x[..., :64, :64])[..., :6, :36])


def test_bad_arguments_are_named(images):
    with pytest.raises(ConfigError, match="backbone is a Linear; expected a RevCol"):
        UPerNet(nn.Linear(1, 1))
    for name, value in (
        ("num_classes", 0),
        ("channels", 0),
        ("auxiliary_channels", -1),
        ("dropout", 1.0),
    ):
        with pytest.raises(ConfigError, match=f"{name} is {value}"):
            UPerNet(RevCol(**SMALL), **{"num_classes": 5, name: value})
    model = UPerNet(RevCol(**SMALL), 5, 6, 4)
    with pytest.raises(InputError, match="cannot train on one image"):
        model(torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match=r"\[B, 3, H, W\]"):
        model(torch.zeros(2, 4, 32, 32))
    grouped = UPerNet(RevCol(**SMALL), 5, 6, 4, norm_layer=lambda width: nn.GroupNorm(2, width))
    assert grouped.train()(torch.zeros(1, 3, 32, 32)).logits.shape == (1, 5, 32, 32)


def test_bad_targets_are_named():
    logits = torch.zeros(2, 5, 8, 9)
    output = SegmentationOutput(logits, logits)
    with pytest.raises(InputError, match="output is a Tensor; expected the SegmentationOutput"):
        segmentation_loss(logits, labels(2, 8, 9))
    with pytest.raises(InputError, match=r"shape \(2, 1, 8, 9\).*\(2, 8, 9\)"):
        segmentation_loss(output, labels(2, 1, 8, 9))
    with pytest.raises(InputError, match=r"dtype torch.uint8"):
        segmentation_loss(output, labels(2, 8, 9).to(torch.uint8))
    with pytest.raises(ConfigError, match="auxiliary_weight is -1"):
        segmentation_loss(output, labels(2, 8, 9), auxiliary_weight=-1.0)
    with pytest.raises(InputError, match=r"classes from 9 to 9; expected 0 to 4"):
        segmentation_loss(output, torch.full((2, 8, 9), 9))
    with pytest.raises(InputError, match="classes from -1 to 255"):
        segmentation_loss(output, torch.tensor([-1, 255]).repeat(2, 8, 5)[..., :9])


def test_bad_windows_are_named(segmenter, images):
    model, x = segmenter(), images(1, 3, 64, 64)
    with pytest.raises(ConfigError, match="the windows leave gaps"):
        sliding_window(model, x, 32, 33)
    for crop in (0, (32, 32, 32), 1.5):
        with pytest.raises(ConfigError, match="crop"):
            sliding_window(model, x, crop, 1)
    with pytest.raises(InputError, match=r"shape \(3, 64, 64\)"):
        sliding_window(model, x[0])
    with pytest.raises(InputError, match="gave a SegmentationOutput"):
        sliding_window(model.train(), x.expand(2, 3, 64, 64), 32, 32)
    with pytest.raises(InputError, match=r"gave \(1, 3, 16, 16\) for a window of \(32, 32\)"):
        sliding_window(lambda window: window[..., ::2, ::2], x, 32, 32)
