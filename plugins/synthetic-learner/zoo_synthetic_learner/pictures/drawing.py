"""What all pictures share: axes, a panel's times on them, labels of any length, and files.

Artists bear a `gid` that says what they show; the functions that draw them name it.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from zoo_core.cache import replacing, user_path
from zoo_core.errors import ConfigError, InputError, SaveError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#17becf", "#e377c2")
OTHERS: Final = "#8a8a8a"
"""The colour of all that has none of its own in `PALETTE`."""
_FORMATS: Final = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
"""The suffixes of pictures, and what of each would differ from run to run."""
_TICKS: Final = 9
_STEPS: Final = (1, 2, 5, 10)


def require_matplotlib() -> None:
    """Checks that pictures can be drawn, without importing what draws them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "pictures are drawn by matplotlib, which is not installed: "
            "pip install 'zoo-synthetic-learner[pictures]'."
        )


def axes_or_new(ax: Axes | None, size: tuple[float, float] = (7.0, 3.8)) -> Axes:
    """Returns the axes given or, for None, those of a new figure of `size` in inches.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots() if ax is None else ax


def positions(times: pd.Index) -> np.ndarray:
    """Returns where the times [T] stand on an axis.

    Numbers and dates stand where they are; any other labels, such as periods and text, at 0 to
    T - 1, where `name_times` writes them.
    """
    if times.dtype.kind in "iuf":
        return times.to_numpy(np.float64)
    if isinstance(times, pd.DatetimeIndex):
        from matplotlib.dates import date2num

        return np.asarray(date2num(times.tz_localize(None).to_numpy()))
    return np.arange(len(times), dtype=np.float64)


def name_times(ax: Axes, times: pd.Index) -> None:
    """Labels the x-axis with a panel's times, a few of them."""
    from matplotlib.ticker import MaxNLocator

    if isinstance(times, pd.DatetimeIndex):
        ax.xaxis_date()
    elif times.dtype.kind in "iuf":
        ax.xaxis.set_major_locator(
            MaxNLocator(_TICKS, steps=_STEPS, integer=times.dtype.kind in "iu")
        )
        ax.ticklabel_format(axis="x", useOffset=False, style="plain")
    else:
        chosen = np.unique(np.linspace(0, len(times) - 1, _TICKS).round().astype(int))
        ax.set_xticks(chosen, [shorten(times[place], 12) for place in chosen])
    ax.set_xlabel("time" if times.name is None else shorten(times.name))


def name_event_times(ax: Axes) -> None:
    """Labels the x-axis as event time, in whole periods."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(_TICKS, steps=_STEPS, integer=True))
    ax.set_xlabel("periods since treatment")


def mark_treatment(ax: Axes, x: float) -> None:
    """Draws the line between the last period before treatment and the first under it."""
    ax.axvline(x, color=OTHERS, linestyle="--", linewidth=1, gid="treatment", zorder=1)


def mark_zero(ax: Axes) -> None:
    """Draws the line of no effect."""
    ax.axhline(0, color=OTHERS, linewidth=0.8, gid="zero", zorder=1)


def legend_if_any(ax: Axes, *, beside: bool = False) -> None:
    """Adds a legend of the artists that have labels; at the right of the axes with `beside`."""
    if not ax.get_legend_handles_labels()[1]:
        return
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if beside else {"loc": "best"}
    legend = ax.legend(fontsize="small", frameon=False, **place)
    for line in legend.get_lines():
        # Lines so faint that many can be told apart are too faint for a legend.
        line.set_alpha(max(line.get_alpha() or 1.0, 0.6))


def shorten(label: Any, length: int = 28) -> str:
    """Returns a label as text of at most `length` characters, which matplotlib takes literally."""
    text = " ".join(str(label).split())
    text = text if len(text) <= length else f"{text[: length - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
    return text.replace("$", r"\$")


def save_picture(path: str | os.PathLike[str], picture: Axes | Figure, *, dpi: float = 150) -> None:
    """Writes a picture, whole or not at all: a file of that name is replaced at the end.

    Args:
        path: a PNG, SVG or PDF, by its suffix; its folder is made.
        picture: what one of the functions that draw has returned.
        dpi: dots an inch.

    Raises:
        InputError: another suffix, or no picture.
        SaveError: the file cannot be written.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    target = user_path(path, "the picture's path")
    suffix = target.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"the picture's suffix is {target.suffix!r}; expected one of {', '.join(_FORMATS)}."
        )
    figure = picture.figure.figure if isinstance(picture, Axes) else picture
    if not isinstance(figure, Figure):
        raise InputError(f"picture is a {type(picture).__name__}; expected an Axes or a Figure.")
    try:
        with replacing(target) as fresh, mpl.rc_context({"svg.hashsalt": "zoo-synthetic-learner"}):
            figure.savefig(
                fresh,
                format=suffix[1:],
                dpi=dpi,
                bbox_inches="tight",
                metadata={_FORMATS[suffix]: None},
            )
    except OSError as error:
        raise SaveError(f"cannot write {target}: {error.strerror or error}.") from error
