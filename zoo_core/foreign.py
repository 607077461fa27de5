"""Reads other people's `.pth`, `.pt`, `.bin` and `.ckpt` files without running anything in them.

Such a file is a pickle, and a pickle is a program: it may name any function and call it. Here
each name that a file mentions is looked up in the short table at the end of this module and
nowhere else. What the table does not know becomes an `Inert` object, which remembers what it was
told and does nothing, so that a checkpoint which also holds its training configuration can still
be read where the configuration's package is not installed. No import is made for a file's sake.

This is stricter than `torch.load(weights_only=True)`, which refuses a file for one unknown name
and calls whatever the process has put on torch's list of safe globals.
"""

from __future__ import annotations

import math
import pickle
import tarfile
import types
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from zoo_core.errors import CheckpointError


class Inert:
    """Stands in for an object of a class, or the result of a function, that a file names.

    Attributes:
        origin: what the file called it, such as "yacs.config.CfgNode".
        args: the arguments that it would have been made with.
        state: the state that it would have been given.
        items: what would have been appended to it, or set in it as (key, value).
    """

    origin: ClassVar[str] = ""

    def __init__(self, args: tuple[Any, ...] = ()) -> None:
        self.args = args
        self.state: Any = None
        self.items: list[Any] = []

    def __repr__(self) -> str:
        return f"<inert {self.origin}>"


def read_foreign(path: Path) -> Any:
    """Returns what a file written by `torch.save` holds: containers, CPU tensors, `Inert` objects.

    The tensors of today's zip format are mapped from the file, not copied.

    Args:
        path: a zip file of `torch.save`, or one of its older format.

    Raises:
        CheckpointError: the file is truncated, corrupt, TorchScript, or of another format.
    """
    is_zip = _refuse_other_formats(path)
    try:
        # weights_only=False lets us name the unpickler; ours reaches no real class or function.
        return torch.load(
            path,
            map_location="cpu",
            mmap=is_zip,
            weights_only=False,
            pickle_module=_PICKLE_MODULE,
        )
    except CheckpointError:
        raise
    except Exception as error:  # a corrupt file can fail torch's reader in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path.name} is not a readable PyTorch checkpoint ({reason}); it may be truncated or "
            "corrupt: remove it and fetch it again."
        ) from error


def _refuse_other_formats(path: Path) -> bool:
    """Whether the file is a zip archive of `torch.save`; formats that we do not read are errors."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()
                packed = [it for it in archive.infolist() if it.compress_type != zipfile.ZIP_STORED]
            # torch.load would hand a TorchScript archive over to torch.jit.load.
            if any(name.endswith("/constants.pkl") for name in members):
                raise CheckpointError(
                    f"{path.name} is a TorchScript archive, which holds code; expected a "
                    "checkpoint written by torch.save."
                )
            if not any(name.endswith("/data.pkl") for name in members):
                raise CheckpointError(f"{path.name} is a zip file, but not one of torch.save.")
            if packed:
                # The map of the file would give the compressed bytes as the tensors' values.
                raise CheckpointError(
                    f"{path.name} is a compressed zip file, which torch.save does not write; "
                    "load it with torch and save it again."
                )
            return True
        # torch.load would unpack the archive of a version before 0.1.10 to a temporary folder.
        if tarfile.is_tarfile(path):
            raise CheckpointError(
                f"{path.name} is a tar archive; expected a checkpoint of PyTorch 0.1.10 or newer."
            )
    except CheckpointError:
        raise
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}.") from error
    return False


class _Unpickler(pickle._Unpickler):
    """The pure-Python unpickler, with every step that could reach or call something real replaced.

    Pure Python, since its memo is a dictionary: a file cannot make it allocate by a large index.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        qualified = f"{module}.{name}"
        if qualified in _KNOWN:
            return _KNOWN[qualified]
        dtype = vars(torch).get(name) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        return type("Inert", (Inert,), {"origin": qualified})

    def _persistent(self, identifier: Any) -> None:
        if not (isinstance(identifier, tuple) and identifier[:1] == ("storage",)):
            raise pickle.UnpicklingError("a persistent object that is not a tensor's storage")
        self.stack.append(self.persistent_load(identifier))

    def load_persid(self) -> None:
        raise pickle.UnpicklingError("a persistent object that is not a tensor's storage")

    def load_binpersid(self) -> None:
        self._persistent(self.stack.pop())

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _make(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack.append(_make(self.stack.pop(), args))

    def load_newobj_ex(self) -> None:
        kwargs = self.stack.pop()
        args = self.stack.pop()
        self.stack.append(_make(self.stack.pop(), (*args, kwargs)))

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.stack.append(_make(klass, tuple(args)))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif type(target) is not dict:  # an OrderedDict's own attributes do not matter
            raise pickle.UnpicklingError(f"a state for a {type(target).__name__}")

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is set:
            self.stack[-1].update(_hashable(items))
        else:
            self._extend(items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set(list(zip(items[::2], items[1::2], strict=True)))

    def load_frozenset(self) -> None:
        self.stack.append(frozenset(_hashable(self.pop_mark())))

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self._set([(self.stack.pop(), value)])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set(list(zip(items[::2], items[1::2], strict=True)))

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list and not isinstance(target, Inert):
            raise pickle.UnpicklingError(f"items for a {type(target).__name__}")
        (target.items if isinstance(target, Inert) else target).extend(items)

    def _set(self, items: list[tuple[Any, Any]]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.items.extend(items)
        elif type(target) is dict:
            _hashable([key for key, _ in items])
            target.update(items)
        else:
            raise pickle.UnpicklingError(f"entries for a {type(target).__name__}")


for _opcode, _method in {
    pickle.PERSID: _Unpickler.load_persid,
    pickle.BINPERSID: _Unpickler.load_binpersid,
    pickle.REDUCE: _Unpickler.load_reduce,
    pickle.NEWOBJ: _Unpickler.load_newobj,
    pickle.NEWOBJ_EX: _Unpickler.load_newobj_ex,
    pickle.BUILD: _Unpickler.load_build,
    pickle.APPEND: _Unpickler.load_append,
    pickle.APPENDS: _Unpickler.load_appends,
    pickle.ADDITEMS: _Unpickler.load_additems,
    pickle.DICT: _Unpickler.load_dict,
    pickle.FROZENSET: _Unpickler.load_frozenset,
    pickle.SETITEM: _Unpickler.load_setitem,
    pickle.SETITEMS: _Unpickler.load_setitems,
}.items():
    _Unpickler.dispatch[_opcode[0]] = _method


def _hashable(keys: list[Any]) -> list[Any]:
    """The keys, if all are plain: the hash of a tuple of tuples can take as long as it likes."""
    for key in keys:
        for part in key if isinstance(key, tuple) else (key,):
            if part is not None and not isinstance(part, (str, bytes, int, float)):
                within = " in a tuple" if isinstance(key, tuple) else ""
                raise pickle.UnpicklingError(f"a {type(part).__name__}{within} as a key")
    return keys


def _ordered(items: Any = ()) -> dict[Any, Any]:
    """An OrderedDict, which is pickled empty or with a list of pairs."""
    pairs = [tuple(pair) for pair in items]
    _hashable([key for key, _ in pairs])
    return dict(pairs)


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE_MODULE = types.SimpleNamespace(__name__=__name__, Unpickler=_Unpickler, load=_load)


class _Builder:
    """Wraps the few functions of ours that a file may call, so that no other callable passes."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def _make(maker: Any, args: Any) -> Any:
    if not isinstance(args, tuple):
        raise pickle.UnpicklingError(f"arguments that are a {type(args).__name__}, not a tuple")
    if isinstance(maker, _Builder):
        return maker.function(*args)
    if isinstance(maker, type) and issubclass(maker, Inert):
        return maker(args)
    raise pickle.UnpicklingError(f"a call of a {type(maker).__name__}")


def _tensor(
    storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> torch.Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a tensor over a {type(storage).__name__}")
    return _view(storage._untyped_storage, storage.dtype, offset, size, stride)


def _tensor_with_dtype(
    storage: Any,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    _requires_grad: bool,
    _hooks: Any,
    dtype: Any,
    *_: Any,
) -> torch.Tensor:
    if not isinstance(storage, torch.storage.TypedStorage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError("a tensor without a storage or a dtype")
    return _view(storage._untyped_storage, dtype, offset, size, stride)


def _view(
    storage: torch.UntypedStorage,
    dtype: torch.dtype,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
) -> torch.Tensor:
    """A view of a storage; torch itself would grow a storage that is too small."""
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or number < 0 for number in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor with an impossible size, stride or offset")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > 0 and last >= storage.nbytes() // dtype.itemsize:
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    return torch.empty(0, dtype=dtype).set_(storage, offset, tuple(size), tuple(stride))


def _bytes(text: str, _encoding: str) -> bytes:
    """Bytes, which the pickles of torch.save hold as text in Latin-1."""
    return text.encode("latin1")


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _subclass(rebuild: Any, _type: Any, args: Any, *_: Any) -> Any:
    return _make(rebuild, args)


_KNOWN: dict[str, Any] = {
    "_codecs.encode": _Builder(_bytes),
    "collections.OrderedDict": _Builder(_ordered),
    "torch.Size": _Builder(tuple),
    "torch.storage.UntypedStorage": torch.UntypedStorage,
    "torch._utils._rebuild_tensor": _Builder(_tensor),
    "torch._utils._rebuild_tensor_v2": _Builder(_tensor),
    "torch._utils._rebuild_tensor_v3": _Builder(_tensor_with_dtype),
    "torch._utils._rebuild_parameter": _Builder(_parameter),
    "torch._utils._rebuild_parameter_with_state": _Builder(_parameter),
    "torch._tensor._rebuild_from_type_v2": _Builder(_subclass),
}
