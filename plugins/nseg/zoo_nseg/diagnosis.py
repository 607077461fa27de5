"""What an explanation cost and gained, and whether its prices suit its graph.

Prices of the official presets fit their data sets. On another graph an explanation of size s is
worth its price only if alpha s is small beside the PNS it gains; and entries without influence
leave it only if they start below the logit theta* = alpha K / beta, above which the entropy pushes
them to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.explain import Explanation

from zoo_core.errors import InputError
from zoo_nseg.explainer import NSEGExplainer
from zoo_nseg.objective import settles_below
from zoo_nseg.outcome import SATURATED
from zoo_nseg.reading import edges_of, influencing_nodes, masks
from zoo_nseg.result import HARD
from zoo_nseg.settings import Settings
from zoo_nseg.ties import ties

MOST_PER_ENTRY = 0.1
"""What a needed edge or node should cost at most: above it, they begin to be left out (ours)."""


@dataclass(frozen=True)
class Price:
    """What one mask of an explanation costs; entries that cannot matter are not counted.

    Attributes:
        alpha: price of a whole entry.
        beta: price of the mean entropy.
        entries: K, how many entries the mean entropy runs over.
        matter: how many can matter.
        kept: how many of them have a mask of at least 0.5.
        size_cost: alpha sum M.
        entropy_cost: beta / K sum H(M).
        per_kept: `size_cost` for each kept entry; 0 if none is kept.
        settles_below: theta*, the logit below which an entry without influence goes to 0, and
            above which it goes to 1.
        start: the largest logit that entries start from, 1 / sqrt of their number in the graph.
        all_shrink: whether every entry without influence goes to 0, since start < theta*.
        most_beta: the beta below which that holds, at this alpha.
    """

    alpha: float
    beta: float
    entries: int
    matter: int
    kept: int
    size_cost: float
    entropy_cost: float
    per_kept: float
    settles_below: float
    start: float
    all_shrink: bool
    most_beta: float


@dataclass(frozen=True)
class Diagnosis:
    """What an explanation cost and gained.

    Attributes:
        pns_gain: P(Y_A = y) - P(Y_notA = y), what the lower bound of the PNS comes to.
        edges: prices of the edge mask, or None.
        features: prices of the feature mask, or None.
        advice: what to change, a sentence each; empty if nothing stands out.
    """

    pns_gain: float
    edges: Price | None
    features: Price | None
    advice: tuple[str, ...]

    @property
    def size_cost(self) -> float:
        """The price of the sizes of both masks."""
        return sum(each.size_cost for each in (self.edges, self.features) if each is not None)

    @property
    def entropy_cost(self) -> float:
        """The price of the entropies of both masks."""
        return sum(each.entropy_cost for each in (self.edges, self.features) if each is not None)


def diagnose(explainer: NSEGExplainer, explanation: Explanation) -> Diagnosis:
    """Returns what an explanation cost and gained, with advice on the explainer's prices.

    -pns_gain + size_cost + entropy_cost is the loss of objective "pns" without noise.

    Args:
        explainer: the one that made the explanation.
        explanation: from `explain_nodes`, `explain_graphs` or torch_geometric's `Explainer`.

    Raises:
        InputError: another explainer's explanation, or no explanation.
    """
    if not isinstance(explainer, NSEGExplainer):
        raise InputError(f"explainer is a {type(explainer).__name__}; expected an NSEGExplainer.")
    edges, nodes = masks(explanation)
    missing = [name for name in ("p_full", "p_suff", "p_nec") if explanation.get(name) is None]
    if missing:
        raise InputError(f"the explanation has no {missing[0]}; expected one of NSEGExplainer.")
    settings = explainer.settings
    gain = float(explanation.p_suff) + float(explanation.p_nec) - 1
    edge_price = None if edges is None else _edge_price(settings, explanation, edges)
    node_price = None if nodes is None else _node_price(settings, explanation, nodes)
    advice = [
        line
        for what, letter, price in (("edge", "e", edge_price), ("node", "f", node_price))
        if price is not None
        for line in _advice(what, letter, price)
    ]
    found = Diagnosis(gain, edge_price, node_price, ())
    if gain > 0 and found.size_cost > gain:
        advice.append(
            f"the size costs {found.size_cost:.3g}, more than the {gain:.3g} of PNS that it gains: "
            "lower alpha."
        )
    if gain <= 0:
        advice.append(
            "the label holds without the explanation as much as with it: it may need no input, or "
            "alpha may be too high."
        )
    if float(explanation.p_full) > SATURATED and settings.temperature == 1:
        advice.append(
            "the model is certain of the label, where gradients vanish: try a temperature above 1."
        )
    return Diagnosis(gain, edge_price, node_price, tuple(advice))


def _edge_price(settings: Settings, explanation: Explanation, mask: Tensor) -> Price:
    ids = edges_of(explanation, "influencing")
    _, _, copies = ties(explanation.edge_index, ids, symmetric=settings.symmetric)
    return _price(settings.alpha_e, settings.beta_e, mask, ids, copies, settings)


def _node_price(settings: Settings, explanation: Explanation, mask: Tensor) -> Price:
    ids = influencing_nodes(explanation)
    copies = torch.ones(len(ids), device=mask.device)
    return _price(settings.alpha_f, settings.beta_f, mask, ids, copies, settings)


def _price(
    alpha: float, beta: float, mask: Tensor, ids: Tensor, copies: Tensor, settings: Settings
) -> Price:
    """The price of entries `ids` [m] of a mask, each counted `copies` [m] times."""
    total = max(len(mask), 1)
    entries = total if settings.regulariser_scope == "graph" else max(len(ids), 1)
    chosen, copies = mask[ids].double(), copies.double()
    entropy = torch.special.entr(chosen) + torch.special.entr(1 - chosen)
    kept = int((chosen >= HARD).sum())
    size_cost = alpha * float((copies * chosen).sum())
    limit = settles_below(alpha, beta, entries)
    start = 1 / math.sqrt(total)
    return Price(
        alpha=alpha,
        beta=beta,
        entries=entries,
        matter=len(ids),
        kept=kept,
        size_cost=size_cost,
        entropy_cost=beta / entries * float((copies * entropy).sum()),
        per_kept=size_cost / kept if kept else 0.0,
        settles_below=limit,
        start=start,
        all_shrink=start < limit,
        most_beta=alpha * entries / start,
    )


def _advice(what: str, letter: str, price: Price) -> list[str]:
    found: list[str] = []
    if not price.matter:
        return [f"the output depends on no {what}: there is nothing to explain by them."]
    if price.alpha == 0:
        found.append(
            f"alpha_{letter} is 0, so that nothing removes {what}s without influence: raise it."
        )
    elif not price.all_shrink:
        found.append(
            f"beta_{letter} = {price.beta:g} is so large that random {what}s are kept: those "
            f"without influence that start above logit {price.settles_below:.3g} go to 1; for this "
            f"graph it should be below {price.most_beta:.3g}."
        )
    if price.kept and price.per_kept > MOST_PER_ENTRY:
        found.append(
            f"alpha_{letter} makes the size cost {price.per_kept:.3g} for each kept {what}, more "
            f"than {MOST_PER_ENTRY:g}: needed ones may have been left out; lower it."
        )
    if not price.kept:
        found.append(f"no {what} is kept: lower alpha_{letter}, unless the label needs none.")
    return found
