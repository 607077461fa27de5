"""Experiments: the claims of a paper that a plugin can show, and what their functions are given.

An `Experiment` says what is claimed and what showing it takes; it names its function by an import
string, so that listing experiments imports nothing heavy. The function gets a `Context` and
returns, or yields, rows; `zoo_core.reproduce` does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from zoo_core.errors import InputError, PluginError

KINDS = ("line", "bar")
"""How a figure draws its points."""
SEED = "seed"
"""The column that says which seed a row is of."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_IMPORT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a figure shows, in the names of the rows' columns.

    Attributes:
        x: the horizontal axis: numbers, or names in the order in which they come.
        y: the vertical axis, measures; each gets a panel of its own. Where rows are means over
            seeds, bars show a standard deviation to both sides.
        series: the columns whose values tell one line, or one colour of bars, from another.
        kind: "line" or "bar".
        log: the axes that are logarithmic: "", "x", "y" or "xy". Bars have no logarithmic x.
    """

    x: str
    y: tuple[str, ...]
    series: tuple[str, ...] = ()
    kind: str = "line"
    log: str = ""

    def __post_init__(self) -> None:
        _line(self.x, "figure", "x")
        for name in ("y", "series"):
            object.__setattr__(self, name, _lines(getattr(self, name), "figure", name))
        if not self.y:
            raise PluginError("figure: y is empty; expected at least one measure.")
        if self.kind not in KINDS:
            raise PluginError(f"figure: kind is {self.kind!r}; expected one of {', '.join(KINDS)}.")
        if self.log not in ("", "x", "y", "xy"):
            raise PluginError(f"figure: log is {self.log!r}; expected '', 'x', 'y' or 'xy'.")
        if self.kind == "bar" and "x" in self.log:
            raise PluginError("figure: bars stand at names; a logarithmic x needs kind 'line'.")

    @property
    def columns(self) -> tuple[str, ...]:
        """All the columns it needs."""
        return (self.x, *self.y, *self.series)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A claim, and the function that shows whether it holds.

    Attributes:
        name: kebab-case; unique within its plugin.
        claim: one sentence that can turn out false.
        run: "module:function", imported when it is run. The function takes a `Context` and
            returns an iterable of rows: mappings from the same columns to strings, numbers, bools
            or None. A generator's rows are kept when it is interrupted.
        measures: the columns that are measured: numbers, or bools that count as 0 and 1.
        minutes: how long it takes on two cores with its default number of seeds.
        seeds: how many seeds it runs by default; 0 if nothing in it is random.
        data: the folders below `--data DIR` without which it cannot run.
        over: the columns that tell repetitions apart. Rows that agree in all columns but these and
            the measures become one, with mean and sample standard deviation of each measure.
        check: "module:function" that takes all rows as measured and returns (whether the claim
            holds, one line that says why, with the numbers); see `zoo_core.rows.values`. Without
            it the numbers are reported and left to the reader.
        paper: where the paper makes the claim, such as "section 4.2, figure 3".
        figure: what to draw.
    """

    name: str
    claim: str
    run: str
    measures: tuple[str, ...]
    minutes: float
    seeds: int
    data: tuple[str, ...] = ()
    over: tuple[str, ...] = (SEED,)
    check: str | None = None
    paper: str | None = None
    figure: Figure | None = None

    def __post_init__(self) -> None:
        what = f"experiment {_shown(self.name)}"
        _match(_NAME, self.name, what, "name", "kebab-case such as memory-by-depth")
        _line(self.claim, what, "claim")
        _match(_IMPORT, self.run, what, "run", "module:function")
        if self.check is not None:
            _match(_IMPORT, self.check, what, "check", "module:function")
        if self.paper is not None:
            _line(self.paper, what, "paper")
        for name in ("measures", "data", "over"):
            object.__setattr__(self, name, _lines(getattr(self, name), what, name))
        if not self.measures:
            raise PluginError(f"{what}: measures is empty; expected at least one column.")
        if both := [each for each in self.over if each in self.measures]:
            raise PluginError(f"{what}: {both[0]!r} is in measures and in over; it can be one.")
        for folder in self.data:
            _match(_FOLDER, folder, what, "data", "names of folders such as cifar10-small")
        if not isinstance(self.minutes, (int, float)) or not 0 < self.minutes < 1e6:
            shown = _shown(self.minutes)
            raise PluginError(f"{what}: minutes is {shown}; expected a positive number.")
        if type(self.seeds) is not int or self.seeds < 0:
            shown = _shown(self.seeds)
            raise PluginError(f"{what}: seeds is {shown}; expected a number of seeds, 0 or more.")
        if self.figure is not None:
            self._check_figure(self.figure, what)

    def _check_figure(self, figure: Figure, what: str) -> None:
        if not isinstance(figure, Figure):
            raise PluginError(f"{what}: figure is a {type(figure).__name__}; expected a Figure.")
        for column in figure.y:
            if column not in self.measures:
                raise PluginError(
                    f"{what}: figure draws {column!r}, which is no measure; they are: "
                    f"{', '.join(self.measures)}."
                )
        for column in (figure.x, *figure.series):
            if column in self.over:
                raise PluginError(f"{what}: figure needs {column!r}, over which the mean is taken.")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the function of an experiment works with.

    Attributes:
        seeds: the seeds to run, fixed in advance: 0, 1, ...; empty where nothing is random.
        folder: where `out` is.
        data_root: the folder given by `--data DIR` or the variable `ZOO_DATA`.
        tracked: shows the progress of a loop; takes (items, description, total).
        notes: what `note` was given.
        used: the data that `data` handed out.
    """

    seeds: tuple[int, ...]
    folder: Path
    data_root: Path | None = None
    tracked: Callable[[Iterable[Any], str, float | None], Iterator[Any]] | None = None
    notes: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)

    @property
    def out(self) -> Path:
        """A folder for files of the experiment's own, made when it is asked for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def has(self, name: str) -> bool:
        """Whether the data of this name is there; for data that the experiment can do without."""
        return absent(name, self.data_root) is None

    def data(self, name: str) -> Path:
        """Returns the folder of this name below the user's folder of data.

        Raises:
            InputError: it is not there; says how to give it.
        """
        if reason := absent(name, self.data_root):
            raise InputError(reason)
        if name not in self.used:
            self.used.append(name)
        return Path(self.data_root or "", name)

    def progress(
        self, items: Iterable[_T], description: str = "", total: float | None = None
    ) -> Iterator[_T]:
        """Yields the items and shows how far it is.

        Args:
            items: what to loop over.
            description: a few words.
            total: how many there are, where `items` has no length.
        """
        if self.tracked is None:
            yield from items
        else:
            yield from self.tracked(items, description, total)

    def note(self, text: str) -> None:
        """Adds a line to the report: what a reader of the numbers should know."""
        self.notes.append(" ".join(str(text).split()))


def absent(name: str, root: Path | None) -> str | None:
    """Returns why the data `name` is not below `root`, and what to do; None if it is there."""
    if root is None:
        return (
            f"the data {name} is needed: give the folder that holds {name}/ with --data DIR or the "
            "variable ZOO_DATA."
        )
    if not (root / name).is_dir():
        return (
            f"there is no folder {name} in {root}: give the folder that holds {name}/ with "
            "--data DIR or the variable ZOO_DATA."
        )
    return None


def _line(value: object, what: str, name: str) -> None:
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) > 1:
        raise PluginError(f"{what}: {name} is {_shown(value)}; expected one line of text.")


def _match(pattern: re.Pattern[str], value: object, what: str, name: str, expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PluginError(f"{what}: {name} is {_shown(value)}; expected {expected}.")


def _lines(value: object, what: str, name: str) -> tuple[str, ...]:
    """A tuple of different strings; one string alone is refused, since it would fall apart."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise PluginError(f"{what}: {name} is {_shown(value)}; expected a tuple of strings.")
    items = tuple(value)
    for place, item in enumerate(items):
        _line(item, what, name)
        if item in items[:place]:
            raise PluginError(f"{what}: {name} holds {item!r} twice.")
    return items


def _shown(value: object) -> str:
    """A value's repr on one line of bearable length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
