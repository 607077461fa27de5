"""Which parameters are decayed, and how fast each layer learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.layers import without_weight_decay
from zoo_revcol.training.recipe import Recipe
from zoo_revcol.validation import boolean, positive, real


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    layer_decay: float = 1.0,
    decay_alpha: bool = False,
    lr: float | None = None,
) -> list[dict[str, Any]]:
    """Returns the groups of parameters for an optimiser, those that learn alike together.

    Parameters of one dimension are not decayed. With layer-wise decay a parameter of layer k of
    the K of a RevCol learns `layer_decay ** (K - k)` times as fast as its head; see
    `zoo_revcol.layers.layer_id`. Where the RevCol is a part of `model`, such as the backbone of a
    detector, the rest learns as fast as a head. Frozen parameters are left out.

    Args:
        model: a RevCol, something that has one inside, or with a `layer_decay` of 1 any module.
        weight_decay: of the decayed parameters.
        layer_decay: in (0, 1]; 1 for none.
        decay_alpha: whether the shortcuts' alphas are decayed.
        lr: of the head. With it each group has its own "lr".

    Returns:
        Groups with "params", "weight_decay", "lr_scale" and, if it was given, "lr".

    Raises:
        ConfigError: an argument out of its range, or layers are asked of a model without them.
        InputError: no parameter that can be trained.
    """
    weight_decay = real("weight_decay", weight_decay, minimum=0.0)
    if positive("layer_decay", layer_decay) > 1.0:
        raise ConfigError(f"layer_decay is {layer_decay}; expected at most 1.")
    boolean("decay_alpha", decay_alpha)
    scales = _scales(model, layer_decay) if layer_decay != 1.0 else {}
    spared = without_weight_decay(model)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decayed = name not in spared or (decay_alpha and parameter.ndim > 1)
        key = (scales.get(name, 1.0), weight_decay if decayed else 0.0)
        empty = {"params": [], "weight_decay": key[1], "lr_scale": key[0]}
        groups.setdefault(key, empty)["params"].append(parameter)
    if not groups:
        raise InputError("the model has no parameter that can be trained: all are frozen.")
    if lr is not None:
        for group in groups.values():
            group["lr"] = lr * group["lr_scale"]
    return list(groups.values())


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Returns the recipe's optimiser; `set_learning_rate` sets its learning rates."""
    groups = parameter_groups(
        model,
        weight_decay=recipe.weight_decay,
        layer_decay=recipe.layer_decay,
        decay_alpha=recipe.decay_alpha,
    )
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets every group's learning rate to `lr` times its "lr_scale"."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def _scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """The factor of each parameter of the networks of columns in `model`, by its name there."""
    scales: dict[str, float] = {}
    for prefix, module in model.named_modules():
        matcher = getattr(module, "group_matcher", None)
        if not hasattr(module, "num_columns") or matcher is None:
            continue
        layer = matcher()
        last = layer("head.fc.weight")
        for name, _ in module.named_parameters():
            place = f"{prefix}.{name}" if prefix else name
            scales.setdefault(place, layer_decay ** (last - layer(name)))
    if not scales:
        raise ConfigError(
            f"layer_decay is {layer_decay}, and {type(model).__name__} has no RevCol in it whose "
            "layers could be told apart; expected 1."
        )
    return scales
