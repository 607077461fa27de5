"""The one error that the zoo's own hierarchy lacks."""

from __future__ import annotations

from zoo_core.errors import ZooError


class IndexOutOfRangeError(ZooError, IndexError):
    """A node or graph that is not there."""
