"""What the tests of fetching share: a Hub on the loopback interface and ways to ask it."""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from huggingface_hub import close_session, constants

from tests.hub_server import HubServer
from zoo_core.cache import Cache
from zoo_core.card import Weights
from zoo_core.hub import Access, Fetched, fetch

Fetch = Callable[..., Fetched]

FETCH = """
import sys
from zoo_core.cache import Cache
from zoo_core.card import Weights
from zoo_core.errors import ZooError
from zoo_core.hub import Access, fetch

weights = Weights(tag="test", source=sys.argv[1], license="mit")
try:
    print(fetch(weights, Access(Cache.at(), lambda *_: None)).path)
except ZooError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
"""A program that prints the path of the source given to it, or fails with the zoo's error."""


@dataclass(frozen=True)
class ZooEnvironment:
    """Runs Python in a process of its own that sees the test's Hub and caches only.

    Attributes:
        hub: the Hub.
        home: the folder of the caches; `cache` describes them.
    """

    hub: HubServer
    home: Path

    @property
    def cache(self) -> Cache:
        return Cache(root=self.home / "zoo", hub=self.home / "hf" / "hub")

    def start(
        self, code: str, *arguments: str, prefix: tuple[str, ...] = (), **variables: str
    ) -> subprocess.Popen[str]:
        """Starts `python -c code` with these arguments and environment variables.

        Args:
            code: the program.
            *arguments: its `sys.argv[1:]`.
            prefix: a command to run it by, such as `setpriv` with options.
            **variables: over those that name the Hub and the caches.
        """
        return subprocess.Popen(
            [*prefix, sys.executable, "-c", code, *arguments],
            env=self.hub.environment(self.home / "hf")
            | {"ZOO_CACHE": str(self.home / "zoo")}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """As `start`, and waits for the end; outputs are stripped."""
        process = self.start(code, *arguments, **options)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(
            process.args, process.returncode, out.strip(), err.strip()
        )


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The Hub's client in this process, without the user's settings, token or connections."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "ZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    close_session()
    yield
    close_session()


@pytest.fixture
def hub(client: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub, which the client in this process takes for the one there is."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Signs the certificates of the TLS servers."""
    return trustme.CA()


@pytest.fixture
def tls_hub(
    client: None, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[HubServer]:
    """A server on https, trusted by the client in this process and in those started from it."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HubServer(tls=context) as server:
        yield server


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds slept between attempts, by the zoo and by the client; they take no time."""
    naps: list[float] = []
    clock = SimpleNamespace(sleep=naps.append)
    monkeypatch.setattr("zoo_core.retries.time", clock)
    for module in ("file_download", "utils._http"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", clock)
    return naps


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.at(tmp_path / "cache")


@pytest.fixture
def fetched(cache: Cache) -> Fetch:
    """Fetches a source: keywords of `Weights` and of `Access` may follow."""

    def fetched(source: str, **options: Any) -> Fetched:
        access = {"cache": cache, "mirror": lambda weights, offline: None}
        for name in ("cache", "mirror", "local_files_only", "token", "again"):
            if name in options:
                access[name] = options.pop(name)
        weights = Weights(**{"tag": "test", "source": source, "license": "mit"} | options)
        return fetch(weights, Access(**access))

    return fetched


@pytest.fixture
def zoo_environment(hub: HubServer, tmp_path: Path) -> ZooEnvironment:
    return ZooEnvironment(hub, tmp_path / "environment")


def files(folder: Path) -> list[str]:
    """The files below a folder, but for locks and the digests' record."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return sorted(
        str(path.relative_to(folder))
        for path in found
        if path.suffix != ".lock" and path.name not in ("digests.json", "CACHEDIR.TAG")
    )


def leftovers(folder: Path) -> list[str]:
    """Files that something half done left behind."""
    marks = (".incomplete", ".part", ".etag", ".tmp")
    hidden = [str(path.relative_to(folder)) for path in folder.rglob(".digests*")]
    return hidden + [name for name in files(folder) if name.endswith(marks) or "/tmp_" in name]


def in_one_line(message: object) -> str:
    """The text of an error, after a check that it is one line, as the command line prints it."""
    text = str(message)
    assert "\n" not in text
    assert text.endswith((".", "`")), text
    return text


def without_root_rights() -> tuple[str, ...]:
    """A command prefix under which the modes of files bind, even for root."""
    if os.geteuid() != 0:
        return ()
    dropped = "-dac_override,-dac_read_search,-fowner"
    prefix = ("setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}")
    try:
        works = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    if not works:
        pytest.skip("runs as root, and setpriv cannot drop root's right to ignore files' modes")
    return prefix
