"""Nested values of a fit as arrays and JSON values, and back, without pickle.

JSON has no arrays, tuples or objects: each is written as an object of one key that says what it is,
such as {"array": "synth.treated.W"}. What occurs twice is written once. Objects are those of two
closed tables, the records of this package and scikit-learn's linear models; what is in neither is
an error, or bytes of skops for who asked for it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from zoo_core.errors import CheckpointError, SaveError, WeightsMismatchError, enumeration
from zoo_core.estimators import from_skops, skops_bytes
from zoo_synthetic_learner import linear_state
from zoo_synthetic_learner.label_state import labels_of, labels_state

_NUMERIC = "biuf"
_SYMBOLS = {"weights": "W", "intercept": "c", "learner": "", "classifier": ""}
"""Fields whose arrays go by the letter that synthetic controls have for them, or by no name."""


class Writer:
    """Collects the arrays of the values that it writes.

    Attributes:
        arrays: name -> array, of all that was written so far.
    """

    def __init__(self, records: Mapping[str, str], skops: bool) -> None:
        """Starts without arrays.

        Args:
            records: the names of dataclasses -> "module:class".
            skops: whether skops may write what else there is.
        """
        self.arrays: dict[str, np.ndarray] = {}
        self._records = records
        self._skops = skops
        self._seen: dict[int, tuple[int, Any]] = {}

    def write(self, value: Any, path: str) -> Any:
        """Returns a value as JSON.

        Args:
            value: what to write.
            path: the beginning of the names of its arrays.

        Raises:
            SaveError: it holds an object that is in no table, and skops was not asked for.
        """
        if value is None or isinstance(value, str | bool | int):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, np.dtype) and value.kind in _NUMERIC:
            return {"dtype": value.str}
        if type(value) in (list, tuple):
            kind = type(value).__name__
            return {kind: [self.write(item, at) for at, item in _items(value, path)]}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.write(value[key], _joined(path, key)) for key in value}}
        if isinstance(value, np.generic) and value.dtype.kind in _NUMERIC:
            return {"scalar": self._array(np.asarray(value), path)}
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        number = len(self._seen)
        self._seen[id(value)] = number, value  # kept: an id is unique while its object lives
        return self._object(value, path) | {"at": number}

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, np.ndarray) and value.dtype.kind in _NUMERIC:
            return {"array": self._array(value, path)}
        if isinstance(value, pd.Index):
            return {"labels": labels_state(value, path), "of": path, "size": len(value)}
        if (name := linear_state.name_of(value)) is not None:
            state: dict[str, Any] = {"model": name, "params": {}, "learnt": {}}
            for part, key, item in linear_state.parts_of(value):
                at = path if key == "steps" else _joined(path, key)
                state[part][key] = self.write(item, at)
            return state
        kind = type(value)
        if self._records.get(kind.__name__) == f"{kind.__module__}:{kind.__name__}":
            return {"record": kind.__name__, "fields": self.fields(value, path)}
        if self._skops:
            return {"skops": self._array(skops_bytes(value), path)}
        raise SaveError(
            f"{path} is a {kind.__module__}.{kind.__name__}, which arrays cannot hold: expected "
            "scikit-learn's linear models, pipelines of them, or what this package makes. Pass "
            "skops=True to have skops write it."
        )

    def fields(
        self, record: Any, path: str, names: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Returns the fields of a dataclass, each as JSON.

        Args:
            record: the dataclass.
            path: the beginning of its arrays' names.
            names: field -> the path that it has instead; these come first, in this order.
        """
        own = names or {}
        keys = [*own, *(each.name for each in fields(record) if each.init and each.name not in own)]
        paths = {key: own.get(key, _joined(path, _SYMBOLS.get(key, key))) for key in keys}
        return {key: self.write(getattr(record, key), paths[key]) for key in keys}

    def _array(self, array: np.ndarray, path: str) -> str:
        while path in self.arrays:
            path += "_"
        self.arrays[path] = array
        return path


class Reader:
    """Reads what a `Writer` has written; the file may be anyone's."""

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        records: Mapping[str, str],
        trusted: Sequence[str],
    ) -> None:
        """Starts with all arrays unread.

        Args:
            arrays: name -> array.
            records: the names of dataclasses -> "module:class".
            trusted: names of types that skops may build.
        """
        self._arrays = arrays
        self._unread = set(arrays)
        self._records = records
        self._trusted = trusted
        self._read: dict[int, Any] = {}

    def read(self, state: Any) -> Any:
        """Returns the value that was written as this JSON value.

        Raises:
            CheckpointError: it was written otherwise.
            WeightsMismatchError: an array is not there.
        """
        if not isinstance(state, dict):
            if isinstance(state, list):
                raise CheckpointError("the file has a list where a value is expected.")
            return state
        kind = next(iter(state), None)
        read = getattr(self, f"_{kind}", None) if kind in _KINDS else None
        if read is None:
            raise CheckpointError(f"the file has a value of the kind {kind!r}, which is not known.")
        try:
            value = read(state[kind], state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, CheckpointError | WeightsMismatchError):
                raise
            raise CheckpointError(f"the file's {kind} cannot be read: {error}.") from error
        if isinstance(at := state.get("at"), int):
            self._read[at] = value
        return value

    def finish(self) -> None:
        """Checks that every array was of use.

        Raises:
            WeightsMismatchError: names the others.
        """
        if self._unread:
            raise WeightsMismatchError(f"unexpected arrays: {enumeration(sorted(self._unread))}.")

    def array(self, name: Any) -> np.ndarray:
        """Returns an array.

        Raises:
            WeightsMismatchError: it is missing, or does not hold numbers.
        """
        if not isinstance(name, str) or name not in self._arrays:
            raise WeightsMismatchError(f"the array {name} is missing.")
        self._unread.discard(name)
        if self._arrays[name].dtype.kind not in _NUMERIC:
            held = self._arrays[name].dtype
            raise WeightsMismatchError(f"{name} is of {held}; expected real numbers.")
        return self._arrays[name]

    def _array(self, name: Any, _state: Any) -> np.ndarray:
        return self.array(name)

    def _scalar(self, name: Any, _state: Any) -> Any:
        if self.array(name).ndim:
            raise WeightsMismatchError(f"{name} has {self.array(name).ndim} axes; expected none.")
        return self.array(name)[()]

    def _float(self, text: Any, _state: Any) -> float:
        return float(text)

    def _dtype(self, text: Any, _state: Any) -> np.dtype:
        if text[1] not in _NUMERIC:
            raise ValueError("no dtype of numbers")
        return np.dtype(text)

    def _list(self, items: Iterable[Any], _state: Any) -> list[Any]:
        return [self.read(item) for item in items]

    def _tuple(self, items: Iterable[Any], _state: Any) -> tuple[Any, ...]:
        return tuple(self.read(item) for item in items)

    def _dict(self, items: Mapping[str, Any], _state: Any) -> dict[str, Any]:
        return {key: self.read(item) for key, item in items.items()}

    def _labels(self, state: Any, whole: Mapping[str, Any]) -> pd.Index:
        return labels_of(state, int(whole["size"]), str(whole["of"]))

    def _model(self, name: Any, state: Mapping[str, Any]) -> Any:
        params = self._dict(state["params"], state)
        return linear_state.rebuilt(str(name), params, self._dict(state["learnt"], state))

    def _record(self, name: Any, state: Mapping[str, Any]) -> Any:
        if name not in self._records:
            raise CheckpointError(f"the file holds a {name!r}, which is no record known here.")
        module, _, kind = self._records[name].partition(":")
        made = getattr(importlib.import_module(module), kind)
        return made(**self._dict(state["fields"], state))

    def _same(self, at: Any, _state: Any) -> Any:
        return self._read[at]

    def _skops(self, name: Any, _state: Any) -> Any:
        return from_skops(self.array(name), self._trusted)


_KINDS = ("array", "scalar", "float", "dtype", "list", "tuple", "dict")
_KINDS += ("labels", "model", "record", "same", "skops")


def _items(values: Sequence[Any], path: str) -> Iterator[tuple[str, Any]]:
    """(path, item); what follows its own name, like a step of a pipeline, goes by that."""
    named = len(values) == 2 and isinstance(values[0], str)
    for place, item in enumerate(values):
        own = isinstance(item, tuple) and item and isinstance(item[0], str)
        if named:
            yield _joined(path, values[0]), item
        else:
            yield (path if own else _joined(path, str(place))), item


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
