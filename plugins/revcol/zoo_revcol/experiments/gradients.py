"""Every memory mode gives the gradients that autograd gives when it keeps everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from zoo_core.experiment import Context
from zoo_revcol.experiments.weights import randomise
from zoo_revcol.loss import revcol_loss
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS

MODES = {
    "checkpoint": {"memory": "checkpoint"},
    "reversible, k=1": {"memory": "reversible"},
    "reversible, k=N, exact": {"memory": "reversible", "anchor_every": 9999, "exact": True},
}
_LIMITS = {"float64": 1e-10, "float32": 1e-4}


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Compares the gradients of every variant, at an eighth of its width or less."""
    cases = [
        (variant, supervised, dtype)
        for variant in VARIANTS
        for supervised in (False, True)
        for dtype in (torch.float64, torch.float32)
    ]
    for variant, supervised, dtype in context.progress(cases, "comparing gradients"):
        model = _model(variant, supervised).to(dtype).train()
        expected = _gradients(model, {"memory": "none"})
        for mode, options in MODES.items():
            given = _gradients(model, options)
            yield {
                "variant": variant,
                "supervision": supervised,
                "dtype": str(dtype).removeprefix("torch."),
                "memory": mode,
                "worst relative difference": max(map(_difference, given, expected)),
            }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether all differences are within the limits for rounding."""
    worst = {
        dtype: max(row["worst relative difference"] for row in rows if row["dtype"] == dtype)
        for dtype in _LIMITS
    }
    return (
        all(worst[dtype] < limit for dtype, limit in _LIMITS.items()),
        "the worst difference of a tensor is "
        + " and ".join(
            f"{worst[dtype]:.1g} in {dtype} (limit {_LIMITS[dtype]:g})" for dtype in worst
        ),
    )


def _model(variant: str, supervised: bool) -> RevCol:
    config = VARIANTS[variant].config()
    divisor = config["channels"][0] // 8
    config["channels"] = [width // max(divisor, 1) for width in config["channels"]]
    model = RevCol(
        **config, num_classes=10, intermediate_supervision=supervised, drop_path_rate=0.1
    )
    return randomise(model)


def _gradients(model: RevCol, memory: dict[str, Any]) -> list[torch.Tensor]:
    """The gradients of the images and of all parameters, with the same drop path every time."""
    model.columns.remember(**memory)
    generator = torch.Generator().manual_seed(1)
    weight = model.stem.conv.weight
    images = torch.randn(4, 3, 64, 64, generator=generator).to(weight.dtype).requires_grad_()
    target = torch.randint(10, (4,), generator=generator)
    torch.manual_seed(2)
    loss, _ = revcol_loss(model(images), images, target)
    return list(torch.autograd.grad(loss, [images, *model.parameters()]))


def _difference(given: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest absolute difference, relative to the largest absolute value."""
    scale = expected.abs().max().item()
    difference = (given - expected).abs().max().item()
    return difference / scale if scale else difference
