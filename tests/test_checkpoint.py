"""Checkpoints: safetensors read lazily, foreign files converted once and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from zoo_core import checkpoint
from zoo_core.cache import Cache
from zoo_core.checkpoint import Checkpoint, TensorInfo, converted, converter, write_tensors
from zoo_core.errors import CheckpointError, WeightsMismatchError

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.arange(4),
    "c": torch.ones(3, dtype=torch.bfloat16),
}


def written(
    folder: Path, tensors: Mapping[str, torch.Tensor], shard_size: str | int = "5GB"
) -> Path:
    folder.mkdir(exist_ok=True)
    write_tensors(tensors, folder, shard_size)
    file = checkpoint.tensors_file(folder)
    assert file is not None
    return file


@pytest.mark.parametrize("shard_size", ["5GB", 20])
def test_what_is_written_is_read(tmp_path: Path, shard_size: str | int) -> None:
    file = written(tmp_path / "x", TENSORS, shard_size)
    assert file.name.endswith(".index.json") == (shard_size == 20)
    opened = Checkpoint(file)
    assert opened.infos["a"] == TensorInfo((2, 3), "float32")
    read = dict(opened.tensors())
    assert read.keys() == TENSORS.keys()
    for key, value in TENSORS.items():
        assert read[key].dtype == value.dtype
        assert torch.equal(read[key], value)


def test_files_are_as_readable_as_others(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        file = written(tmp_path / "x", TENSORS)
    finally:
        os.umask(previous)
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("shard_size", ["5GB", 20])
def test_a_tensor_under_two_names_is_stored_once_and_read_as_one(
    tmp_path: Path, shard_size: str | int
) -> None:
    tensors = {**TENSORS, "tied": TENSORS["a"]}
    opened = Checkpoint(written(tmp_path / "x", tensors, shard_size))
    assert opened.infos["tied"] == opened.infos["a"]
    read = dict(opened.tensors(dtype=torch.float64))
    assert read["tied"] is read["a"]
    assert len(opened._files) == len(TENSORS)


def test_floating_tensors_take_another_dtype_and_integers_do_not(tmp_path: Path) -> None:
    opened = Checkpoint(written(tmp_path / "x", TENSORS))
    read = dict(opened.tensors(dtype=torch.float16))
    assert [it.dtype for it in read.values()] == [torch.float16, torch.int64, torch.float16]
    assert torch.equal(read["a"], TENSORS["a"].half())


def test_mapped_tensors_are_private(tmp_path: Path) -> None:
    file = written(tmp_path / "x", TENSORS)
    before = file.read_bytes()
    for _, tensor in Checkpoint(file).tensors():
        tensor.zero_()
    assert file.read_bytes() == before
    assert torch.equal(dict(Checkpoint(file).tensors())["a"], TENSORS["a"])


MEASURE = """
import sys, torch
from pathlib import Path
from zoo_core.checkpoint import Checkpoint
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
torch.ones(2).bfloat16()
start = peak()
dtype = torch.bfloat16 if sys.argv[2] == "bf16" else None
held = dict(Checkpoint(Path(sys.argv[1])).tensors(dtype=dtype))
print(peak() - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_is_that_of_the_result(tmp_path: Path) -> None:
    """256 MiB in 16 tensors: mapping costs almost nothing, bfloat16 half and about one tensor."""
    file = written(tmp_path / "x", {f"t{i}": torch.zeros(1 << 22) for i in range(16)})
    peaks = {
        dtype: float(
            subprocess.run(
                [sys.executable, "-c", MEASURE, str(file), dtype],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for dtype in ("None", "bf16")
    }
    assert peaks["None"] < 32
    assert peaks["bf16"] < 128 + 48


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_file_is_an_error_that_says_so(tmp_path: Path, cut: int) -> None:
    file = written(tmp_path / "x", TENSORS)
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        Checkpoint(file)


@pytest.mark.parametrize(
    "index",
    [
        "not json",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "../x/model.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": ".."}}',
        '{"weight_map": {"a": "sub/model.safetensors"}}',
        '{"weight_map": {"a": "missing.safetensors"}}',
        '{"weight_map": {"elsewhere": "model.safetensors"}}',
    ],
)
def test_a_bad_index_is_an_error(tmp_path: Path, index: str) -> None:
    written(tmp_path / "x", TENSORS)
    path = tmp_path / "x" / "model.safetensors.index.json"
    path.write_text(index)
    with pytest.raises(CheckpointError):
        Checkpoint(path)


class Conversions:
    """A converter that counts its calls, as a function marked by `converter`."""

    def __init__(self, version: int = 1) -> None:
        self.calls = 0

        @converter(version=version)
        def convert(content: Any) -> dict[str, torch.Tensor]:
            self.calls += 1
            return {f"new.{key}": value for key, value in content["model"].items()}

        self.convert = convert


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "x.pth"
    torch.save({"model": TENSORS}, path)
    return path


def test_a_conversion_is_made_once_and_mapped_from_then_on(tmp_path: Path, foreign: Path) -> None:
    cache, counting = Cache.at(tmp_path / "cache"), Conversions()
    for _ in range(2):
        stored = converted(foreign, "d1", counting.convert, "m:f", cache)
        assert isinstance(stored, Checkpoint)
        assert torch.equal(dict(stored.tensors())["new.a"], TENSORS["a"])
    assert counting.calls == 1


def test_another_digest_version_or_converter_is_another_conversion(
    tmp_path: Path, foreign: Path
) -> None:
    cache, first, second = Cache.at(tmp_path / "cache"), Conversions(), Conversions(version=2)
    converted(foreign, "d1", first.convert, "m:f", cache)
    converted(foreign, "d2", first.convert, "m:f", cache)
    converted(foreign, "d1", first.convert, "m:g", cache)
    converted(foreign, "d1", second.convert, "m:f", cache)
    assert (first.calls, second.calls) == (3, 1)


def test_a_damaged_conversion_is_made_anew(tmp_path: Path, foreign: Path) -> None:
    cache, counting = Cache.at(tmp_path / "cache"), Conversions()
    converted(foreign, "d1", counting.convert, "m:f", cache)
    (file,) = cache.converted.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-3])
    stored = converted(foreign, "d1", counting.convert, "m:f", cache)
    assert isinstance(stored, Checkpoint)
    assert counting.calls == 2
    assert [path.name for path in cache.converted.iterdir()] == [file.parent.name]


def test_without_room_for_it_the_conversion_is_used_from_memory(
    tmp_path: Path, foreign: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    cache = Cache.at(tmp_path / "cache")
    stored = converted(foreign, "d1", Conversions().convert, "m:f", cache)
    assert isinstance(stored, dict)
    assert torch.equal(stored["new.a"], TENSORS["a"])
    assert list(cache.converted.iterdir()) == []
    assert "not kept" in caplog.text


def test_a_part_of_a_large_storage_does_not_bring_the_rest_along(tmp_path: Path) -> None:
    large = torch.arange(1000.0)
    path = tmp_path / "x.pth"
    torch.save({"model": {"left": large[:3], "right": large[3:]}}, path)
    stored = converted(path, "d1", Conversions().convert, "m:f", Cache.at(tmp_path / "cache"))
    assert isinstance(stored, Checkpoint)
    assert torch.equal(dict(stored.tensors())["new.left"], large[:3])


def test_a_converter_that_finds_no_tensors_is_an_error(tmp_path: Path, foreign: Path) -> None:
    @converter(version=1)
    def nothing(_: Any) -> dict[str, torch.Tensor]:
        return {}

    @converter(version=1)
    def text(_: Any) -> Any:
        return {"a": "b"}

    for convert, message in ((nothing, "found nothing"), (text, "a, which are no tensors")):
        with pytest.raises(WeightsMismatchError, match=message):
            converted(foreign, "d", convert, "m:f", Cache.at(tmp_path / "cache"))


def test_safetensors_in_foreign_names_are_converted_too(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file({"x": torch.ones(2)}, path)

    @converter(version=1)
    def rename(content: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"y": content["x"]}

    stored = converted(path, "d", rename, "m:f", Cache.at(tmp_path / "cache"))
    assert isinstance(stored, Checkpoint)
    assert dict(stored.tensors())["y"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("metadata", ["5", '["a"]', '"x"', '{"a2": ["l"]}', '{"a2": {}}'])
def test_odd_metadata_of_an_index_is_not_taken_for_aliases(tmp_path: Path, metadata: str) -> None:
    file = written(tmp_path / "x", TENSORS, 20)
    index = json.loads(file.read_text())
    file.write_text(json.dumps(index | {"metadata": json.loads(metadata)}))
    assert Checkpoint(file).infos.keys() == TENSORS.keys()


def test_an_index_nested_without_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        Checkpoint(path)


def test_views_of_one_storage_are_stored_each_by_itself(tmp_path: Path) -> None:
    whole = torch.arange(8.0)
    read = dict(Checkpoint(written(tmp_path / "x", {"whole": whole, "part": whole[:2]})).tensors())
    assert read["part"].tolist() == [0.0, 1.0]
    assert read["whole"].tolist() == whole.tolist()
