"""The report of an experiment: what was claimed, what was measured, where, and the verdict.

`report.json` holds it, `table.md` and a plugin's README show it as Markdown. Nothing in it tells
whose machine it was made on: folders of the machine are replaced in every text.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zoo_core.errors import InputError, PluginError, printable
from zoo_core.rows import Mean, Row, Rows, Summary, shown

FORMAT = 1
"""The version of report.json."""
VERDICTS = ("supported", "not supported", "reported", "incomplete")
"""`reported`: no check is declared; `incomplete`: interrupted or failed."""

_PACKAGES = ("numpy", "scipy", "pandas", "sklearn", "torch", "torch_geometric", "timm")
_SPECIAL = re.compile(r"[\\`*\[\]<>|]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of an experiment.

    Attributes:
        plugin: its name.
        version: of the plugin.
        experiment: its name.
        claim: what was to be shown.
        paper: where the paper claims it.
        verdict: one of `VERDICTS`.
        because: why, with the numbers; "" if the verdict is "reported".
        measures: the columns that are measured.
        over: the columns over which means are taken.
        rows: as measured.
        seeds: those that were run.
        data: the names of the folders of data that were used.
        environment: Python, packages, threads, machine; see `environment`.
        wall_seconds: how long it took.
        cpu_seconds: of all threads and of subprocesses that ended.
        date: in UTC, as ISO 8601 writes it.
        notes: what a reader of the numbers should know.
    """

    plugin: str
    version: str
    experiment: str
    claim: str
    paper: str | None
    verdict: str
    because: str
    measures: tuple[str, ...]
    over: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    data: tuple[str, ...]
    environment: dict[str, Any]
    wall_seconds: float
    cpu_seconds: float
    date: str
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> list[Summary]:
        """The rows with means over the repetitions."""
        return _checked(self.rows, self.measures, self.over).summary()

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Returns the columns and the cells of the summary."""
        rows = self.summary
        return list(rows[0]) if rows else [], [
            [shown(value) for value in row.values()] for row in rows
        ]

    def markdown(self) -> str:
        """Returns claim, verdict, table and where it was measured, as Markdown."""
        columns, rows = self.table()
        lines = [f"{_escaped(self.claim)} {_escaped(self.conclusion(), '**')}", ""]
        lines += ["| " + " | ".join(map(_escaped, cells)) + " |" for cells in (columns, *rows)]
        lines[3:3] = ["| " + " | ".join("---" for _ in columns) + " |"]
        lines += ["", _escaped(self.provenance())]
        if self.notes:
            lines += ["", *(f"- {_escaped(note)}" for note in self.notes)]
        return "\n".join(lines)

    def conclusion(self) -> str:
        """Returns the verdict and its reason, one line."""
        return self.verdict.capitalize() + (f": {self.because}" if self.because else ".")

    def provenance(self) -> str:
        """Returns how and where the numbers came to be, one line."""
        where = self.environment
        packages = where.get("packages", {})
        seeds = len(self.seeds)
        plural = "s" if seeds != 1 else ""
        means = any(
            isinstance(cell, Mean) and cell.of > 1 for row in self.summary for cell in row.values()
        )
        parts = [
            "Mean ± sample standard deviation" if means else "",
            f"{seeds} seed{plural}" if seeds else "",
            f"{_duration(self.wall_seconds)} on {where.get('cpus')} CPUs ({where.get('machine')})",
            *([where["accelerator"]] if where.get("accelerator") else []),
            f"zoo-core {where.get('zoo-core')}, {self.plugin} {self.version}, "
            f"Python {where.get('python')}"
            + "".join(f", {name} {version}" for name, version in packages.items()),
            self.date[:10],
        ]
        text = "; ".join(part for part in parts if part)
        return f"{text}."

    def to_json(self) -> str:
        """Returns the text of report.json."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        summary = [
            {key: cell._asdict() if isinstance(cell, Mean) else cell for key, cell in row.items()}
            for row in self.summary
        ]
        found = {"format": FORMAT, **plain, "summary": summary}
        return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def without(self, private: dict[str, str]) -> Report:
        """Returns the report with folders of this machine replaced in every text.

        Args:
            private: a folder's path -> what to write in its place.
        """
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return Report(**_replaced(plain, private))

    @classmethod
    def read(cls, file: Path) -> Report:
        """Reads a report.json.

        Raises:
            InputError: there is none, or it is not of this format.
        """
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"there is no report {file}; run the experiment first.") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is not a readable report: {error}.") from error
        return cls.parse(found, str(file))

    @classmethod
    def parse(cls, found: Any, what: str) -> Report:
        """Returns the report in the values of a report.json.

        Raises:
            InputError: it is not of this format.
        """
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise InputError(f"{what} is no report of format {FORMAT}; run the experiment anew.")
        try:
            given = {item.name: found[item.name] for item in fields(cls)}
            for name in ("measures", "over", "rows", "seeds", "data", "notes"):
                given[name] = tuple(given[name])
            report = cls(**given)
            if report.verdict not in VERDICTS or not isinstance(report.environment, dict):
                raise TypeError("its verdict or its environment is of another form")
            report.markdown()
        except (PluginError, KeyError, TypeError, AttributeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"{what} is no report that can be read ({reason}).") from error
        return report


def environment(version: str) -> dict[str, Any]:
    """Returns what the numbers may depend on; of packages, those that are imported by now.

    Args:
        version: of zoo-core.
    """
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {
        "zoo-core": version,
        "python": platform.python_version(),
        "packages": {
            name: str(sys.modules[name].__version__)
            for name in _PACKAGES
            if hasattr(sys.modules.get(name), "__version__")
        },
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads() if torch else os.environ.get("OMP_NUM_THREADS"),
    }
    if torch and torch.cuda.is_initialized():
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def _checked(rows: Iterable[Row], measures: tuple[str, ...], over: tuple[str, ...]) -> Rows:
    checked = Rows(measures=measures, over=over)
    for row in rows:
        checked.add(row)
    return checked


def _replaced(value: Any, private: dict[str, str]) -> Any:
    """The value with the keys of `private` replaced in every text."""
    if isinstance(value, str):
        for folder, name in private.items():
            value = value.replace(folder, name)
        return value
    if isinstance(value, dict):
        return {_replaced(key, private): _replaced(each, private) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_replaced(each, private) for each in value)
    return value


def _escaped(text: str, around: str = "") -> str:
    """One line of Markdown that shows the text as it is."""
    return f"{around}{_SPECIAL.sub(lambda found: chr(92) + found[0], printable(text))}{around}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} seconds"
    return f"{seconds / 60:.3g} minutes"
