"""Streams of timed events from files, as `torch_geometric.data.TemporalData`.

Of every stream: src and dst int64 [E], t int64 [E] if all times are integers, else float64 [E], msg
float32 [E, d_e] with the edge features, of width 0 where there are none, and y [E] where there are
labels. Events are in order of time; the place of an event is its id.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import TemporalData

from zoo_core.cache import user_path
from zoo_core.errors import InputError, UnknownNameError, ZooWarning, suggestion
from zoo_tns.checks import as_ids, as_times
from zoo_tns.text_table import Table, read_table

Column = int | str
"""A column by its number from 0, or by its name in the header."""

_RAW = ("user_id", "item_id")
_DENSE = 10_000_000
"""Below this an id is never too large."""


def load_jodie_csv(path: str | Path, bipartite_offset: bool | None = None) -> TemporalData:
    """Reads a stream in the layout of the JODIE data sets: user, item, time, label, features.

    Two forms are known. In the raw one (user_id,item_id,timestamp,state_label,
    comma_separated_list_of_features) users and items both count from 0; the number of users is
    added to the items' ids. In the slim one (u,i,ts,label) they share one id space already.

    Args:
        path: a csv file with a header, gzipped or not.
        bipartite_offset: whether to add the number of users to the items' ids. None adds it if the
            header is the raw one and users and items have ids in common.

    Returns:
        The stream, with the labels as y.

    Raises:
        InputError: it cannot be read, has a bad row or a negative id (with the line), ids with
            large gaps, or it is unclear whether users and items share one id space.
    """
    table = read_table(user_path(path, "path"))
    if table.values.shape[1] < 4:
        raise InputError(
            f"{table.path} has {table.values.shape[1]} columns; expected user, item, time and "
            "label, and features after them."
        )
    data = _events(table, 0, 1, 2, range(4, table.values.shape[1]), 3)
    shared = bool(np.isin(data.src.numpy(), data.dst.numpy()).any())
    if bipartite_offset is None:
        raw = tuple(each.lower() for each in table.header[:2]) == _RAW
        if shared and not raw:
            raise InputError(
                f"{table.path} has ids that are users and items, and not the header of the raw "
                "layout; pass bipartite_offset=True (--bipartite-offset) if they are counted "
                "apart, or False (--no-bipartite-offset) if they are the same nodes."
            )
        bipartite_offset = shared
    offset = int(data.src.max()) + 1 if bipartite_offset else 0
    largest = max(int(data.src.max()), int(data.dst.max()) + offset)
    _require_dense(largest, len(data.src), str(table.path))
    data.dst = data.dst + offset
    return data


def read_events(
    path: str | Path,
    *,
    source: Column = 0,
    destination: Column = 1,
    time: Column = 2,
    features: Sequence[Column] = (),
    label: Column | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    remap: bool = False,
) -> TemporalData:
    """Reads a stream from any table of numbers, csv or separated by white space, gzipped or not.

    Events out of order are sorted by time, with a `ZooWarning`; those at the same time keep the
    file's order.

    Args:
        path: the file.
        source, destination, time: their columns.
        features: the columns of the edge features.
        label: the column of the labels.
        delimiter: between fields; None finds it in the first line.
        header: whether the first line holds names; None finds out.
        remap: whether to number the nodes anew, without gaps; see `compact_nodes`.

    Raises:
        InputError: it cannot be read, lacks a column, or has a bad row, a negative id or a value
            that is not finite; the message names the line.
    """
    table = read_table(user_path(path, "path"), delimiter, header)
    found = [_place(table, each) for each in (source, destination, time)]
    if len(set(found)) < len(found):
        raise InputError(
            f"source, destination and time are the columns {source!r}, {destination!r} and "
            f"{time!r} of {table.path}; expected three different ones."
        )
    data = _events(
        table,
        *found,
        [_place(table, each) for each in features],
        None if label is None else _place(table, label),
    )
    return compact_nodes(data)[0] if remap else data


def compact_nodes(data: TemporalData) -> tuple[TemporalData, Tensor]:
    """Numbers the nodes 0 ... V - 1 in the order of their ids.

    Returns:
        A copy of the stream, and the ids from before, int64 [V].
    """
    ids, new = torch.cat([data.src, data.dst]).unique(return_inverse=True)
    data = data[:]
    data.src, data.dst = new.chunk(2)
    return data, ids


def sorted_events(data: TemporalData) -> TemporalData:
    """Returns the stream in order of time; events at the same time keep their order."""
    return data[data.t.argsort(stable=True)]


def check_events(data: TemporalData) -> TemporalData:
    """Returns the stream, checked: one that training and evaluation can go through in order.

    Ids of another type than int64 are made int64, in a copy.

    Raises:
        InputError: no events, src, dst, t or msg of different length or wrong type, ids that are
            negative or have large gaps, times that are not finite or out of order, features that
            are not finite.
    """
    if not isinstance(data, TemporalData):
        raise InputError(f"data is a {type(data).__name__}; expected a TemporalData.")
    for name in ("src", "dst", "t"):
        if not isinstance(getattr(data, name, None), Tensor):
            raise InputError(f"data has no {name}; expected a tensor [E].")
    sources = as_ids(data.src, "data.src")
    size = len(sources)
    if not size:
        raise InputError("data holds no events.")
    destinations = as_ids(data.dst, "data.dst", size)
    _require_dense(int(max(sources.max(), destinations.max())), size, "data")
    times = as_times(data.t, "data.t", size)
    if (times[1:] < times[:-1]).any():
        raise InputError("data.t is out of order; sort it first: zoo_tns.events.sorted_events.")
    features = edge_features(data)
    if features.ndim != 2 or len(features) != size or not features.is_floating_point():
        raise InputError(
            f"data.msg has shape {list(features.shape)} and dtype {features.dtype} for {size} "
            "events; expected floating-point [E, d_e]."
        )
    if not bool(features.isfinite().all()):
        raise InputError("data.msg has values that are not finite.")
    if (data.src.dtype, data.dst.dtype) != (torch.int64, torch.int64):
        data = data[:]
        data.src, data.dst = data.src.long(), data.dst.long()  # bytes would be masks
    return data


def edge_features(data: TemporalData) -> Tensor:
    """Returns the edge features [E, d_e]; of width 0 where the stream has none."""
    features = getattr(data, "msg", None)
    return torch.zeros(len(data.src), 0) if features is None else features


def load_dataset(name: str, root: str | Path | None = None) -> TemporalData:
    """Reads one of the streams whose files this module knows; see `DATASETS`.

    Args:
        name: such as "collegemsg".
        root: the folder with a folder of that name in it; None is the variable ZOO_DATA.

    Raises:
        UnknownNameError: there is no such data set.
        InputError: no folder was named, or the file is not there.
    """
    if name not in DATASETS:
        raise UnknownNameError(
            f"there is no data set {name!r}.{suggestion(name, DATASETS)} Expected one of "
            f"{', '.join(DATASETS)}."
        )
    root = root or os.environ.get("ZOO_DATA")
    if not root:
        raise InputError(f"{name}: name the folder it lies in, with root= or ZOO_DATA.")
    file, read = DATASETS[name]
    folder = user_path(root, "root") / name
    plain = folder / file
    return read(plain if plain.exists() else folder / f"{file}.gz")


DATASETS: dict[str, tuple[str, Callable[[Path], TemporalData]]] = {
    "jodie-wikipedia": ("wikipedia.csv", load_jodie_csv),
    "collegemsg": ("CollegeMsg.txt", lambda path: read_events(path, remap=True)),
    "sfhh-conference": (
        "SFHH_conference.csv",
        lambda path: read_events(path, source="from", destination="to", time="time", remap=True),
    ),
    "bitcoin-otc": (
        "soc-sign-bitcoinotc.csv",
        lambda path: read_events(
            path, source="from", destination="to", time="time", features=("feature",), remap=True
        ),
    ),
}
"""Name -> file, gzipped or not, and how it is read."""


def _require_dense(largest: int, events: int, where: str) -> None:
    """Refuses ids for which memories and indices would be made of nodes that are not there."""
    if largest >= max(_DENSE, 100 * events):
        raise InputError(
            f"{where} has the id {largest} and {events} events; expected ids that count from 0: "
            "number the nodes anew with zoo_tns.events.compact_nodes, read_events(remap=True) or "
            "--columns."
        )


def _place(table: Table, column: Column) -> int:
    width = table.values.shape[1]
    if isinstance(column, str):
        if column not in table.header[:width]:
            raise InputError(
                f"{table.path} has no column {column!r}."
                f"{suggestion(column, table.header)} Its header is {', '.join(table.header)!r}."
            )
        return table.header.index(column)
    if isinstance(column, bool) or not isinstance(column, int) or not 0 <= column < width:
        raise InputError(f"{table.path} has {width} columns, and none with the number {column!r}.")
    return column


def _events(
    table: Table,
    source: int,
    destination: int,
    time: int,
    features: Sequence[int],
    label: int | None,
) -> TemporalData:
    ids = []
    for column, what in ((source, "source"), (destination, "destination")):
        nodes = table.integers(column, f"the {what}'s id")
        table.require(nodes >= 0, column, f"the {what}'s id is negative")
        ids.append(torch.from_numpy(nodes))
    with np.errstate(over="ignore"):
        messages = table.values[:, list(features)].astype(np.float32)
    for place, column in enumerate(features):
        table.require(np.isfinite(messages[:, place]), column, "a feature is not a finite float32")
    data = TemporalData(
        src=ids[0],
        dst=ids[1],
        t=torch.from_numpy(table.numbers(time, "the time")),
        msg=torch.from_numpy(messages),
    )
    if label is not None:
        data.y = torch.from_numpy(table.numbers(label, "the label"))
    late = int((data.t[1:] < data.t[:-1]).sum())
    if late:
        warnings.warn(
            f"{table.path}: {late} events are earlier than the one before; all are sorted by time, "
            "and those at the same time keep their order.",
            ZooWarning,
            stacklevel=4,
        )
        data = sorted_events(data)
    return data
