"""What all pictures share: axes, units of time, checked numbers, and files.

Artists bear a `gid` that says what they show; the functions that draw them name it.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch

from zoo_core.cache import replacing, user_path
from zoo_core.errors import ConfigError, InputError, SaveError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = npt.NDArray[np.float64]
UnitName = Literal["seconds", "minutes", "hours", "days", "time"]
"""A unit of the time axis; "time" for times that are no seconds, shown as they are."""
PALETTE: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#17becf", "#e377c2")
OTHERS: Final = "#8a8a8a"
"""The colour of all that has none of its own in `PALETTE`."""

_FORMATS: Final = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}
"""The suffixes of pictures, and what of each would differ from run to run."""


class Unit(NamedTuple):
    """A unit of time: its name, its abbreviation, and how many seconds it has."""

    name: str
    short: str
    seconds: float


_UNITS: Final = (
    Unit("days", "d", 86400.0),
    Unit("hours", "h", 3600.0),
    Unit("minutes", "min", 60.0),
    Unit("seconds", "s", 1.0),
)


def require_matplotlib() -> None:
    """Checks that pictures can be drawn, without importing what draws them.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "pictures are drawn by matplotlib, which is not installed: "
            "pip install 'zoo-tns[pictures]'."
        )


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Returns the axes given or, for None, those of a new figure of `size` in inches.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots() if ax is None else ax


def legend_beside(ax: Axes, title: str | None = None) -> None:
    """Adds the legend at the right of the axes, where it hides nothing."""
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small", title=title)
    legend.set_frame_on(False)
    legend.get_title().set_fontsize("small")


def logarithmic(ax: Axes, which: Literal["x", "y"]) -> None:
    """Makes an axis logarithmic, with plain numbers, not powers, at its ticks."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            # The base class knows at which ticks there is room for a label.
            return f"{x:g}" if super().__call__(x, pos) else ""

    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(minor_thresholds=(2, 0.5)))
    ax.tick_params(axis=which, which="minor", labelsize="small")


def unit_for(span: float, unit: UnitName | None) -> Unit:
    """Returns the unit of a time axis.

    Args:
        span: what the axis has to show, in seconds.
        unit: None for the largest of which the span has two.

    Raises:
        InputError: no such unit.
    """
    if unit == "time":
        return Unit("time", "", 1.0)
    if unit is not None:
        found = [each for each in _UNITS if each.name == unit]
        if not found:
            names = ", ".join(get_args(UnitName))
            raise InputError(f"unit is {unit!r}; expected one of {names}, or None.")
        return found[0]
    return next((each for each in _UNITS if span >= 2 * each.seconds), _UNITS[-1])


def duration(seconds: float, unit: UnitName | None = None) -> str:
    """Returns a length of time as a text of three digits, as in "2.57 h".

    Args:
        seconds: the length; of no unit where `unit` is "time".
        unit: None for the one that suits.
    """
    chosen = unit_for(seconds, unit)
    amount = seconds / chosen.seconds
    text = f"{amount:.0f}" if amount >= 100 else f"{amount:.3g}"
    return f"{text} {chosen.short}".rstrip()


def vector(values: Any, name: str, size: int | None = None) -> Numbers:
    """Returns `values` as [B] float64.

    Args:
        values: numbers, as a tensor, array or list.
        name: of the argument, for messages.
        size: the B there must be; None for any.

    Raises:
        InputError: something else, or values that are not finite.
    """
    array = numbers(values, name)
    if array.ndim != 1 or size not in (None, len(array)):
        expected = "[B]" if size is None else f"[{size}]"
        raise InputError(f"{name} has shape {list(array.shape)}; expected {expected}.")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has values that are not finite.")
    return array


def numbers(values: Any, name: str) -> Numbers:
    """Returns `values` as float64, of the shape they have.

    Raises:
        InputError: they are no numbers.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} is a {type(values).__name__} that holds no plain numbers; expected them as a "
            "tensor, array or list."
        ) from error


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
        with replacing(target) as fresh, mpl.rc_context({"svg.hashsalt": "zoo-tns"}):
            figure.savefig(
                fresh,
                format=suffix[1:],
                dpi=dpi,
                bbox_inches="tight",
                metadata={_FORMATS[suffix]: None},
            )
    except OSError as error:
        raise SaveError(f"cannot write {target}: {error.strerror or error}.") from error
