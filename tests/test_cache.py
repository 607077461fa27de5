"""Where files are kept, and that writing them is all or nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from tests.conftest import in_one_line, without_root_rights
from zoo_core.cache import Cache, replacing, require_space
from zoo_core.errors import FetchError

Make = Callable[[Path, str], None]

# Where


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's home without any of the variables."""
    for name in ("ZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ".cache/zoo"),
        ({"XDG_CACHE_HOME": "~/xdg"}, "xdg/zoo"),
        ({"XDG_CACHE_HOME": ""}, ".cache/zoo"),
        ({"ZOO_CACHE": "~/mine"}, "mine"),
        ({"ZOO_CACHE": "~/mine", "XDG_CACHE_HOME": "~/xdg"}, "mine"),
        ({"ZOO_CACHE": ""}, ".cache/zoo"),
    ],
)
def test_the_users_cache_is_where_the_variables_say(
    user: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Cache.at() == Cache(root=user / expected, hub=user / "hf" / "hub")


def test_one_folder_can_hold_everything(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", "~/mine")
    assert Cache.at("~/all") == Cache(root=user / "all", hub=user / "all" / "hub")
    assert Cache.at(user / "all") == Cache.at("~/all")


def test_the_hubs_variables_move_its_files_and_not_the_zoos(user: Path) -> None:
    code = "from zoo_core.cache import Cache; cache = Cache.at(); print(cache.root, cache.hub)"
    environment = {"PATH": os.environ["PATH"], "HOME": str(user), "HF_HOME": str(user / "hf home")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{user / '.cache' / 'zoo'} {user / 'hf home' / 'hub'}"


# What it owns


@pytest.fixture
def outside(cache: Cache, tmp_path: Path) -> Path:
    """A folder beside the cache, to which a link in the cache leads."""
    cache.hub.mkdir(parents=True)
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(b"mine")
    (cache.root / "to-folder").symlink_to(folder)
    (cache.root / "to-file").symlink_to(folder / "file")
    return folder


@pytest.mark.parametrize("path", ["file", "a/b/file", "hub/models--a--b/x", "a/../file", "to-file"])
def test_the_cache_owns_what_lies_in_it(cache: Cache, outside: Path, path: str) -> None:
    assert cache.owns(cache.root / path)


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "a/..", "../outside/file", "../cache-2/file", "to-folder/file", "hub/../.."],
)
def test_the_cache_owns_nothing_else(cache: Cache, outside: Path, path: str) -> None:
    assert not cache.owns(cache.root / path)
    assert not cache.owns(Path("/etc/passwd"))


def test_a_cache_reached_by_a_link_owns_its_files_by_both_names(
    cache: Cache, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(cache.root)
    for owner in (cache, Cache.at(tmp_path / "link")):
        for name in ("cache", "link"):
            assert owner.owns(tmp_path / name / "file")
            assert not owner.owns(tmp_path / name / "to-folder" / "file")
    monkeypatch.chdir(tmp_path)
    assert Cache.at("link").owns(tmp_path / "cache" / "file")
    assert Cache.at("cache").owns(Path("link/file"))


# All or nothing


def make_file(path: Path, content: str) -> None:
    path.write_text(content)


def make_folder(path: Path, content: str) -> None:
    path.mkdir()
    (path / "part").write_text(content)


def read(path: Path) -> str:
    return (path / "part" if path.is_dir() else path).read_text()


def fail_halfway(target: Path, make: Make, error: type[BaseException]) -> None:
    with replacing(target) as fresh:
        make(fresh, "half")
        raise error


make = pytest.mark.parametrize("make", [make_file, make_folder])


@make
def test_what_is_written_takes_its_place_at_the_end(tmp_path: Path, make: Make) -> None:
    target = tmp_path / "a" / "target"
    for content in ("old", "new"):
        with replacing(target) as fresh:
            assert not fresh.exists()
            assert fresh.parent.parent == target.parent  # the same disk
            make(fresh, content)
            assert not target.exists() or read(target) == "old"
        assert read(target) == content
    assert list(target.parent.iterdir()) == [target]


@make
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_what_was_there(
    tmp_path: Path, make: Make, error: type[BaseException]
) -> None:
    target = tmp_path / "target"
    make(target, "old")
    with pytest.raises(error):
        fail_halfway(target, make, error)
    assert read(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


@make
def test_what_fails_at_first_leaves_nothing(tmp_path: Path, make: Make) -> None:
    with pytest.raises(KeyError):
        fail_halfway(tmp_path / "target", make, KeyError)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_take_its_place_lets_the_old_one_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    make_folder(target, "old")

    def refuse(path: Path, to: Path) -> Path:
        raise PermissionError(13, "no", str(to))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError), replacing(target) as fresh:
        make_folder(fresh, "new")
    assert read(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_a_file_of_its_name(tmp_path: Path) -> None:
    target = tmp_path / "target"
    make_file(target, "old")
    with replacing(target) as fresh:
        make_folder(fresh, "new")
    assert read(target) == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    make_file(tmp_path / "usual", "")
    with replacing(tmp_path / "target") as fresh:
        make_file(fresh, "")
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "usual").stat().st_mode


# Refusals


def test_a_refusal_to_write_says_where_and_what_to_do(cache: Cache) -> None:
    with pytest.raises(FetchError) as caught, cache.writing():
        raise OSError(28, "No space left on device", "/disk/file")
    assert in_one_line(caught.value) == (
        "cannot write /disk/file: No space left on device. Free some space or name a writable "
        "folder with cache_dir= or the variable ZOO_CACHE (for files of the Hub: HF_HOME)."
    )
    with pytest.raises(FetchError, match=f"cannot write {cache.root}: "), cache.writing():
        raise OSError(28, "No space left on device")


def test_a_lock_in_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(FetchError, match=f"cannot write {tmp_path}/file/zoo/locks: Not a directory"),
        Cache.at(tmp_path / "file" / "zoo").lock("key"),
    ):
        pass


def test_a_lock_is_released_when_the_block_fails(cache: Cache) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), cache.lock("key"):
            raise ValueError("no")


def test_room_is_required_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=5 * 10**9)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    for size in (None, 5 * 10**9):
        require_space(tmp_path / "not" / "yet", size, "net.bin")
    with pytest.raises(FetchError) as caught:
        require_space(tmp_path / "not" / "yet", 8_600_000_000, "net.bin")
    assert in_one_line(caught.value).startswith(
        f"net.bin needs 8.60 GB and {tmp_path} has 5.00 GB free. Free some space or name another "
    )
    assert asked == [tmp_path, tmp_path]


def test_a_folder_that_cannot_be_entered_is_an_error_of_the_zoo(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from zoo_core.cache import Cache, require_space
from zoo_core.errors import ZooError

cache = Cache.at(sys.argv[1])
try:
    require_space(cache.hub, 10, "net.bin")
    with cache.lock("key"):
        pass
except ZooError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
    (tmp_path / "shut").mkdir(mode=0o000)
    command = [*without_root_rights(), sys.executable, "-c", code, str(tmp_path / "shut" / "zoo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("FetchError: cannot write ")
