"""Foreign checkpoints: what they hold comes out, what they ask for does not happen."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from zoo_core.errors import CheckpointError
from zoo_core.foreign import Inert, read_foreign

FORMATS = [pytest.param(True, id="zip"), pytest.param(False, id="legacy")]


def saved(path: Path, content: Any, zip_format: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


def value_or_error(path: Path) -> Any:
    """What a file holds, or the error that reading it ends in: one line that names the file."""
    try:
        return read_foreign(path)
    except CheckpointError as error:
        message = str(error)
        found = error
    assert "\n" not in message
    assert path.name in message
    return found


def inert(value: Any) -> bool:
    return isinstance(value, Inert)


def zip_around(path: Path, program: bytes) -> Path:
    """A file in torch.save's zip format around any pickle program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3")
    return path


@pytest.mark.parametrize("zip_format", FORMATS)
def test_tensors_of_every_kind_come_out_as_they_were(tmp_path: Path, zip_format: bool) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "state": nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict(),
        "parameter": nn.Parameter(torch.ones(2)),
        "views": [base, base[1:3, ::2], base.t()],
        "dtypes": [
            torch.ones(3, dtype=each)
            for each in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool)
        ],
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
    }
    read = read_foreign(saved(tmp_path / "x.pth", content, zip_format))
    assert list(read["state"]) == list(content["state"])
    assert all(torch.equal(read["state"][key], value) for key, value in content["state"].items())
    for key in ("views", "dtypes"):
        for ours, theirs in zip(read[key], content[key], strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
    for key in ("parameter", "scalar", "empty"):
        assert torch.equal(read[key], content[key])


def test_tensors_of_the_zip_format_are_mapped_not_copied(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"w": torch.ones(1 << 22)})
    read = read_foreign(path)["w"]
    # A private map: writing to it changes this process's pages only.
    read.zero_()
    assert torch.equal(read_foreign(path)["w"], torch.ones(1 << 22))


@pytest.mark.parametrize("zip_format", FORMATS)
def test_containers_and_plain_values_come_out_equal(tmp_path: Path, zip_format: bool) -> None:
    content = {
        "numbers": [1, -2, 1 << 80, 2.5, True, None],
        "text": ("a", "ü", b"bytes"),
        "nested": {"list": [[1], {"k": (1, 2)}]},
        "ordered": OrderedDict(a=1, b=2),
        "set": {1, 2},
        "shape": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
    }
    read = read_foreign(saved(tmp_path / "x.pth", content, zip_format))
    assert isinstance(read.pop("set"), set | Inert)  # protocol 2 builds a set by a call
    content.pop("set")
    assert read == {**content, "ordered": {"a": 1, "b": 2}, "shape": (2, 3)}


class Config(dict):  # type: ignore[type-arg]
    """A configuration with entries and attributes, as training frameworks pickle them."""

    def __init__(self, **entries: Any) -> None:
        super().__init__(entries)
        self.frozen = True


@pytest.mark.parametrize("zip_format", FORMATS)
def test_objects_of_unknown_classes_become_inert(tmp_path: Path, zip_format: bool) -> None:
    content = {
        "model": {"w": torch.ones(2)},
        "config": Config(lr=0.1),
        "namespace": argparse.Namespace(lr=0.1),
        "accuracy": np.float64(0.5),
        "array": np.ones(3),
        "input": builtins.input,
        "class": argparse.ArgumentParser,
    }
    read = read_foreign(saved(tmp_path / "x.pth", content, zip_format))
    assert torch.equal(read["model"]["w"], torch.ones(2))
    config = read["config"]
    assert isinstance(config, Inert)
    assert config.origin.endswith(".Config")
    assert config.items == [("lr", 0.1)]
    assert config.state == {"frozen": True}
    assert read["namespace"].state == {"lr": 0.1}
    assert isinstance(read["accuracy"], Inert)
    assert isinstance(read["array"], Inert)
    for key, origin in (("input", "input"), ("class", "argparse.ArgumentParser")):
        assert issubclass(read[key], Inert)
        assert read[key].origin.endswith(origin)


class Call:
    """Pickles as a call of a function, with what else a reducer may bring along."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.reduced


def attacks(canary: Path) -> dict[str, Any]:
    """Objects whose unpickling by Python's own unpickler writes the canary, each in its way."""
    command = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w').close()"
    inner = Call(os.system, command)
    return {
        "os.system": inner,
        "subprocess": Call(subprocess.check_call, ["touch", str(canary)]),
        "eval": Call(eval, f"__import__('pathlib').Path({str(canary)!r}).touch()"),
        "exec": Call(exec, code),
        "getattr": Call(getattr, Call(__import__, "os"), "system"),
        "torch.load": Call(torch.load, io.BytesIO(pickle.dumps(inner)), None, None),
        "torch callable": Call(torch.save, torch.ones(1), str(canary)),
        "torch.hub": Call(torch.hub.load_state_dict_from_url, canary.as_uri()),
        "storage bytes": Call(torch.storage._load_from_bytes, pickle.dumps(inner)),
        "nested reducers": [Call(list, (Call(map, os.system, (command,)),))],
        "in arguments": Call(OrderedDict, [("a", inner)]),
        "in a state": Call(argparse.Namespace, state={"x": inner}),
        "as a key's value": {"model": {"w": inner}},
        "in a subclass's tensor": Call(
            torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (command,), None
        ),
        "through a method": Call(Path.write_text, canary, "x"),
    }


ATTACKS = sorted(attacks(Path("/x")))


@pytest.mark.parametrize("zip_format", FORMATS)
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_that_a_file_names_is_called(tmp_path: Path, name: str, zip_format: bool) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "x.pth"
    payload = {"model": {"w": torch.ones(1)}, "attack": attacks(canary)[name]}
    saved(path, payload, zip_format)
    canary.unlink(missing_ok=True)
    with contextlib.suppress(CheckpointError):
        read_foreign(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "eval", "exec", "torch callable", "through a method"]
)
def test_the_attacks_do_work_on_the_usual_unpickler(tmp_path: Path, name: str) -> None:
    """The tests above would pass for attacks that cannot succeed: these do succeed."""
    canary = tmp_path / "canary"
    path = saved(tmp_path / "x.pth", attacks(canary)[name])
    canary.unlink(missing_ok=True)
    torch.load(path, weights_only=False)
    assert canary.exists()


PROGRAMS = {
    "protocol 0 call": b"cos\nsystem\n(S'touch CANARY'\ntR.",
    "protocol 0 instance": b"(S'touch CANARY'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch CANARY'\no.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch CANARY\x85R.",
    "new object": b"\x80\x02cbuiltins\neval\nX\x0c\x00\x00\x00touch CANARY\x85\x81.",
    "function state": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
    "state of a list": b"\x80\x02]}X\x01\x00\x00\x00aK\x01sb.",
    "attribute of a known name": b"\x80\x04\x8c\x0ctorch._utils\x8c\x02os\x93.",
    "persistent text": b"Psystem\n.",
    "persistent module": b"\x80\x02X\x06\x00\x00\x00moduleK\x01K\x02\x87Q.",
    "extension": b"\x80\x02\x82\x01.",
    "huge memo index": b"\x80\x02K\x01r\xff\xff\xff\xff.",
    "huge string": b"\x80\x02X\xff\xff\xff\x7f.",
    "append to a tuple": b"\x80\x02)K\x01a.",
    "stops early": b"\x80\x02}",
    "empty": b"",
    "stack underflow": b"\x80\x02R.",
    "deep tuple": b"\x80\x02" + b")" + b"\x85" * 20000 + b".",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_hand_written_programs_are_refused_or_inert(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "CANARY"
    path = zip_around(tmp_path / "x.pth", PROGRAMS[name])
    read = value_or_error(path)
    assert type(read) in (tuple, int, CheckpointError) or "Inert" in repr(read) or inert(read)
    assert not canary.exists()


def test_a_registered_extension_code_is_not_resolved(tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 240)
    try:
        path = zip_around(tmp_path / "x.pth", b"\x80\x02\x82\xf0X\x05\x00\x00\x00false\x85R.")
        assert isinstance(read_foreign(path), Inert)
    finally:
        copyreg.remove_extension("os", "system", 240)


def test_reading_imports_nothing_that_the_file_names(tmp_path: Path) -> None:
    (tmp_path / "evil_module.py").write_text("import pathlib; pathlib.Path('canary').touch()")
    path = zip_around(tmp_path / "x.pth", b"\x80\x02cevil_module\nThing\n)R.")
    code = (
        "import pathlib, sys, zoo_core.foreign as f; "
        f"print(f.read_foreign(pathlib.Path({str(path)!r}))); "
        "assert 'evil_module' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "inert evil_module.Thing" in done.stdout
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((100,), (1,), 0), ((2,), (1,), 3), ((2, 2), (4, 1), 0), ((-1,), (1,), 0), ((2,), (-1,), 1)],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    class Beyond:
        def __reduce__(self) -> Any:
            storage = torch.ones(4).storage()
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})

    path = saved(tmp_path / "x.pth", {"w": Beyond()})
    with pytest.raises(CheckpointError, match=r"beyond its storage|impossible size"):
        read_foreign(path)


def test_torchscript_tar_and_other_zip_files_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), script)
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_foreign(script)
    tar = tmp_path / "old.pth"
    with tarfile.open(tar, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(CheckpointError, match="tar archive"):
        read_foreign(tar)
    with zipfile.ZipFile(tmp_path / "any.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(CheckpointError, match=r"not one of torch\.save"):
        read_foreign(tmp_path / "any.zip")


@pytest.mark.parametrize("zip_format", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_an_error_that_says_so(
    tmp_path: Path, share: float, zip_format: bool
) -> None:
    path = saved(tmp_path / "x.pth", {"w": torch.randn(1000)}, zip_format)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        read_foreign(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_foreign(tmp_path / "nope.pth")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=st.binary(max_size=200))
def test_any_bytes_as_a_program_end_in_a_value_or_a_checkpoint_error(
    tmp_path: Path, program: bytes
) -> None:
    path = zip_around(tmp_path / "fuzz.pth", b"\x80\x02" + program)
    value_or_error(path)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_file_with_one_changed_byte_never_runs_wild(
    tmp_path: Path, position: float, byte: int
) -> None:
    path = saved(tmp_path / "flip.pth", {"m": OrderedDict(w=torch.ones(8)), "c": Config(a=1)})
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] = byte
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read_foreign(path)


def test_the_storage_format_is_the_one_assumed(tmp_path: Path) -> None:
    """A float written by torch.save is found, little-endian, in the file that we map."""
    path = saved(tmp_path / "x.pth", {"w": torch.tensor([1.25])})
    assert struct.pack("<f", 1.25) in path.read_bytes()


def test_a_compressed_zip_is_refused_since_its_map_would_be_garbage(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"w": torch.ones(100)})
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as to:
        for name in source.namelist():
            to.writestr(name, source.read(name))
    with pytest.raises(CheckpointError, match="compressed zip file"):
        read_foreign(packed)


@pytest.mark.parametrize("end", [b"K\x01s.", b"K\x01u."], ids=["setitem", "setitems"])
def test_keys_whose_hash_takes_for_ever_are_refused(tmp_path: Path, end: bytes) -> None:
    nested = b")" + b"2\x86" * 60  # a pair of a pair of ...: 2**60 leaves, in 120 bytes
    mark = b"(" if end.endswith(b"u.") else b""
    path = zip_around(tmp_path / "x.pth", b"\x80\x02}" + mark + nested + end)
    with pytest.raises(CheckpointError, match="a tuple in a tuple as a key"):
        read_foreign(path)


def test_a_flat_tuple_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({("a", "b", 1): torch.ones(2)}, path)
    assert read_foreign(path)["a", "b", 1].tolist() == [1, 1]


@pytest.mark.parametrize("key", [(1, (2,)), (frozenset(), 1)], ids=["tuple", "frozenset"])
def test_a_key_with_anything_but_plain_values_is_refused(tmp_path: Path, key: object) -> None:
    path = tmp_path / "x.pth"
    torch.save({key: 1}, path)
    with pytest.raises(CheckpointError, match="in a tuple as a key"):
        read_foreign(path)


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    from zoo_core.cache import Cache
    from zoo_core.checkpoint import converted, converter

    @converter(version=1)
    def convert(content: Any) -> dict[str, torch.Tensor]:
        return dict(content)

    path = saved(tmp_path / "x.pth", {"w": torch.zeros(1).expand(1 << 40)})
    with pytest.raises(CheckpointError, match="many times its own size"):
        converted(path, "d", convert, "m:f", Cache.at(tmp_path / "cache"))


def test_a_storage_s_class_is_a_mark_in_a_file_and_cannot_be_called(tmp_path: Path) -> None:
    program = b"\x80\x02ctorch.storage\nUntypedStorage\nK\x08\x85R."
    with pytest.raises(CheckpointError, match="a call of a "):
        read_foreign(zip_around(tmp_path / "x.pth", program))
