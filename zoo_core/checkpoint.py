"""A file -> tensors, safely and leanly; tensors -> a file.

The zoo's own format is safetensors, in one file or in shards named by an index. A foreign file is
read by `zoo_core.foreign`, turned into the factory's names by the card's converter, and kept in
the cache as safetensors, so that the next load maps a file instead of reading a pickle.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from zoo_core.cache import Cache, replacing, require_space
from zoo_core.errors import CheckpointError, FetchError, WeightsMismatchError, enumeration

if TYPE_CHECKING:
    import torch

INDEX_SUFFIX = ".index.json"
TENSOR_FILES = ("model.safetensors", "model.safetensors" + INDEX_SUFFIX)
"""What `write_tensors` calls its file: the tensors themselves, or the index of their shards."""
_SHARD_SIZE = "2GB"
_LARGEST_RATIO = 4
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_logger = logging.getLogger(__name__)


class TensorInfo(NamedTuple):
    """What is known of a stored tensor without reading it.

    Attributes:
        shape: its sizes.
        dtype: in torch's words, such as "float32".
    """

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorInfo:
        """Returns that of a tensor."""
        return cls(tuple(tensor.shape), dtype_name(tensor.dtype))


def dtype_name(dtype: torch.dtype) -> str:
    """Returns torch's name of a dtype, without the module."""
    return str(dtype).removeprefix("torch.")


def _dtype_name(code: str) -> str:
    """Torch's name for safetensors' code of a dtype; the code itself for the rare ones."""
    if code in _DTYPES:
        return _DTYPES[code]
    return code.replace("F8_", "float8_").lower() if code.startswith("F8_") else code


class Converter(Protocol):
    """A function made by `converter`."""

    version: int
    config: Callable[[Mapping[str, TensorInfo]], Mapping[str, Any]] | None

    def __call__(self, checkpoint: Any) -> dict[str, torch.Tensor]:
        """Returns the tensors in the factory's names."""


def converter(
    version: int,
    config: Callable[[Mapping[str, TensorInfo]], Mapping[str, Any]] | None = None,
) -> Callable[[Callable[[Any], dict[str, torch.Tensor]]], Converter]:
    """Marks a function that turns a foreign checkpoint into a state dict in the factory's names.

    Args:
        version: raise it when the function's results change; older conversions in users' caches
            are then made anew.
        config: given name -> (shape, dtype) of the converted tensors, returns the arguments of the
            factory that only the file knows, such as the number of classes.
    """

    def mark(function: Callable[[Any], dict[str, torch.Tensor]]) -> Converter:
        marked = cast(Converter, function)
        marked.version = version
        marked.config = config
        return marked

    return mark


class Checkpoint:
    """The tensors of a safetensors file, or of the shards that an index names; read when asked.

    Attributes:
        infos: name -> shape and dtype of every tensor.
    """

    def __init__(self, path: Path) -> None:
        """Reads the headers.

        Args:
            path: a `.safetensors` file, or an index that ends in `.index.json`; its shards must
                lie beside it.

        Raises:
            CheckpointError: a file is missing, truncated or corrupt.
        """
        from safetensors import SafetensorError, safe_open

        self.path = path
        self.infos: dict[str, TensorInfo] = {}
        self._files: dict[str, Path] = {}
        shared: dict[str, str] = {}
        shards = shards_of(path) if path.name.endswith(INDEX_SUFFIX) else {}
        files = [path.parent / name for name in dict.fromkeys(shards.values())] or [path]
        for file in files:
            try:
                if not file.is_file():
                    raise OSError("there is no such regular file")
                with safe_open(file, framework="pt") as opened:
                    shared |= opened.metadata() or {}
                    for name in opened.keys():  # noqa: SIM118 - not a mapping
                        view = opened.get_slice(name)
                        dtype = _dtype_name(view.get_dtype())
                        self.infos[name] = TensorInfo(tuple(view.get_shape()), dtype)
                        self._files[name] = file
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{file.name} is not a readable safetensors file ({error}); it may be "
                    "truncated or corrupt: remove it and fetch it again."
                ) from error
        lost = [key for key, name in shards.items() if self._files.get(key) != path.parent / name]
        if lost:
            missing = enumeration(lost)
            raise CheckpointError(f"{path.name} names tensors that its shards lack: {missing}.")
        if path.name.endswith(INDEX_SUFFIX):
            metadata = _index(path).get("metadata")
            shared |= metadata if isinstance(metadata, dict) else {}
        # A tensor that the module uses under several names is stored once; the header says which.
        self._aliases = {
            alias: name
            for alias, name in shared.items()
            if alias not in self.infos and isinstance(name, str) and name in self.infos
        }
        self.infos |= {alias: self.infos[name] for alias, name in self._aliases.items()}

    def tensors(
        self, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields (name, tensor), a tensor at a time.

        Without a change of dtype or device the tensors are private, writable maps of the file,
        which cost no memory until they are used. With one, each is converted and its map is let go
        before the next, so that the peak is one tensor above the result.

        Args:
            dtype: for the floating-point tensors; None keeps each as stored.
            device: where they go; None is the CPU.

        Raises:
            CheckpointError: a file cannot be read any more.
        """
        from safetensors import SafetensorError, safe_open

        stored = {info.dtype for info in self.infos.values() if "float" in info.dtype}
        casts = dtype is not None and stored != {dtype_name(dtype)}
        moves = casts or (device is not None and device.type != "cpu")
        done: dict[str, torch.Tensor] = {}
        try:
            for file in dict.fromkeys(self._files.values()):
                names = [name for name, place in self._files.items() if place == file]
                for batch in [[name] for name in names] if moves else [names]:
                    with safe_open(file, framework="pt") as opened:
                        for name in batch:
                            tensor = opened.get_tensor(name)
                            if moves:
                                cast_to = dtype if tensor.is_floating_point() else None
                                tensor = tensor.to(device=device, dtype=cast_to, copy=True)
                            if name in self._aliases.values():
                                done[name] = tensor
                            yield name, tensor
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path.name} cannot be read: {error}.") from error
        for alias, name in self._aliases.items():
            yield alias, done[name]


def shards_of(index: Path) -> dict[str, str]:
    """Returns tensor name -> shard file name of an index.

    Raises:
        CheckpointError: not an index, or one that names a file outside its folder.
    """
    weight_map = _index(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} is not an index of shards: it has no weight_map.")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not _FILE_NAME.fullmatch(shard):
            raise CheckpointError(
                f"{index.name} names the shard {shard!r}; expected the name of a file beside it."
            )
    return weight_map


def _index(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not an index of shards: it is not a JSON object.")
    return content


def write_tensors(tensors: Mapping[str, torch.Tensor], folder: Path, shard_size: str | int) -> None:
    """Writes a state dict as `model.safetensors`, or as shards with `model.safetensors.index.json`.

    Args:
        tensors: name -> tensor; names that share a tensor are stored once.
        folder: an existing folder.
        shard_size: the size above which a file is split, in bytes or such as "5GB".

    Raises:
        OSError: the folder cannot be written.
    """
    from huggingface_hub import save_torch_state_dict
    from safetensors import SafetensorError

    try:
        save_torch_state_dict(
            {name: _own(tensor) for name, tensor in tensors.items()},
            folder,
            max_shard_size=shard_size,
        )
    except SafetensorError as error:
        raise OSError(str(error)) from error
    # safetensors keeps its files to their owner; ours are as readable as any other file.
    usual = folder / "usual-mode"
    usual.touch()
    for file in folder.glob("*.safetensors"):
        file.chmod(usual.stat().st_mode)
    usual.unlink()


def tensors_file(folder: Path) -> Path | None:
    """Returns the file in a folder that `write_tensors` made, or None."""
    return next((folder / name for name in TENSOR_FILES if (folder / name).is_file()), None)


def converted(
    path: Path, sha256: str, convert: Converter, name: str, cache: Cache
) -> Checkpoint | dict[str, torch.Tensor]:
    """Returns a foreign checkpoint as converted tensors, from the cache when they are there.

    Args:
        path: the foreign file, or a safetensors file in foreign names.
        sha256: its digest; with the converter's name and version, the key in the cache.
        convert: the card's converter.
        name: the converter's import string.
        cache: where the result is kept. If it cannot be written the tensors are returned as they
            are in memory, and the next load converts again.

    Raises:
        CheckpointError: the file cannot be read.
        WeightsMismatchError: the converter does not know what it holds.
    """
    key = f"{name} {convert.version} {sha256}"
    target = cache.converted / hashlib.sha256(key.encode()).hexdigest()[:32]
    if (known := _opened(target)) is not None:
        return known
    try:
        with cache.lock(key):
            if (known := _opened(target)) is not None:
                return known
            require_space(target, path.stat().st_size, f"the converted {path.name}")
            tensors = _convert(path, convert, name)
            with cache.writing(), replacing(target) as fresh:
                fresh.mkdir()
                write_tensors(tensors, fresh, _SHARD_SIZE)
            del tensors
            return Checkpoint(cast(Path, tensors_file(target)))
    except FetchError as error:
        _logger.warning("the converted checkpoint is not kept: %s", error)
        return _convert(path, convert, name)


def _opened(folder: Path) -> Checkpoint | None:
    """The conversion that a folder holds; one that was damaged counts as absent."""
    file = tensors_file(folder)
    try:
        return Checkpoint(file) if file else None
    except CheckpointError:
        return None


def _convert(path: Path, convert: Converter, name: str) -> dict[str, torch.Tensor]:
    import torch

    from zoo_core.foreign import read_foreign

    if path.name.endswith((".safetensors", INDEX_SUFFIX)):
        checkpoint: Any = dict(Checkpoint(path).tensors())
    else:
        checkpoint = read_foreign(path)
    tensors = convert(checkpoint)
    wrong = [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if not tensors or wrong:
        found = f"{enumeration(wrong)}, which are no tensors," if wrong else "nothing"
        raise WeightsMismatchError(
            f"{name} found {found} in {path.name}; it is not the file that the card means."
        )
    size = sum(value.nbytes for value in tensors.values())
    if size > _LARGEST_RATIO * path.stat().st_size:
        raise CheckpointError(
            f"{path.name} describes {size / 1e9:.2f} GB of tensors, many times its own size."
        )
    return {key: value.detach() for key, value in tensors.items()}


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy of one that is a part of a larger storage, which would come along."""
    return tensor if tensor.nbytes == tensor.untyped_storage().nbytes() else tensor.clone()
