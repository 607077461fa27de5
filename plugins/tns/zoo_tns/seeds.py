"""Seeds from what they are for, so that a run can go on anywhere without a saved random state."""

from __future__ import annotations

import hashlib


def derived(*parts: int | str) -> int:
    """Returns a seed in [0, 2 ** 60) that depends on all parts, and looks unrelated for others."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 4
