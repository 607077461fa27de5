"""How long a training step takes with TNS, beside one with the most recent events and beside PyG.

    python plugins/tns/benchmarks/step_time.py [--data DIR] [--width 172] [--rounds 10]

Wikipedia (JODIE) without features, from DIR or the variable ZOO_DATA: batches of 200 events with a
negative each, one layer, 10 neighbours, memory. A step is scores, loss, the memory's update,
gradients and Adam. All sides have seen 40,000 events; rounds alternate, and a round of a side is
the same batches. "torch_geometric" is the same task by its own classes, as its users put them
together: `TGNMemory`, `LastNeighborLoader` and a `TransformerConv` of two heads over time
encodings; it knows its events by batches, so within a batch it sees none of them.

Times are of the process, not of the wall clock, since other work may share the machine. Medians
over rounds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib import metadata

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch_geometric.data import TemporalData
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.models.tgn import (
    IdentityMessage,
    LastAggregator,
    LastNeighborLoader,
    TGNMemory,
)

from zoo_tns.events import load_dataset
from zoo_tns.graph import TemporalGraph
from zoo_tns.merge_layer import MergeLayer
from zoo_tns.model import TemporalGNN

BATCH, SEEN, STEPS, K = 200, 40_000, 5, 10
Step = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def ours(data: TemporalData, width: int, **made: object) -> Step:
    """Returns the step of a `TemporalGNN`."""
    torch.manual_seed(0)
    model = TemporalGNN(edge_dim=0, node_dim=width, time_dim=width, hidden=width, k=K, **made)
    model.bind(TemporalGraph.from_data(data)).train()
    for start in range(0, SEEN, BATCH):
        rows = slice(start, start + BATCH)
        model.update(data.src[rows], data.dst[rows], data.t[rows])
    optimizer = torch.optim.Adam(model.param_groups(1e-4))

    def step(src: Tensor, dst: Tensor, t: Tensor, negative: Tensor) -> Tensor:
        scores, against = model(src, dst, t, negative)
        loss = bce(scores, against)
        model.update(src, dst, t, allow_out_of_order=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def theirs(data: TemporalData, width: int) -> Step:
    """Returns the step of torch_geometric's classes."""
    torch.manual_seed(0)
    number = data.num_nodes
    # It takes no events without features; one that is always 0 says as little.
    features = torch.zeros(data.num_events, 1)
    memory = TGNMemory(number, 1, width, width, IdentityMessage(1, width, width), LastAggregator())
    conv = TransformerConv(width, width // 2, heads=2, dropout=0.1, edge_dim=width)
    predictor = MergeLayer(width, width, width, 1)
    loader = LastNeighborLoader(number, size=K)
    place = torch.empty(number, dtype=torch.long)
    model = nn.ModuleList([memory, conv, predictor]).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for start in range(0, SEEN, BATCH):
        rows = slice(start, start + BATCH)
        with torch.no_grad():
            memory.update_state(data.src[rows], data.dst[rows], data.t[rows], features[rows])
        memory.detach()
        loader.insert(data.src[rows], data.dst[rows])

    def step(src: Tensor, dst: Tensor, t: Tensor, negative: Tensor) -> Tensor:
        optimizer.zero_grad()
        nodes, edges, events = loader(torch.cat([src, dst, negative]).unique())
        place[nodes] = torch.arange(len(nodes))
        z, last = memory(nodes)
        elapsed = (last[edges[0]] - data.t[events % data.num_events]).to(z.dtype)
        z = conv(z, edges, memory.time_enc(elapsed))
        scores, against = (
            predictor(z[place[src]], z[place[other]]).squeeze(1) for other in (dst, negative)
        )
        loss = bce(scores, against)
        memory.update_state(src, dst, t, features[: len(src)])
        loader.insert(src, dst)
        loss.backward()
        optimizer.step()
        memory.detach()
        return loss

    return step


def bce(scores: Tensor, against: Tensor) -> Tensor:
    """The loss of links that were and of links that were not."""
    return F.softplus(-scores).mean() + F.softplus(against).mean()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ZOO_DATA"), help="folder of data")
    parser.add_argument("--width", type=int, default=172)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = load_dataset("jodie-wikipedia", given.data)
    versions = ", ".join(
        f"{each} {metadata.version(each)}" for each in ("torch", "torch_geometric")
    )
    print(
        f"{versions}; {given.threads} thread(s); width {given.width}; ms a step of {BATCH} events"
    )
    cases: dict[str, Step] = {
        "most recent": ours(data, given.width, sampler="recent"),
        "TNS": ours(data, given.width, sampler="tns"),
        "TNS from rate 3": ours(data, given.width, sampler="tns", init_rate=3.0),
        "most recent, mean": ours(data, given.width, sampler="recent", aggr="mean"),
        "TNS, mean": ours(data, given.width, sampler="tns", aggr="mean"),
        "torch_geometric": theirs(data, given.width),
    }
    destinations = data.dst.unique()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(destinations), (STEPS * BATCH,), generator=generator)
    negative = destinations[drawn]
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(given.rounds + 1):
        for name, step in cases.items():
            start = time.process_time()
            for number in range(STEPS):
                rows = slice(SEEN + number * BATCH, SEEN + (number + 1) * BATCH)
                own = slice(number * BATCH, (number + 1) * BATCH)
                step(data.src[rows], data.dst[rows], data.t[rows], negative[own])
            if round_:  # the first warms up
                taken[name].append((time.process_time() - start) / STEPS * 1e3)
    for name, times in taken.items():
        base = taken["most recent, mean" if name.endswith(", mean") else "most recent"]
        ratios = [one / other for one, other in zip(times, base, strict=True)]
        print(
            f"{name:20} {statistics.median(times):7.1f} ({min(times):.1f} to {max(times):.1f})   "
            f"x {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
