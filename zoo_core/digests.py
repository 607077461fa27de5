"""Proves that a file is the expected one: SHA-256, as stated or as recorded at first use."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from zoo_core.cache import Cache, replacing
from zoo_core.errors import DigestError, FetchError

_CHUNK = 1 << 20
_LARGE = 256 << 20
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A digest, and the file's size and time of change for which it was computed."""

    sha256: str
    size: int
    mtime_ns: int


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal, with a progress bar if it is large."""
    from huggingface_hub.utils import tqdm

    size = path.stat().st_size
    digest = hashlib.sha256()
    with (
        path.open("rb") as file,
        tqdm(
            desc=f"Verifying {path.name}",
            total=size,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=True if size < _LARGE else None,
        ) as progress,
    ):
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            progress.update(len(chunk))
    return digest.hexdigest()


def verify(
    path: Path,
    key: str,
    cache: Cache,
    *,
    stated: Mapping[str, str | None],
    again: bool = False,
) -> str:
    """Returns the file's SHA-256 after checking that it is the one expected.

    A file that is as it was when its digest was last computed, by size and time of change, is
    not read again. A file with another digest is removed if it lies in the cache, so that the next
    load fetches it anew.

    Args:
        path: the file.
        key: what the digest is remembered under: the source, with its revision resolved.
        cache: holds the record of digests.
        stated: who states a digest -> which, or None. The first stated one counts; without any,
            the one recorded at first use.
        again: read the file in any case.

    Raises:
        DigestError: the digest is another one.
        FetchError: the file cannot be read.
    """
    origin, expected = next(((who, it) for who, it in stated.items() if it), (None, None))
    known = _records(cache).get(key)
    try:
        status = path.stat()
        if (
            not again
            and known is not None
            and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns)
            and expected in (None, known.sha256)
        ):
            return known.sha256
        actual = sha256_of(path)
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror or error}.") from error
    wanted = expected or (known.sha256 if known else actual)
    if actual != wanted:
        claim = f"{origin} states" if origin else f"{cache.digests} recorded at first use"
        raise DigestError(
            f"{key} has SHA-256 {actual}, but {claim} {wanted}. {_discarded(path, cache)} If it "
            "happens again, the publisher's file has changed or been tampered with."
        )
    _remember(cache, key, Record(actual, status.st_size, status.st_mtime_ns))
    return actual


def _discarded(path: Path, cache: Cache) -> str:
    """Removes a file of the cache and what it links to there (the Hub's blobs); says so."""
    chain = [path]
    while chain[-1].is_symlink():
        chain.append(chain[-1].parent / chain[-1].readlink())
    owned = [item for item in chain if cache.owns(item)]
    try:
        for item in owned:
            item.unlink(missing_ok=True)
    except OSError as error:
        return f"Remove {error.filename} yourself: {error.strerror}."
    if not owned:
        return f"The file was left where it is: {path}."
    return "The file was removed: load again to fetch it anew."


def _records(cache: Cache) -> dict[str, Record]:
    try:
        content = json.loads(cache.digests.read_text(encoding="utf-8"))
        return {key: Record(**entry) for key, entry in content.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FetchError(f"cannot read {cache.digests}: {error.strerror or error}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise FetchError(
            f"{cache.digests} is not a valid record of digests ({error}). Remove it to trust the "
            "files of the cache as they are now."
        ) from error


def _remember(cache: Cache, key: str, record: Record) -> None:
    """Records a digest; a cache that cannot be written is used without."""
    try:
        with cache.lock("digests"):
            records = _records(cache)
            if records.get(key) == record:
                return
            records[key] = record
            with cache.writing(), replacing(cache.digests) as fresh:
                plain = {name: asdict(entry) for name, entry in sorted(records.items())}
                fresh.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    except FetchError as error:
        _logger.info("the digest of %s is not recorded: %s", key, error)
