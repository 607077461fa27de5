"""Seeds from what they are for, so that a run can go on anywhere without a saved random state."""

from __future__ import annotations

import hashlib

from zoo_core.errors import InputError


def derived(*parts: int | str) -> int:
    """Returns a seed in [0, 2 ** 60) that depends on all parts, and looks unrelated for others."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 4


def checked_seed(seed: object) -> int:
    """Returns a seed; raises InputError unless it is an integer in [0, 2 ** 63)."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
        raise InputError(f"seed is {seed!r}; expected an integer of at least 0, below 2^63.")
    return seed
