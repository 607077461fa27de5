"""What the experiments share: explainers side by side on the same outputs, and their measures."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.explain import Explainer, Explanation, GNNExplainer, PGExplainer
from torch_geometric.explain.config import ModelConfig

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.fidelity import Fidelity, fidelity_pm
from zoo_nseg.importance import sparsity
from zoo_nseg.networks import GNN
from zoo_nseg.training import graph_accuracy, initialised, seeded, train_graph
from zoo_nseg.tu import split

PNS, PS, PN = "NSEG (PNS)", "sufficiency (PS)", "necessity (PN)"
GNN_EXPLAINER, PG_EXPLAINER = "GNNExplainer", "PGExplainer"
RANDOM, EVERYTHING = "random", "every edge"
OBJECTIVES: Final = {PNS: "pns", PS: "ps", PN: "pn"}
"""Name in the tables -> objective of `NSEGExplainer`."""
ACCURACY: Final = "network's test accuracy"
_PG_EPOCHS: Final = 30
_PG_GRAPHS: Final = 200
"""So many training graphs PGExplainer learns from at most."""
_PG_SIZES: Final = (0.05, 0.005, 0.0005)
"""Its prices of an edge, torch_geometric's default the first; training graphs decide."""
_KEPT: Final = (
    "x",
    "x_cf",
    "edge_index",
    "index",
    "target",
    "label",
    "prediction",
    "khop_edge_ids",
    "influencing_edge_mask",
)
"""What another explainer's explanation takes over from NSEG's: all that no mask is part of."""


@contextlib.contextmanager
def noted(context: Context, where: str) -> Iterator[None]:
    """Turns warnings of the explainers into notes of the report."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ZooWarning)
        yield
    for each in found:
        text = f"{where}: {each.message}"
        if issubclass(each.category, ZooWarning):
            if text not in context.notes:
                context.note(text)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def trained(
    graphs: Sequence[Data], seed: int, *, epochs: int, **config: Any
) -> tuple[GNN, list[Data], list[Data], float]:
    """Trains a network on four fifths of the graphs.

    Returns:
        The network, frozen; the graphs for training and those for testing, of a split by the seed;
        and the share of the latter that it classifies right.
    """
    train, test = ([graphs[index] for index in part] for part in split(len(graphs), seed))
    network = initialised(seed, in_channels=graphs[0].num_features, task_level="graph", **config)
    train_graph(network, train, epochs=epochs, seed=seed)
    return network.requires_grad_(False), train, test, graph_accuracy(network, test)


def predicted(network: nn.Module, graphs: Sequence[Data]) -> list[int]:
    """Returns the label that the network predicts for each graph."""
    return [int(network(each.x, each.edge_index).argmax()) for each in graphs]


def graph_explanations(
    context: Context,
    network: nn.Module,
    train: Sequence[Data],
    graphs: Sequence[Data],
    config: Mapping[str, Any],
    seed: int,
) -> Iterator[tuple[str, list[Explanation]]]:
    """Yields each explainer's name and its explanations of the labels predicted for graphs.

    Only edges are explained, since not all explainers explain the features of nodes alike.

    Args:
        context: shows progress.
        network: of graphs, frozen.
        train: graphs that PGExplainer learns from.
        graphs: to be explained.
        config: arguments of `NSEGExplainer`; GNNExplainer takes as many steps of the same size.
        seed: of every explainer.
    """
    for name, objective in context.progress(OBJECTIVES.items(), f"NSEG, seed {seed}"):
        explainer = NSEGExplainer(**config, objective=objective, kind="edge", seed=seed)
        with noted(context, f"seed {seed}"):
            found = explainer.explain_graphs(network, graphs, progress=False)
        yield name, found
    alike = gnn_explanations(
        context, network, found, epochs=config["epochs"], lr=config["lr"], seed=seed
    )
    yield GNN_EXPLAINER, alike
    yield PG_EXPLAINER, pg_explanations(context, network, train[:_PG_GRAPHS], found, seed=seed)
    yield from trivial_explanations(found, seed)


def gnn_explanations(
    context: Context,
    network: nn.Module,
    others: Sequence[Explanation],
    *,
    epochs: int,
    lr: float,
    seed: int,
) -> list[Explanation]:
    """Explains the same outputs by torch_geometric's GNNExplainer, its edge mask alone.

    Args:
        context: shows progress.
        network: frozen; of nodes if `others` name some.
        others: NSEG's explanations of the outputs.
        epochs: steps of Adam.
        lr: of Adam.
        seed: of the initial masks.
    """
    explainer = Explainer(
        # It leaves parameters in the layers, after which no gradient reaches PGExplainer's masks.
        copy.deepcopy(network),
        GNNExplainer(epochs=epochs, lr=lr),
        explanation_type="model",
        edge_mask_type="object",
        model_config=_model_config(others),
    )
    found = []
    with seeded(seed):
        for each in context.progress(others, f"{GNN_EXPLAINER}, seed {seed}"):
            made = explainer(each.x, each.edge_index, index=each.get("index"))
            found.append(_of(each, edge_mask=made.edge_mask.detach()))
    return found


def pg_explanations(
    context: Context,
    network: nn.Module,
    train: Sequence[Data],
    others: Sequence[Explanation],
    *,
    seed: int,
    epochs: int = _PG_EPOCHS,
) -> list[Explanation]:
    """Explains the same outputs by torch_geometric's PGExplainer.

    It learns from the labels that the network predicts for the training graphs, once with each
    price of an edge; the price with the best charact on these graphs is used, the first of equals.

    Args:
        context: shows progress.
        network: of graphs, frozen.
        train: graphs to learn from, one a step.
        others: NSEG's explanations of the outputs.
        seed: of the explainer's own network and its samples.
        epochs: over the training graphs.
    """
    config = _model_config(others)
    labelled = [_unexplained(each, network, config) for each in train]
    best = -1.0
    for size in _PG_SIZES:
        with seeded(seed), warnings.catch_warnings():
            # torch_geometric turns a loss that has gradients into a number.
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad", UserWarning)
            algorithm = PGExplainer(epochs=epochs)
            algorithm.coeffs = {**algorithm.coeffs, "edge_size": size}
            explainer = Explainer(
                network,
                algorithm,
                explanation_type="phenomenon",
                edge_mask_type="object",
                model_config=config,
            )
            steps = context.progress(range(epochs), f"{PG_EXPLAINER}, seed {seed}, price {size}")
            for epoch in steps:
                for each in labelled:
                    algorithm.train(epoch, network, each.x, each.edge_index, target=each.target)
        score = fidelity_pm(network, _applied(explainer, labelled)).charact
        if score > best:
            best, chosen = score, size
            found = _applied(explainer, others)
    context.note(
        f"seed {seed}: {PG_EXPLAINER} with an edge price of {chosen} does best on training graphs "
        f"(charact {best:.3f})"
    )
    return found


def trivial_explanations(
    others: Sequence[Explanation], seed: int
) -> Iterator[tuple[str, list[Explanation]]]:
    """Yields explanations of edges that look at no model: by chance, and all of them."""
    yield RANDOM, random_explanations(others, seed)
    yield EVERYTHING, [_of(each, edge_mask=torch.ones_like(each.edge_mask)) for each in others]


def random_explanations(others: Sequence[Explanation], seed: int) -> list[Explanation]:
    """Returns masks that are uniform in [0, 1), where those of `others` can matter."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for each in others:
        masks = {
            name: torch.rand(each[name].shape, generator=generator)
            for name in ("edge_mask", "node_mask")
            if each.get(name) is not None
        }
        reach = each.get("influencing_edge_mask")
        if reach is not None and "edge_mask" in masks:
            masks["edge_mask"] *= reach
        found.append(_of(each, **masks))
    return found


def measured(network: nn.Module, explanations: Sequence[Explanation]) -> dict[str, float]:
    """Returns how necessary and sufficient explanations are, hard and soft, and how sparse."""
    hard, soft = (fidelity_pm(network, explanations, hard=hard) for hard in (True, False))
    return {
        **_columns(hard, ""),
        **_columns(soft, "soft "),
        "kept by the empty graph": hard.empty,
        "sparsity": fmean(float(sparsity(each)) for each in explanations),
    }


def means(rows: Sequence[Mapping[str, Any]], column: str, **where: Any) -> dict[str, float]:
    """Returns the mean of a measure over seeds, by explainer in the order of the rows."""
    chosen = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return {
        name: fmean(values(chosen, column, explainer=name))
        for name in dict.fromkeys(row["explainer"] for row in chosen)
    }


def listed(numbers: Mapping[str, float]) -> str:
    """Returns "NSEG (PNS) 0.842, random 0.399"."""
    return ", ".join(f"{name} {number:.3f}" for name, number in numbers.items())


def leads(numbers: Mapping[str, float]) -> bool:
    """Whether the PNS has a larger number than every other explainer.

    Keeping every edge is no explanation; its row shows what can be had for nothing.
    """
    others = [number for name, number in numbers.items() if name not in (PNS, EVERYTHING)]
    return numbers[PNS] > max(others)


def _columns(found: Fidelity, prefix: str) -> dict[str, float]:
    return {
        f"{prefix}Fid+": found.plus,
        f"{prefix}Fid-": found.minus,
        f"{prefix}charact": found.charact,
        f"{prefix}PNS lower bound": found.pns_lower,
    }


def _unexplained(graph: Data, network: nn.Module, config: ModelConfig) -> Explanation:
    """A graph and the label that the network predicts for it."""
    [label] = predicted(network, [graph])
    found = Explanation(x=graph.x, edge_index=graph.edge_index, target=torch.tensor([label]))
    found._model_config = config
    return found


def _applied(explainer: Explainer, others: Sequence[Explanation]) -> list[Explanation]:
    """Explanations of the same graphs by an explainer that takes their labels as given."""
    return [
        _of(each, edge_mask=made.edge_mask.detach())
        for each in others
        for made in [explainer(each.x, each.edge_index, target=each.target)]
    ]


def _of(other: Explanation, **masks: Any) -> Explanation:
    """An explanation of the same output by other masks."""
    kept = {name: other[name] for name in _KEPT if other.get(name) is not None}
    found = Explanation(**kept, **masks)
    found._model_config = other._model_config
    found._model_args = []
    return found


def _model_config(others: Sequence[Explanation]) -> ModelConfig:
    config: ModelConfig = others[0]._model_config
    return config
