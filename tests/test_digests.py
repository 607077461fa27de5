"""Files are proved to be the expected ones, and what was proved is not computed again."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import in_one_line, leftovers
from zoo_core import digests
from zoo_core.cache import Cache
from zoo_core.digests import sha256_of, verify
from zoo_core.errors import DigestError, FetchError

CONTENT = b"tensors"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(cache: Cache) -> Path:
    cache.downloads.mkdir(parents=True)
    path = cache.downloads / "net.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose content was read."""
    reads: list[Path] = []

    def counting(path: Path) -> str:
        reads.append(path)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", counting)
    return reads


def stamps(path: Path) -> tuple[int, int]:
    return path.stat().st_atime_ns, path.stat().st_mtime_ns


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_digest_is_that_of_the_whole_file(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(b"x" * size).hexdigest()


def test_the_card_counts_before_the_server_and_the_server_before_the_record(
    file: Path, cache: Cache
) -> None:
    verify(file, "key", cache, stated={})
    for card, server, blamed in (("1" * 64, SHA256, "the card"), (None, "2" * 64, "the server")):
        file.write_bytes(CONTENT)
        with pytest.raises(DigestError, match=f"but {blamed} states"):
            verify(file, "key", cache, stated={"the card": card, "the server": server})
    file.write_bytes(CONTENT)
    assert verify(file, "key", cache, stated={"the card": SHA256, "the server": "2" * 64}) == SHA256
    file.write_bytes(b"another")
    with pytest.raises(DigestError, match="recorded at first use"):
        verify(file, "key", cache, stated={"the card": None, "the server": None})


def test_a_stated_digest_that_the_content_has_replaces_the_record(file: Path, cache: Cache) -> None:
    verify(file, "key", cache, stated={})
    file.write_bytes(b"newer")
    newer = hashlib.sha256(b"newer").hexdigest()
    assert verify(file, "key", cache, stated={"the card": newer}) == newer
    assert json.loads(cache.digests.read_text())["key"]["sha256"] == newer


def test_a_mismatch_names_both_digests_in_one_line(file: Path, cache: Cache) -> None:
    with pytest.raises(DigestError) as caught:
        verify(file, "hf://a/b/net.bin@main", cache, stated={"the card": "0" * 64})
    assert in_one_line(caught.value) == (
        f"hf://a/b/net.bin@main has SHA-256 {SHA256}, but the card states {'0' * 64}. The file was "
        "removed: load again to fetch it anew. If it happens again, the publisher's file has "
        "changed or been tampered with."
    )
    assert not file.exists()
    assert not cache.digests.exists()


def test_a_file_that_has_not_changed_is_not_read_again(
    file: Path, cache: Cache, reads: list[Path]
) -> None:
    for stated in ({}, {"the card": SHA256}, {"the server": SHA256}):
        assert verify(file, "key", cache, stated=stated) == SHA256
    assert reads == [file]
    assert verify(file, "key", cache, stated={}, again=True) == SHA256
    assert reads == [file, file]


def test_a_new_claim_on_an_unchanged_file_is_checked_by_reading_it(
    file: Path, cache: Cache, reads: list[Path]
) -> None:
    verify(file, "key", cache, stated={})
    with pytest.raises(DigestError):
        verify(file, "key", cache, stated={"the card": "0" * 64})
    assert reads == [file, file]


def test_a_touched_file_with_the_same_content_is_read_and_accepted(
    file: Path, cache: Cache, reads: list[Path]
) -> None:
    verify(file, "key", cache, stated={})
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        assert verify(file, "key", cache, stated={}) == SHA256
    assert reads == [file, file]
    assert json.loads(cache.digests.read_text())["key"]["mtime_ns"] == 1


def test_damage_behind_the_same_stamps_is_found_when_reading_again(
    file: Path, cache: Cache
) -> None:
    verify(file, "key", cache, stated={})
    before = stamps(file)
    file.write_bytes(b"TENSORS")
    os.utime(file, ns=before)
    assert verify(file, "key", cache, stated={}) == SHA256
    with pytest.raises(DigestError):
        verify(file, "key", cache, stated={}, again=True)
    assert not file.exists()


def test_a_file_outside_the_cache_is_never_removed(cache: Cache, tmp_path: Path) -> None:
    mine = tmp_path / "mine.bin"
    mine.write_bytes(CONTENT)
    cache.downloads.mkdir(parents=True)
    link = cache.downloads / "link.bin"
    link.symlink_to(mine)
    with pytest.raises(DigestError) as caught:
        verify(mine, "key", cache, stated={"the card": "0" * 64})
    assert f"The file was left where it is: {mine}." in in_one_line(caught.value)
    with pytest.raises(DigestError, match="The file was removed"):
        verify(link, "key", cache, stated={"the card": "0" * 64})
    assert not link.is_symlink()
    assert mine.read_bytes() == CONTENT


def test_a_file_that_cannot_be_read_is_an_error(cache: Cache, tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(FetchError, match=f"cannot read {path}: {reason}") as caught:
            verify(path, "key", cache, stated={})
        in_one_line(caught.value)


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", "3", '{"key": 3}', '{"key": {"sha256": "0"}}', '{"key": {"x": 1}}', "\xff"],
)
def test_a_corrupt_record_says_what_to_do_and_removes_nothing(
    file: Path, cache: Cache, record: str
) -> None:
    cache.digests.write_bytes(record.encode("latin-1"))
    with pytest.raises(FetchError) as caught:
        verify(file, "key", cache, stated={"the card": SHA256})
    message = in_one_line(caught.value)
    assert not isinstance(caught.value, DigestError)
    assert message.startswith(f"{cache.digests} is not a valid record of digests (")
    assert message.endswith("Remove it to trust the files of the cache as they are now.")
    assert file.read_bytes() == CONTENT
    cache.digests.unlink()
    assert verify(file, "key", cache, stated={"the card": SHA256}) == SHA256


def test_an_unreadable_record_is_named(file: Path, cache: Cache) -> None:
    cache.digests.mkdir()
    with pytest.raises(FetchError, match=f"cannot read {cache.digests}: Is a directory"):
        verify(file, "key", cache, stated={})


def test_an_interrupted_write_leaves_the_old_record(
    file: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(file, "first", cache, stated={})
    before = cache.digests.read_bytes()

    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verify(file, "second", cache, stated={})
    assert cache.digests.read_bytes() == before
    assert leftovers(cache.root) == []
    verify(file, "second", cache, stated={})
    assert set(json.loads(cache.digests.read_text())) == {"first", "second"}


def test_a_record_that_cannot_be_written_is_done_without(
    file: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(file, "first", cache, stated={})
    before = cache.digests.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert verify(file, "second", cache, stated={}) == SHA256
    assert cache.digests.read_bytes() == before
    assert leftovers(cache.root) == []


def test_processes_that_record_at_once_lose_nothing(file: Path, cache: Cache) -> None:
    code = """
import sys
from pathlib import Path
from zoo_core.cache import Cache
from zoo_core.digests import verify

file, root, name = sys.argv[1:]
for number in range(20):
    verify(Path(file), f"{name}-{number}", Cache.at(root), stated={})
"""
    command = [sys.executable, "-c", code, str(file), str(cache.root)]
    processes = [subprocess.Popen([*command, str(name)]) for name in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(json.loads(cache.digests.read_text())) == 80
    assert leftovers(cache.root) == []
