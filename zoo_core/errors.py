"""The errors a user of the zoo can meet: one small hierarchy under `ZooError`.

Every message says what was given, what was expected and what to do about it, in one line, so
that the command line can print it as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Anything the zoo refuses or cannot do. Catch this one to catch them all.

    Its message is one line that can be printed: control characters, which a name or a label from
    outside may hold, are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UnknownNameError(ZooError, LookupError):
    """A name, tag, plugin or folder that does not exist."""


class AmbiguousNameError(ZooError, LookupError):
    """A name that more than one plugin claims."""


class CardError(ZooError, ValueError):
    """A card, or a part of one, that is not valid."""


class PluginError(ZooError):
    """A plugin that cannot be imported, or that hands over something unusable."""


class ConfigError(ZooError, TypeError):
    """Keyword arguments that the factory does not take, or values that do not fit."""


class FetchError(ZooError):
    """Weights that could not be fetched: network, permissions, a missing file, no space."""


class DigestError(FetchError):
    """A file whose SHA-256 is not the one expected."""


class CheckpointError(ZooError, ValueError):
    """A file that is not a readable checkpoint, or is not safe to read."""


class WeightsMismatchError(ZooError, ValueError):
    """Tensors that do not fit the object they are meant for."""


class SaveError(ZooError):
    """An object that cannot be saved, or a place that cannot be written."""


class InputError(ZooError, ValueError):
    """Data given to a zoo object that it cannot work with."""


class ZooWarning(UserWarning):
    """Something the user should know that is not an error."""


def printable(text: str) -> str:
    """Returns the text with all that is no printable character or space escaped, as in a repr."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def suggestion(given: str, known: Iterable[str]) -> str:
    """Returns " Did you mean ...?" with the known names nearest to `given`, or ""."""
    nearest = difflib.get_close_matches(given, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(nearest)}?" if nearest else ""


def enumeration(names: Iterable[str], limit: int = 8) -> str:
    """Returns the names joined by commas, cut after `limit` with a count of the rest."""
    names = list(names)
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
