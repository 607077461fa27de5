"""hf:// sources, fetched by the real client from a Hub that misbehaves in every way we know."""

import errno
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from tests.conftest import FETCH, Fetch, ZooEnvironment, files, in_one_line, leftovers
from tests.conftest import without_root_rights as without_rights
from tests.hub_server import HubServer
from zoo_core.cache import Cache
from zoo_core.errors import CheckpointError, DigestError, FetchError

REPO = "ada/net"
NAME = "net.safetensors"
SOURCE = f"hf://{REPO}/{NAME}"
WEIGHTS = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def commit(hub: HubServer) -> str:
    """The first commit of the repository."""
    return hub.add_files(REPO, {NAME: WEIGHTS, "config.json": b"{}"})


@pytest.fixture(autouse=True)
def _no_sleep(naps: list[float]) -> None:
    pass


def asked(hub: HubServer) -> list[tuple[str, int]]:
    """The requests since the last call, with their status."""
    found = [(request.method, request.status) for request in hub.requests]
    new = found[getattr(hub, "seen", 0) :]
    hub.seen = len(found)  # type: ignore[attr-defined]
    return new


def failing(fetched: Fetch, cache: Cache, source: str = SOURCE, **options: Any) -> str:
    """The message of the error that fetching ends in, which must leave nothing behind."""
    with pytest.raises(FetchError) as caught:
        fetched(source, **options)
    assert not isinstance(caught.value, DigestError)
    assert leftovers(cache.root) == []
    assert not list(cache.hub.glob("models--*/blobs/*"))
    return in_one_line(caught.value)


# What is asked of the server


def test_a_branch_is_asked_for_at_each_fetch_and_sent_once(hub: HubServer, fetched: Fetch) -> None:
    first = fetched(SOURCE)
    assert (first.path.read_bytes(), first.sha256) == (WEIGHTS, SHA256)
    assert asked(hub) == [("HEAD", 200), ("GET", 200)]
    assert fetched(SOURCE) == first
    assert asked(hub) == [("HEAD", 200)]


def test_a_commit_is_asked_for_once(hub: HubServer, fetched: Fetch, commit: str) -> None:
    first = fetched(f"{SOURCE}@{commit}")
    asked(hub)
    assert fetched(f"{SOURCE}@{commit}") == first
    assert asked(hub) == []


def test_a_tag_stays_what_it_was_when_the_branch_moves(hub: HubServer, fetched: Fetch) -> None:
    hub.tag(REPO, "v1")
    hub.add_file(REPO, NAME, b"newer")
    assert fetched(f"{SOURCE}@v1").path.read_bytes() == WEIGHTS
    assert fetched(SOURCE).path.read_bytes() == b"newer"


def test_a_branch_that_moved_is_fetched_anew_and_is_no_mismatch(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    old = fetched(f"hf://{REPO}/config.json")
    hub.add_file(REPO, "config.json", b'{"newer": true}')
    new = fetched(f"hf://{REPO}/config.json")
    assert new.path.read_bytes() == b'{"newer": true}'
    assert old.path.read_bytes() == b"{}"
    assert len(json.loads(cache.digests.read_text())) == 2


# Who may read


def test_a_token_opens_a_private_repository(hub: HubServer, fetched: Fetch) -> None:
    hub.private(REPO, "hf_friend")
    assert fetched(SOURCE, token="hf_friend").path.read_bytes() == WEIGHTS
    assert {request.authorization for request in hub.requests} == {"Bearer hf_friend"}


@pytest.mark.parametrize("token", [None, "hf_stranger"])
def test_without_the_right_token_a_private_repository_seems_absent(
    hub: HubServer, fetched: Fetch, cache: Cache, token: str | None
) -> None:
    hub.private(REPO, "hf_friend")
    message = failing(fetched, cache, token=token)
    assert message == (
        "there is no repository 'ada/net', or it is private: then pass token= or log in with "
        "`hf auth login`."
    )
    assert asked(hub) == [("HEAD", 401)]


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("hf_stranger", 403)])
def test_a_gated_repository_says_where_to_ask(
    hub: HubServer, fetched: Fetch, cache: Cache, token: str | None, status: int
) -> None:
    hub.gated(REPO, "hf_friend")
    message = failing(fetched, cache, token=token)
    assert message.startswith("'ada/net' is gated: ask for access on its page, then pass token=")
    assert asked(hub) == [("HEAD", status)]


def test_a_refused_login_says_how_to_log_in(hub: HubServer, fetched: Fetch, cache: Cache) -> None:
    hub.fail(None, status=401)
    message = failing(fetched, cache)
    assert "the server answered 401 Unauthorized. To prove who you are, pass token=" in message


def test_a_token_that_is_demanded_but_absent_is_an_error_before_any_request(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    assert "no token found" in failing(fetched, cache, token=True)
    assert asked(hub) == []


def test_the_token_does_not_follow_a_redirect_to_another_host(
    hub: HubServer, fetched: Fetch
) -> None:
    hub.redirect = "other"
    hub.private(REPO, "hf_friend")
    assert fetched(SOURCE, token="hf_friend").sha256 == SHA256
    tokens = [(request.path[:5], request.authorization) for request in hub.requests]
    assert tokens == [("/ada/", "Bearer hf_friend"), ("/cdn/", None)]


# What is not there


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf://ada/none/net.bin", "there is no repository 'ada/none', or it is private"),
        ("hf://ada/net/none.bin", "hf://ada/net/none.bin@main: the repository has no such file"),
        (f"{SOURCE}@v9", f"{SOURCE}@v9: the repository has no such revision."),
    ],
)
def test_what_is_missing_is_named_after_one_request(
    hub: HubServer, fetched: Fetch, cache: Cache, source: str, message: str
) -> None:
    assert message in failing(fetched, cache, source)
    assert asked(hub) == [("HEAD", 404)]


def test_an_impossible_repository_name_is_refused_before_any_request(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    message = failing(fetched, cache, "hf://ada/net--2/net.bin")
    assert "Cannot have -- or .. in repo_id: 'ada/net--2'" in message
    assert asked(hub) == []


# A server in trouble


def test_a_rate_limit_is_waited_for(hub: HubServer, fetched: Fetch, naps: list[float]) -> None:
    hub.fail(method="HEAD", status=429, headers={"Retry-After": "7"})
    hub.fail(method="GET", status=429, headers={"Retry-After": "7"})
    assert fetched(SOURCE).sha256 == SHA256
    # Without a cached copy the client asks again at once, then waits as told, and a second more.
    assert asked(hub) == [("HEAD", 429), ("HEAD", 200), ("GET", 429), ("GET", 200)]
    assert naps == [8]


def test_a_rate_limit_that_lasts_is_an_error_after_the_clients_attempts(
    hub: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    hub.fail(None, method="GET", status=429, headers={"Retry-After": "7"})
    assert failing(fetched, cache) == (
        f"{SOURCE}@main: the server answered 429 Too Many Requests. Try again later."
    )
    assert asked(hub) == [("HEAD", 200), *[("GET", 429)] * 6]
    assert naps == [8] * 5


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again_after_one_two_and_four_seconds(
    hub: HubServer, fetched: Fetch, naps: list[float], status: int
) -> None:
    hub.fail(2, method="HEAD", status=status)
    hub.fail(3, method="GET", status=status)
    assert fetched(SOURCE).sha256 == SHA256
    assert asked(hub) == [
        *[("HEAD", status)] * 2,
        *[("HEAD", 200), ("GET", status)] * 3,
        *[("HEAD", 200), ("GET", 200)],
    ]
    assert naps == [1, 1, 2, 4]


def test_a_server_error_that_lasts_is_an_error_and_healing_mends_it(
    hub: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    hub.fail(None, method="GET")
    message = f"{SOURCE}@main: the server answered 503 Service Unavailable. Try again later."
    assert failing(fetched, cache) == message
    assert asked(hub) == [("HEAD", 200), ("GET", 503)] * 4
    assert naps == [1, 2, 4]
    hub.heal()
    hub.fail(None, method="HEAD")
    assert failing(fetched, cache) == message
    assert asked(hub) == [("HEAD", 503)] * 7
    assert naps == [1, 2, 4, 1, 2, 4, 8, 8]
    hub.heal()
    assert fetched(SOURCE).sha256 == SHA256


def test_a_hang_up_is_tried_again(hub: HubServer, fetched: Fetch, naps: list[float]) -> None:
    hub.fail(2, method="HEAD", status=0)
    hub.fail(method="GET", status=0)
    assert fetched(SOURCE).sha256 == SHA256
    assert asked(hub) == [("HEAD", 0), ("HEAD", 0), ("HEAD", 200), ("GET", 0), ("GET", 200)]
    assert naps == [1, 2, 1]


def test_a_hang_up_that_lasts_is_an_error(
    hub: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    hub.fail(None, status=0)
    assert failing(fetched, cache) == (
        f"{SOURCE}@main could not be downloaded (Server disconnected without sending a response). "
        "Check the connection and try again."
    )
    assert asked(hub) == [("HEAD", 0)] * 4
    assert naps == [1, 2, 4]


@pytest.mark.parametrize("status", [0, 503])
def test_the_cached_copy_of_a_branch_serves_while_the_server_is_down(
    hub: HubServer, fetched: Fetch, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = fetched(SOURCE)
    hub.fail(None, status=status)
    assert fetched(SOURCE) == first
    warned = "the cached file is used" in caplog.text
    assert warned == (status == 0)  # for an answer, the client itself takes the copy, silently


def test_a_new_version_that_cannot_be_downloaded_leaves_the_old_one_in_use(
    hub: HubServer, fetched: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    first = fetched(SOURCE)
    hub.add_file(REPO, NAME, b"newer")
    hub.fail(None, method="GET")
    assert fetched(SOURCE) == first
    assert f"{SOURCE} cannot be reached" in caplog.text
    hub.heal()
    assert fetched(SOURCE).path.read_bytes() == b"newer"


def test_a_refused_connection_names_the_endpoint_variable(
    hub: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    hub.close()
    message = failing(fetched, cache)
    assert "cannot be reached ([Errno 111] Connection refused). Check the connection, " in message
    assert "HF_ENDPOINT" in message
    assert naps == [1, 2, 4, 8, 8]


def test_the_cached_copy_of_a_branch_serves_without_a_connection(
    hub: HubServer, fetched: Fetch, naps: list[float]
) -> None:
    first = fetched(SOURCE)
    hub.close()
    assert fetched(SOURCE) == first
    assert naps == []


def test_an_answer_that_is_not_the_hubs_says_so(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    hub.fail(method="HEAD", status=200)  # as a hotel's login page does
    assert "does not seem to be served by a Hugging Face Hub endpoint" in failing(fetched, cache)


# A transfer in trouble


def test_a_broken_transfer_goes_on_where_it_broke(
    hub: HubServer, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client drops what it received of an incomplete chunk, so chunks must be smaller than it.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.break_transfer(after=700_000)
    assert fetched(SOURCE).sha256 == SHA256
    gets = [(r.status, r.range, r.sent) for r in hub.requests if r.method == "GET"]
    assert gets == [(200, None, 700_000), (206, "bytes=700000-", len(WEIGHTS) - 700_000)]


def test_a_transfer_that_always_breaks_is_an_error(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    hub.break_transfer(after=5000, times=None)
    assert "peer closed connection" in failing(fetched, cache)
    hub.heal()
    assert fetched(SOURCE).sha256 == SHA256


def test_a_reset_connection_is_tried_again(
    hub: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    hub.break_transfer(after=700_000, reset=True)
    assert fetched(SOURCE).sha256 == SHA256
    assert asked(hub) == [("HEAD", 200), ("GET", 200)] * 2
    assert naps == [1]
    assert leftovers(cache.root) == []


def test_a_truncated_file_is_tried_again_and_then_refused(
    hub: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    hub.truncate(to=1000, times=None)
    assert "file should be of size 1048576 but has size 1000" in failing(fetched, cache)
    assert naps == [1, 2, 4]
    hub.heal()
    hub.truncate(to=1000)
    assert fetched(SOURCE).sha256 == SHA256


# Content that is another


def test_a_corrupt_file_is_removed_whole_and_the_next_load_fetches_it_anew(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    kept = fetched(f"hf://{REPO}/config.json")
    hub.corrupt(NAME, at=300_000)
    spoilt = bytearray(WEIGHTS)
    spoilt[300_000] ^= 0xFF
    with pytest.raises(DigestError) as caught:
        fetched(SOURCE)
    message = in_one_line(caught.value)
    assert f"has SHA-256 {hashlib.sha256(spoilt).hexdigest()}, but the server states {SHA256}" in (
        message
    )
    assert "The file was removed: load again to fetch it anew." in message
    # Neither the pointer nor the blob is left, and the small file is.
    assert [name for name in files(cache.hub) if "/blobs/" in name or NAME in name] == [
        f"models--ada--net/blobs/{kept.path.resolve().name}"
    ]
    assert kept.path.read_bytes() == b"{}"
    assert fetched(SOURCE).path.read_bytes() == WEIGHTS


def test_a_file_other_than_the_cards_is_removed(
    hub: HubServer, fetched: Fetch, cache: Cache
) -> None:
    with pytest.raises(DigestError, match=f"has SHA-256 {SHA256}, but the card states {'0' * 64}"):
        fetched(SOURCE, sha256="0" * 64)
    assert files(cache.hub) == ["models--ada--net/refs/main"]
    assert fetched(SOURCE, sha256=SHA256).sha256 == SHA256


def test_content_that_changes_under_one_commit_is_refused(
    hub: HubServer, fetched: Fetch, cache: Cache, commit: str
) -> None:
    source = f"hf://{REPO}/config.json@{commit}"
    first = fetched(source)
    first.path.resolve().write_bytes(b"[]")
    message = f"but {cache.digests} recorded at first use {first.sha256}"
    with pytest.raises(DigestError) as caught:
        fetched(source)
    assert message in in_one_line(caught.value)
    assert fetched(source).path.read_bytes() == b"{}"


def test_damage_that_keeps_size_and_time_is_found_when_asked_to_look_again(
    fetched: Fetch, cache: Cache
) -> None:
    blob = fetched(SOURCE).path.resolve()
    before = blob.stat()
    blob.write_bytes(b"x" + WEIGHTS[1:])
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetched(SOURCE).sha256 == SHA256
    with pytest.raises(DigestError):
        fetched(SOURCE, again=True)
    assert not blob.exists()


def test_removal_goes_through_a_cache_that_is_itself_a_link(
    hub: HubServer, fetched: Fetch, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    hub.corrupt(NAME)
    with pytest.raises(DigestError, match="The file was removed"):
        fetched(SOURCE, cache=Cache.at(tmp_path / "link"))
    assert files(tmp_path / "disk") == ["hub/models--ada--net/refs/main"]


def test_a_blob_that_is_a_link_into_the_shared_store_counts_by_its_own_name(
    fetched: Fetch, cache: Cache
) -> None:
    blob = fetched(SOURCE).path.resolve()
    store = cache.hub / "blobs" / "ab" / f"ab{'0' * 62}"  # there a file is named by another hash
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(store)
    assert fetched(SOURCE, again=True).sha256 == SHA256
    store.write_bytes(b"damaged")
    with pytest.raises(DigestError):
        fetched(SOURCE)
    assert not store.exists()
    assert not blob.is_symlink()


# Without a network


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_what_is_cached_works_offline_without_a_request(
    hub: HubServer, fetched: Fetch, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first = fetched(SOURCE)
    asked(hub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "variable")
    assert fetched(SOURCE, local_files_only=how == "argument") == first
    assert asked(hub) == []


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_what_is_not_cached_says_how_to_get_it_offline(
    hub: HubServer, fetched: Fetch, cache: Cache, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "variable")
    assert failing(fetched, cache, local_files_only=how == "argument") == (
        f"{SOURCE}@main is not in the cache. The network is off (local_files_only or "
        "HF_HUB_OFFLINE); fetch once with it on, for example with `zoo pull NAME`."
    )
    assert asked(hub) == []


def test_the_offline_variable_holds_for_a_whole_process(zoo_environment: ZooEnvironment) -> None:
    refused = zoo_environment.run(FETCH, SOURCE, HF_HUB_OFFLINE="1")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"FetchError: {SOURCE}@main is not in the cache.")
    assert zoo_environment.hub.requests == []
    path = zoo_environment.run(FETCH, SOURCE).stdout
    asked(zoo_environment.hub)
    assert zoo_environment.run(FETCH, SOURCE, HF_HUB_OFFLINE="1").stdout == path
    assert asked(zoo_environment.hub) == []


# Several processes, and a disk in trouble


def test_four_processes_at_once_download_once(zoo_environment: ZooEnvironment) -> None:
    hub = zoo_environment.hub
    hub.stall(0.5, path_contains=NAME)
    processes = [zoo_environment.start(FETCH, SOURCE) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert len({path for path, _ in outputs}) == 1
    assert hub.count("GET", NAME) == 1
    assert len(json.loads(zoo_environment.cache.digests.read_text())) == 1


def test_a_read_only_cache_serves_what_it_has_and_refuses_the_rest(
    zoo_environment: ZooEnvironment, commit: str
) -> None:
    prefix = without_rights()
    first = zoo_environment.run(FETCH, SOURCE)
    folders = [zoo_environment.home, *zoo_environment.home.rglob("*")]
    for path in folders:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = files(zoo_environment.home)
    try:
        for source in (SOURCE, f"{SOURCE}@{commit}"):
            again = zoo_environment.run(FETCH, source, prefix=prefix)
            assert again.stdout == first.stdout, again.stderr
        zoo_environment.cache.digests.chmod(0o000)
        hidden = zoo_environment.run(FETCH, SOURCE, prefix=prefix)
        assert hidden.stderr.startswith("FetchError: cannot read ")
        assert str(zoo_environment.cache.digests) in hidden.stderr
        zoo_environment.cache.digests.chmod(0o444)
        refused = zoo_environment.run(FETCH, f"hf://{REPO}/config.json", prefix=prefix)
        blocked = zoo_environment.run(
            FETCH, SOURCE, prefix=prefix, HF_HUB_CACHE=str(zoo_environment.home / "other")
        )
    finally:
        for path in folders:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
    for failed in (refused, blocked):
        assert failed.returncode == 1
        assert failed.stderr.startswith("FetchError: cannot write ")
        assert in_one_line(failed.stderr).endswith("(for files of the Hub: HF_HOME).")
    assert files(zoo_environment.home) == before


def test_a_corrupt_file_in_a_read_only_cache_is_refused_though_it_stays(
    zoo_environment: ZooEnvironment,
) -> None:
    prefix = without_rights()
    blob = Path(zoo_environment.run(FETCH, SOURCE).stdout).resolve()
    blob.write_bytes(b"damaged")
    for folder in (blob.parent, *blob.parent.parent.rglob("snapshots/*")):
        folder.chmod(0o555)
    try:
        refused = zoo_environment.run(FETCH, SOURCE, prefix=prefix)
    finally:
        for folder in (blob.parent, *blob.parent.parent.rglob("snapshots/*")):
            folder.chmod(0o755)
    assert refused.stderr.startswith("DigestError: ")
    assert f"Remove {Path(zoo_environment.cache.hub)}" in in_one_line(refused.stderr)
    assert "yourself: Permission denied." in refused.stderr
    assert blob.read_bytes() == b"damaged"


def test_a_full_disk_is_seen_before_the_download(
    hub: HubServer, fetched: Fetch, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    message = failing(fetched, cache, size=len(WEIGHTS) * 1000)
    assert message.startswith(f"{SOURCE} needs 1.05 GB and ")
    assert "has 0.00 GB free. Free some space or name another folder" in message
    assert asked(hub) == []


def test_a_disk_that_fills_up_in_the_middle_leaves_no_part(zoo_environment: ZooEnvironment) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (300_000, r.RLIM_INFINITY));"
    failed = zoo_environment.run(limit + FETCH, SOURCE)
    assert failed.returncode == 1
    last = in_one_line(failed.stderr.splitlines()[-1])
    assert last.startswith(f"FetchError: cannot write {zoo_environment.cache.hub}: File too large.")
    assert leftovers(zoo_environment.home) == []
    assert not list(zoo_environment.cache.hub.glob("models--*/blobs/*"))
    assert Path(zoo_environment.run(FETCH, SOURCE).stdout).read_bytes() == WEIGHTS


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_each_refusal_of_the_disk_is_told_as_one(
    fetched: Fetch, cache: Cache, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", refuse)
    assert failing(fetched, cache).startswith(f"cannot write {cache.hub}: no. Free some space")


# Shards


def index(**shards: str) -> bytes:
    return json.dumps({"metadata": {}, "weight_map": shards}).encode()


def test_shards_come_from_the_commit_of_their_index(
    hub: HubServer, fetched: Fetch, commit: str
) -> None:
    shards = {f"a/{i}.safetensors": bytes([i]) * 1000 for i in (1, 2)}
    content = index(x="1.safetensors", y="2.safetensors", z="1.safetensors")
    hub.add_files(REPO, {"a/m.index.json": content} | shards)
    first = fetched(f"hf://{REPO}/a/m.index.json")
    beside = {path.name for path in first.path.parent.iterdir()}
    assert beside == {"m.index.json", "1.safetensors", "2.safetensors"}
    assert hub.count("GET") == 3
    asked(hub)
    assert fetched(f"hf://{REPO}/a/m.index.json") == first
    assert asked(hub) == [("HEAD", 200)]
    hub.add_file(REPO, "a/2.safetensors", b"newer")
    newer = fetched(f"hf://{REPO}/a/m.index.json")
    assert newer.path.with_name("2.safetensors").read_bytes() == b"newer"
    assert newer.sha256 != first.sha256
    assert len(newer.sha256) == 64


@pytest.mark.parametrize("name", ["../out.bin", "/etc/passwd", "a/b.bin", "..", "", ".hidden"])
def test_a_shard_outside_the_folder_is_refused_before_it_is_asked_for(
    hub: HubServer, fetched: Fetch, name: str
) -> None:
    hub.add_file(REPO, "m.index.json", index(x="good.bin", y=name))
    with pytest.raises(CheckpointError, match="expected the name of a file beside it"):
        fetched(f"hf://{REPO}/m.index.json")
    assert [request.path for request in hub.requests if "index" not in request.path] == []


def test_a_missing_shard_is_named(hub: HubServer, fetched: Fetch, commit: str) -> None:
    commit = hub.add_file(REPO, "m.index.json", index(x="gone.bin"))
    with pytest.raises(FetchError) as caught:
        fetched(f"hf://{REPO}/m.index.json")
    assert in_one_line(caught.value) == (
        f"hf://{REPO}/gone.bin@{commit}: the repository has no such file at this revision."
    )


# Mirrors, and schemes that nobody knows


def test_a_mirror_wins_and_its_file_is_verified_and_never_removed(
    hub: HubServer, fetched: Fetch, tmp_path: Path
) -> None:
    file = tmp_path / "mirrored.bin"
    file.write_bytes(WEIGHTS)
    calls: list[tuple[str, bool]] = []

    def mirror(weights: Any, offline: bool) -> Path:
        calls.append((weights.source, offline))
        return file

    result = fetched(SOURCE, mirror=mirror, sha256=SHA256, local_files_only=True)
    assert (result.path, result.sha256) == (file, SHA256)
    assert calls == [(SOURCE, True)]
    file.write_bytes(b"another")
    with pytest.raises(DigestError, match="The file was left where it is"):
        fetched(SOURCE, mirror=mirror, sha256=SHA256)
    with pytest.raises(DigestError, match="recorded at first use"):
        fetched(SOURCE, mirror=mirror)
    assert file.read_bytes() == b"another"
    assert hub.requests == []


def test_a_mirror_of_an_index_is_asked_for_its_shards(fetched: Fetch, tmp_path: Path) -> None:
    (tmp_path / "m.index.json").write_bytes(index(x="1.bin"))
    (tmp_path / "1.bin").write_bytes(b"one")
    source = f"hf://{REPO}/m.index.json@v2"
    calls: list[str] = []

    def mirror(weights: Any, offline: bool) -> Path | None:
        calls.append(weights.source)
        path: Path = tmp_path / weights.source.partition("@")[0].rpartition("/")[2]
        return path if path.exists() else None

    fetched(source, mirror=mirror)
    assert calls == [source, f"hf://{REPO}/1.bin@v2"]
    (tmp_path / "1.bin").unlink()
    with pytest.raises(FetchError, match="no such revision"):
        fetched(source, mirror=mirror)


def test_an_unknown_scheme_names_those_that_are_known(fetched: Fetch, cache: Cache) -> None:
    assert failing(fetched, cache, "s3://bucket/net.bin") == (
        "no installed plugin fetches s3://bucket/net.bin; the zoo itself knows hf://, https://, "
        "bundled://."
    )


# Weights that travel with the zoo


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "zoo_weights"
    (folder / "net").mkdir(parents=True)
    (folder / "net" / NAME).write_bytes(WEIGHTS)
    (tmp_path / "secret").write_bytes(b"secret")
    monkeypatch.setattr("importlib.resources.files", {"zoo_weights": folder}.__getitem__)
    return folder


def test_a_bundled_file_is_verified_and_not_removed_on_a_mismatch(
    hub: HubServer, fetched: Fetch, bundle: Path
) -> None:
    source = f"bundled://net/{NAME}"
    assert fetched(source, sha256=SHA256).path == bundle / "net" / NAME
    with pytest.raises(DigestError, match="The file was left where it is"):
        fetched(source, sha256="0" * 64)
    assert (bundle / "net" / NAME).read_bytes() == WEIGHTS
    assert hub.requests == []


@pytest.mark.parametrize(
    "path", ["../secret", "net/../../secret", "/etc/passwd", "none.bin", "net", "."]
)
def test_only_files_of_the_bundle_are_bundled(fetched: Fetch, bundle: Path, path: str) -> None:
    with pytest.raises(FetchError, match="is not among the weights that this zoo ships") as caught:
        fetched(f"bundled://{path}")
    in_one_line(caught.value)


def test_waiting_is_logged(
    hub: HubServer, fetched: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.fail(method="GET")
    with caplog.at_level(logging.WARNING, "zoo_core"):
        fetched(SOURCE)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("zoo_core")]
    assert len(told) == 1
    assert told[0].startswith(f"{SOURCE}: Server error '503 Service Unavailable'")
    assert told[0].endswith("; trying again in 1 s")
