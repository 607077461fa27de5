"""How the commands print: a table on a terminal, tab-separated lines in a pipe, JSON on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from zoo_core.errors import printable


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under a heading; in a pipe, without heading, one line a row."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(printable(" ".join(cell.split())) for cell in row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(Text(column), overflow="fold", no_wrap=place < len(columns) - 1)
    for row in rows:
        lines = ((printable(line) for line in cell.splitlines()) for cell in row)
        drawn.add_row(*(Text("\n".join(cell)) for cell in lines))
    Console().print(drawn)


def as_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def size(nbytes: int | None) -> str:
    """Returns a size for people, in powers of 1000 as the Hub shows it."""
    if nbytes is None:
        return ""
    value, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
