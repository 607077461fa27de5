"""The two-layer perceptron of a block; for inference on a CPU in parts that a cache holds.

Its hidden layer is four times as wide as the map. Over a large map it would go to main memory and
back for each of the two products and for the activation, which takes longer than the arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PART = 1 << 20
"""Values of the hidden layer computed at a time."""
_WHOLE = 1 << 22
"""Up to so many at once: each part reads the weights anew."""


def fits_inference(x: Tensor, *layers: nn.Module) -> bool:
    """Whether nobody but the result will see what is computed on the way, on a CPU.

    That is: no gradients, no graph being recorded, no autocast, plain layers without hooks.

    Args:
        x: what is computed on.
        layers: linear layers, and GELUs.
    """
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and all(_is_plain(layer) for layer in layers)
    )


def perceptron(x: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """Computes second(GELU(first(x))) without gradients, a part at a time where that is faster.

    Args:
        x: [..., C], contiguous.
        first: C to H.
        second: H to C.

    Returns:
        [..., C].
    """
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) * first.out_features <= _WHOLE:
        return second(torch.ops.aten.gelu_(first(x)))
    result = torch.empty_like(rows)
    length = max(_PART // first.out_features, 1)
    for part, out in zip(rows.split(length), result.split(length), strict=True):
        hidden = torch.ops.aten.gelu_(first(part))
        torch.addmm(second.bias, hidden, second.weight.T, out=out)
    return result.view(x.shape)


def _is_plain(layer: nn.Module) -> bool:
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    if isinstance(layer, nn.GELU):
        return type(layer) is nn.GELU and layer.approximate == "none"
    return type(layer) is nn.Linear and layer.bias is not None
