"""A `Weights` -> a verified file on disk.

Sources: `hf://` through huggingface_hub (its cache, token, endpoint and offline mode), `https://`,
`bundled://` for the weights that travel with the zoo, and whatever a plugin's `zoo_fetch` serves.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.resources
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from zoo_core.cache import Cache, require_space, unwritable
from zoo_core.card import HubFile, Weights
from zoo_core.checkpoint import INDEX_SUFFIX, shards_of
from zoo_core.digests import verify
from zoo_core.errors import DigestError, FetchError

_ATTEMPTS = 4
_RETRIED = (408, 429, 500, 502, 503, 504)
_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_OFFLINE = (
    "The network is off (local_files_only or HF_HUB_OFFLINE); fetch once with it on, for example "
    "with `zoo pull NAME`."
)
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

Mirror = Callable[[Weights, bool], Path | None]
"""What plugins offer: weights and whether the network is off -> a file, or None."""


@dataclass(frozen=True)
class Fetched:
    """A verified file.

    Attributes:
        path: the file; an index of shards has its shards beside it.
        sha256: its digest; of an index, one over its own and its shards' digests.
    """

    path: Path
    sha256: str


@dataclass(frozen=True)
class Access:
    """How to fetch.

    Attributes:
        cache: where files are kept.
        mirror: asked first.
        local_files_only: use no network.
        token: for the Hub; None uses the one stored by `hf auth login` or in HF_TOKEN.
        again: verify the content even of files that have not changed since they were.
    """

    cache: Cache
    mirror: Mirror
    local_files_only: bool = False
    token: str | bool | None = None
    again: bool = False


def fetch(weights: Weights, access: Access) -> Fetched:
    """Returns the file of these weights, downloaded if need be, and verified.

    Raises:
        FetchError: it cannot be had, with what to do about it.
        DigestError: its content is not the one expected.
        CheckpointError: it is an index of shards, but not a valid one.
    """
    fetched = _fetch_file(weights, access)
    if not weights.source.partition("@")[0].endswith(INDEX_SUFFIX):
        return fetched
    combined = hashlib.sha256(fetched.sha256.encode())
    for shard in sorted(set(shards_of(fetched.path).values())):
        part = replace(weights, source=_beside(weights.source, shard), sha256=None, size=None)
        verified = _fetch_file(part, access)
        if verified.path.parent != fetched.path.parent:
            raise FetchError(f"the shard {shard} of {weights.source} is not beside its index.")
        combined.update(verified.sha256.encode())
    return replace(fetched, sha256=combined.hexdigest())


def _fetch_file(weights: Weights, access: Access) -> Fetched:
    mirrored = access.mirror(weights, access.local_files_only)
    if mirrored is not None:
        found = _Found(mirrored, weights.source)
    else:
        scheme = weights.source.partition("://")[0]
        if scheme not in _SOURCES:
            known = ", ".join(f"{each}://" for each in _SOURCES)
            raise FetchError(
                f"no installed plugin fetches {weights.source}; the zoo itself knows {known}."
            )
        found = _SOURCES[scheme](weights, access)
    stated = {"the card": weights.sha256, "the server": found.sha256}
    digest = verify(found.path, found.key, access.cache, stated=stated, again=access.again)
    return Fetched(found.path, digest)


@dataclass(frozen=True)
class _Found:
    """A file, the key of its digest (its source, the revision resolved) and the server's digest."""

    path: Path
    key: str
    sha256: str | None = None


def _beside(source: str, name: str) -> str:
    body, at, revision = source.partition("@") if source.startswith("hf://") else (source, "", "")
    return f"{body.rpartition('/')[0]}/{name}{at}{revision}"


def _from_bundle(weights: Weights, _access: Access) -> _Found:
    """A file of the folder `weights/`, which is installed as the package `zoo_weights`."""
    name = weights.source.removeprefix("bundled://")
    root = Path(str(importlib.resources.files("zoo_weights"))).resolve()
    path = (root / name).resolve()
    if root not in path.parents or not path.is_file():
        raise FetchError(f"{weights.source} is not among the weights that this zoo ships.")
    return _Found(path, weights.source)


def _from_hub(weights: Weights, access: Access) -> _Found:
    """A file of the Hub. Its key has the commit in place of a branch or tag."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    file = HubFile.parse(weights.source)
    folder = access.cache.hub
    known = try_to_load_from_cache(file.repo, file.path, cache_dir=folder, revision=file.revision)
    if not isinstance(known, str) and not access.local_files_only:
        require_space(folder, weights.size, weights.source)

    def download() -> Path:
        return Path(
            hf_hub_download(
                file.repo,
                file.path,
                revision=file.revision,
                cache_dir=folder,
                token=access.token,
                local_files_only=access.local_files_only,
                library_name="zoo",
            )
        )

    try:
        path = _patiently(download, weights.source)
    except Exception as error:
        raise explained(error, file, access) from error
    depth = len(PurePosixPath(file.path).parts)
    commit = path.parents[depth - 1].name
    blob = path.resolve().name
    # The Hub names a large file by its SHA-256; huggingface_hub compares only the size.
    published = blob if len(blob) == hashlib.sha256().digest_size * 2 else None
    return _Found(path, str(replace(file, revision=commit)), published)


def _from_url(weights: Weights, access: Access) -> _Found:
    """A file of an https server. An interrupted download goes on where it stopped."""
    from huggingface_hub.utils import is_offline_mode

    url = weights.source
    name = Path(unquote(urlsplit(url).path)).name or "download"
    folder = access.cache.downloads / hashlib.sha256(url.encode()).hexdigest()[:32]
    target = folder / name
    if target.exists():
        return _Found(target, url)
    if access.local_files_only or is_offline_mode():
        raise FetchError(f"{url} is not in the cache. {_OFFLINE}")
    with access.cache.lock(url):
        if target.exists():
            return _Found(target, url)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _patiently(lambda: _download(url, target), url)
        except Exception as error:
            raise explained(error, url, access) from error
    return _Found(target, url)


def _download(url: str, target: Path) -> None:
    """Downloads to `NAME.ETAG.part` beside the target, which it becomes when it is whole."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import get_session, hf_raise_for_status

    response = get_session().head(url, follow_redirects=True)
    hf_raise_for_status(response)
    if response.url.scheme != "https":
        raise FetchError(f"{url} redirects to {response.url}; expected an https:// address.")
    etag = response.headers.get("ETag", "")
    length = response.headers.get("Content-Length")
    size = int(length) if length and length.isdigit() else None
    require_space(target.parent, size, url)
    part = target.with_name(f"{target.name}.{hashlib.sha256(etag.encode()).hexdigest()[:16]}.part")
    if not etag or etag.startswith("W/"):
        part.unlink(missing_ok=True)  # without a strong validator, two halves may not fit
    with part.open("ab") as file:
        have = file.tell()
        if size is not None and have > size:
            file.truncate(have := 0)
        http_get(
            url,
            file,
            resume_size=have,
            headers={"If-Range": etag} if have else None,
            expected_size=size,
            displayed_filename=target.name,
        )
    part.replace(target)
    for stale in target.parent.glob("*.part"):
        stale.unlink()


_SOURCES: dict[str, Callable[[Weights, Access], _Found]] = {
    "hf": _from_hub,
    "https": _from_url,
    "bundled": _from_bundle,
}


def _patiently(download: Callable[[], _T], source: str) -> _T:
    """Retries, after 1, 2 and 4 seconds, what a busy server or a broken connection refuses."""
    for attempt in range(_ATTEMPTS):
        try:
            return download()
        except Exception as error:
            if attempt == _ATTEMPTS - 1 or not _is_transient(error):
                raise
            delay = _retry_after(error) or 2.0**attempt
            _logger.warning("%s: %s; trying again in %.0f s", source, _first_line(error), delay)
            time.sleep(delay)
    raise AssertionError("unreachable")


def _is_transient(error: Exception) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code in _RETRIED
    # Transport errors of the HTTP client; a body of another length than announced is an OSError.
    return isinstance(error, HTTPError) or "Consistency check failed" in str(error)


def _retry_after(error: Exception) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    value = headers.get("Retry-After", "")
    return min(float(value), 60.0) if value.isdigit() else None


def explained(error: Exception, file: HubFile | str, access: Access) -> Exception:
    """Returns the zoo's error for one of the HTTP client's, huggingface_hub's or the system's."""
    from huggingface_hub import errors
    from huggingface_hub.utils import is_offline_mode

    if isinstance(error, (FetchError, DigestError)):
        return error
    name = str(file)
    repo = f"{file.repo!r}" if isinstance(file, HubFile) else name
    token = "pass token= or log in with `hf auth login`"
    if isinstance(error, errors.GatedRepoError):
        return FetchError(f"{repo} is gated: ask for access on its page, then {token}.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return FetchError(f"there is no repository {repo}, or it is private: then {token}.")
    if isinstance(error, errors.RevisionNotFoundError):
        return FetchError(f"{name}: the repository has no such revision.")
    if isinstance(error, errors.LocalEntryNotFoundError):
        if access.local_files_only or is_offline_mode():
            return FetchError(f"{name} is not in the cache. {_OFFLINE}")
        cause = _first_line(error.__cause__ or error)
        return FetchError(
            f"{name} cannot be reached ({cause}). Check the connection, HF_ENDPOINT and proxies."
        )
    if isinstance(error, errors.EntryNotFoundError):
        return FetchError(f"{name}: the repository has no such file at this revision.")
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        hint = f" To prove who you are, {token}." if status in (401, 403) else ""
        reason = error.response.reason_phrase
        return FetchError(f"{name}: the server answered {status} {reason}.{hint}")
    if isinstance(error, errors.HFValidationError):
        return FetchError(f"{name}: {_first_line(error)}")
    if isinstance(error, OSError) and error.errno in (*_SPACE, *_READ_ONLY):
        return unwritable(error, access.cache.hub)
    return FetchError(f"{name} could not be downloaded ({_first_line(error)}). Try again.")


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
