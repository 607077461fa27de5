"""`load`: from a name to the object, with its weights fetched, verified and assigned."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo_core import estimators
from zoo_core.cache import Cache
from zoo_core.card import Weights
from zoo_core.checkpoint import (
    INDEX_SUFFIX,
    Checkpoint,
    Converter,
    TensorInfo,
    converted,
)
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    PluginError,
    UnknownNameError,
    WeightsMismatchError,
    ZooWarning,
    enumeration,
)
from zoo_core.factories import argument, called, check_config, import_string
from zoo_core.hub import Access, Fetched, fetch
from zoo_core.interfaces import INTERFACES, Model
from zoo_core.locating import locate
from zoo_core.origin import Origin
from zoo_core.plugins import installed
from zoo_core.registry import Resolved

if TYPE_CHECKING:
    import torch

_HEAD = "num_classes"


def load(
    name: str | os.PathLike[str],
    *,
    pretrained: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    revision: str | None = None,
    trusted: Sequence[str] = (),
    **config: Any,
) -> Any:
    """Returns the object that a name stands for, with its weights.

    A model comes in eval mode; an estimator of which there are weights comes fitted.

    Its attribute `zoo` (an `Origin`) holds the card, the configuration, the labels and the
    preprocessing.

    Args:
        name: a card's name or alias, `NAME.TAG` for one of its weights, `plugin/NAME`,
            `hf-hub:owner/repo[@revision]`, or a folder (`./runs/mine`, or any `Path`).
        pretrained: whether to load weights; False leaves the factory's initialisation.
        device: where a model's tensors go; None is the CPU.
        dtype: for a model's floating-point tensors; None keeps them as stored.
        cache_dir: keeps all downloads below this folder instead of in the user's caches.
        local_files_only: use no network.
        token: for the Hub; None uses the one stored by `hf auth login` or in HF_TOKEN.
        revision: a branch, tag or commit instead of the one that the source states.
        trusted: full names of types that may be built from what skops wrote of an estimator,
            besides those that skops knows; an error about others names them.
        **config: the factory's own arguments, over the card's. `num_classes` other than the
            weights' gives a new, untrained head (0: none) over pretrained features.

    Raises:
        UnknownNameError: there is no such name, tag, plugin or folder.
        AmbiguousNameError: two plugins claim the name.
        ConfigError: the factory does not take an argument, or not with this value; or there is
            no such device.
        FetchError: the weights cannot be fetched, or have another digest (DigestError).
        CheckpointError: the file is not a readable checkpoint, or has types that are not trusted.
        WeightsMismatchError: the tensors do not fit the object.
        PluginError: the plugin's own code cannot be imported.
    """
    if not isinstance(pretrained, bool):
        raise ConfigError(f"pretrained is {pretrained!r}; expected True or False.")
    if isinstance(trusted, str) or not isinstance(trusted, Sequence):
        raise ConfigError(f"trusted is {trusted!r}; expected a list of types' full names.")
    _check_target(device, dtype)
    access = Access(
        cache=Cache.at(cache_dir),
        mirror=installed().fetch,
        local_files_only=local_files_only,
        token=token,
    )
    found, arguments, local = locate(name, access, revision)
    factory = import_string(found.card.factory)
    check_config(factory, config, found.full_name)
    estimator = found.card.kind == "estimator"
    if estimator and (device is not None or dtype is not None):
        raise ConfigError(f"{found.full_name} is an estimator, which takes no device and no dtype.")
    weights = found.weights if pretrained else None
    head = config.pop(_HEAD, None) if weights and not estimator else None
    stated = weights.config if weights else {}
    merged = copy.deepcopy({**found.card.config, **stated, **arguments})
    if weights is None:
        if pretrained and found.card.kind == "model":
            message = f"{found.full_name} has no pretrained weights: it is randomly initialised."
            warnings.warn(message, ZooWarning, stacklevel=2)
        merged |= config
        return _finished(_initialised(factory, merged, device), found, merged, None, device, dtype)

    if estimator:
        if weights.converter is not None:
            raise PluginError(f"{found.full_name} is an estimator; its weights take no converter.")
        unfitted = called(factory, merged | config)
        file = (local or fetch(weights, access)).path
        fitted = estimators.restored(unfitted, file, trusted=tuple(trusted), changes=config)
        return _finished(fitted, found, merged | config, weights, device, dtype)
    if device is not None and str(device) == "meta":
        raise ConfigError("device is 'meta', which holds no weights; pass pretrained=False too.")
    if config or head is not None:
        # A value that the factory refuses is an error before anything is fetched.
        from zoo_core import lean

        lean.build(factory, merged | config | ({} if head is None else {_HEAD: head}))
    fetched = local or fetch(weights, access)
    stored, completion = _stored(weights, fetched, access.cache)
    merged |= {**completion, **config}
    module = _pretrained(factory, merged, stored, found.full_name, device, dtype)
    if head is not None and head != argument(factory, merged, _HEAD):
        _new_head(module, head, found.full_name)
        merged[_HEAD] = head
        # What was said of the weights was said of the head that they came with.
        weights = replace(weights, labels=(), metrics={}, description="")
    return _finished(module, found, merged, weights, device, dtype)


def pull(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
) -> Fetched:
    """Fetches the weights of a name without loading them, and reads them once more to verify.

    Of a folder, where there is nothing to fetch, it returns the file unread.

    Raises:
        UnknownNameError: there is no such name, or it has no weights; and as `load`.
    """
    access = Access(Cache.at(cache_dir), installed().fetch, token=token, again=True)
    found, _, local = locate(name, access, revision)
    if local is not None:
        return local
    if found.weights is None:
        raise UnknownNameError(f"{found.full_name} has no weights to fetch.")
    return fetch(found.weights, access)


def _stored(
    weights: Weights, fetched: Fetched, cache: Cache
) -> tuple[Checkpoint | dict[str, torch.Tensor], Mapping[str, Any]]:
    """The tensors in the factory's names, and the arguments that only the file knows."""
    if weights.converter is None:
        if not fetched.path.name.endswith((".safetensors", INDEX_SUFFIX)):
            raise CheckpointError(
                f"{fetched.path.name} is not safetensors and its card states no converter."
            )
        return Checkpoint(fetched.path), {}
    convert: Converter = import_string(weights.converter)
    if not isinstance(getattr(convert, "version", None), int):
        raise PluginError(f"{weights.converter} is not marked by zoo_core.checkpoint.converter.")
    stored = converted(fetched.path, fetched.sha256, convert, weights.converter, cache)
    return stored, convert.config(_infos(stored)) if convert.config else {}


def _infos(stored: Checkpoint | dict[str, torch.Tensor]) -> Mapping[str, TensorInfo]:
    if isinstance(stored, Checkpoint):
        return stored.infos
    return {name: TensorInfo.of(it) for name, it in stored.items()}


def _pretrained(
    factory: Callable[..., Any],
    config: Mapping[str, Any],
    stored: Checkpoint | dict[str, torch.Tensor],
    name: str,
    device: str | torch.device | None,
    dtype: torch.dtype | None,
) -> torch.nn.Module:
    """Builds on the meta device, compares, assigns."""
    import torch

    from zoo_core import lean

    module = lean.build(factory, config)
    if not isinstance(module, torch.nn.Module):
        raise PluginError(f"{name} has weights, but its factory made a {type(module).__name__}.")
    lean.check_fit(module, _infos(stored), f"the weights of {name}")
    target = torch.device(device) if device is not None else None
    tensors: Iterable[tuple[str, torch.Tensor]]
    if isinstance(stored, Checkpoint):
        tensors = stored.tensors(dtype=dtype, device=target)
    else:
        tensors = (
            (key, value.to(device=target, dtype=dtype if value.is_floating_point() else None))
            for key, value in stored.items()
        )
    with torch.inference_mode(False):  # tensors made in that mode could never be trained
        lean.assign(module, tensors)
    if empty := lean.left_on_meta(module):
        raise PluginError(f"{name} has tensors outside its state dict: {enumeration(empty)}.")
    return module


def _new_head(module: Any, num_classes: int, name: str) -> None:
    """Gives the classifier another size, and says which tensors are untrained."""
    if not hasattr(module, "reset_classifier"):
        raise WeightsMismatchError(
            f"{name} cannot change num_classes of pretrained weights: its "
            f"{type(module).__name__} has no reset_classifier. Load it with pretrained=False."
        )
    import torch

    before = {key: id(value) for key, value in module.named_parameters()}
    with torch.inference_mode(False):
        module.reset_classifier(num_classes)
    fresh = [key for key, value in module.named_parameters() if before.get(key) != id(value)]
    if fresh:
        warnings.warn(
            f"{name}: num_classes={num_classes} is not that of the weights, so these tensors are "
            f"at their initial values: {enumeration(fresh)}.",
            ZooWarning,
            stacklevel=3,
        )


def _initialised(
    factory: Callable[..., Any], config: Mapping[str, Any], device: str | torch.device | None
) -> Any:
    """The factory's object with its own initialisation, made on the device itself."""
    if device is None:
        return called(factory, config)
    import torch

    with torch.device(device):
        return called(factory, config)


def _finished(
    result: Any,
    found: Resolved,
    config: dict[str, Any],
    weights: Weights | None,
    device: str | torch.device | None,
    dtype: torch.dtype | None,
) -> Any:
    interface = INTERFACES[found.card.kind]
    if not isinstance(result, interface):
        raise PluginError(
            f"{found.card.factory} made a {type(result).__name__}, which is not "
            f"{'an' if found.card.kind[0] in 'aeiou' else 'a'} {found.card.kind}."
        )
    if isinstance(result, Model):
        result.eval()
        _move(result, device, dtype)
    try:
        setattr(result, "zoo", Origin(found.full_name, found.card, config, weights))  # noqa: B010
    except AttributeError as error:
        raise PluginError(
            f"{found.card.factory} made a {type(result).__name__} that takes no attribute `zoo`."
        ) from error
    return result


def _move(model: Any, device: str | torch.device | None, dtype: torch.dtype | None) -> None:
    """Moves what a model initialised or computed; its floating-point tensors take the dtype."""
    if device is not None:
        model.to(device=device)
    if dtype is not None:
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)


def _check_target(device: str | torch.device | None, dtype: torch.dtype | None) -> None:
    """Checks, before any work, that the device exists and that the dtype is a floating one."""
    if device is None and dtype is None:
        return
    import torch

    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ConfigError(f"dtype is {dtype!r}; expected a floating one such as torch.bfloat16.")
    if device is not None:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(f"device {str(device)!r} cannot be used: {reason}") from error
