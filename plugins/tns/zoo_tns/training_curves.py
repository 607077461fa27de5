"""Pictures of a training: its loss, its validation AP and what its expansion rates did, by epoch.

Artists bear a `gid`: a curve the key of its numbers, "best" the line at the best epoch.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from zoo_core.cache import user_path
from zoo_core.errors import CheckpointError, InputError
from zoo_core.retries import first_line
from zoo_tns.drawing import OTHERS, PALETTE, Numbers, legend_beside, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]
"""What is known of an epoch; of the keys that are drawn any may be missing, or None."""


class _Panel(NamedTuple):
    """One panel: the label of its axis, and the curves in it by key."""

    label: str
    curves: dict[str, str]


_PANELS: Final = (
    _Panel("training loss", {"loss": "loss"}),
    _Panel("validation AP", {"val_ap": "all events", "new_node_val_ap": "new nodes"}),
    _Panel("mean rate r", {"mean_rate": "mean rate"}),
    _Panel("closed share", {"closed_share": "closed"}),
)
_KEYS: Final = ("epoch", *(key for panel in _PANELS for key in panel.curves))
_FILE: Final = "log.jsonl"
"""The log in the folder of a training, as `zoo_tns.training` names it."""
_CHOICE: Final = "val_ap"
"""The measure that tells which epoch is the best."""


def draw_training(
    history: Iterable[Record] | str | os.PathLike[str],
    ax: Axes | Sequence[Axes] | None = None,
    *,
    measures: Sequence[str] | None = None,
) -> Figure:
    """Draws the curves of a training by epoch, a panel for each kind, and marks the best epoch.

    The best epoch is the one of the highest validation AP, the first of equals; it is not marked
    where `val_ap` is not known.

    Args:
        history: a record an epoch with `epoch` and some of `loss`, `val_ap`, `new_node_val_ap`,
            `mean_rate` and `closed_share`, or the path of a training's folder or log; see
            `read_log`. Records of one epoch are taken together.
        ax: where to draw: the axes of each panel, or of the only one; None for a new figure. There
            are panels for what occurs of: the loss, the APs, the mean rate, the closed share.
        measures: the keys to draw; None for all that occur.

    Returns:
        The figure; its `axes` are the panels.

    Raises:
        InputError: there is nothing to draw, or an argument is not as above.
        CheckpointError: the file is not the log of a training.
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.ticker import MaxNLocator

    records = read_log(history) if isinstance(history, (str, os.PathLike)) else history
    epochs, curves = _curves(records)
    known = ", ".join(_KEYS[1:])
    for measure in measures or ():
        if measure not in _KEYS[1:]:
            raise InputError(f"measures has {measure!r}; expected some of {known}.")
    wanted = {key for key in curves if measures is None or key in measures}
    panels = [panel for panel in _PANELS if wanted & panel.curves.keys()]
    if not panels:
        raise InputError(f"the history has no numbers to draw; expected some of {known}.")

    all_axes = _axes(ax, panels)
    best = int(np.nanargmax(curves[_CHOICE])) if _CHOICE in curves else None
    for axes, panel in zip(all_axes, panels, strict=True):
        if best is not None:
            line = axes.axvline(epochs[best], color=OTHERS, linestyle="--", linewidth=1, zorder=1)
            line.set_gid("best")
        for (key, label), colour in zip(panel.curves.items(), PALETTE, strict=False):
            if key in wanted:
                marks: dict[str, Any] = {
                    "color": colour,
                    "marker": "o",
                    "markersize": 3,
                    "linewidth": 1.2,
                }
                axes.plot(epochs, curves[key], label=label, gid=key, zorder=2, **marks)
        axes.set_ylabel(panel.label)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(panel.curves) > 1:
            legend_beside(axes)
    if best is not None:
        score = f"{curves[_CHOICE][best]:.4f}"
        all_axes[0].set_title(
            f"best epoch {epochs[best]:.0f}, validation AP {score}", fontsize="medium"
        )
    all_axes[-1].set_xlabel("epoch")
    return all_axes[0].figure.figure


def read_log(path: str | os.PathLike[str]) -> list[Record]:
    """Returns the records of a training's log that belong to an epoch.

    Args:
        path: JSON lines, or CSV if its suffix is .csv, or a folder with the former as log.jsonl. A
            last line that is not whole, as a killed run leaves it, is passed over.

    Raises:
        CheckpointError: it cannot be read, or is no such log.
    """
    file = user_path(path, "the log's path")
    if file.is_dir():
        file /= _FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            del lines[-1]
        if file.suffix.lower() == ".csv":
            records: list[Any] = [
                {key: float(value) for key, value in row.items() if key in _KEYS and value}
                for row in csv.DictReader(lines)
            ]
        else:
            records = [json.loads(line) for line in lines]
        return [each for each in records if each.get("epoch") is not None]
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is not the log of a training ({first_line(error)}); expected JSON lines or a "
            ".csv with the column epoch."
        ) from error


def _curves(records: Iterable[Record]) -> tuple[Numbers, dict[str, Numbers]]:
    """The epochs [n] in order, and by key what is known of them [n], else NaN."""
    known: dict[float, dict[str, float]] = {}
    for number, record in enumerate(records):
        if not isinstance(record, Mapping) or record.get("epoch") is None:
            raise InputError(f"record {number} of the history is no dict with an epoch.")
        found = known.setdefault(_number(record, "epoch"), {})
        for key in _KEYS[1:]:
            if record.get(key) is not None:
                found[key] = _number(record, key)
    epochs = np.array(sorted(known))
    curves = {
        key: np.array([known[epoch].get(key, np.nan) for epoch in epochs]) for key in _KEYS[1:]
    }
    return epochs, {key: curve for key, curve in curves.items() if not np.isnan(curve).all()}


def _number(record: Record, key: str) -> float:
    try:
        return float(record[key])
    except (TypeError, ValueError) as error:
        raise InputError(f"the history has {record[key]!r} as {key}; expected a number.") from error


def _axes(ax: Axes | Sequence[Axes] | None, panels: list[_Panel]) -> list[Axes]:
    """The axes of each panel."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is None:
        size = (7.0, 0.6 + 1.6 * len(panels))
        figure = Figure(figsize=size, layout="constrained")
        return list(figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0])
    given = [ax] if isinstance(ax, Axes) else list(ax)
    if len(given) != len(panels):
        names = ", ".join(panel.label for panel in panels)
        raise InputError(
            f"ax has {len(given)} axes for {len(panels)} panels ({names}); give one for each, or "
            "choose measures."
        )
    return given
