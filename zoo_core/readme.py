"""A part of a README that a command writes: what stands between two markers, each on a line.

`<!-- reproduce:NAME -->` begins the part of the experiment NAME and
`<!-- /reproduce:NAME -->` ends it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo_core.cache import replacing
from zoo_core.errors import InputError, SaveError

_MARKER = re.compile(r"^<!-- (/?)reproduce:(\S+) -->[ \t]*\r?$", re.MULTILINE)


def check(file: Path, names: Sequence[str]) -> None:
    """Checks that a README has a part for each of the names.

    Raises:
        InputError: it cannot be read, a marker is missing, is there twice, or is out of place.
    """
    parts = _parts(_text(file), file)
    for name in names:
        if name not in parts:
            raise InputError(
                f"{file} has no place for {name}: write the lines <!-- reproduce:{name} --> and "
                f"<!-- /reproduce:{name} --> where its table shall stand."
            )


def refresh(file: Path, texts: Mapping[str, str]) -> None:
    """Writes each text between the markers of its name and leaves the rest as it is.

    Raises:
        InputError: as `check`.
        SaveError: the file cannot be written.
    """
    check(file, list(texts))
    old = _text(file)
    newline = "\r\n" if "\r\n" in old else "\n"
    new = old
    for name, (start, end) in sorted(_parts(old, file).items(), key=lambda part: -part[1][0]):
        if name in texts:
            lines = ["", "", *texts[name].splitlines(), "", ""]
            new = new[:start] + newline.join(lines) + new[end:]
    if new == old:
        return
    target = file.resolve()  # a link stays a link
    try:
        with replacing(target) as fresh:
            fresh.write_bytes(new.encode())
            shutil.copymode(target, fresh)
    except OSError as error:
        raise SaveError(f"cannot write {file}: {error.strerror or error}.") from error


def _text(file: Path) -> str:
    """The file's text with its own line ends."""
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no README that can be read: {error}.") from error


def _parts(text: str, file: Path) -> dict[str, tuple[int, int]]:
    """Name -> where its part starts and ends, from behind the one marker to before the other."""
    parts: dict[str, tuple[int, int]] = {}
    opened: re.Match[str] | None = None
    for found in _MARKER.finditer(text):
        closing, name = found.groups()
        expected = f"/reproduce:{opened[2]}" if opened else "no closing marker"
        if opened is None and not closing and name not in parts:
            opened = found
        elif opened is not None and closing and name == opened[2]:
            start = opened.end() - opened[0].endswith("\r")
            parts[name] = (start, found.start())
            opened = None
        else:
            line = text.count("\n", 0, found.start()) + 1
            again = " again" if name in parts else ""
            raise InputError(
                f"{file}, line {line}: {found[0].strip()} comes{again} where {expected} was "
                "expected; markers come in pairs, one pair for an experiment."
            )
    if opened is not None:
        raise InputError(f"{file}: {opened[0].strip()} has no <!-- /reproduce:{opened[2]} -->.")
    return parts
