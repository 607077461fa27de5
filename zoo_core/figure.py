"""The figure of an experiment: a PNG drawn by matplotlib from what the experiment declares."""

from __future__ import annotations

import importlib.util
import io
import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo_core.errors import ConfigError, printable
from zoo_core.experiment import Figure
from zoo_core.rows import Mean, Scalar, Summary, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_MARKERS = "osD^vP*X"
_WIDTH, _HEIGHT = 6.4, 4.2
_LETTERS = 72
"""So many letters fit below a panel."""
_FEW = 10
_Point = tuple[float, float, float]
"""A place on the x axis, a value, a standard deviation to both sides."""


def require_matplotlib() -> None:
    """Checks that figures can be drawn, without importing what draws them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "figures are drawn by matplotlib, which is not installed: "
            "pip install 'zoo-core[reproduce]'."
        )


def draw(summary: Iterable[Summary], figure: Figure, title: str) -> bytes:
    """Draws a summary of rows, one panel for each measure, and returns the bytes of a PNG.

    Args:
        summary: rows with `Mean`s; a value that is None is left out.
        figure: which columns go where.
        title: above all panels.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    rows = list(summary)
    with mpl.rc_context({"text.usetex": False}):
        width = _WIDTH * len(figure.y)
        canvas = Canvas(figsize=(width, _HEIGHT), dpi=150, layout="constrained")
        panels = canvas.subplots(1, len(figure.y), squeeze=False)[0]
        for axes, measure in zip(panels, figure.y, strict=True):
            _panel(axes, rows, figure, measure)
        canvas.suptitle(textwrap.fill(_plain(title), int(11 * width)), fontsize="medium")
        drawn = io.BytesIO()
        canvas.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()


def _panel(axes: Axes, rows: list[Summary], figure: Figure, measure: str) -> None:
    places = [_number(row[figure.x]) for row in rows]
    numeric = figure.kind == "line" and not any(
        isinstance(row[figure.x], (str, bool)) for row in rows
    )
    names = list(dict.fromkeys(_label(row[figure.x]) for row in rows))
    if not numeric:
        places = [float(names.index(_label(row[figure.x]))) for row in rows]
    series: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        label = _plain(", ".join(_label(row[column]) for column in figure.series))
        series.setdefault(label, []).append(index)
    for number, (label, members) in enumerate(series.items()):
        points = [
            (places[index], _number(rows[index][measure]), _spread(rows[index][measure]))
            for index in members
            if math.isfinite(places[index]) and math.isfinite(_number(rows[index][measure]))
        ]
        if figure.kind == "bar":
            _bars(axes, points, label, number, len(series))
        else:
            _line(axes, points, label, number)
    if not numeric:
        _name_ticks(axes, [_plain(name) for name in names])
    if "x" in figure.log and numeric:
        axes.set_xscale("log")
        _number_ticks(axes.xaxis)
        if len(names) <= _FEW:
            axes.set_xticks([place for place in sorted(set(places)) if place > 0])
            axes.set_xticks([], minor=True)
    if "y" in figure.log:
        axes.set_yscale("log", nonpositive="clip")
        _number_ticks(axes.yaxis)
    axes.set_xlabel(_plain(figure.x))
    axes.set_ylabel(_plain(measure))
    axes.grid(axis="y" if figure.kind == "bar" else "both", alpha=0.3)
    axes.set_axisbelow(True)
    if figure.series:
        axes.legend(title=", ".join(figure.series), fontsize="small", title_fontsize="small")


def _name_ticks(axes: Axes, names: list[str]) -> None:
    """Writes names below the axis: in several lines, aslant where they would still overlap."""
    room = max(1, min(16, _LETTERS // len(names)))
    wrapped = [textwrap.fill(name, room, break_long_words=False) for name in names]
    if all(len(line) <= room for name in wrapped for line in name.splitlines()):
        axes.set_xticks(range(len(names)), wrapped)
    else:
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right", rotation_mode="anchor")


def _number_ticks(axis: Axis) -> None:
    """Writes plain numbers, not powers, at the ticks of a logarithmic axis."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def _line(axes: Axes, points: list[_Point], label: str, number: int) -> None:
    x, y, spread = _columns(sorted(points))
    marker = _MARKERS[number % len(_MARKERS)]
    axes.errorbar(x, y, yerr=spread, label=label, marker=marker, markersize=4, capsize=3)


def _bars(axes: Axes, points: list[_Point], label: str, number: int, count: int) -> None:
    width = 0.8 / count
    shift = (number - (count - 1) / 2) * width
    x, y, spread = _columns(points)
    axes.bar([each + shift for each in x], y, width, yerr=spread, label=label, capsize=3)


def _columns(points: list[_Point]) -> tuple[list[float], list[float], list[float] | None]:
    """The places, the heights, and the spreads or None if there are none."""
    spread = [point[2] for point in points]
    return (
        [point[0] for point in points],
        [point[1] for point in points],
        spread if any(spread) else None,
    )


def _number(value: Scalar | Mean) -> float:
    if isinstance(value, Mean):
        value = value.mean
    return math.nan if value is None or isinstance(value, str) else float(value)


def _spread(value: Scalar | Mean) -> float:
    return value.std or 0.0 if isinstance(value, Mean) else 0.0


def _label(value: Scalar | Mean) -> str:
    return shown(value.mean if isinstance(value, Mean) else value)


def _plain(text: str) -> str:
    """The text such that matplotlib reads no mathematics into it."""
    return printable(text).replace("$", r"\$")
