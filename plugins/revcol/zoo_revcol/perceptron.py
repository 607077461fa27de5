"""The two-layer perceptron of a block; for inference on a CPU with less traffic to memory.

Its hidden layer is four times as wide as the map. Over a large map it would go to main memory and
back for each of the two products, for their biases and for the activation, which takes longer than
the arithmetic. So a large map is computed in parts that a cache holds, and oneDNN, where PyTorch
has it, adds the bias and applies the activation while it writes the product.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_PART = 1 << 20
"""Values of the hidden layer computed at a time."""
_WHOLE = 1 << 22
"""Up to so many at once: each part reads the weights anew."""
_ONEDNN: Final = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
"""Whether there is the operation that torch.compile uses for a linear layer and what follows it."""


def fits_inference(x: Tensor, *layers: nn.Module) -> bool:
    """Whether nobody but the result will see what is computed on the way, on a CPU.

    That is: no gradients, no graph being recorded, no operations counted or transformed, no
    autocast, plain layers without hooks.

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
        and not _is_watched()
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
        return _linear(_linear(x, first, "gelu"), second)
    result = torch.empty_like(rows)
    length = max(_PART // first.out_features, 1)
    for part, out in zip(rows.split(length), result.split(length), strict=True):
        torch.addmm(second.bias, _linear(part, first, "gelu"), second.weight.T, out=out)
    return result.view(x.shape)


def _linear(x: Tensor, layer: nn.Linear, activation: str = "none") -> Tensor:
    """Computes layer(x), and with "gelu" its exact GELU."""
    if _ONEDNN and torch.backends.mkldnn.enabled and x.dtype is torch.float32:
        return torch.ops.mkldnn._linear_pointwise(
            x, layer.weight, layer.bias, activation, [], "none"
        )
    x = layer(x)
    return torch.ops.aten.gelu_(x) if activation == "gelu" else x


def _is_plain(layer: nn.Module) -> bool:
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    if isinstance(layer, nn.GELU):
        return type(layer) is nn.GELU and layer.approximate == "none"
    # Quantised and sharded weights are tensors of other types, in ordinary layers.
    return (
        type(layer) is nn.Linear
        and type(layer.weight) is nn.Parameter
        and type(layer.bias) is nn.Parameter
    )


def _is_watched() -> bool:
    """Whether a mode (a FLOP counter), a transform (vmap) or forward-mode AD is at work."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )
