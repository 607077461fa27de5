"""An https URL -> a file on disk. An interrupted download goes on where it stopped."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo_core.cache import Cache, is_full, require_space
from zoo_core.errors import FetchError
from zoo_core.retries import patiently


def place(url: str, cache: Cache) -> Path:
    """Returns where the file of a URL is kept: under its own name, with those that lie beside it.

    The name stays as it is written in the URL, so that no escape such as `%2f` leaves the folder.

    Raises:
        FetchError: the URL names no file.
    """
    parts = urlsplit(url)
    above, _, name = parts.path.rpartition("/")
    if not (parts.hostname and url.isprintable()) or name in ("", ".", "..") or "\\" in name:
        raise FetchError(f"{url!r} names no file; expected https://HOST/PATH/FILE.")
    return cache.downloads / _short_hash(f"{parts.netloc}{above}/?{parts.query}") / name


def download(url: str, target: Path, cache: Cache) -> None:
    """Downloads a URL to its place, unless another process does so first.

    Raises:
        FetchError: it redirects to something else than https, or the disk has no room for it.
        OSError: the disk, or the server (huggingface_hub's HfHubHTTPError), refuses.
        HTTPError: the HTTP client's, when the connection fails.
    """
    part = cache.downloads / "partial" / f"{_short_hash(url)}.part"
    with cache.lock(url):
        if target.exists():
            return
        for folder in (part.parent, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            patiently(lambda: _transfer(url, part), url, arrived=lambda: _size(part))
            part.replace(target)
        except OSError as error:
            if is_full(error):
                part.unlink(missing_ok=True)
            raise
        finally:
            if not (part.exists() and _etag(part)):  # of no use to the next attempt
                part.unlink(missing_ok=True)
                _validator(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path) -> None:
    """Brings a partial file to its end.

    Beside it lies the ETag of the version that it is a part of. The server compares it with its
    own (If-Range) and sends all of a version that is another one; it does so, too, when it gave
    no ETag that promises the same bytes.
    """
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
    from huggingface_hub.utils import get_session, hf_raise_for_status

    # A compressed answer would have another length and another ETag.
    headers = {"Accept-Encoding": "identity"}
    have = _size(part)
    if have and (etag := _etag(part)):
        headers |= {"Range": f"bytes={have}-", "If-Range": etag}
    with get_session().stream(
        "GET", url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
    ) as response:
        for each in (*response.history, response):
            if each.url.scheme != "https":
                raise FetchError(f"{url} redirects to {each.url}; expected an https:// address.")
        status, sent = response.status_code, response.headers
        if have and status == 206 and sent.get("Content-Range", "").startswith(f"bytes {have}-"):
            _save(response, url, part, have)
            return
        if not (have and status in (206, 416)):
            hf_raise_for_status(response)
            if status != 200:
                raise FetchError(f"{url}: the server answered {status}; expected the file.")
            _save(response, url, part, 0)
            return
    part.unlink()  # the server has less than this, or does not know where it ends
    _transfer(url, part)


def _save(response: Any, url: str, part: Path, have: int) -> None:
    """Writes an answer's body after the first `have` bytes of a partial file."""
    from huggingface_hub.utils import tqdm

    sent = response.headers
    length = sent.get("Content-Length", "")
    left = int(length) if length.isdigit() else None
    require_space(part.parent, left, url)
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(
            desc=urlsplit(url).path.rpartition("/")[2],
            total=None if left is None else have + left,
            initial=have,
            unit="B",
            unit_scale=True,
        ) as progress,
    ):
        if not have:
            exact = sent.get("ETag", "").startswith('"') and "Content-Encoding" not in sent
            _validator(part).write_text(sent["ETag"] if exact else "", encoding="utf-8")
        for chunk in response.iter_bytes():
            file.write(chunk)
            progress.update(len(chunk))


def _etag(part: Path) -> str:
    return _validator(part).read_text(encoding="utf-8") if _validator(part).exists() else ""


def _validator(part: Path) -> Path:
    return part.with_suffix(".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
