"""https:// sources, fetched over TLS from a server that misbehaves."""

import errno
import hashlib
import json
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import close_session, constants

from tests.conftest import (
    FETCH,
    Fetch,
    ZooEnvironment,
    files,
    in_one_line,
    leftovers,
    without_root_rights,
)
from tests.hub_server import HubServer
from zoo_core import https
from zoo_core.cache import Cache
from zoo_core.errors import CheckpointError, DigestError, FetchError

WEIGHTS = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def _no_sleep(naps: list[float]) -> None:
    pass


@pytest.fixture
def server(tls_hub: HubServer) -> HubServer:
    return tls_hub


@pytest.fixture
def url(server: HubServer) -> str:
    return server.add_plain("net.bin", WEIGHTS)


@pytest.fixture
def environment(server: HubServer, tmp_path: Path) -> ZooEnvironment:
    """Processes that know the server by its certificate."""
    return ZooEnvironment(server, tmp_path / "environment")


def gets(server: HubServer) -> list[tuple[int, str | None, int]]:
    """Status, range and bytes of the requests so far, all of which must be GETs."""
    assert {request.method for request in server.requests} <= {"GET"}
    return [(request.status, request.range, request.sent) for request in server.requests]


def failing(fetched: Fetch, url: str, **options: Any) -> str:
    """The message of the error that fetching ends in."""
    with pytest.raises(FetchError) as caught:
        fetched(url, **options)
    assert not isinstance(caught.value, DigestError)
    return in_one_line(caught.value)


def part(cache: Cache, url: str, content: bytes, etag: str) -> None:
    """Leaves what an interrupted process would leave."""
    path = cache.downloads / "partial" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.with_suffix(".etag").write_text(etag)


def etag(server: HubServer, url: str) -> str:
    blob = server.plain[url.rpartition("/")[2]][0]
    return f'"{blob.size:x}-{blob.sha256[:16]}"'


# The usual way


def test_a_file_is_asked_for_once(server: HubServer, fetched: Fetch, url: str) -> None:
    first = fetched(url)
    assert (first.path.name, first.path.read_bytes()) == ("net.bin", WEIGHTS)
    assert fetched(url) == first
    assert fetched(url, local_files_only=True) == first
    assert gets(server) == [(200, None, len(WEIGHTS))]


def test_nothing_but_the_file_is_left_in_the_cache(fetched: Fetch, cache: Cache, url: str) -> None:
    path = fetched(url).path
    assert files(cache.root) == [str(path.relative_to(cache.root))]


def test_the_hubs_token_is_never_sent(
    server: HubServer, fetched: Fetch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetched(url, token="hf_other")
    assert [request.authorization for request in server.requests] == [None]


def test_a_compressing_server_is_asked_not_to(server: HubServer, fetched: Fetch) -> None:
    assert fetched(server.add_plain("net.json", WEIGHTS, compress=True)).sha256 == SHA256
    assert gets(server) == [(200, None, len(WEIGHTS))]


def test_a_redirect_is_followed(server: HubServer, fetched: Fetch, url: str) -> None:
    moved = server.add_redirect("latest.bin", url)
    assert fetched(moved).path.name == "latest.bin"
    assert [status for status, *_ in gets(server)] == [302, 200]


def test_a_redirect_to_plain_http_is_refused(
    server: HubServer, fetched: Fetch, cache: Cache
) -> None:
    with HubServer() as plain:
        target = plain.add_plain("net.bin", WEIGHTS)
        moved = server.add_redirect("latest.bin", target)
        expected = f"{moved} redirects to {target}; expected an https:// address."
        assert failing(fetched, moved) == expected
        back = server.add_redirect("back.bin", plain.add_redirect("x", moved))
        assert "redirects to http://" in failing(fetched, back)
    assert files(cache.root) == []


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_what_is_not_cached_says_how_to_get_it_offline(
    server: HubServer, fetched: Fetch, url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "variable")
    message = failing(fetched, url, local_files_only=how == "argument")
    assert message.startswith(f"{url} is not in the cache. The network is off")
    assert server.requests == []


# Names


@pytest.mark.parametrize("end", ["", "..", ".", "a\\b"])
def test_a_url_without_a_files_name_is_refused(
    server: HubServer, fetched: Fetch, cache: Cache, end: str
) -> None:
    message = failing(fetched, f"{server.url}/files/{end}")
    assert message.endswith("names no file; expected https://HOST/PATH/FILE.")
    assert server.requests == []
    assert files(cache.root) == []


@pytest.mark.parametrize("name", ["..%2f..%2fout.bin", "%2e%2e", "%2fetc%2fpasswd", "a%5cb", "%00"])
def test_an_escape_in_a_name_does_not_leave_the_folder(
    server: HubServer, fetched: Fetch, cache: Cache, name: str
) -> None:
    message = failing(fetched, f"{server.url}/files/{name}")
    assert "the server answered 404 Not Found." in message
    place = https.place(f"{server.url}/files/{name}", cache)
    assert place.parent.parent == cache.downloads
    assert place.name == name


def test_different_urls_never_share_a_file(cache: Cache) -> None:
    urls = [
        "https://h/a/x.bin",
        "https://h/b/x.bin",
        "https://g/a/x.bin",
        "https://h:81/a/x.bin",
        "https://h/a/x.bin?v=1",
        "https://h/a/x.bin?v=2",
        "https://h/a/x%2ebin",
        "https://h/a/x.bin.part",
    ]
    assert len({https.place(each, cache) for each in urls}) == len(urls)


@pytest.mark.parametrize("url", ["https://[::1/x.bin", "https://h:port/x.bin"])
def test_a_url_that_is_none_is_an_error_of_the_zoo(fetched: Fetch, url: str) -> None:
    in_one_line(failing(fetched, url))


# A server in trouble


def test_a_missing_file_is_an_error_at_once(
    server: HubServer, fetched: Fetch, cache: Cache, naps: list[float]
) -> None:
    url = f"{server.url}/files/none.bin"
    assert failing(fetched, url) == f"{url}: the server answered 404 Not Found."
    assert (len(server.requests), naps, files(cache.root)) == (1, [], [])


def test_a_server_error_is_tried_again_after_one_two_and_four_seconds(
    server: HubServer, fetched: Fetch, url: str, naps: list[float]
) -> None:
    server.fail(3, status=502)
    assert fetched(url).sha256 == SHA256
    assert [status for status, *_ in gets(server)] == [502, 502, 502, 200]
    assert naps == [1, 2, 4]


def test_a_server_error_that_lasts_is_an_error_and_healing_mends_it(
    server: HubServer, fetched: Fetch, cache: Cache, url: str
) -> None:
    server.fail(None)
    expected = f"{url}: the server answered 503 Service Unavailable. Try again later."
    assert failing(fetched, url) == expected
    assert (len(server.requests), files(cache.root)) == (4, [])
    server.heal()
    assert fetched(url).sha256 == SHA256


@pytest.mark.parametrize(("told", "waited"), [("7", 7), ("3600", 60), ("soon", 1), ("0", 1)])
def test_a_rate_limit_is_waited_for_within_reason(
    server: HubServer, fetched: Fetch, url: str, naps: list[float], told: str, waited: int
) -> None:
    server.fail(status=429, headers={"Retry-After": told})
    assert fetched(url).sha256 == SHA256
    assert naps == [waited]


@pytest.mark.parametrize("status", [204, 206, 304])
def test_an_answer_without_the_file_is_refused(
    server: HubServer, fetched: Fetch, cache: Cache, url: str, status: int
) -> None:
    server.fail(status=status)
    assert failing(fetched, url) == f"{url}: the server answered {status}; expected the file."
    assert files(cache.root) == []


def test_a_hang_up_is_tried_again(
    server: HubServer, fetched: Fetch, url: str, naps: list[float]
) -> None:
    server.fail(2, status=0)
    assert fetched(url).sha256 == SHA256
    assert naps == [1, 2]


def test_a_refused_connection_is_an_error(
    server: HubServer, fetched: Fetch, url: str, naps: list[float]
) -> None:
    server.close()
    expected = f"{url} could not be downloaded ([Errno 111] Connection refused). Check the "
    assert failing(fetched, url).startswith(expected)
    assert naps == [1, 2, 4]


def test_a_certificate_that_nobody_vouches_for_is_an_error(
    server: HubServer, fetched: Fetch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    close_session()
    assert "CERTIFICATE_VERIFY_FAILED" in failing(fetched, url)
    assert server.requests == []


def test_a_silent_server_is_given_up(
    server: HubServer, fetched: Fetch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    server.delay(30, None)
    assert "timed out" in failing(fetched, url)


def test_a_corrupt_file_is_removed_and_the_next_load_fetches_it_anew(
    server: HubServer, fetched: Fetch, cache: Cache, url: str
) -> None:
    server.corrupt()
    with pytest.raises(DigestError, match=f"but the card states {SHA256}. The file was removed"):
        fetched(url, sha256=SHA256)
    assert files(cache.root) == []
    assert fetched(url, sha256=SHA256).path.read_bytes() == WEIGHTS
    assert len(server.requests) == 2


def test_a_file_that_changes_after_its_first_use_is_refused(
    fetched: Fetch, cache: Cache, url: str
) -> None:
    fetched(url).path.write_bytes(b"tampered with")
    with pytest.raises(DigestError, match="recorded at first use") as caught:
        fetched(url)
    in_one_line(caught.value)
    assert fetched(url).path.read_bytes() == WEIGHTS


# Going on where it stopped


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_transfer_goes_on_where_it_broke(
    server: HubServer, fetched: Fetch, url: str, naps: list[float], reset: bool
) -> None:
    server.break_transfer(after=700_000, reset=reset)
    assert fetched(url).sha256 == SHA256
    first, second = server.requests
    assert (first.status, first.range, first.if_range) == (200, None, None)
    begin = int((second.range or "").removeprefix("bytes=").removesuffix("-"))
    assert 0 < begin <= 700_000
    assert (second.status, second.if_range) == (206, etag(server, url))
    assert second.sent == len(WEIGHTS) - begin
    assert naps == [1]


def test_a_transfer_that_breaks_often_ends_while_it_gets_further(
    server: HubServer, fetched: Fetch, url: str, naps: list[float]
) -> None:
    server.break_transfer(after=100_000, times=None)
    assert fetched(url).sha256 == SHA256
    assert sum(sent for _, _, sent in gets(server)) == len(WEIGHTS)
    assert naps == [1] * 10


def test_a_transfer_that_gets_no_further_is_an_error_that_keeps_the_part(
    server: HubServer, fetched: Fetch, cache: Cache, url: str, naps: list[float]
) -> None:
    server.break_transfer(after=700_000)
    server.break_transfer(after=0, times=None)
    assert "peer closed connection" in failing(fetched, url)
    assert naps == [1, 2, 4]
    assert len(leftovers(cache.root)) == 2
    server.heal()
    assert fetched(url).sha256 == SHA256
    assert gets(server)[-1] == (206, "bytes=700000-", len(WEIGHTS) - 700_000)
    assert leftovers(cache.root) == []


def test_a_killed_process_is_continued_by_the_next(
    server: HubServer, environment: ZooEnvironment, url: str
) -> None:
    server.stop_after(700_000, seconds=60)
    killed = environment.start(FETCH, url)
    deadline = time.monotonic() + 30
    partial = environment.cache.downloads / "partial"
    while not any(path.stat().st_size >= 300_000 for path in partial.glob("*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    done = environment.run(FETCH, url)
    assert Path(done.stdout).read_bytes() == WEIGHTS
    last = server.requests[-1]
    assert (last.status, last.if_range) == (206, etag(server, url))
    assert last.sent < len(WEIGHTS)
    assert leftovers(environment.home) == []


def test_a_part_of_another_version_is_discarded(
    server: HubServer, fetched: Fetch, cache: Cache, url: str
) -> None:
    part(cache, url, b"old" * 1000, '"old"')
    assert fetched(url).path.read_bytes() == WEIGHTS
    assert gets(server) == [(200, "bytes=3000-", len(WEIGHTS))]
    assert server.requests[0].if_range == '"old"'
    assert leftovers(cache.root) == []


def test_a_new_version_in_the_middle_of_a_transfer_is_fetched_whole(
    server: HubServer, fetched: Fetch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.break_transfer(after=700_000)
    newer = WEIGHTS[::-1]
    replace = SimpleNamespace(sleep=lambda _: server.add_plain("net.bin", newer))
    monkeypatch.setattr("zoo_core.retries.time", replace)
    assert fetched(url).path.read_bytes() == newer
    assert gets(server) == [(200, None, 700_000), (200, "bytes=700000-", len(newer))]


@pytest.mark.parametrize(("etag", "ranges"), [(False, True), (True, False), (False, False)])
def test_a_server_without_etags_or_ranges_sends_the_whole_again(
    server: HubServer, fetched: Fetch, cache: Cache, etag: bool, ranges: bool
) -> None:
    url = server.add_plain("net.bin", WEIGHTS, etag=etag, ranges=ranges)
    server.break_transfer(after=700_000)
    assert fetched(url).path.read_bytes() == WEIGHTS
    asked = "bytes=700000-" if etag else None
    assert gets(server) == [(200, None, 700_000), (200, asked, len(WEIGHTS))]
    server.break_transfer(after=700_000, times=None)
    other = server.add_plain("other.bin", WEIGHTS, etag=etag, ranges=ranges)
    assert "peer closed connection" in failing(fetched, other)
    assert len(leftovers(cache.root)) == (2 if etag else 0)
    assert len(server.requests) == 2 + 4


@pytest.mark.parametrize("options", [{"etag": 'W/"1"'}, {"compress": "always"}])
def test_a_part_that_may_not_fit_the_rest_is_not_gone_on_with(
    server: HubServer, fetched: Fetch, options: dict[str, Any]
) -> None:
    url = server.add_plain("net.bin", WEIGHTS, **options)
    server.break_transfer(after=1000)
    assert fetched(url).path.read_bytes() == WEIGHTS
    assert [(status, asked) for status, asked, _ in gets(server)] == [(200, None)] * 2


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_part_that_is_whole_or_longer_is_fetched_anew(
    server: HubServer, fetched: Fetch, cache: Cache, url: str, extra: bytes
) -> None:
    part(cache, url, WEIGHTS + extra, etag(server, url))
    assert fetched(url).path.read_bytes() == WEIGHTS
    assert [status for status, *_ in gets(server)] == [416, 200]


def test_a_part_without_its_etag_is_fetched_anew(
    server: HubServer, fetched: Fetch, cache: Cache, url: str
) -> None:
    part(cache, url, b"xyz", "")
    next(cache.downloads.rglob("*.etag")).unlink()
    assert fetched(url).path.read_bytes() == WEIGHTS
    assert gets(server) == [(200, None, len(WEIGHTS))]


# Several processes, and a disk in trouble


def test_four_processes_at_once_download_once(
    server: HubServer, environment: ZooEnvironment, url: str
) -> None:
    server.stall(0.5)
    processes = [environment.start(FETCH, url) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert len({path for path, _ in outputs}) == 1
    assert len(server.requests) == 1


def test_a_read_only_cache_serves_what_it_has_and_refuses_the_rest(
    server: HubServer, environment: ZooEnvironment, url: str
) -> None:
    prefix = without_root_rights()
    first = environment.run(FETCH, url)
    other = server.add_plain("other.bin", WEIGHTS)
    folders = [path for path in [environment.home, *environment.home.rglob("*")] if path.is_dir()]
    try:
        for mode in (0o555, 0o000):
            for path in reversed(folders):
                path.chmod(mode)
            refused = environment.run(FETCH, other, prefix=prefix)
            assert refused.stderr.startswith("FetchError: cannot write ")
            in_one_line(refused.stderr)
            if mode:
                assert environment.run(FETCH, url, prefix=prefix).stdout == first.stdout
    finally:
        for path in folders:
            path.chmod(0o755)
    assert len(server.requests) == 1


def test_a_full_disk_is_seen_before_the_download(
    server: HubServer, fetched: Fetch, cache: Cache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    message = failing(fetched, url)
    assert message.startswith(f"{url} needs 0.00 GB and {cache.root}")
    assert files(cache.root) == []


def test_a_disk_that_fills_up_in_the_middle_leaves_no_part(
    environment: ZooEnvironment, url: str
) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (300_000, r.RLIM_INFINITY));"
    failed = environment.run(limit + FETCH, url)
    assert failed.returncode == 1
    last = in_one_line(failed.stderr.splitlines()[-1])
    assert last.startswith(f"FetchError: cannot write {environment.cache.root}: File too large.")
    assert files(environment.home) == []
    assert Path(environment.run(FETCH, url).stdout).read_bytes() == WEIGHTS


# Shards


def test_shards_are_kept_beside_their_index(server: HubServer, fetched: Fetch) -> None:
    index = json.dumps({"weight_map": {"x": "1.bin", "y": "2.bin"}}).encode()
    url = server.add_plain("m.index.json", index)
    for name in ("1.bin", "2.bin"):
        server.add_plain(name, name.encode())
    first = fetched(f"{url}?download=1")
    beside = {path.name: path.read_bytes() for path in first.path.parent.iterdir()}
    assert beside == {"m.index.json": index, "1.bin": b"1.bin", "2.bin": b"2.bin"}
    paths = [request.path for request in server.requests]
    assert paths == [f"/files/{name}?download=1" for name in ("m.index.json", "1.bin", "2.bin")]
    assert fetched(f"{url}?download=1") == first
    assert len(server.requests) == 3
    (first.path.parent / "2.bin").unlink()
    server.plain.pop("2.bin")
    assert "2.bin?download=1: the server answered 404" in failing(fetched, f"{url}?download=1")


@pytest.mark.parametrize("name", ["../out.bin", "/etc/passwd"])
def test_a_shard_outside_the_folder_is_refused_before_it_is_asked_for(
    server: HubServer, fetched: Fetch, name: str
) -> None:
    index = json.dumps({"weight_map": {"x": name}}).encode()
    with pytest.raises(CheckpointError, match="expected the name of a file beside it"):
        fetched(server.add_plain("m.index.json", index))
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_each_refusal_of_the_disk_is_told_as_one(
    fetched: Fetch, cache: Cache, url: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(https, "_save", refuse)
    assert failing(fetched, url).startswith(f"cannot write {cache.root}: no. Free some space")
