"""The rows of an experiment: checked as they come, averaged over repetitions, shown to people."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

from zoo_core.errors import PluginError, enumeration
from zoo_core.experiment import SEED, Figure

_HUGE = 1e300
Scalar = str | int | float | bool | None
Row = dict[str, Scalar]


class Mean(NamedTuple):
    """A measure over repetitions.

    Attributes:
        mean: of the values that are numbers; None if there are none.
        std: their sample standard deviation; None for fewer than two.
        n: how many there are.
        of: how many repetitions there were; more than `n` where a value was null.
    """

    mean: float | None
    std: float | None
    n: int
    of: int


Summary = dict[str, Scalar | Mean]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows with the same columns.

    Attributes:
        measures: the columns that must hold numbers, bools or None.
        over: the columns that tell repetitions apart.
        seeds: the seeds that were fixed in advance; None if that is not known.
        figure: what will be drawn; its columns must be there and tell its points apart.
        rows: what was added, as JSON keeps it.
        infinite: column -> the rows whose number was not finite and became None.
    """

    measures: Sequence[str]
    over: Sequence[str] = (SEED,)
    seeds: Sequence[int] | None = None
    figure: Figure | None = None
    rows: list[Row] = field(default_factory=list)
    infinite: dict[str, list[int]] = field(default_factory=dict)
    _seen: dict[tuple[Scalar, ...], int] = field(default_factory=dict)
    _drawn: dict[tuple[Scalar, ...], Row] = field(default_factory=dict)

    def add(self, value: object) -> None:
        """Checks a row and adds it.

        A number that is not finite, or whose sums might not be, becomes None; `notes` says so.

        Raises:
            PluginError: not a mapping from the columns of the first row to scalars, a measure that
                is no number, a seed that was not fixed in advance, a repetition that is there
                already, or a point that the figure would draw over another.
        """
        what = f"row {len(self.rows)}"
        if not isinstance(value, Mapping):
            raise PluginError(f"{what} is a {type(value).__name__}; expected a dict.")
        self._check_columns(list(value), what)
        row: Row = {}
        infinite = []
        for column in self.rows[0] if self.rows else value:
            row[column] = _scalar(value[column], f"{what}: {column}")
            number = row[column]
            if isinstance(number, (int, float)) and not abs(number) <= _HUGE:
                row[column] = None
                infinite.append(column)
            if column in self.measures and isinstance(row[column], str):
                raise PluginError(f"{what}: {column} is {row[column]!r}; a measure is a number.")
        self._check_repetition(row, what)
        self._check_point(row, what)
        for column in infinite:
            self.infinite.setdefault(column, []).append(len(self.rows))
        self.rows.append(row)

    def summary(self) -> list[Summary]:
        """Returns one row for each that differs in more than measures and `over`, in order.

        Its measures are `Mean`s. Rows without any column of `over` stay as many as they are.
        """
        groups: dict[tuple[Scalar, ...], list[Row]] = {}
        for number, row in enumerate(self.rows):
            own = () if self._repeats(row) else (number,)
            groups.setdefault((*self._kept(row).values(), *own), []).append(row)
        return [
            {
                column: _mean([row[column] for row in group]) if column in self.measures else value
                for column, value in group[0].items()
                if column not in self.over
            }
            for group in groups.values()
        ]

    def notes(self) -> list[str]:
        """Returns what a reader should know: numbers that were not finite, seeds that lack."""
        lines = [
            f"{column} was not finite in the rows {enumeration(map(str, rows))}, counted from 0; "
            "they are left out of its mean"
            for column, rows in self.infinite.items()
        ]
        if not self.seeds or SEED not in self.over:
            return lines
        found: dict[tuple[Scalar, ...], set[Scalar]] = {}
        names: dict[tuple[Scalar, ...], str] = {}
        for row in self.rows:
            if row.get(SEED) is not None:
                kept = self._kept(row)
                key = tuple(kept.values())
                found.setdefault(key, set()).add(row[SEED])
                names[key] = ", ".join(f"{column} {value}" for column, value in kept.items())
        for key, seeds in found.items():
            if missing := [str(seed) for seed in self.seeds if seed not in seeds]:
                where = f" at {names[key]}" if key else ""
                lines.append(f"no row{where} of the seeds {enumeration(missing)}")
        return lines

    def _kept(self, row: Row) -> Row:
        """What a row of the summary stands for."""
        left_out = (*self.over, *self.measures)
        return {column: value for column, value in row.items() if column not in left_out}

    def _repeats(self, row: Row) -> bool:
        return any(column in row for column in self.over)

    def _check_columns(self, columns: list[Any], what: str) -> None:
        for column in columns:
            if not isinstance(column, str) or not column.strip():
                raise PluginError(f"{what} has a column {column!r}; expected names.")
        if self.rows:
            first = list(self.rows[0])
            if set(columns) != set(first):
                raise PluginError(
                    f"{what} has the columns {enumeration(columns)}; those of row 0 are "
                    f"{enumeration(first)}."
                )
            return
        needed = (*self.measures, *(self.figure.columns if self.figure else ()))
        if missing := [each for each in needed if each not in columns]:
            raise PluginError(
                f"{what} lacks the column {missing[0]!r}, which the experiment declares; it has: "
                f"{enumeration(columns) or 'none'}."
            )

    def _check_repetition(self, row: Row, what: str) -> None:
        seed = row.get(SEED)
        known = self.seeds is None or SEED not in self.over or seed in (None, *self.seeds)
        if not known or isinstance(seed, bool):
            raise PluginError(
                f"{what} is of seed {seed!r}; the seeds are fixed in advance: "
                f"{enumeration(map(str, self.seeds or ())) or 'none'}."
            )
        if not self._repeats(row):
            return
        kept = {key: value for key, value in row.items() if key not in self.measures}
        place = tuple(kept.values())
        if place in self._seen:
            listed = ", ".join(f"{key} {value}" for key, value in kept.items())
            raise PluginError(f"{what} repeats row {self._seen[place]}: {listed}.")
        self._seen[place] = len(self.rows)

    def _check_point(self, row: Row, what: str) -> None:
        """Refuses rows that differ where the figure does not: one would hide the other."""
        if self.figure is None or self.figure.x in self.measures:
            return
        kept = self._kept(row)
        point = tuple(row[column] for column in (self.figure.x, *self.figure.series))
        other = self._drawn.setdefault(point, kept)
        if differing := [column for column, value in kept.items() if other[column] != value]:
            raise PluginError(
                f"{what} would be drawn over another, from which it differs in "
                f"{enumeration(differing)}; add that to the figure's series, or to measures"
            )


def values(rows: Iterable[Mapping[str, Any]], column: str, **where: Any) -> list[float]:
    """Returns the numbers in a column of the rows whose other columns are as given.

    Args:
        rows: rows as measured.
        column: a measure.
        **where: column=value; a row must agree with all. Columns whose names are no identifiers
            go in as `**{"top k": 5}`.

    Raises:
        PluginError: no row agrees, or a value is null: a mean of it would mislead.
    """
    chosen = [row for row in rows if all(row[key] == value for key, value in where.items())]
    if not chosen:
        asked = ", ".join(f"{key} {value!r}" for key, value in where.items())
        raise PluginError(f"no row has {asked or column}.")
    if any(row[column] is None for row in chosen):
        raise PluginError(f"{column} is null in a row that was asked for.")
    return [float(row[column]) for row in chosen]


def shown(value: Scalar | Mean) -> str:
    """Returns a cell for people: four significant digits; of a mean, as many as its spread."""
    if value is None:
        return "–"
    if isinstance(value, Mean):
        return _shown_mean(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _shown_number(value) if isinstance(value, float) else str(value)


def _shown_mean(value: Mean) -> str:
    if value.mean is None:
        text = "–"
    elif not value.std:
        text = _shown_number(value.mean) + ("" if value.std is None else " ± 0")
    else:
        # Two digits of the spread; fewer where the mean would need more than four for them.
        places = max(1 - _exponent(value.std), 0)
        digits = min(places, max(3 - _exponent(value.mean), 0)) if value.mean else places
        if abs(value.mean) >= 1e7 or digits > 8:
            text = f"{value.mean:.4g} ± {value.std:.2g}"
        elif digits < places:
            text = f"{value.mean:z.{digits}f} ± {value.std:.1g}"
        else:
            text = f"{value.mean:z.{digits}f} ± {value.std:.{digits}f}"
    return text if value.n == value.of else f"{text} ({value.n} of {value.of})"


def _shown_number(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}" if abs(value) < 1e4 or abs(value) >= 1e7 else f"{value:.0f}"


def _exponent(value: float) -> int:
    """The power of ten of the first digit of a number that is not zero."""
    return math.floor(math.log10(abs(value)))


def _mean(values: list[Scalar]) -> Mean:
    numbers = [float(value) for value in values if value is not None]
    return Mean(
        mean=statistics.fmean(numbers) if numbers else None,
        std=statistics.stdev(numbers) if len(numbers) > 1 else None,
        n=len(numbers),
        of=len(values),
    )


def _scalar(value: Any, what: str) -> Scalar:
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a scalar of numpy, a tensor without dimensions
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise PluginError(f"{what} is a {type(value).__name__}; expected text, a number, bool or None.")
