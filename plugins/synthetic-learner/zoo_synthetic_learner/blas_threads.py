"""BLAS on one thread while many small factors are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

FEW = 4
"""Up to so many small problems are not worth the change."""

_lock = threading.Lock()
_inside = 0
_limiter = None


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Holds BLAS at one thread: on small matrices threads wait for each other more than they work.

    The setting is the process's. Where several Python threads are inside, the last one to leave
    sets it back.
    """
    global _inside, _limiter
    with _lock:
        if not _inside:
            _limiter = _controller().limit(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limiter.restore_original_limits()
                _limiter = None
