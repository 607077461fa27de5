"""`NSEGExplainer`: necessary and sufficient explanations, one at a time or many at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.explain import ExplainerAlgorithm, Explanation
from torch_geometric.explain.config import ExplainerConfig, ModelConfig, ModelTaskLevel

from zoo_core.errors import InputError, ZooWarning
from zoo_nseg import inputs
from zoo_nseg.configuration import kind_of, outcome_of, unsupported
from zoo_nseg.masking import Frozen
from zoo_nseg.outcome import SATURATED, Outcome
from zoo_nseg.preparation import Preparation, ready
from zoo_nseg.result import Results, complete
from zoo_nseg.settings import KINDS, Settings, choice
from zoo_nseg.solving import solve
from zoo_nseg.tasks import Task


class NSEGExplainer(ExplainerAlgorithm):
    """Finds the edges, node features or both that are necessary and sufficient for a prediction.

    An explanation is a mask M in (0, 1) that maximises the lower bound of the probability of
    necessity and sufficiency,

        P(Y = y | the explanation is set) - P(Y = y | it is not),

    less a price for its size and entropy (arXiv 2212.07056). It runs in
    `torch_geometric.explain.Explainer` on unmodified models of `MessagePassing` layers:
    `edge_mask_type="object"` explains edges, `node_mask_type="object"` node features (one number a
    node), both explain them jointly. `explain_nodes` and `explain_graphs` explain many at once.

    Randomness comes from `seed` alone: every explanation draws as if it were made by itself, so
    it is the same in any batch. Masked-out features are replaced by counterfactual ones, never
    by zeros. Masks are optimised in float32, in float64 for features in float64.

    Args:
        epochs: steps of Adam.
        lr: of Adam.
        objective: "pns", or its halves "ps" (sufficiency) and "pn" (necessity).
        kind: "edge", "feature" or "joint"; None takes what the mask settings say.
        alpha_e: price of a whole edge; the mask is summed over edges.
        beta_e: price of the mean entropy of the edges.
        alpha_f: price of a whole node.
        beta_f: price of the mean entropy of the nodes.
        n_samples: how many samples a step draws of the cases in which the explanation is not set:
            edges and features differ, edges alone, features alone. The first and the last are for
            "joint" and "feature"; "edge" takes the second.
        noise: eps; a sample is the mask's complement shifted by uniform noise in +-eps.
        temperature: of the model's probabilities; above 1 it brings back the gradients of a
            saturated model.
        matcher: makes the counterfactual features: a `NearestNeighborMatcher`, anything with
            `transform`, a callable from x to x_cf, or the tensor [N, F] itself; None is
            `NearestNeighborMatcher()`.
        symmetric: whether both directions of an edge share a mask entry (ours).
        regulariser_scope: what the sum and the mean of a node's explanation run over: "graph", as
            in the official code, or "computation", the entries that can matter. Sizes of entries
            that cannot matter are left out of `loss_history` either way.
        outside: what a node's explanation holds for entries that cannot matter: "zero", or
            "evolve", what the regulariser alone makes of them, as in the official code.
        return_last: whether to return the masks after the last update, rather than those before
            it, as the official code does.
        max_edges_per_chunk: how many edges one forward pass may have.
        seed: of the initial masks and the noise.

    Raises:
        InputError: a value out of its range; a ValueError.
    """

    def __init__(
        self,
        epochs: int = 500,
        lr: float = 0.01,
        objective: str = "pns",
        *,
        kind: str | None = None,
        alpha_e: float = 0.005,
        beta_e: float = 1.0,
        alpha_f: float = 0.005,
        beta_f: float = 1.0,
        n_samples: Sequence[int] = (2, 2, 2),
        noise: float = 0.025,
        temperature: float = 1.0,
        matcher: Any = None,
        symmetric: bool = False,
        regulariser_scope: str = "graph",
        outside: str = "zero",
        return_last: bool = False,
        max_edges_per_chunk: int = 200_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if kind is not None:
            choice("kind", kind, KINDS)
        self.kind = kind
        self.matcher = matcher
        self.settings = Settings(
            epochs=epochs,
            lr=lr,
            objective=objective,
            alpha_e=alpha_e,
            beta_e=beta_e,
            alpha_f=alpha_f,
            beta_f=beta_f,
            n_samples=n_samples,  # type: ignore[arg-type]
            noise=noise,
            temperature=temperature,
            symmetric=symmetric,
            regulariser_scope=regulariser_scope,
            outside=outside,
            return_last=return_last,
            max_edges_per_chunk=max_edges_per_chunk,
            seed=seed,
        )

    def connect(
        self,
        explainer_config: ExplainerConfig | Mapping[str, Any],
        model_config: ModelConfig | Mapping[str, Any],
    ) -> None:
        """Connects it to the configuration of a `torch_geometric.explain.Explainer`.

        Raises:
            InputError: it does not support the configuration; says why.
        """
        explainer = ExplainerConfig.cast(explainer_config)
        model = ModelConfig.cast(model_config)
        if reason := unsupported(self.kind, explainer, model):
            raise InputError(reason)
        self._explainer_config, self._model_config = explainer, model

    def supports(self) -> bool:
        """Whether it supports the configuration that it is connected to."""
        return unsupported(self.kind, self.explainer_config, self.model_config) is None

    def forward(
        self,
        model: nn.Module,
        x: Tensor,
        edge_index: Tensor,
        *,
        target: Tensor,
        index: int | Tensor | None = None,
        x_cf: Tensor | None = None,
        edge_logits: Tensor | None = None,
        node_logits: Tensor | None = None,
        **model_kwargs: Any,
    ) -> Explanation:
        """Explains one output, or several by one mask; `torch_geometric`'s Explainer calls it.

        Args:
            model: called as `model(x, edge_index, **model_kwargs)`; left as it was found.
            x: [N, F] features.
            edge_index: [2, E] int64.
            target: [R] labels of all the output's rows.
            index: the rows to explain; None for all. Several share one mask, which maximises the
                mean of their objectives.
            x_cf: [N, F] counterfactual features, instead of the matcher's.
            edge_logits: [E] initial mask logits, instead of random ones.
            node_logits: [N] initial mask logits, instead of random ones.
            **model_kwargs: further arguments of the model.

        Returns:
            `edge_mask` [E] and `node_mask` [N, 1] where they are explained, and as bools
            `hard_edge_mask` and `hard_node_mask` (m >= 0.5); `p_full`, `p_suff` = P(Y_A = y),
            `p_nec` = P(Y_notA != y), `pns_lower`, `pns_upper`, `label` [R], `x_cf` [N, F],
            `loss_history` [epochs]; for nodes `khop_edge_ids` and `influencing_edge_mask`: the
            edges between nodes within as many hops as the model passes messages, and those whose
            message can reach the node in so many rounds (more than do where layers run side by
            side).

        Raises:
            InputError: what is given cannot be explained; a ValueError.
            IndexOutOfRangeError: a node or row that is not there; an IndexError.
        """
        kind = self._kind(None)
        x, edge_index = inputs.graph(x, edge_index, kind=kind)
        outcome = Outcome(self.model_config, self.settings.temperature)

        def rows(number: int) -> Tensor:
            if index is None:
                return torch.arange(number, device=x.device)
            return inputs.nodes(index, number, x.device, "index")

        with ready(model) as frozen:
            prepared = self._preparation(frozen, outcome, kind)
            initial = x_cf, edge_logits, node_logits
            if self.model_config.task_level == ModelTaskLevel.node:
                [task] = prepared.nodes(
                    x, edge_index, model_kwargs, lambda number: [rows(number)], target, *initial
                )
            else:
                task = prepared.batch(x, edge_index, model_kwargs, rows, target, *initial)
            [explanation] = self._solved(prepared, [task], True, False)
        return explanation

    def explain_nodes(
        self,
        model: nn.Module,
        data: Data,
        nodes: int | Sequence[int] | Tensor,
        *,
        kind: str | None = None,
        target: Sequence[int] | Tensor | None = None,
        mode: str | None = None,
        return_type: str | None = None,
        arguments: Iterable[str] | str = (),
        x_cf: Tensor | None = None,
        restrict: bool = True,
        progress: bool | None = None,
    ) -> list[Explanation]:
        """Explains the model's output at many nodes of one graph, each by a mask of its own.

        Each node is explained on its computation graph, many at once, after a check that this
        gives the outputs of the whole graph; where it does not, on the whole graph, with a warning.

        Args:
            model: a node classifier, called as `model(x, edge_index, **arguments)`.
            data: the graph: `x` [N, F], `edge_index` [2, E] and the named arguments.
            nodes: their ids, or a bool mask [N].
            kind: "edge", "feature" or "joint"; None is the explainer's own, else "edge".
            target: [N] labels to explain; None for the predicted ones.
            mode: "multiclass_classification" or "binary_classification"; None is that which the
                explainer is connected to, else the first.
            return_type: "raw", "probs" or "log_probs"; None likewise, else "raw".
            arguments: names of attributes of `data` that the model takes, such as "edge_attr".
            x_cf: [N, F] counterfactual features, instead of the matcher's.
            restrict: False explains node after node on the whole graph.
            progress: a bar; None shows it on terminals.

        Returns:
            an `Explanation` a node, in order, as from `forward`, with the graph in it.

        Raises:
            InputError, IndexOutOfRangeError: as `forward`.
        """
        if not isinstance(data, Data):
            raise InputError(
                f"data is a {type(data).__name__}; expected one homogeneous torch_geometric Data."
            )
        kind = self._kind(kind)
        outcome = self._outcome(mode, return_type, ModelTaskLevel.node)
        x, edge_index = inputs.graph(data.x, data.edge_index, kind=kind)
        ids = inputs.nodes(nodes, len(x), x.device)
        given = inputs.of_graph(data, inputs.argument_names(arguments), "data")
        with ready(model) as frozen:
            prepared = self._preparation(frozen, outcome, kind)
            tasks = prepared.nodes(x, edge_index, given, lambda _: ids.split(1), target, x_cf)
            found = self._solved(prepared, tasks, restrict, progress)
        for each, task in zip(found, tasks, strict=True):
            complete(each, task, outcome, task.rows)
        return found

    def explain_graphs(
        self,
        model: nn.Module,
        graphs: Iterable[Data] | Data,
        *,
        kind: str | None = None,
        target: Sequence[int] | Tensor | None = None,
        mode: str | None = None,
        return_type: str | None = None,
        arguments: Iterable[str] | str = (),
        x_cf: Sequence[Tensor] | None = None,
        reference: Iterable[Data] | Tensor | None = None,
        progress: bool | None = None,
    ) -> list[Explanation]:
        """Explains the model's output for many graphs, each by a mask of its own.

        The graphs are run as disjoint unions, after a check that this gives each the output that
        it has by itself; where it does not, or the model takes no `batch`, one after the other.

        Args:
            model: a graph classifier, called as `model(x, edge_index, batch=batch, **arguments)`,
                without `batch` if its forward does not take it.
            graphs: a list, data set or Batch of graphs.
            kind: "edge", "feature" or "joint"; None is the explainer's own, else "edge".
            target: a label for each graph; None for the predicted ones.
            mode: as for `explain_nodes`.
            return_type: as for `explain_nodes`.
            arguments: names of attributes of the graphs that the model takes, such as "edge_attr".
            x_cf: a list of the counterfactual features of each graph, instead of the matcher's;
                not read for kind "edge", and nor is `reference`.
            reference: graphs, such as those of training, or rows [R, F], among whose nodes
                counterfactual features are found; None for each graph's own nodes.
            progress: a bar; None shows it on terminals.

        Returns:
            an `Explanation` a graph, in order, as from `forward`, with the graph in it.

        Raises:
            InputError, IndexOutOfRangeError: as `forward`.
        """
        found = inputs.graphs(graphs)
        names = inputs.argument_names(arguments)
        kind = self._kind(kind)
        outcome = self._outcome(mode, return_type, ModelTaskLevel.graph)
        checked = [
            inputs.graph(each.x, each.edge_index, kind=kind, what=f"graphs[{place}]")
            for place, each in enumerate(found)
        ]
        extras = [
            inputs.of_graph(each, names, f"graphs[{place}]") for place, each in enumerate(found)
        ]
        with ready(model) as frozen:
            prepared = self._preparation(frozen, outcome, kind)
            tasks = prepared.graphs(checked, extras, target, x_cf, reference)
            explanations = self._solved(prepared, tasks, True, progress)
        for each, task in zip(explanations, tasks, strict=True):
            complete(each, task, outcome, None)
        return explanations

    def _preparation(self, frozen: Frozen, outcome: Outcome, kind: str) -> Preparation:
        return Preparation(frozen, outcome, kind, self.settings.symmetric, self.matcher)

    def _solved(
        self, prepared: Preparation, tasks: Sequence[Task], restrict: bool, progress: bool | None
    ) -> list[Explanation]:
        outcome, kind = prepared.outcome, prepared.kind
        _warn_of_saturation(tasks, outcome)
        found = solve(
            prepared.frozen,
            tasks,
            kind,
            self.settings,
            outcome,
            restrict=restrict,
            progress=progress,
        )
        results = Results(kind, self.settings, outcome)
        return [results.explanation(*each) for each in zip(tasks, found, strict=True)]

    def _kind(self, given: str | None) -> str:
        """What is explained: as given, else the explainer's own, else by the mask settings."""
        if given is not None:
            return choice("kind", given, KINDS)
        if self.kind is not None:
            return self.kind
        config = getattr(self, "_explainer_config", None)
        return "edge" if config is None else kind_of(config)

    def _outcome(self, mode: str | None, return_type: str | None, level: ModelTaskLevel) -> Outcome:
        connected = getattr(self, "_model_config", None)
        return outcome_of(connected, mode, return_type, level, self.settings.temperature)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(objective={self.settings.objective!r}, kind={self.kind!r}, "
            f"epochs={self.settings.epochs}, lr={self.settings.lr})"
        )


def _warn_of_saturation(tasks: Sequence[Task], outcome: Outcome) -> None:
    saturated = 0
    for task in tasks:
        labels = task.whole.labels[task.rows]
        probability = outcome.probability(task.whole.output[task.rows], labels)
        saturated += bool((probability > SATURATED).all())
    if saturated:
        warnings.warn(
            f"the model is certain of {saturated} of {len(tasks)} outputs (p > 1 - 1e-6), where "
            "its gradients vanish; a temperature above 1 brings them back.",
            ZooWarning,
            stacklevel=4,
        )
