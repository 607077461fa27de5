"""How many threads torch computes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Computes on one thread until the block ends.

    Small networks gain nothing from more and lose much on a busy machine, and the order of sums, so
    the last digit, does not depend on the machine.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
