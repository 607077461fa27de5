"""The optimizer's groups: expansion modules learn more slowly (section "Optimisation")."""

from __future__ import annotations

from typing import Any

from torch import nn

from zoo_core.errors import ConfigError, InputError
from zoo_tns.rate import check_number


def param_groups(
    model: nn.Module,
    expansions: nn.ModuleList,
    lr: float,
    alpha: float = 0.1,
    weight_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Returns the groups of an optimizer over a model's parameters.

    Args:
        model: the network.
        expansions: its modules of class `ExpansionRate`.
        lr: of all other parameters.
        alpha: expansion modules learn at alpha x lr; the paper's is 0.1.
        weight_decay: of all parameters but the expansion modules' last biases, whose neutral value
            is 1 and which have none; None is the optimizer's own.

    Raises:
        ConfigError: a value is negative or not finite.
    """
    for value, name in ((lr, "lr"), (alpha, "alpha"), (weight_decay, "weight_decay")):
        if value is None and name == "weight_decay":
            continue
        try:
            check_number(value, name, 0)
        except InputError as error:
            raise ConfigError(str(error)) from None
    biases = [each.aggregator.last.bias for each in expansions]
    kept = {id(each) for each in biases}
    rest = [each for each in expansions.parameters() if id(each) not in kept]
    expansion = {id(each) for each in expansions.parameters()}
    backbone = [each for each in model.parameters() if id(each) not in expansion]
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    groups = [
        {"params": backbone, "lr": lr, **decay},
        {"params": rest, "lr": alpha * lr, **decay},
        {"params": biases, "lr": alpha * lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
