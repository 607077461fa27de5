"""A plain reference of RevCol on official tensors: NCHW, one equation a line, no modules.

Written from the spec alone and shares no code with the plugin: manual LayerNorm, erf GELU, einsum
for linear layers, gather for nearest upsampling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

Shapes = dict[str, tuple[int, ...]]


def shapes(
    channels,
    layers,
    num_columns,
    *,
    kernel_size=3,
    in_chans=3,
    top_down_skip=False,
    num_classes=1000,
    supervised=False,
) -> Shapes:
    """Official names -> shapes, in the order of the spec sheet's list."""
    found: Shapes = {}

    def affine(name: str, weight: tuple[int, ...]) -> None:
        found[f"{name}.weight"] = weight
        found[f"{name}.bias"] = weight[:1]

    def block(name: str, width: int, hidden: int, kernel: int) -> None:
        found[f"{name}.gamma"] = (width,)
        affine(f"{name}.dwconv", (width, 1, kernel, kernel))
        affine(f"{name}.norm", (width,))
        affine(f"{name}.pwconv1", (hidden, width))
        affine(f"{name}.pwconv2", (width, hidden))

    c = channels
    affine("stem.0", (c[0], in_chans, 4, 4))
    affine("stem.1", (c[0],))
    for i in range(num_columns):
        for lvl in range(4):
            found[f"subnet{i}.alpha{lvl}"] = (1, c[lvl], 1, 1)
        for lvl in range(4):
            level = f"subnet{i}.level{lvl}"
            if lvl > 0:
                affine(f"{level}.fusion.down.0", (c[lvl], c[lvl - 1], 2, 2))
                affine(f"{level}.fusion.down.1", (c[lvl],))
            if i > 0 and lvl < 3:
                affine(f"{level}.fusion.up.channel_reschedule.0", (c[lvl], c[lvl + 1]))
                affine(f"{level}.fusion.up.channel_reschedule.1", (c[lvl],))
            if i > 0 and lvl == 0 and top_down_skip:
                affine(f"{level}.fusion.up2.channel_reschedule.0", (c[0], c[3]))
                affine(f"{level}.fusion.up2.channel_reschedule.1", (c[0],))
            for b in range(layers[lvl]):
                block(f"{level}.blocks.{b}", c[lvl], 4 * c[lvl], kernel_size)
    for head in [f"cls_blocks.{j}" for j in range(4)] if supervised else ["cls"]:
        affine(f"{head}.classifier.0", (c[3],))
        affine(f"{head}.classifier.1", (num_classes, c[3]))
    for j in range(3 if supervised else 0):
        decoder = f"decoder_blocks.{j}"
        if num_classes > 1000:
            affine(f"{decoder}.projback.0", (c[3],))
            affine(f"{decoder}.projback.1", (3072, c[3], 1, 1))
            continue
        d = list(reversed(c))
        for stage in range(3):
            affine(f"{decoder}.proj_layers.{stage}.0", (d[stage + 1], d[stage], 1, 1))
            affine(f"{decoder}.proj_layers.{stage}.1", (d[stage + 1],))
            block(f"{decoder}.normal_layers.{stage}.0", d[stage + 1], d[stage + 1], 3)
        affine(f"{decoder}.projback.0", (48, c[0], 1, 1))
    return found


def random_weights(found: Shapes, seed: int = 0, dtype=torch.float64) -> dict[str, Tensor]:
    """Random tensors of those shapes: O(1) activations, gamma O(1), alpha in +-[0.2, 1]."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in found.items():
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        if ".alpha" in name:
            noise = noise.sign() * (0.2 + 0.8 * torch.rand(shape, generator=generator))
        elif name.endswith("weight") and len(shape) == 1:
            noise = 1 + 0.1 * noise
        elif name.endswith("bias"):
            noise = 0.1 * noise
        elif len(shape) > 1:
            noise = noise / math.prod(shape[1:]) ** 0.5
        weights[name] = noise.to(dtype)
    return weights


def columns(w: dict[str, Tensor], image: Tensor) -> list[list[Tensor]]:
    """The four maps of every column."""
    s = norm(w, "stem.1", conv2d(image, w["stem.0.weight"], w["stem.0.bias"], stride=4))
    p = None
    result = []
    i = 0
    while f"subnet{i}.alpha0" in w:
        c = []
        for lvl in range(4):
            level = f"subnet{i}.level{lvl}"
            down = f"{level}.fusion.down"
            if lvl == 0:
                x = s
            else:
                x = conv2d(c[lvl - 1], w[f"{down}.0.weight"], w[f"{down}.0.bias"], stride=2)
                x = norm(w, f"{down}.1", x)
            if p is not None and lvl < 3:
                x = x + up(w, f"{level}.fusion.up.channel_reschedule", p[lvl + 1], x.shape[2:])
            if f"{level}.fusion.up2.channel_reschedule.0.weight" in w:
                x = x + up(w, f"{level}.fusion.up2.channel_reschedule", p[3], x.shape[2:])
            b = 0
            while f"{level}.blocks.{b}.gamma" in w:
                x = block(w, f"{level}.blocks.{b}", x)
                b += 1
            if p is not None:
                alpha = w[f"subnet{i}.alpha{lvl}"]
                x = (
                    x
                    + torch.where(alpha < 0, -1.0, 1.0).to(x) * alpha.abs().clamp(min=1e-3) * p[lvl]
                )
            c.append(x)
        result.append(c)
        p = c
        i += 1
    return result


def logits(w: dict[str, Tensor], c_3: Tensor, head: str = "cls") -> Tensor:
    """The classifier."""
    pooled = norm(w, f"{head}.classifier.0", c_3.mean((2, 3), keepdim=True))
    return linear(w, f"{head}.classifier.1", pooled)[:, :, 0, 0]


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    scaled = (x - mean) / torch.sqrt(variance + 1e-6)
    return scaled * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    product = torch.einsum("bchw,dc->bdhw", x, w[f"{name}.weight"])
    return product + w[f"{name}.bias"][:, None, None]


def block(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    kernel = w[f"{name}.dwconv.weight"]
    side = kernel.shape[-1] // 2
    y = conv2d(x, kernel, w[f"{name}.dwconv.bias"], padding=side, groups=x.shape[1])
    y = linear(w, f"{name}.pwconv1", norm(w, f"{name}.norm", y))
    y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
    return x + w[f"{name}.gamma"][:, None, None] * linear(w, f"{name}.pwconv2", y)


def up(w: dict[str, Tensor], name: str, x: Tensor, size) -> Tensor:
    x = norm(w, f"{name}.1", linear(w, f"{name}.0", x))
    rows = torch.arange(size[0]) * x.shape[2] // size[0]
    cols = torch.arange(size[1]) * x.shape[3] // size[1]
    return x[:, :, rows][:, :, :, cols]


def reconstruction(w: dict[str, Tensor], j: int, c_3: Tensor, size) -> Tensor:
    """Decoder j: logits of the image, of the image's size."""
    decoder = f"decoder_blocks.{j}"
    if f"{decoder}.projback.1.weight" in w:
        x = norm(w, f"{decoder}.projback.0", c_3)
        x = shuffle(pointwise(w, f"{decoder}.projback.1", x), 32)
    else:
        x = c_3
        for stage in range(3):
            proj = f"{decoder}.proj_layers.{stage}"
            x = norm(w, f"{proj}.1", pointwise(w, f"{proj}.0", x))
            x = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
            x = bilinear(x, [2 * side for side in x.shape[2:]], align_corners=True)
            x = block(w, f"{decoder}.normal_layers.{stage}.0", x)
        x = shuffle(pointwise(w, f"{decoder}.projback.0", x), 4)
    return x if tuple(x.shape[2:]) == tuple(size) else bilinear(x, size, align_corners=False)


def pointwise(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    product = torch.einsum("bchw,dc->bdhw", x, w[f"{name}.weight"][:, :, 0, 0])
    return product + w[f"{name}.bias"][:, None, None]


def shuffle(x: Tensor, side: int) -> Tensor:
    """out[b, c, side * h + i, side * w + j] = x[b, c * side^2 + i * side + j, h, w]."""
    b, c, h, w = x.shape
    out = x.new_empty(b, c // side**2, h * side, w * side)
    for i in range(side):
        for j in range(side):
            out[:, :, i::side, j::side] = x[:, i * side + j :: side**2]
    return out


def bilinear(x: Tensor, size, *, align_corners: bool) -> Tensor:
    """Row by row, then column by column, as weighted sums of two neighbours."""

    def matrix(given: int, wanted: int) -> Tensor:
        weights = x.new_zeros(wanted, given)
        for i in range(wanted):
            if align_corners:
                place = i * (given - 1) / (wanted - 1) if wanted > 1 else 0.0
            else:
                place = min(max((i + 0.5) * given / wanted - 0.5, 0.0), given - 1)
            low = min(math.floor(place), given - 1)
            weights[i, low] += 1 - (place - low)
            weights[i, min(low + 1, given - 1)] += place - low
        return weights

    rows, cols = (matrix(x.shape[2 + axis], size[axis]) for axis in range(2))
    return torch.einsum("bchw,ih,jw->bcij", x, rows, cols)


def loss(y, r, images, target, *, bce=3.0, ce=0.7, smoothing=0.1, mean, std) -> Tensor:
    """Supervised loss of lists of four logits and three reconstructions, one image at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for i, scores in enumerate(y):
        entropy = torch.zeros((), dtype=torch.float64)
        for b in range(len(scores)):
            classes = len(scores[b])
            if target.ndim == 1:
                wanted = [smoothing / classes] * classes
                wanted[int(target[b])] += 1 - smoothing
            else:
                wanted = target[b].tolist()
            log_sum = torch.log(sum(torch.exp(score) for score in scores[b]))
            for k in range(classes):
                entropy = entropy - wanted[k] * (scores[b][k] - log_sum) / len(scores)
        total = total + (1 if i == 3 else ce * (i + 1) / 4) * entropy
    for i, pixels in enumerate(r):
        p = 1 / (1 + torch.exp(-pixels))
        wanted = torch.empty_like(images)
        for channel in range(images.shape[1]):
            wanted[:, channel] = images[:, channel] * std[channel] + mean[channel]
        for low, high in ((0.0, 1.0), (0.01, 0.99)):
            wanted = torch.where(wanted < low, low, wanted)
            wanted = torch.where(wanted > high, high, wanted)
        entropy = -(wanted * torch.log(p) + (1 - wanted) * torch.log(1 - p))
        total = total + bce * (1 - i / 3) * entropy.sum() / entropy.numel()
    return total
