"""Builds a module without memory for its parameters, then gives it tensors.

The peak is then the size of the tensors, not of a randomly initialised copy besides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.weak import WeakIdKeyDictionary

from zoo_core.checkpoint import TensorInfo
from zoo_core.errors import WeightsMismatchError, enumeration


class _Building(threading.local):
    """The parameters that this thread has moved to the meta device, while it builds."""

    moved: WeakIdKeyDictionary | None = None


_building = _Building()


def _to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> Any:
    """Moves a parameter to the meta device as a module registers it, in a thread that builds."""
    moved = _building.moved
    if moved is None or parameter is None or parameter.is_meta:
        return None
    if parameter not in moved:  # one that is registered twice must stay one
        moved[parameter] = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
    return moved[parameter]


# Installed once: torch's table of hooks must not change while other threads make modules.
register_module_parameter_registration_hook(_to_meta)


def build(factory: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    """Returns `factory(**config)` with every parameter on the meta device.

    Buffers are real: a table that the constructor computes is not in any checkpoint.
    """
    outer, _building.moved = _building.moved, WeakIdKeyDictionary()
    try:
        return factory(**config)
    finally:
        _building.moved = outer


def check_fit(module: nn.Module, infos: Mapping[str, TensorInfo], what: str) -> None:
    """Checks that stored tensors are those of a module, by name and shape.

    Raises:
        WeightsMismatchError: lists what is missing, what is unexpected, what has another shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    missing = [name for name in expected if name not in infos]
    unexpected = [name for name in infos if name not in expected]
    shapes = [
        f"{name} ({list(infos[name].shape)} stored, {list(shape)} expected)"
        for name, shape in expected.items()
        if name in infos and infos[name].shape != shape
    ]
    problems = [
        f"{label}: {enumeration(names)}"
        for label, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("another shape", shapes),
        )
        if names
    ]
    if problems:
        raise WeightsMismatchError(
            f"{what} do not fit the {type(module).__name__} built from this configuration: "
            + "; ".join(problems)
            + ". Check the keyword arguments against those of the weights."
        )


def assign(module: nn.Module, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Makes these tensors the module's own, without copying.

    Parameters that were one and the same object stay so.

    Args:
        module: a module whose tensors `check_fit` has compared with what is given here.
        tensors: (name in the state dict, tensor).
    """
    tied: dict[int, list[tuple[nn.Module, str]]] = {}
    for owner in module.modules():
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                tied.setdefault(id(parameter), []).append((owner, name))
    module.load_state_dict(dict(tensors), strict=True, assign=True)
    for (first, first_name), *others in tied.values():
        for owner, name in others:
            setattr(owner, name, getattr(first, first_name))


def left_on_meta(module: nn.Module) -> list[str]:
    """Returns the names of the parameters and buffers that never got a value."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, tensor in named if tensor.is_meta]
