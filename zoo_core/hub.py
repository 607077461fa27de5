"""A `Weights` -> a verified file on disk.

Sources: `hf://` through huggingface_hub (its cache, token, endpoint and offline mode), `https://`,
`bundled://` for the weights that travel with the zoo, and whatever a plugin's `zoo_fetch` serves.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.resources
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from zoo_core import https
from zoo_core.cache import Cache, is_full, require_space, unwritable
from zoo_core.card import HubFile, Weights
from zoo_core.checkpoint import INDEX_SUFFIX, shards_of
from zoo_core.digests import verify
from zoo_core.errors import FetchError, ZooError
from zoo_core.retries import first_line, is_transient, patiently

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_OFFLINE = (
    "The network is off (local_files_only or HF_HUB_OFFLINE); fetch once with it on, for example "
    "with `zoo pull NAME`."
)
_logger = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")

Mirror = Callable[[Weights, bool], Path | None]
"""What plugins offer: weights and whether the network is off -> a file, or None."""


@dataclass(frozen=True)
class Fetched:
    """A verified file.

    Attributes:
        path: the file; an index of shards has its shards beside it.
        sha256: its digest; of an index, one over its own and its shards' digests.
        source: where it is from, with the revision resolved to a commit where that is known.
    """

    path: Path
    sha256: str
    source: str


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
    found, digest = _fetch_file(weights, access)
    if not found.path.name.endswith(INDEX_SUFFIX):
        return Fetched(found.path, digest, found.key)
    combined = hashlib.sha256(digest.encode())
    for name in sorted(set(shards_of(found.path).values())):
        # Beside the key, which has the revision that the index came from.
        part = replace(weights, source=_beside(found.key, name), sha256=None, size=None)
        shard, digest = _fetch_file(part, access)
        if shard.path != found.path.with_name(name):
            raise FetchError(f"the shard {name} of {weights.source} is not beside its index.")
        combined.update(digest.encode())
    return Fetched(found.path, combined.hexdigest(), found.key)


def _fetch_file(weights: Weights, access: Access) -> tuple[_Found, str]:
    """One file and its digest."""
    try:
        found = _find(weights, access)
    except ZooError:
        raise
    except Exception as error:
        hub = weights.source.startswith("hf://")
        file = HubFile.parse(weights.source) if hub else weights.source
        raise explained(error, file, access) from error
    stated = {"the card": weights.sha256, "the server": found.sha256}
    return found, verify(found.path, found.key, access.cache, stated=stated, again=access.again)


def _find(weights: Weights, access: Access) -> _Found:
    mirrored = access.mirror(weights, access.local_files_only)
    if mirrored is not None:
        return _Found(mirrored, weights.source)
    scheme = weights.source.partition("://")[0]
    if scheme not in _SOURCES:
        known = ", ".join(f"{each}://" for each in _SOURCES)
        raise FetchError(
            f"no installed plugin fetches {weights.source}; the zoo itself knows {known}."
        )
    return _SOURCES[scheme](weights, access)


@dataclass(frozen=True)
class _Found:
    """A file, the key of its digest (its source, the revision resolved) and the server's digest."""

    path: Path
    key: str
    sha256: str | None = None


def _beside(source: str, name: str) -> str:
    """The source of another file in the same folder."""
    if source.startswith("hf://"):
        file = HubFile.parse(source)
        return str(replace(file, path=str(PurePosixPath(file.path).with_name(name))))
    path, question, query = source.partition("?")
    return f"{path.rpartition('/')[0]}/{name}{question}{query}"


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
        path = patiently(download, weights.source, retried=_client_is_not_patient)
    except Exception as error:
        if not (isinstance(known, str) and is_transient(error)):
            raise
        why = first_line(error)
        _logger.warning("%s cannot be reached (%s): the cached file is used", weights.source, why)
        path = Path(known)
    commit = path.parents[len(PurePosixPath(file.path).parts) - 1].name
    # The Hub names a large file by its SHA-256; huggingface_hub compares only the size.
    blob = path.readlink().name if path.is_symlink() else ""
    published = blob if _SHA256.fullmatch(blob) else None
    return _Found(path, str(replace(file, revision=commit)), published)


def _client_is_not_patient(error: Exception) -> bool:
    """Whether an error may pass, and is not one that huggingface_hub has waited for already."""
    from huggingface_hub.errors import HfHubHTTPError

    waited = isinstance(error, HfHubHTTPError) and error.response.status_code in (408, 429)
    return is_transient(error) and not waited


def _from_url(weights: Weights, access: Access) -> _Found:
    """A file of an https server. It is not looked at again: a release asset does not change."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    url = weights.source
    target = https.place(url, access.cache)
    if not target.exists():
        if access.local_files_only or HF_HUB_OFFLINE:
            raise FetchError(f"{url} is not in the cache. {_OFFLINE}")
        https.download(url, target, access.cache)
    return _Found(target, url)


_SOURCES: dict[str, Callable[[Weights, Access], _Found]] = {
    "hf": _from_hub,
    "https": _from_url,
    "bundled": _from_bundle,
}


def explained(error: Exception, file: HubFile | str, access: Access) -> FetchError:
    """Returns the zoo's error for one of the HTTP client's, huggingface_hub's or the system's."""
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_OFFLINE

    name = str(file)
    repo = f"{file.repo!r}" if isinstance(file, HubFile) else name
    token = "pass token= or log in with `hf auth login`"
    cause = error.__cause__
    if isinstance(error, errors.LocalEntryNotFoundError):
        if access.local_files_only or HF_HUB_OFFLINE:
            return FetchError(f"{name} is not in the cache. {_OFFLINE}")
        if not isinstance(cause, errors.HfHubHTTPError):
            return FetchError(
                f"{name} cannot be reached ({first_line(cause or error)}). Check the connection, "
                "HF_ENDPOINT and proxies."
            )
        error = cause
    if isinstance(error, errors.GatedRepoError):
        return FetchError(f"{repo} is gated: ask for access on its page, then {token}.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return FetchError(f"there is no repository {repo}, or it is private: then {token}.")
    if isinstance(error, errors.RevisionNotFoundError):
        return FetchError(f"{name}: the repository has no such revision.")
    if isinstance(error, errors.EntryNotFoundError):
        return FetchError(f"{name}: the repository has no such file at this revision.")
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status, reason = error.response.status_code, error.response.reason_phrase
        hint = ""
        if status in (401, 403) and isinstance(file, HubFile):
            hint = f" To prove who you are, {token}."
        elif is_transient(error):
            hint = " Try again later."
        return FetchError(f"{name}: the server answered {status} {reason}.{hint}")
    if isinstance(error, (errors.HFValidationError, errors.LocalTokenNotFoundError)):
        return FetchError(f"{name}: {first_line(error)}.")
    if isinstance(error, OSError) and (is_full(error) or error.errno in _READ_ONLY):
        folder = access.cache.hub if isinstance(file, HubFile) else access.cache.root
        return unwritable(error, folder)
    return FetchError(
        f"{name} could not be downloaded ({first_line(error)}). Check the connection and try again."
    )
