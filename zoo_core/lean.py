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
from zoo_core.factories import called
from zoo_core.retries import first_line

_INTERCHANGEABLE = {"float64", "float32", "float16", "bfloat16"}


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

    Raises:
        ConfigError: the factory failed.
    """
    outer, _building.moved = _building.moved, WeakIdKeyDictionary()
    try:
        return called(factory, config)
    finally:
        _building.moved = outer


def check_fit(module: nn.Module, infos: Mapping[str, TensorInfo], what: str) -> None:
    """Checks that stored tensors are those of a module, by name, shape and kind of number.

    Raises:
        WeightsMismatchError: lists what is missing, unexpected, of another shape, or of a dtype
            that is not another precision of the module's.
    """
    expected = {
        name: TensorInfo.of(value)
        for name, value in module.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    missing = [name for name in expected if name not in infos]
    unexpected = [name for name in infos if name not in expected]
    common = [(name, infos[name], info) for name, info in expected.items() if name in infos]
    shapes = [
        f"{name} ({list(stored.shape)} stored, {list(info.shape)} expected)"
        for name, stored, info in common
        if stored.shape != info.shape
    ]
    dtypes = [
        f"{name} ({stored.dtype} stored, {info.dtype} expected)"
        for name, stored, info in common
        if stored.dtype != info.dtype and not {stored.dtype, info.dtype} <= _INTERCHANGEABLE
    ]
    problems = [
        f"{label}: {enumeration(names)}"
        for label, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("another shape", shapes),
            ("another dtype", dtypes),
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

    Raises:
        WeightsMismatchError: the module refuses them, or names that are one parameter of the
            module have tensors of different values.
    """
    tied: dict[int, list[tuple[nn.Module, str, str]]] = {}
    for prefix, owner in module.named_modules():
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                full_name = f"{prefix}.{name}" if prefix else name
                tied.setdefault(id(parameter), []).append((owner, name, full_name))
    outer, _building.moved = _building.moved, None  # within a factory that loads another object
    try:
        module.load_state_dict(dict(tensors), strict=True, assign=True)
        for (first, first_name, kept), *others in tied.values():
            shared = getattr(first, first_name)
            for owner, name, full_name in others:
                own = getattr(owner, name)
                if own.data_ptr() != shared.data_ptr() and not torch.equal(own, shared):
                    raise WeightsMismatchError(
                        f"{kept} and {full_name} are one parameter of {type(module).__name__}, but "
                        "two different tensors are given for them."
                    )
                setattr(owner, name, shared)
    except WeightsMismatchError:
        raise
    except Exception as error:  # a module may have its own way to load, and refuse
        raise WeightsMismatchError(
            f"{type(module).__name__} refuses the tensors: {first_line(error)}."
        ) from error
    finally:
        _building.moved = outer


def left_on_meta(module: nn.Module) -> list[str]:
    """Returns the names of the parameters and buffers that never got a value."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, tensor in named if tensor.is_meta]
