"""The test server agrees with the real `huggingface_hub` client, faults included."""

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from huggingface_hub import CommitOperationDelete, HfApi, constants, hf_hub_download
from huggingface_hub import snapshot_download as download_snapshot
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub_server import HubServer

REPO = "ada/net"
WEIGHTS = bytes(range(256)) * 4096  # 1 MiB, in LFS by its suffix


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_files(REPO, {"config.json": b"{}", "model.safetensors": WEIGHTS})
        yield server


@pytest.fixture(autouse=True)
def _quiet_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's sleeps between retries, which take no time."""
    naps: list[float] = []
    for module in ("file_download", "utils._http"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", SimpleNamespace(sleep=naps.append))
    return naps


def download(
    server: HubServer, cache: Path, name: str = "model.safetensors", repo: str = REPO, **more: Any
) -> bytes:
    settings: dict[str, Any] = {"endpoint": server.url, "cache_dir": cache, "token": False} | more
    return Path(hf_hub_download(repo, name, **settings)).read_bytes()


def fetch(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, Message]:
    try:
        with urlopen(Request(url, headers=dict(headers or {})), timeout=5) as response:
            return response.status, response.read(), response.headers
    except HTTPError as error:
        return error.code, error.read(), error.headers


@pytest.mark.parametrize("redirect", ["none", "same", "other"])
def test_a_file_is_downloaded_once_and_then_comes_from_the_cache(
    server: HubServer, tmp_path: Path, redirect: Any
) -> None:
    server.redirect = redirect
    assert download(server, tmp_path) == WEIGHTS
    gets = server.count("GET")
    assert download(server, tmp_path) == WEIGHTS
    assert server.count("GET") == gets
    assert server.count("HEAD", "/resolve/main/model.safetensors") == 2


def test_a_snapshot_holds_every_file_of_the_revision(server: HubServer, tmp_path: Path) -> None:
    folder = Path(download_snapshot(REPO, endpoint=server.url, cache_dir=tmp_path, token=False))
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_files_on_disk_are_served_by_the_hash_given_with_them(
    server: HubServer, tmp_path: Path
) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(WEIGHTS)
    server.add_file(REPO, "big.bin", file, sha256="0" * 64)
    assert download(server, tmp_path / "cache", "big.bin") == WEIGHTS
    assert [blob.name for blob in tmp_path.glob("cache/*/blobs/*")] == ["0" * 64]


def test_branches_tags_and_commits_resolve_and_old_commits_stay(
    server: HubServer, tmp_path: Path
) -> None:
    old = server.add_file(REPO, "config.json", b"old")
    server.tag(REPO, "v1.0")
    new = server.add_file(REPO, "config.json", b"new")
    server.add_file(REPO, "config.json", b"draft", "user/draft")
    found = {r: download(server, tmp_path, "config.json", revision=r) for r in (old, new)}
    assert found == {old: b"old", new: b"new"}
    assert download(server, tmp_path, "config.json", revision="v1.0") == b"old"
    assert download(server, tmp_path, "config.json", revision="user/draft") == b"draft"
    assert download(server, tmp_path, "config.json") == b"new"
    assert HfApi(server.url, token=False).model_info(REPO, revision="v1.0").sha == old


def test_what_is_missing_raises_the_clients_own_errors(server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        download(server, tmp_path, repo="ada/nothing")
    with pytest.raises(RevisionNotFoundError):
        download(server, tmp_path, revision="v9")
    with pytest.raises(EntryNotFoundError):
        download(server, tmp_path, "nothing.json")
    assert [Path(file).name for file in tmp_path.glob("*/.no_exist/*/*")] == ["nothing.json"]


def test_private_and_gated_repos_open_with_their_token(server: HubServer, tmp_path: Path) -> None:
    server.private(REPO, "hf_friend")
    for token in (False, "hf_stranger"):
        with pytest.raises(RepositoryNotFoundError):
            download(server, tmp_path, token=token)
    assert download(server, tmp_path, token="hf_friend") == WEIGHTS
    server.gated(REPO, "hf_friend")
    with pytest.raises(GatedRepoError):
        download(server, tmp_path / "other", token="hf_stranger")
    assert [r.status for r in server.requests if r.method == "HEAD"] == [401, 401, 200, 403]


def test_the_token_does_not_travel_to_another_host(server: HubServer, tmp_path: Path) -> None:
    server.redirect = "other"
    server.private(REPO, "hf_friend")
    assert download(server, tmp_path, token="hf_friend") == WEIGHTS
    tokens = {request.path[:5]: request.authorization for request in server.requests}
    assert tokens == {"/ada/": "Bearer hf_friend", "/cdn/": None}
    assert fetch(f"{server.url}/cdn/{REPO}/{'0' * 40}/model.safetensors")[0] == 403


def test_a_broken_transfer_is_resumed_by_range(
    server: HubServer, tmp_path: Path, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client drops what it received of an incomplete chunk, so chunks must be smaller than it.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    server.break_transfer(after=700_000, path_contains="model.safetensors")
    assert download(server, tmp_path) == WEIGHTS
    gets = [(r.status, r.range, r.sent) for r in server.requests if r.method == "GET"]
    assert gets == [(200, None, 700_000), (206, "bytes=700000-", len(WEIGHTS) - 700_000)]
    assert naps == [1]


def test_server_errors_and_rate_limits_are_retried(
    server: HubServer, tmp_path: Path, naps: list[float]
) -> None:
    server.fail(2, method="HEAD")
    server.fail(method="GET", status=429, headers={"Retry-After": "7"})
    assert download(server, tmp_path) == WEIGHTS
    assert [r.status for r in server.requests] == [503, 503, 200, 429, 200]
    assert naps == [1, 8]


def test_errors_and_hang_ups_last_until_the_server_is_healed(
    server: HubServer, tmp_path: Path
) -> None:
    server.fail(None, method="GET", status=500)
    with pytest.raises(HfHubHTTPError, match="500"):
        download(server, tmp_path)
    server.heal()
    assert download(server, tmp_path) == WEIGHTS
    server.fail(method="GET", status=0)
    assert download(server, tmp_path, "config.json") == b"{}"
    assert [r.status for r in server.requests if r.method == "GET"] == [500, 200, 0, 200]


def test_corruption_passes_the_client_but_truncation_does_not(
    server: HubServer, tmp_path: Path
) -> None:
    server.corrupt("model.safetensors", at=300_000)
    spoilt = download(server, tmp_path / "corrupt")
    assert [i for i, byte in enumerate(WEIGHTS) if spoilt[i] != byte] == [300_000]
    server.truncate(to=1000)
    with pytest.raises(OSError, match="size 1048576 but has size 1000"):
        download(server, tmp_path / "truncated")


def test_delays_last_as_long_as_scripted(server: HubServer, tmp_path: Path) -> None:
    server.delay(0.2, method="HEAD")
    server.stall(0.2)
    began = time.monotonic()
    assert download(server, tmp_path) == WEIGHTS
    assert time.monotonic() - began >= 0.4


def test_a_closed_server_drops_its_connections_and_refuses_new_ones(
    server: HubServer, tmp_path: Path
) -> None:
    download(server, tmp_path)
    server.delay(60, path_contains="config.json")
    closing = threading.Timer(0.1, server.close)
    closing.start()
    with pytest.raises(HTTPException):
        fetch(f"{server.url}/{REPO}/resolve/main/config.json")
    closing.join()
    with pytest.raises(LocalEntryNotFoundError):
        download(server, tmp_path, "config.json")
    assert download(server, tmp_path) == WEIGHTS


def test_plain_files_honour_range_and_if_range(server: HubServer) -> None:
    url = server.add_plain("data/a file.bin", WEIGHTS)
    status, body, headers = fetch(url)
    assert (status, body, headers["Accept-Ranges"]) == (200, WEIGHTS, "bytes")
    wanted = {"Range": "bytes=10-19", "If-Range": headers["ETag"]}
    status, body, headers = fetch(url, wanted)
    assert (status, body) == (206, WEIGHTS[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(WEIGHTS)}"
    assert fetch(url, {"Range": "bytes=-5"})[:2] == (206, WEIGHTS[-5:])
    assert fetch(url, wanted | {"If-Range": '"stale"'})[:2] == (200, WEIGHTS)
    status, _, headers = fetch(url, {"Range": f"bytes={len(WEIGHTS)}-"})
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(WEIGHTS)}")
    bare = server.add_plain("bare", b"xyz", etag=False, ranges=False)
    status, body, headers = fetch(bare, {"Range": "bytes=1-"})
    assert (status, body, "ETag" in headers) == (200, b"xyz", False)


def test_uploads_come_back_as_they_were(server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    big = hashlib.shake_256(b"seed").digest(11 * 2**20)
    (folder / "README.md").write_text("---\nlicense: mit\ntags:\n- x\n---\n# Net\n")
    (folder / "big.dat").write_bytes(big)
    api = HfApi(server.url, token=server.token)
    assert api.create_repo("tester/new", private=True).repo_id == "tester/new"
    api.create_repo("tester/new", exist_ok=True)
    sha = api.upload_folder(repo_id="tester/new", folder_path=folder).oid
    assert download(server, tmp_path, "big.dat", "tester/new", token=server.token) == big
    api.create_tag("tester/new", tag="v1")
    assert api.model_info("tester/new", revision="v1").sha == sha
    assert api.list_repo_files("tester/new") == [".gitattributes", "README.md", "big.dat"]
    api.upload_folder(repo_id="tester/new", folder_path=folder)  # Nothing changed: no commit.
    assert server.count("PUT", "/lfs/") == server.count("POST", "/commit/") == 1
    gone = [CommitOperationDelete("README.md")]
    api.create_commit("tester/new", gone, commit_message="Delete", parent_commit=sha)
    assert api.list_repo_files("tester/new") == [".gitattributes", "big.dat"]
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit("tester/new", gone, commit_message="Again", parent_commit=sha)


def test_writing_needs_the_token_and_sound_metadata(server: HubServer) -> None:
    for token in (False, "hf_stranger"):
        with pytest.raises(HfHubHTTPError, match="401"):
            HfApi(server.url, token=token).create_repo("tester/new")
    api = HfApi(server.url, token=server.token)
    assert api.whoami()["name"] == "tester"
    upload: dict[str, Any] = {"path_in_repo": "README.md", "repo_id": REPO}
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(path_or_fileobj=b"---\nlicense mit\n---\n", **upload)
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.upload_file(path_or_fileobj=b"# Net\n", **upload)
    with HubServer() as elsewhere, pytest.raises(RepositoryNotFoundError):
        HfApi(elsewhere.url, token=elsewhere.token).upload_file(path_or_fileobj=b"", **upload)


def test_a_subprocess_finds_the_server_by_its_environment(
    server: HubServer, tmp_path: Path
) -> None:
    code = "import huggingface_hub as hub, sys; print(hub.hf_hub_download(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, REPO, "config.json"]
    environment = server.environment(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(Path(done.stdout.strip()).read_text()) == {}
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
    assert [request.method for request in server.requests] == ["HEAD", "GET"]
