"""A Hugging Face Hub on the loopback interface, with faults that a test can script.

It speaks the part of the Hub's protocol that the real `huggingface_hub` client needs to download
files and to publish models, so tests exercise the client itself rather than a mock of it. Either
pass `endpoint=server.url` to the client, or start a subprocess with `server.environment(home)`,
since the client reads its environment when it is imported.

LFS files travel by git-LFS "basic" transfer. With `hf_xet` installed the client uploads them by
xet instead, which this server does not speak: set `HF_HUB_DISABLE_XET=1` before the import, or
patch `huggingface_hub.constants.HF_HUB_DISABLE_XET`. Downloads are plain HTTP in either case.
"""

import base64
import gzip
import hashlib
import io
import json
import math
import os
import re
import secrets
import socket
import ssl
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote, unquote

Content = bytes | Path
CHUNK: Final = 256 * 1024
LFS_THRESHOLD: Final = 10 * 1024 * 1024
LFS_SUFFIXES: Final = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".onnx", ".zip")
GIT_ATTRIBUTES: Final = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LFS_SUFFIXES)
USER: Final = "tester"
DATE: Final = "2024-01-01T00:00:00.000Z"
REPO: Final = r"(?P<repo>[^/]+/[^/]+?)"
REVISION: Final = r"(?P<revision>[^/]+)"
ROUTES: Final = tuple(
    (methods.split(), re.compile(pattern), handler, needs)
    for methods, pattern, handler, needs in (
        ("GET HEAD", r"/files/(?P<path>.+)", "plain_file", None),
        ("GET HEAD", rf"/{REPO}/resolve/{REVISION}/(?P<path>.+)", "resolve", None),
        ("GET HEAD", rf"/cdn/{REPO}/{REVISION}/(?P<path>.+)", "cdn", "signature"),
        ("GET", rf"/api/models/{REPO}(?:/revision/{REVISION})?", "model_info", None),
        ("GET", rf"/api/models/{REPO}/tree/{REVISION}", "tree", None),
        ("GET", r"/api/whoami-v2", "whoami", "token"),
        ("POST", r"/api/validate-yaml", "validate_yaml", None),
        ("POST", r"/api/repos/create", "create_repo", "token"),
        ("POST", rf"/api/models/{REPO}/tag/{REVISION}", "create_tag", "token"),
        ("POST", rf"/api/models/{REPO}/branch/{REVISION}", "create_branch", "token"),
        ("POST", rf"/api/models/{REPO}/preupload/{REVISION}", "preupload", "token"),
        ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", "lfs_batch", "token"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_upload", "signature"),
        ("POST", rf"/{REPO}\.git/info/lfs/verify", "lfs_verify", "token"),
        ("POST", rf"/api/models/{REPO}/commit/{REVISION}", "commit", "token"),
    )
)


def git_hash(data: bytes) -> str:
    """The object id that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_lfs(path: str, size: int) -> bool:
    """Whether a file belongs in LFS: by its suffix, as in `.gitattributes`, or by its size."""
    return size > 0 and (path.endswith(LFS_SUFFIXES) or size > LFS_THRESHOLD)


class Blob:
    """One version of a file's bytes, in memory or on disk; a file on disk is never read whole."""

    def __init__(
        self, path: str, content: Content, lfs: bool | None = None, sha256: str | None = None
    ) -> None:
        self.content: Final = content
        self.size: Final = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.lfs: Final = is_lfs(path, self.size) if lfs is None else lfs
        if sha256 is not None:
            self.sha256 = sha256

    def chunks(self, first: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from offset `first` on."""
        held = self.content
        with io.BytesIO(held) if isinstance(held, bytes) else held.open("rb") as file:
            file.seek(first)
            while chunk := file.read(min(CHUNK, length)):
                length -= len(chunk)
                yield chunk

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the content, computed when first asked for."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def key(self) -> str:
        """What the Hub gives as ETag, unquoted: sha256 for LFS files, git's id for the others."""
        return self.sha256 if self.lfs else git_hash(b"".join(self.chunks(0, self.size)))

    def info(self, path: str) -> dict[str, Any]:
        """The entry of this file in a tree listing (with a made up git id for an LFS pointer)."""
        entry = {"type": "file", "path": path, "size": self.size, "oid": self.key[:40]}
        lfs = {"oid": self.key, "size": self.size, "pointerSize": 130}
        return entry | {"lfs": lfs} if self.lfs else entry


@dataclass
class Repo:
    """A model repository: every commit's files, and the names that point to commits."""

    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False

    def find(self, revision: str) -> str | None:
        """The commit hash that a branch, a tag or a commit hash stands for."""
        named = self.branches.get(revision) or self.tags.get(revision)
        return named or (revision if revision in self.commits else None)

    def commit(self, changes: Mapping[str, Blob | None], branch: str) -> str:
        """Commit changes (None deletes) to a branch, a new one from `main`; returns the hash."""
        parent = self.branches.get(branch) or self.branches.get("main")
        files = dict(self.commits[parent]) if parent else {}
        identity = [str(parent)]
        for path, blob in sorted(changes.items()):
            files.pop(path, None)
            if blob is not None:
                files[path] = blob
                # A file on disk counts by its size alone: committing gigabytes stays instant.
                known = isinstance(blob.content, bytes)
                identity.append(f"{path} {blob.key if known else blob.size}")
            else:
                identity.append(f"{path} deleted")
        sha = hashlib.sha1("\n".join(identity).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha


@dataclass(frozen=True)
class Request:
    """One answered request: `path` is unquoted and has its query; `sent` counts body bytes."""

    method: str
    path: str
    status: int
    range: str | None
    authorization: str | None
    sent: int = 0
    if_range: str | None = None


@dataclass
class _Fault:
    """What goes wrong with the next `left` requests that match; `value` depends on the kind."""

    kind: str
    left: float
    method: str | None
    path_contains: str
    value: Any


class _HubError(Exception):
    """Ends the handling of a request with an error answer of the Hub's kind."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.body = {"error": message, **(body or {})}
        self.headers = {"X-Error-Message": message, **(headers or {})}
        if code is not None:
            self.headers["X-Error-Code"] = code


class HubServer:
    """A Hub on `http://127.0.0.1:PORT`, running from construction until `close` (or `with`).

    With `tls`, a server context whose certificate names 127.0.0.1, it is on `https://` instead.

    Attributes:
        url: the endpoint to give to the client.
        token: the one token that may write; it reads everything too.
        redirect: how LFS files are served: "none" directly, "same" by a 302 to `/cdn/...` on this
            host, "other" by a 302 to `/cdn/...` on `localhost`, another host to a client, as the
            real Hub does. The CDN wants its signed URL, and no token.
    """

    def __init__(
        self,
        *,
        token: str = "hf_writer",
        redirect: Literal["none", "same", "other"] = "none",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.token: Final = token
        self.redirect: Literal["none", "same", "other"] = redirect
        self.repos: Final[dict[str, Repo]] = {}
        self.plain: Final[dict[str, tuple[Blob, bool | str, bool, bool | str]]] = {}
        self.moved: Final[dict[str, str]] = {}
        self.objects: Final[dict[str, Blob]] = {}
        self.connections: Final[set[socket.socket]] = set()
        self.lock: Final = threading.RLock()
        self.closing: Final = threading.Event()
        self._uploads: Final = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.uploads: Final = Path(self._uploads.name)
        self._secret: Final = secrets.token_hex(8)
        self._faults: Final[list[_Fault]] = []
        self._log: Final[list[Request]] = []
        self._server: Final = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.port: Final[int] = self._server.server_address[1]
        self.url: Final = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        if tls is not None:
            # The handshake is left to the thread of the connection.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        serve = self._server.serve_forever
        self._thread: Final = threading.Thread(target=serve, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, drop open connections, delete what was uploaded; may be repeated."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self.lock:
            for connection in self.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._uploads.cleanup()

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a subprocess whose client uses this server and caches in `home`."""
        drop = re.compile(r"(HF|HUGGING\w*|TRANSFORMERS)_.*|\w+_proxy", re.IGNORECASE)
        kept = {name: value for name, value in os.environ.items() if not drop.fullmatch(name)}
        switches = (
            "HF_HUB_DISABLE_XET",
            "HF_HUB_DISABLE_TELEMETRY",
            "HF_HUB_DISABLE_PROGRESS_BARS",
        )
        return kept | dict.fromkeys(switches, "1") | {"HF_ENDPOINT": self.url, "HF_HOME": str(home)}

    # Content

    def add_file(
        self,
        repo: str,
        path: str,
        content: Content,
        revision: str = "main",
        *,
        lfs: bool | None = None,
        sha256: str | None = None,
    ) -> str:
        """Commit one file to a branch, making repo and branch as needed; returns the commit hash.

        Args:
            repo: "owner/name".
            path: where in the repo.
            content: bytes, or a file that is streamed from disk and must not change meanwhile.
            revision: the branch; a new one starts from `main`.
            lfs: keep it in LFS; by default decided by suffix and size (see `is_lfs`).
            sha256: its hash, to spare hashing a large file on the first request for it.
        """
        return self._commit(repo, {path: Blob(path, content, lfs, sha256)}, revision)

    def add_files(self, repo: str, files: Mapping[str, Content], revision: str = "main") -> str:
        """Commit several files at once; returns the commit hash."""
        return self._commit(repo, {p: Blob(p, content) for p, content in files.items()}, revision)

    def _commit(self, repo: str, changes: Mapping[str, Blob], branch: str) -> str:
        with self.lock:
            target = self.repos.setdefault(repo, Repo())
            if branch in target.tags or branch in target.commits:
                raise ValueError(f"revision {branch!r} of {repo!r} is not a branch")
            return target.commit(changes, branch)

    def tag(self, repo: str, name: str, revision: str = "main") -> None:
        """Let a tag point to what `revision` is now."""
        commit = self.repos[repo].find(revision)
        if commit is None:
            raise ValueError(f"{repo!r} has no revision {revision!r}")
        self.repos[repo].tags[name] = commit

    def pin(self, repo: str, commit: str, branch: str = "main") -> None:
        """Let the head of a branch have this hash: that of a commit which a card pins."""
        with self.lock:
            target = self.repos[repo]
            target.commits[commit] = target.commits.pop(target.branches[branch])
            target.branches[branch] = commit

    def private(self, repo: str, token: str) -> None:
        """Hide a repo (401 RepoNotFound) from requests without this token."""
        self.repos.setdefault(repo, Repo()).token = token

    def gated(self, repo: str, token: str) -> None:
        """Withhold a repo's files (GatedRepo: 401 without a token, 403 with the wrong one)."""
        self.private(repo, token)
        self.repos[repo].gated = True

    def add_plain(
        self,
        path: str,
        content: Content,
        *,
        etag: bool | str = True,
        ranges: bool = True,
        compress: bool | Literal["always"] = False,
    ) -> str:
        """Serve a file outside of any repo; returns its URL.

        Args:
            path: where below `/files/`.
            content: as for `add_file`.
            etag: answer with an ETag, or with this one.
            ranges: heed Range.
            compress: gzip it for clients that accept that, or "always".
        """
        self.plain[path] = (Blob(path, content, lfs=True), etag, ranges, compress)
        return f"{self.url}/files/{quote(path)}"

    def add_redirect(self, path: str, target: str) -> str:
        """Answer a plain path with a redirect to another URL; returns the URL that redirects."""
        self.moved[path] = target
        return f"{self.url}/files/{quote(path)}"

    # Faults: each hits the next `times` requests that match (None: all of them)

    def fail(
        self,
        times: int | None = 1,
        *,
        method: str | None = None,
        path_contains: str = "",
        status: int = 503,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with this status and these headers before anything else is looked at.

        Status 0 hangs up without an answer; the log has it all the same.
        """
        error = _HubError(status, "scripted fault", headers=headers)
        self._script("fail", times, path_contains, error, method)

    def delay(
        self,
        seconds: float,
        times: int | None = 1,
        *,
        method: str | None = None,
        path_contains: str = "",
    ) -> None:
        """Wait before answering."""
        self._script("delay", times, path_contains, seconds, method)

    def break_transfer(
        self, after: int, times: int | None = 1, path_contains: str = "", *, reset: bool = False
    ) -> None:
        """Close the connection after that many body bytes of a GET, or reset it (TCP RST)."""
        self._script("break", times, path_contains, (after, reset))

    def corrupt(
        self, path_contains: str = "", times: int | None = 1, *, at: int | None = None
    ) -> None:
        """Flip the bits of one byte of a GET's body: byte `at` of it, by default the middle one."""
        self._script("corrupt", times, path_contains, at)

    def truncate(self, to: int, times: int | None = 1, path_contains: str = "") -> None:
        """Serve a GET as if the file were only `to` bytes long, with headers that agree."""
        self._script("truncate", times, path_contains, to)

    def stall(self, seconds: float, times: int | None = 1, path_contains: str = "") -> None:
        """Send a GET's headers, then nothing for a while, then the body."""
        self._script("stall", times, path_contains, seconds)

    def stop_after(self, count: int, *, seconds: float, path_contains: str = "") -> None:
        """Send that many body bytes of the next GET, then nothing for a while, then hang up."""
        self._script("break", 1, path_contains, (count, False))
        self._script("linger", 1, path_contains, seconds)

    def heal(self) -> None:
        """Forget the faults that have not happened yet."""
        with self.lock:
            self._faults.clear()

    def _script(
        self,
        kind: str,
        times: int | None,
        path_contains: str,
        value: Any,
        method: str | None = "GET",
    ) -> None:
        left = math.inf if times is None else times
        with self.lock:
            self._faults.append(_Fault(kind, left, method, path_contains, value))

    def take(self, kind: str, method: str, path: str) -> _Fault | None:
        """Use up one fault of this kind that matches the request, if there is any."""
        with self.lock:
            for fault in self._faults:
                fits = fault.method in (None, method) and fault.path_contains in path
                if fault.kind == kind and fits and fault.left > 0:
                    fault.left -= 1
                    return fault
        return None

    # Log

    @property
    def requests(self) -> list[Request]:
        """The requests answered so far, oldest first."""
        with self.lock:
            return list(self._log)

    def count(self, method: str | None = None, path_contains: str = "") -> int:
        """How many requests so far had this method and this text in their path."""
        matching = (r for r in self.requests if method in (None, r.method))
        return sum(path_contains in request.path for request in matching)

    def record(self, request: Request) -> int:
        """Log a request; returns its place in the log, for `add_sent`."""
        with self.lock:
            self._log.append(request)
            return len(self._log) - 1

    def add_sent(self, place: int, count: int) -> None:
        """Add to the body bytes sent for the request at this place of the log."""
        with self.lock:
            self._log[place] = replace(self._log[place], sent=self._log[place].sent + count)

    def sign(self, path: str) -> str:
        """The query that opens a path to whoever has the URL, as a signed storage URL does."""
        return "signature=" + hashlib.sha256(f"{self._secret} {path}".encode()).hexdigest()[:16]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up between requests; show what is a bug here."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection; `ROUTES` names the method for each of them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        """Let `close` find the connection."""
        super().setup()
        self.hub = self.server.hub
        with self.hub.lock:
            self.hub.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        with self.hub.lock:
            self.hub.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Keep stderr clean: the log is `HubServer.requests`."""

    def serve(self) -> None:
        """Apply the faults that come before everything, then hand over to the route's method."""
        raw, _, query = self.path.partition("?")
        self.target = unquote(self.path)
        self.incoming = self.read_body()
        try:
            fault = self.hub.take("delay", self.command, self.target)
            self.pause(fault.value if fault else 0)
            try:
                if fault := self.hub.take("fail", self.command, self.target):
                    if fault.value.status == 0:
                        self.log(0)
                        raise ConnectionError("scripted hang-up")
                    raise fault.value
                for methods, pattern, name, needs in ROUTES:
                    if self.command in methods and (match := pattern.fullmatch(raw)):
                        if needs == "token" and not self.authorized():
                            raise _HubError(401, "Invalid username or password.")
                        if needs == "signature" and query != self.hub.sign(unquote(raw)):
                            raise _HubError(403, "The signature of this URL is wrong")
                        parts = {k: v and unquote(v) for k, v in match.groupdict().items()}
                        getattr(self, name)(**parts)
                        return
                raise _HubError(404, f"Nothing at {self.command} {raw}")
            except _HubError as error:
                self.reply_json(error.body, error.status, error.headers)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def pause(self, seconds: float) -> None:
        """Wait, unless the server closes meanwhile: then hang up."""
        if self.hub.closing.wait(seconds):
            raise ConnectionError("the server is closing")

    def read_body(self) -> Iterator[bytes]:
        """Yield the request's body, which comes with a length or in chunks."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length", 0))
        while left:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionError("the client went away")
            left -= len(chunk)
            yield chunk

    def read_json(self) -> Any:
        return json.loads(b"".join(self.incoming))

    # Answers

    def log(self, status: int) -> int:
        """Record the request with its status; returns its place in the log."""
        given = self.headers.get("Range"), self.headers.get("Authorization")
        if_range = self.headers.get("If-Range")
        return self.hub.record(
            Request(self.command, self.target, status, *given, if_range=if_range)
        )

    def start(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        """Send status and headers, once the request's body is out of the way."""
        for _ in self.incoming:
            pass
        # Logged before the client can see the answer, so that a test finds it in the log.
        self.place = self.log(status)
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        self.hub.add_sent(self.place, len(data))
        self.wfile.write(data)

    def reply_json(
        self, value: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with JSON."""
        body = json.dumps(value).encode()
        self.start(status, len(body), {"Content-Type": "application/json", **(headers or {})})
        if self.command != "HEAD":
            self.write(body)

    def reply_file(self, blob: Blob, headers: Mapping[str, str], *, ranges: bool = True) -> None:
        """Answer with a file or the range of it that was asked for, and spoil it as scripted."""
        get = self.command == "GET"
        faults = ("truncate", "break", "corrupt", "stall", "linger")
        value = {kind: self.hub.take(kind, self.command, self.target) for kind in faults}
        size = min(blob.size, value["truncate"].value) if value["truncate"] else blob.size
        headers = {"Content-Type": "application/octet-stream", **headers}
        headers["Accept-Ranges"] = "bytes" if ranges else "none"
        first, stop, status = 0, size, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        fresh = self.headers.get("If-Range") in (None, headers.get("ETag"))
        if get and ranges and fresh and asked and any(asked.groups()):
            begin, end = asked.groups()
            first = int(begin) if begin else max(0, size - int(end))
            stop = min(size, int(end) + 1) if begin and end else size
            if first >= size:
                missed = {"Content-Range": f"bytes */{size}"}
                raise _HubError(416, "Range not satisfiable", headers=missed)
            headers["Content-Range"] = f"bytes {first}-{stop - 1}/{size}"
            status = 206
        length = max(0, stop - first)
        self.start(status, length, headers)
        if not get:
            return
        if value["stall"]:
            self.pause(value["stall"].value)
        flip = -1
        if value["corrupt"]:
            flip = length // 2 if value["corrupt"].value is None else value["corrupt"].value
        after, reset = value["break"].value if value["break"] else (length, False)
        left = min(length, after)
        for chunk in blob.chunks(first, left):
            if 0 <= flip < len(chunk):
                chunk = chunk[:flip] + bytes([chunk[flip] ^ 0xFF]) + chunk[flip + 1 :]
            flip -= len(chunk)
            self.write(chunk)
            length -= len(chunk)
        if value["linger"]:
            self.pause(value["linger"].value)
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            raise ConnectionResetError("scripted reset")
        # Short of the announced length, for a scripted break or a file that shrank.
        self.close_connection |= length > 0

    # Access

    def authorized(self, repo: Repo | None = None) -> bool:
        """Whether the request has the token that writes, or the one that reads this repo."""
        tokens = {self.hub.token, repo.token if repo else None}
        given = self.headers.get("Authorization", "")
        return given.startswith("Bearer ") and given.removeprefix("Bearer ") in tokens

    def find_repo(self, name: str, *, files: bool = True) -> Repo:
        """The repo, if the request may see it (and its files)."""
        repo = self.hub.repos.get(name)
        if repo is None:
            raise _HubError(404, "Repository not found", "RepoNotFound")
        if repo.token is not None and not self.authorized(repo):
            if not repo.gated:
                raise _HubError(401, "Invalid username or password.", "RepoNotFound")
            if files:
                status = 403 if "Authorization" in self.headers else 401
                raise _HubError(status, f"Access to model {name} is restricted.", "GatedRepo")
        return repo

    def find_commit(self, repo: Repo, revision: str) -> str:
        commit = repo.find(revision)
        if commit is None:
            raise _HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Downloads

    def resolve(self, repo: str, revision: str, path: str) -> None:
        found = self.find_repo(repo)
        commit = self.find_commit(found, revision)
        headers = {"X-Repo-Commit": commit}
        blob = found.commits[commit].get(path)
        if blob is None:
            raise _HubError(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = f'"{blob.key}"'
        if blob.lfs:
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(blob.size)}
        if not blob.lfs or self.hub.redirect == "none":
            self.reply_file(blob, headers)
            return
        place = f"/cdn/{repo}/{commit}/{path}"
        host = f"http://localhost:{self.hub.port}" if self.hub.redirect == "other" else ""
        headers["Location"] = f"{host}{quote(place)}?{self.hub.sign(place)}"
        self.start(302, 0, headers)

    def cdn(self, repo: str, revision: str, path: str) -> None:
        blob = self.hub.repos[repo].commits[revision][path]
        headers = {"ETag": f'"{blob.key}"'}
        # On the same host a client follows the redirect for metadata; storage elsewhere has none.
        if self.headers.get("Host", "").startswith("127.0.0.1"):
            headers["X-Repo-Commit"] = revision
        self.reply_file(blob, headers)

    def plain_file(self, path: str) -> None:
        if path in self.hub.moved:
            self.start(302, 0, {"Location": self.hub.moved[path]})
            return
        if path not in self.hub.plain:
            raise _HubError(404, "No such file")
        blob, etag, ranges, compress = self.hub.plain[path]
        # Not a hash of the content that a client could take for a checksum.
        tag = etag if isinstance(etag, str) else f'"{blob.size:x}-{blob.sha256[:16]}"'
        headers = {"ETag": tag} if etag else {}
        if compress == "always" or (compress and "gzip" in self.headers.get("Accept-Encoding", "")):
            blob = Blob(path, gzip.compress(b"".join(blob.chunks(0, blob.size))))
            headers["Content-Encoding"] = "gzip"
        self.reply_file(blob, headers, ranges=ranges)

    def model_info(self, repo: str, revision: str | None) -> None:
        found = self.find_repo(repo, files=False)
        commit = self.find_commit(found, revision or "main")
        info: dict[str, Any] = {"id": repo, "author": repo.split("/")[0], "sha": commit}
        info |= {"lastModified": DATE, "createdAt": DATE, "tags": [], "disabled": False}
        info["private"] = found.token is not None and not found.gated
        info["gated"] = "manual" if found.gated else False
        info["siblings"] = [{"rfilename": path} for path in sorted(found.commits[commit])]
        self.reply_json(info)

    def tree(self, repo: str, revision: str) -> None:
        found = self.find_repo(repo)
        files = found.commits[self.find_commit(found, revision)]
        self.reply_json([blob.info(path) for path, blob in sorted(files.items())])

    # Uploads

    def whoami(self) -> None:
        auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        self.reply_json({"type": "user", "name": USER, "fullname": USER, "orgs": [], "auth": auth})

    def create_repo(self) -> None:
        wanted = self.read_json()
        name = f"{wanted.get('organization') or USER}/{wanted['name']}"
        url = f"{self.hub.url}/{name}"
        with self.hub.lock:
            if name in self.hub.repos:
                raise _HubError(409, "You already created this model repo", body={"url": url})
            self.hub.add_file(name, ".gitattributes", GIT_ATTRIBUTES.encode())
            if wanted.get("visibility") == "private":
                self.hub.private(name, self.hub.token)
        self.reply_json({"url": url, "name": name, "id": git_hash(name.encode())[:24]})

    def validate_yaml(self) -> None:
        """Check that a README's front matter, if any, is lines of `key: value`, lists and nests."""
        content = self.read_json()["content"].replace("\r\n", "\n")
        front = re.match(r"---\n(.*?)^---\s*$", content, re.DOTALL | re.MULTILINE)
        if front is None or not front[1].strip():
            warning = {"message": "empty or missing yaml metadata in repo card"}
            self.reply_json({"errors": [], "warnings": [warning]})
            return
        good = re.compile(r"""\s*(#.*)?|[\w."'-][^:]*:(\s.*)?|- .*|-|\x20+\S.*|[\]}],?""")
        bad = [line for line in front[1].splitlines() if not good.fullmatch(line)]
        if bad:
            errors = [{"message": f"bad yaml: {line!r}"} for line in bad]
            raise _HubError(400, "Invalid metadata", body={"errors": errors, "warnings": []})
        self.reply_json({"errors": [], "warnings": []})

    def create_tag(self, repo: str, revision: str) -> None:
        name = self.read_json()["tag"]
        with self.hub.lock:
            found = self.find_repo(repo)
            if name in found.tags:
                raise _HubError(409, f"Tag reference exists already: refs/tags/{name}")
            found.tags[name] = self.find_commit(found, revision)
        self.reply_json({})

    def create_branch(self, repo: str, revision: str) -> None:
        start = self.read_json().get("startingPoint", "main")
        with self.hub.lock:
            found = self.find_repo(repo)
            if revision in found.branches:
                raise _HubError(409, f"Reference already exists: refs/heads/{revision}")
            found.branches[revision] = self.find_commit(found, start)
        self.reply_json({})

    def preupload(self, repo: str, revision: str) -> None:
        wanted = self.read_json()["files"]
        found = self.find_repo(repo)
        commit = self.find_commit(found, revision)
        modes = []
        for file in wanted:
            old = found.commits[commit].get(file["path"])
            mode = "lfs" if is_lfs(file["path"], file["size"]) else "regular"
            known = {"oid": old.key} if old else {}
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **known})
        self.reply_json({"files": modes, "commitOid": commit})

    def lfs_batch(self, repo: str) -> None:
        wanted = self.read_json()["objects"]
        self.find_repo(repo)
        objects: list[dict[str, Any]] = []
        for item in wanted:
            place = f"/lfs/{item['oid']}"
            upload = {"href": f"{self.hub.url}{place}?{self.hub.sign(place)}", "header": {}}
            actions = {
                "upload": upload,
                "verify": {"href": f"{self.hub.url}/{repo}.git/info/lfs/verify"},
            }
            known = {} if item["oid"] in self.hub.objects else {"actions": actions}
            objects.append({"oid": item["oid"], "size": item["size"], **known})
        self.reply_json({"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str) -> None:
        digest = hashlib.sha256()
        place = self.hub.uploads / f"{oid}.{secrets.token_hex(4)}"
        with place.open("wb") as file:
            for chunk in self.incoming:
                file.write(chunk)
                digest.update(chunk)
        if digest.hexdigest() != oid:
            raise _HubError(400, f"The content's sha256 is {digest.hexdigest()}, not {oid}")
        self.hub.objects[oid] = Blob("", place, lfs=True, sha256=oid)
        self.start(200, 0, {})

    def lfs_verify(self, repo: str) -> None:
        wanted = self.read_json()
        blob = self.hub.objects.get(wanted["oid"])
        if blob is None or blob.size != wanted["size"]:
            raise _HubError(404, f"No LFS object {wanted['oid']} of {wanted['size']} bytes")
        self.reply_json({})

    def commit(self, repo: str, revision: str) -> None:
        """Commit the operations of a newline-delimited JSON body."""
        lines = [json.loads(line) for line in b"".join(self.incoming).splitlines()]
        with self.hub.lock:
            found = self.find_repo(repo)
            files = found.commits[self.find_commit(found, revision)]
            if revision not in found.branches or "create_pr=" in self.path:
                raise _HubError(400, "This server commits to branches only, and has no PRs")
            changes: dict[str, Blob | None] = {}
            for key, value in ((line["key"], line["value"]) for line in lines):
                path = value.get("path", "")
                if key == "header":
                    parent = value.get("parentCommit", found.branches.get(revision))
                    if parent != found.branches.get(revision):
                        raise _HubError(412, "A commit has happened since. Please refresh.")
                elif key == "file":
                    changes[path] = Blob(path, base64.b64decode(value["content"]), lfs=False)
                elif key == "lfsFile":
                    if value["oid"] not in self.hub.objects:
                        raise _HubError(400, f"LFS object of {path} was not uploaded")
                    changes[path] = self.hub.objects[value["oid"]]
                elif key in ("deletedFile", "deletedFolder"):
                    inside = path.rstrip("/") + "/"
                    gone = [f for f in files if f == path or f.startswith(inside)]
                    if not gone:
                        message = "A file with this name doesn't exist"
                        raise _HubError(404, message, "EntryNotFound")
                    changes |= dict.fromkeys(gone)
                else:
                    raise _HubError(400, f"Unknown operation {key!r}")
            sha = found.commit(changes, revision)
        url = f"{self.hub.url}/{repo}/commit/{sha}"
        self.reply_json({"success": True, "commitUrl": url, "commitOid": sha, "hookOutput": ""})
