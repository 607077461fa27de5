"""Patience with a busy server or a broken connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

_ATTEMPTS = 4
_RETRIED = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


def is_transient(error: Exception) -> bool:
    """Whether an error of the HTTP client or of huggingface_hub may pass by itself."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code in _RETRIED
    # Transport errors of the HTTP client; a body of another length than announced is an OSError.
    return isinstance(error, HTTPError) or "Consistency check failed" in str(error)


def patiently(
    download: Callable[[], _T],
    source: str,
    *,
    retried: Callable[[Exception], bool] = is_transient,
    arrived: Callable[[], int] = lambda: 0,
) -> _T:
    """Returns what `download` does, tried again after 1, 2 and 4 seconds if it may yet succeed.

    Args:
        download: does the work, and can be called again after it failed.
        source: what it fetches, for the log.
        retried: whether to try again after an error.
        arrived: the bytes that are there so far; a failure that left more of them than any
            before starts the count of failures anew.

    Raises:
        Exception: what `download` raised last.
    """
    failures, most = 0, arrived()
    while True:
        try:
            return download()
        except Exception as error:
            have = arrived()
            failures = 1 if have > most else failures + 1
            most = max(most, have)
            if failures == _ATTEMPTS or not retried(error):
                raise
            delay = _retry_after(error) or 2.0 ** (failures - 1)
            _logger.warning("%s: %s; trying again in %.0f s", source, first_line(error), delay)
            time.sleep(delay)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its type when it has none; no full stop."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _retry_after(error: Exception) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    value = headers.get("Retry-After", "")
    return min(float(value), _LONGEST_WAIT) if value.isdigit() else None
