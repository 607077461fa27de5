"""What a fitted estimator learnt: to a file of arrays and back, without pickle.

An estimator that offers `get_state` and `set_state` is its arrays, and its JSON values in the
header of their file, so that one digest covers both. Any other is one array: the bytes that skops
makes of it, whose reader builds only types that skops knows or the user trusts.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.card import json_mapping
from zoo_core.errors import (
    CardError,
    CheckpointError,
    ConfigError,
    SaveError,
    ZooError,
    enumeration,
)
from zoo_core.factories import called, takes
from zoo_core.interfaces import Stateful
from zoo_core.retries import first_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_VALUES = "state"
_WHOLE = "skops"
_MISSING = "this needs skops, which is not installed: pip install 'zoo-core[skops]'."


def configuration(
    estimator: Any,
    factory: Callable[..., Any],
    config: Mapping[str, Any],
    *,
    skops: bool,
) -> dict[str, Any]:
    """Returns the factory's arguments, those that are parameters as the estimator now has them.

    Args:
        estimator: the estimator.
        factory: what makes one like it; parameters that it does not take are left out.
        config: the arguments that it was made with.
        skops: leave parameters out that JSON does not have, for skops to carry.

    Raises:
        SaveError: a parameter is no JSON value, and skops is False.
    """
    params = estimator.get_params(deep=False)
    current = {name: value for name, value in config.items() if name not in params}
    for name, value in params.items():
        if not takes(factory, name):
            continue
        try:
            current |= json_mapping({name: value}, "its parameters")
        except CardError as error:
            if not skops:
                raise SaveError(
                    f"this {type(estimator).__name__} cannot be saved so: {error} Pass skops=True "
                    "to have skops write what JSON does not have."
                ) from error
    return current


def check_made(
    estimator: Any,
    factory: Callable[..., Any],
    config: Mapping[str, Any],
    name: str,
    *,
    skops: bool,
) -> None:
    """Checks that the factory makes such an estimator of a configuration.

    Args:
        estimator: the estimator.
        factory: of the card.
        config: its arguments.
        name: of the card, for messages.
        skops: whether skops carries parameters that are not in the configuration.

    Raises:
        SaveError: it makes another class, or other parameters.
    """
    try:
        made = called(factory, config)
    except ConfigError as error:
        raise SaveError(f"{name} cannot be made of its configuration again: {error}") from error
    if type(made) is not type(estimator):
        raise SaveError(
            f"{name} is a {type(made).__name__}; got an object of type {type(estimator).__name__}."
        )
    theirs = made.get_params(deep=False)
    for key, value in estimator.get_params(deep=False).items():
        if (key in config or not skops) and _comparable(value) != _comparable(theirs.get(key)):
            raise SaveError(
                f"this {type(estimator).__name__} has {key}={value!r}, but {name} makes it with "
                f"{theirs.get(key)!r} of its configuration; pass config= with what gives the same."
            )


def write(estimator: Any, file: Path, *, skops: bool) -> None:
    """Writes what an estimator has learnt; nothing where `get_state` says that it is unfitted.

    Raises:
        SaveError: it cannot be written; or skops, needed for it, was not asked for.
        OSError: the folder cannot be written.
    """
    kind = type(estimator).__name__
    if isinstance(estimator, Stateful):
        try:
            arrays, values = estimator.get_state(skops=skops)
            if not (arrays or values):  # then nothing carries what is not in its configuration
                json_mapping(estimator.get_params(deep=False), "its parameters")
                return
            text = json.dumps(json_mapping(values, "get_state's values"), allow_nan=False)
        except ZooError as error:
            raise SaveError(f"this {kind} cannot be saved: {error}") from error
        except Exception as error:  # the plugin boundary
            raise SaveError(f"get_state of this {kind} failed: {first_line(error)}.") from error
    elif skops:
        arrays, text = {_WHOLE: skops_bytes(_without_origin(estimator))}, "{}"
    else:
        raise SaveError(
            f"this {kind} has no get_state and set_state, by which what it learnt is written; "
            "pass skops=True to write it whole by skops."
        )
    from safetensors.numpy import save

    try:
        # safetensors writes an array's memory as it lies, whatever its order is.
        content = save(
            {name: array.copy(order="C") for name, array in arrays.items()}, {_VALUES: text}
        )
    except Exception as error:  # an array of a kind that safetensors does not know
        raise SaveError(
            f"what this {kind} learnt cannot be written: {first_line(error)}."
        ) from error
    file.write_bytes(content)


def restored(
    estimator: Any, file: Path, *, trusted: Sequence[str], changes: Mapping[str, Any]
) -> Any:
    """Returns an estimator with what a file says that it learnt.

    Args:
        estimator: as its factory makes it.
        file: written by `write`.
        trusted: names of types that skops may build besides those that it knows.
        changes: parameters that the user gave anew.

    Raises:
        CheckpointError: not such a file, or one with types that are not trusted.
        WeightsMismatchError: `set_state` found that the state does not fit.
        ConfigError: it has no such parameter; or skops, needed for the file, is not installed.
    """
    arrays, values = _read(file)
    kind = type(estimator).__name__
    if isinstance(estimator, Stateful):
        try:
            estimator.set_state(arrays, values, trusted=trusted)
        except ZooError:
            raise
        except Exception as error:  # the plugin boundary; the file may be anyone's
            raise CheckpointError(
                f"{kind} cannot take what {file.name} holds: {first_line(error)}."
            ) from error
        return estimator
    if arrays.keys() != {_WHOLE}:
        raise CheckpointError(
            f"{file.name} holds {enumeration(sorted(arrays)) or 'nothing'}; expected {_WHOLE}, as "
            f"a {kind} has no set_state."
        )
    whole = from_skops(arrays[_WHOLE], trusted)
    if type(whole) is not type(estimator):
        raise CheckpointError(f"{file.name} holds a {type(whole).__name__}; expected a {kind}.")
    return called(whole.set_params, changes) if changes else whole


def skops_bytes(obj: Any) -> npt.NDArray[np.uint8]:
    """Returns what skops writes for an object, as [n] uint8.

    Raises:
        SaveError: skops is not installed, or cannot write it.
    """
    import numpy as np

    try:
        from skops.io import dumps
    except ImportError as error:
        raise SaveError(_MISSING) from error
    try:
        return np.frombuffer(dumps(obj), dtype=np.uint8)
    except Exception as error:  # skops' own errors, and those of the object's __reduce__
        kind = type(obj).__name__
        raise SaveError(f"skops cannot write this {kind}: {first_line(error)}.") from error


def from_skops(data: npt.NDArray[Any], trusted: Sequence[str]) -> Any:
    """Returns the object that `skops_bytes` has written.

    Args:
        data: [n] uint8.
        trusted: names of types that skops may build besides those that it knows.

    Raises:
        CheckpointError: it needs other types, which are named; or it is damaged.
        ConfigError: skops is not installed.
    """
    try:
        from skops.io import get_untrusted_types, loads
    except ImportError as error:
        raise ConfigError(_MISSING) from error
    try:
        content = data.tobytes()
        unknown = [name for name in get_untrusted_types(data=content) if name not in trusted]
        if unknown:
            raise CheckpointError(
                f"the file holds types that skops does not trust: {', '.join(unknown)}. If you "
                f"trust who made it, pass trusted={unknown!r}."
            )
        return loads(content, trusted=list(trusted))
    except ZooError:
        raise
    except Exception as error:  # the file may be anyone's
        raise CheckpointError(f"skops cannot read the file: {first_line(error)}.") from error


def _comparable(value: Any) -> Any:
    """A parameter as JSON has it; the name of its type where JSON has none."""
    try:
        return json_mapping({"": value}, "")
    except CardError:
        return type(value).__qualname__


def _without_origin(estimator: Any) -> Any:
    """A shallow copy without `zoo`, whose types skops does not know."""
    bare = copy.copy(estimator)
    if hasattr(bare, "zoo"):
        del bare.zoo
    return bare


def _read(file: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    from safetensors import safe_open

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        with safe_open(file, framework="numpy") as opened:
            text = (opened.metadata() or {})[_VALUES]
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return arrays, json_mapping(json.loads(text, parse_constant=refuse), "its state")
    except Exception as error:  # the file may be anyone's
        raise CheckpointError(
            f"{file.name} does not hold what zoo.save writes of an estimator: {first_line(error)}."
        ) from error
