"""How long looking up temporal neighbours takes, side by side on the same queries in one process.

    python plugins/tns/benchmarks/sampling.py [--data DIR] [--rounds 5] [--threads 1] [--k 10]

Wikipedia (JODIE), from DIR or the variable ZOO_DATA. Queries are those of TGN's batches: source,
destination and a random destination of each of 200 events, at its time. "loop" is the finder that
is usual in research code: one search a query in its node's own array, and one row copied.

The streaming epoch asks, before each batch, for the last k events of all earlier batches, and then
shows the batch's events to the finder, as torch_geometric's `LastNeighborLoader` does; all sides
return what it returns, and their results are compared before they are timed. For a node with more
than k events in a batch it keeps any k of them, since its sort is not stable; it is compared with a
stable one, and timed as it is.

Times are of the process, not of the wall clock, since other work may share the machine. Rounds of
all cases alternate; medians over rounds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

import numpy as np
import torch
import torch_geometric
from torch import Tensor
from torch_geometric.data import TemporalData
from torch_geometric.nn.models.tgn import LastNeighborLoader

from zoo_tns.events import load_dataset
from zoo_tns.index import Engine, TemporalIndex

BATCH = 200
Case = tuple[str, Callable[[], object]]
Queries = list[tuple[Tensor, Tensor]]
Subgraph = tuple[Tensor, Tensor, Tensor]


class LoopFinder:
    """Looks up the k most recent events one query at a time, in arrays of each node."""

    def __init__(self, data: TemporalData) -> None:
        events: list[list[tuple[float, int, int]]] = [[] for _ in range(data.num_nodes)]
        columns = (data.src.tolist(), data.dst.tolist(), data.t.tolist())
        for event, (src, dst, t) in enumerate(zip(*columns, strict=True)):
            events[src].append((t, event, dst))
            events[dst].append((t, event, src))
        for each in events:
            each.sort(key=lambda entry: entry[0])
        self.times = [np.array([entry[0] for entry in each]) for each in events]
        self.edges = [np.array([entry[1] for entry in each], np.int64) for each in events]
        self.nodes = [np.array([entry[2] for entry in each], np.int64) for each in events]

    def __call__(self, nodes: Tensor, times: Tensor, k: int) -> tuple[np.ndarray, ...]:
        """Returns neighbours, events and times [B, k], oldest first, padded on the left."""
        found = np.zeros((len(nodes), k), np.int64)
        edges = np.zeros((len(nodes), k), np.int64)
        when = np.zeros((len(nodes), k))
        for row, (node, t) in enumerate(zip(nodes.numpy(), times.numpy(), strict=True)):
            end = np.searchsorted(self.times[node], t)
            begin = max(end - k, 0)
            size = end - begin
            if size:
                found[row, k - size :] = self.nodes[node][begin:end]
                edges[row, k - size :] = self.edges[node][begin:end]
                when[row, k - size :] = self.times[node][begin:end]
        return found, edges, when


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZOO_DATA"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--k", type=int, default=10)
    given = parser.parse_args()
    if given.data is None:
        parser.error("give the folder that holds jodie-wikipedia/ with --data or ZOO_DATA")
    torch.set_num_threads(given.threads)
    data = load_dataset("jodie-wikipedia", given.data)
    print(
        f"torch {torch.__version__}, torch_geometric {torch_geometric.__version__}, "
        f"numpy {np.__version__}, numba {_numba()}, {given.threads} thread(s), "
        f"{given.rounds} rounds; {data.num_events} events, {data.num_nodes} nodes, k = {given.k}"
    )
    batches = queries(data)
    total = sum(len(nodes) for nodes, _ in batches)
    compare("Building", "ms", 1e3, [("ours", lambda: TemporalIndex.from_data(data))], given.rounds)
    compare(
        f"k most recent of {total} queries, {3 * BATCH} at a time",
        "microseconds a query",
        1e6 / total,
        finders(data, batches, given.k),
        given.rounds,
    )
    compare(
        f"Counting only, {total} queries at once",
        "microseconds a query",
        1e6 / total,
        searches(data, batches),
        given.rounds,
    )
    compare("Streaming epoch", "s", 1.0, epochs(data, batches, given.k), given.rounds)


def _numba() -> str | None:
    """Returns the version of numba, if it is installed."""
    return metadata.version("numba") if importlib.util.find_spec("numba") else None


def queries(data: TemporalData) -> Queries:
    """Returns nodes and times of each batch."""
    destinations = data.dst.unique()
    generator = torch.Generator().manual_seed(0)
    negative = destinations[
        torch.randint(len(destinations), (data.num_events,), generator=generator)
    ]
    return [
        (torch.cat((data.src[batch], data.dst[batch], negative[batch])), data.t[batch].repeat(3))
        for batch in slices(data)
    ]


def slices(data: TemporalData) -> list[slice]:
    """Returns the batches, the last of them shorter."""
    return [slice(begin, begin + BATCH) for begin in range(0, data.num_events, BATCH)]


def finders(data: TemporalData, batches: Queries, k: int) -> list[Case]:
    """Returns ways to find the k most recent events; the first is ours."""
    index = TemporalIndex.from_data(data)
    loop = LoopFinder(data)
    recent = torch.arange(1, k + 1)
    positions = [recent.expand(len(nodes), -1) for nodes, _ in batches]
    counts = [index.count(*batch) for batch in batches]
    ordered = []
    for nodes, times in batches:
        order = np.lexsort((times.numpy(), nodes.numpy()))
        ordered.append((nodes[order], times[order]))
    _check_loop(index, loop, batches, positions, k)
    cases = [
        ("ours", lambda: _gather_all(index, batches, positions)),
        ("ours, queries sorted", lambda: _gather_all(index, ordered, positions)),
        (
            "ours, counts known",
            lambda: [
                index.lookup(nodes, count, position)
                for (nodes, _), count, position in zip(batches, counts, positions, strict=True)
            ],
        ),
        ("loop", lambda: [loop(*batch, k) for batch in batches]),
    ]
    if _numba():
        compiled = TemporalIndex.from_data(data, engine="numba")
        cases.insert(1, ("ours, numba", lambda: _gather_all(compiled, batches, positions)))
    return cases


def searches(data: TemporalData, batches: Queries) -> list[Case]:
    """Returns ways to count the events before each query; the first is ours."""
    index = TemporalIndex.from_data(data)
    order = torch.randperm(
        sum(len(nodes) for nodes, _ in batches), generator=torch.Generator().manual_seed(0)
    )
    nodes = torch.cat([nodes for nodes, _ in batches])[order]
    times = torch.cat([times for _, times in batches])[order]
    by_node = np.lexsort((times.numpy(), nodes.numpy()))
    keys = _keys(data)
    found = _search_keys(keys, nodes.numpy(), times.numpy())
    assert np.array_equal(found, index.count(nodes, times).numpy())
    sorted_nodes, sorted_times = nodes[by_node], times[by_node]
    cases = [
        ("ours", lambda: index.count(nodes, times)),
        ("ours, queries sorted", lambda: index.count(sorted_nodes, sorted_times)),
        (
            "one search among (node, rank of time)",
            lambda: _search_keys(keys, nodes.numpy(), times.numpy()),
        ),
        (
            "the same, queries sorted",
            lambda: _search_keys(keys, sorted_nodes.numpy(), sorted_times.numpy()),
        ),
    ]
    if _numba():
        compiled = TemporalIndex.from_data(data, engine="numba")
        cases.insert(1, ("ours, numba", lambda: compiled.count(nodes, times)))
    return cases


def epochs(data: TemporalData, batches: Queries, k: int) -> list[Case]:
    """Returns ways to go through the stream once; the first is torch_geometric's."""
    asked = [nodes.unique() for nodes, _ in batches]
    cases: dict[str, Callable[[], Iterator[Subgraph]]] = {
        "LastNeighborLoader": lambda: _last_neighbors(data, asked, k),
        "ours, append and ask": lambda: _appended(data, asked, k),
        "ours, all at once and asked by time": lambda: _by_time(data, asked, k),
    }
    if _numba():
        cases["ours, append and ask, numba"] = lambda: _appended(data, asked, k, "numba")
    theirs, *ours = cases.values()
    with _stable_sort():
        expected = list(theirs())
    for each in ours:
        assert all(_same(one, other) for one, other in zip(expected, each(), strict=True))
    differing = sum(not _same(*pair) for pair in zip(expected, theirs(), strict=True))
    print(
        f"\nLastNeighborLoader as it is gives other events than the last {k} before "
        f"{differing} of {len(asked)} batches"
    )
    return [(name, lambda run=run: sum(1 for _ in run())) for name, run in cases.items()]


def _last_neighbors(data: TemporalData, asked: list[Tensor], k: int) -> Iterator[Subgraph]:
    loader = LastNeighborLoader(data.num_nodes, k)
    for nodes, batch in zip(asked, slices(data), strict=True):
        yield loader(nodes)
        loader.insert(data.src[batch], data.dst[batch])


def _appended(
    data: TemporalData, asked: list[Tensor], k: int, engine: Engine = "numpy"
) -> Iterator[Subgraph]:
    index = TemporalIndex([], [], [], num_nodes=data.num_nodes, engine=engine)
    local = np.empty(data.num_nodes, np.int64)
    recent = torch.arange(1, k + 1)
    for nodes, batch in zip(asked, slices(data), strict=True):
        if index.num_events:
            # All that was appended is older than one step after the last.
            after = torch.full((len(nodes),), float(data.t[batch.start - 1]) + 1)
            yield _subgraph(index, nodes, after, recent, local)
        else:  # an index without events cannot be asked
            yield nodes, nodes.new_empty(2, 0), nodes.new_empty(0)
        index.append(data.src[batch], data.dst[batch], data.t[batch])


def _by_time(data: TemporalData, asked: list[Tensor], k: int) -> Iterator[Subgraph]:
    # By the number of an event, since a batch may begin in the middle of equal times.
    order = torch.arange(data.num_events)
    index = TemporalIndex(data.src, data.dst, order, num_nodes=data.num_nodes)
    local = np.empty(data.num_nodes, np.int64)
    recent = torch.arange(1, k + 1)
    for nodes, batch in zip(asked, slices(data), strict=True):
        yield _subgraph(index, nodes, torch.full((len(nodes),), batch.start), recent, local)


def _subgraph(
    index: TemporalIndex, nodes: Tensor, times: Tensor, recent: Tensor, local: np.ndarray
) -> Subgraph:
    """Returns nodes, edges among them and events, as `LastNeighborLoader` does."""
    found = index.gather(nodes, times, recent.expand(len(nodes), -1))
    mask = found.mask.numpy()
    neighbor, edge_id = found.node.numpy()[mask], found.edge_id.numpy()[mask]
    # Marks tell the distinct nodes in order without sorting them.
    marked = np.zeros(len(local), bool)
    marked[nodes.numpy()] = True
    marked[neighbor] = True
    n_id = marked.nonzero()[0]
    local[n_id] = np.arange(len(n_id))
    edges = np.empty((2, len(neighbor)), np.int64)
    local.take(neighbor, out=edges[0])
    edges[1] = local[nodes.numpy()].repeat(mask.sum(1))
    return torch.from_numpy(n_id), torch.from_numpy(edges), torch.from_numpy(edge_id)


def _gather_all(index: TemporalIndex, batches: Queries, positions: list[Tensor]) -> list[object]:
    return [
        index.gather(*batch, position) for batch, position in zip(batches, positions, strict=True)
    ]


def _keys(data: TemporalData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns distinct times, the keys node * (R + 1) + rank in order, and where nodes start."""
    distinct, rank = np.unique(data.t.numpy(), return_inverse=True)
    owner = torch.cat((data.src, data.dst)).numpy()
    keys = np.sort(owner * (len(distinct) + 1) + np.tile(rank, 2))
    start = np.searchsorted(keys, np.arange(data.num_nodes) * (len(distinct) + 1))
    return distinct, keys, start


def _search_keys(
    keys: tuple[np.ndarray, np.ndarray, np.ndarray], nodes: np.ndarray, times: np.ndarray
) -> np.ndarray:
    distinct, ordered, start = keys
    key = nodes * (len(distinct) + 1) + np.searchsorted(distinct, times)
    return np.searchsorted(ordered, key) - start[nodes]


def _check_loop(
    index: TemporalIndex, loop: LoopFinder, batches: Queries, positions: list[Tensor], k: int
) -> None:
    for batch, position in zip(batches, positions, strict=True):
        found = index.gather(*batch, position)
        nodes, edges, times = loop(*batch, k)
        mask = found.mask.numpy()
        for ours, theirs in ((found.node, nodes), (found.edge_id, edges), (found.time, times)):
            assert np.array_equal(np.where(mask, ours.numpy(), 0), theirs[:, ::-1])


def _same(one: Subgraph, other: Subgraph) -> bool:
    rows = []
    for _, edges, events in (one, other):
        order = np.lexsort((events.numpy(), edges[1].numpy()))
        rows.append(torch.cat((edges, events.unsqueeze(0)))[:, order])
    return torch.equal(one[0], other[0]) and torch.equal(*rows)


@contextlib.contextmanager
def _stable_sort() -> Iterator[None]:
    plain = Tensor.sort
    Tensor.sort = functools.partialmethod(plain, stable=True)
    try:
        yield
    finally:
        Tensor.sort = plain


def compare(title: str, unit: str, scale: float, cases: Sequence[Case], rounds: int) -> None:
    """Runs the cases in turn, round by round, and prints times and ratios to the first."""
    seconds: dict[str, list[float]] = {name: [] for name, _ in cases}
    for _, run in cases:
        run()  # warms up, compiles
    for _ in range(rounds):
        for name, run in cases:
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    print(f"\n{title}\n| | {unit} | times the first |\n|---|---|---|")
    first = seconds[cases[0][0]]
    for name, taken in seconds.items():
        ratios = [own / base for own, base in zip(taken, first, strict=True)]
        low, middle, high = (scale * f(taken) for f in (min, statistics.median, max))
        print(
            f"| {name} | {middle:.3g} ({low:.3g} to {high:.3g}) | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
