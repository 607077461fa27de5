"""Two labels of two causes each, the paper's argument in its smallest form.

Six edges with weights w; the label holds with probability sigmoid(10 (w_0 + w_1 - 1.5)) where it
needs both of the first two edges, and sigmoid(10 (w_0 + w_1 - 0.5)) where it needs one of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import SimpleConv

from zoo_core.errors import ZooWarning
from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_core.threads import one_thread
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.settings import OBJECTIVES

LABELS: Final = {"A and B": 1.5, "A or B": 0.5}
"""Label -> how much of the two causes it needs."""
ALPHAS: Final = (0.05, 0.1)
FOUND: Final = ("both causes", "one cause", "nothing", "anything else")
_EDGES: Final = 6
_STEEP: Final = 10.0
_SETTINGS: Final[dict[str, Any]] = {
    "epochs": 500,
    "lr": 0.05,
    "beta_e": 0.1,
    "noise": 0.025,
    "kind": "edge",
}


class Logic(nn.Module):
    """The logit of the label, from the messages of six edges into one node.

    Args:
        needed: of the weights of the first two edges together.
    """

    def __init__(self, needed: float) -> None:
        super().__init__()
        self.needed = needed
        self.sum = SimpleConv(aggr="sum")

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Returns the logit [1, 1].

        Args:
            x: [N, 6], the sources one-hot and the explained node, the last, zero.
            edge_index: [2, 6].
        """
        weights = self.sum(x, edge_index)[-1]
        logit: Tensor = _STEEP * (weights[0] + weights[1] - self.needed)
        return logit.view(1, 1)


def graph() -> Data:
    """Returns six nodes that each send their number, one-hot, to a seventh."""
    sources = torch.arange(_EDGES)
    x = torch.cat([torch.eye(_EDGES), torch.zeros(1, _EDGES)])
    return Data(x=x, edge_index=torch.stack([sources, torch.full_like(sources, _EDGES)]))


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Explains both labels by each objective, from a random start for each seed."""
    cases = [
        (label, alpha, objective, seed)
        for label in LABELS
        for alpha in ALPHAS
        for objective in OBJECTIVES
        for seed in context.seeds
    ]
    with one_thread():
        for label, alpha, objective, seed in context.progress(cases, "explaining"):
            yield {
                "seed": seed,
                "label": label,
                "alpha": alpha,
                "objective": objective,
                **explained(label, objective, alpha, seed),
            }


def explained(label: str, objective: str, alpha: float, seed: int) -> dict[str, bool]:
    """Returns which of the four cases the hard explanation is."""
    explainer = NSEGExplainer(**_SETTINGS, objective=objective, alpha_e=alpha, seed=seed)
    with warnings.catch_warnings():
        # With both causes there the model of "or" is certain, which is the point of it.
        warnings.simplefilter("ignore", ZooWarning)
        [found] = explainer.explain_graphs(
            Logic(LABELS[label]), [graph()], mode="binary_classification", progress=False
        )
    kept = set(found.hard_edge_mask.nonzero().flatten().tolist())
    return dict(zip(FOUND, (kept == {0, 1}, kept in ({0}, {1}), not kept), strict=False)) | {
        FOUND[-1]: not kept <= {0, 1}
    }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the PNS always finds both causes, and each half fails where it should.

    Necessity does not need all of what is jointly necessary, nor sufficiency all of what is
    sufficient each by itself.
    """

    def both(label: str, alpha: float, objective: str) -> float:
        where = {"label": label, "alpha": alpha, "objective": objective}
        return fmean(values(rows, FOUND[0], **where))

    cases = [(label, alpha) for label in LABELS for alpha in ALPHAS]
    always = all(both(*case, "pns") == 1 for case in cases)
    fails = all(
        both("A and B", alpha, "pn") < 0.5 and both("A or B", alpha, "ps") < 0.5 for alpha in ALPHAS
    )
    shares = [
        f"{label}, alpha {alpha:g}: "
        + ", ".join(f"{each} {100 * both(label, alpha, each):.0f} %" for each in OBJECTIVES)
        for label, alpha in cases
    ]
    return always and fails, "both causes found, " + "; ".join(shares)
