"""From what the search found to an `Explanation` of torch_geometric."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.explain import Explanation

from zoo_nseg.bounds import pns_bounds
from zoo_nseg.logits import drifted
from zoo_nseg.noise import Stream
from zoo_nseg.outcome import Outcome
from zoo_nseg.settings import Settings
from zoo_nseg.solving import Solved
from zoo_nseg.tasks import Task
from zoo_nseg.ties import opposite

HARD = 0.5
"""An entry belongs to the hard explanation from this value on, this value included."""


_OF_THE_WHOLE = frozenset(
    ("index", "khop_edge_ids", "label", "loss_history", "n_samples", "target", "prediction")
)


class NSEGExplanation(Explanation):
    """An `Explanation` whose further fields are never taken for those of nodes or edges.

    torch_geometric goes by their length, and a history of as many steps as there are nodes would be
    cut to a subgraph.
    """

    def is_node_attr(self, key: str) -> bool:
        """Whether a field has a row for each node."""
        return key not in _OF_THE_WHOLE and super().is_node_attr(key)

    def is_edge_attr(self, key: str) -> bool:
        """Whether a field has a row for each edge."""
        return key not in _OF_THE_WHOLE and super().is_edge_attr(key)


class Results:
    """Makes explanations; entries that cannot matter are computed once a graph.

    Args:
        kind: "edge", "feature" or "joint".
        settings: the hyperparameters.
        outcome: how the model's output is read.
    """

    def __init__(self, kind: str, settings: Settings, outcome: Outcome) -> None:
        self._kind = kind
        self._settings = settings
        self._outcome = outcome
        self._drifts: dict[tuple[int, str], Tensor] = {}

    def explanation(self, task: Task, solved: Solved) -> Explanation:
        """Returns the explanation of a task, without its graph and arguments."""
        found, instance, whole = solved.found, solved.instance, task.whole
        masks = {}
        if found.edge_mask is not None:
            influencing = None
            if task.around is not None and solved.local:
                influencing = task.around.edges[task.around.messages]
            mask = self._spread(task, "edge", found.edge_mask, instance.edge_ids, influencing)
            masks |= {"edge_mask": mask, "hard_edge_mask": mask >= HARD}
        if found.node_mask is not None:
            influencing = None
            if task.around is not None and solved.local:
                influencing = task.around.nodes
            mask = self._spread(task, "node", found.node_mask, instance.node_ids, influencing)
            masks |= {"node_mask": mask.unsqueeze(-1), "hard_node_mask": mask >= HARD}
        lower, upper = pns_bounds(found.p_suff.clamp(0, 1), found.p_nec.clamp(0, 1))
        rows = whole.output[task.rows]
        result = NSEGExplanation(
            **masks,
            label=instance.labels,
            p_full=self._outcome.probability(rows, instance.labels).mean(),
            p_suff=found.p_suff,
            p_nec=found.p_nec,
            pns_lower=lower,
            pns_upper=upper,
            loss_history=found.loss_history,
            kind=self._kind,
            temperature=self._settings.temperature,
            n_samples=self._settings.n_samples,
        )
        if whole.x_cf is not None:
            result.x_cf = whole.x_cf
        if task.around is not None:
            every = torch.arange(whole.num_edges, device=whole.x.device)
            inner = task.around.inner if solved.local else every
            reach = torch.zeros(whole.num_edges, dtype=torch.bool, device=whole.x.device)
            reach[task.around.edges[task.around.messages] if solved.local else every] = True
            result.khop_edge_ids = inner
            result.influencing_edge_mask = reach
        return result

    def _spread(
        self, task: Task, what: str, found: Tensor, ids: Tensor, influencing: Tensor | None
    ) -> Tensor:
        """A mask of the whole graph; entries without influence are 0, or what they drift to."""
        entries = task.whole.num_edges if what == "edge" else task.whole.num_nodes
        if influencing is None:
            return found.clone()
        if self._settings.outside == "evolve":
            mask = self._drift(task, what, entries, found.dtype).clone()
        else:
            mask = found.new_zeros(entries)
        full = found.new_zeros(entries).index_copy(0, ids, found)
        mask = mask.index_copy(0, influencing, full[influencing])
        if what == "edge" and task.whole.symmetric:
            # An edge without influence shares the entry of its opposite, which may have some.
            partner = opposite(task.whole.edge_index)
            shares = torch.ones_like(mask, dtype=torch.bool).index_fill(0, influencing, False)
            shares &= ~shares[partner]
            mask = torch.where(shares, mask[partner], mask)
        return mask

    def _drift(self, task: Task, what: str, entries: int, dtype: torch.dtype) -> Tensor:
        key = (id(task.whole), what)
        if key not in self._drifts:
            settings, whole = self._settings, task.whole
            given = whole.edge_logits if what == "edge" else whole.node_logits
            if given is None:
                stream = Stream(settings.seed, whole.num_nodes, whole.num_edges, ())
                given = stream.edge_logits if what == "edge" else stream.node_logits
            size, weight = (
                (settings.alpha_e, settings.beta_e)
                if what == "edge"
                else (settings.alpha_f, settings.beta_f)
            )
            copies = None
            if what == "edge" and whole.symmetric:
                partner = opposite(whole.edge_index)
                own = torch.arange(entries, device=partner.device)
                given = given.to(partner.device)[torch.minimum(own, partner)]
                copies = 1 + (own != partner).to(dtype)
            self._drifts[key] = drifted(
                given.to(whole.x.device, dtype),
                copies=copies,
                size=size,
                entropy_weight=weight / max(entries, 1),
                lr=settings.lr,
                steps=settings.epochs - (not settings.return_last),
            )
        return self._drifts[key]


def complete(explanation: Explanation, task: Task, outcome: Outcome, index: Tensor | None) -> None:
    """Adds what torch_geometric's Explainer adds, so that its metrics take the explanation."""
    whole = task.whole
    explanation._model_config = outcome.config
    explanation.prediction = whole.output
    explanation.target = whole.labels
    explanation.index = index
    explanation.x = whole.x
    explanation.edge_index = whole.edge_index
    given = whole.model_arguments
    explanation._model_args = list(given)
    for name, value in given.items():
        explanation[name] = value
    explanation.validate_masks()
