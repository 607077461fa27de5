"""From a caller's model and graphs to tasks: outputs, labels and counterfactual features."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.explain import ExplainerAlgorithm

from zoo_core.errors import InputError
from zoo_nseg import inputs
from zoo_nseg.computation_graph import Neighbourhoods
from zoo_nseg.counterfactual import NearestNeighborMatcher, counterfactual_features
from zoo_nseg.masking import Frozen
from zoo_nseg.outcome import Outcome
from zoo_nseg.tasks import Task, Whole, graph_task, node_task


@dataclass(frozen=True)
class Preparation:
    """What all tasks of one call share.

    Attributes:
        frozen: the model, within its block.
        outcome: how its output is read.
        kind: "edge", "feature" or "joint".
        symmetric: whether both directions of an edge share a mask entry.
        matcher: makes counterfactual features; see `NSEGExplainer`.
    """

    frozen: Frozen
    outcome: Outcome
    kind: str
    symmetric: bool
    matcher: Any

    def nodes(
        self,
        x: Tensor,
        edge_index: Tensor,
        arguments: Mapping[str, Any],
        rows: Callable[[int], Sequence[Tensor]],
        target: Any,
        x_cf: Any = None,
        edge_logits: Any = None,
        node_logits: Any = None,
    ) -> list[Task]:
        """Returns the tasks of explaining nodes of one graph.

        Args:
            x: [N, F].
            edge_index: [2, E].
            arguments: of the model.
            rows: given N, returns the nodes of each task.
            target: [N] labels, or None for the predicted ones.
            x_cf: [N, F], or None for the matcher's.
            edge_logits: [E] initial logits, or None.
            node_logits: [N] initial logits, or None.
        """
        output, hops = self.frozen.calls(x, edge_index, **arguments)
        self.outcome.check(output)
        if len(output) != len(x):
            raise InputError(
                f"the model's output has {len(output)} rows for {len(x)} nodes; expected one a "
                "node: is it a classifier of graphs? See explain_graphs."
            )
        wanted = rows(len(output))
        whole = self._whole(
            x,
            edge_index,
            arguments,
            output,
            target,
            x_cf,
            self.outcome.labels(output),
            edge_logits,
            node_logits,
        )
        flow = ExplainerAlgorithm._flow(self.frozen.model)
        hoods = Neighbourhoods(edge_index, len(x), flow)
        return [node_task(whole, each, hops, hoods) for each in wanted]

    def batch(
        self,
        x: Tensor,
        edge_index: Tensor,
        arguments: Mapping[str, Any],
        rows: Callable[[int], Tensor],
        target: Any,
        x_cf: Any = None,
        edge_logits: Any = None,
        node_logits: Any = None,
    ) -> Task:
        """Returns the task of explaining graph-level outputs by one mask.

        Args:
            x, edge_index, arguments, target, x_cf, edge_logits, node_logits: as for `nodes`.
            rows: given how many graphs there are, returns those to explain.
        """
        output, _ = self.frozen.calls(x, edge_index, **arguments)
        self.outcome.check(output)
        wanted = rows(len(output))
        batch = arguments.get("batch")
        predicted = self.outcome.labels(output)
        of_nodes = predicted[:1].expand(len(x)) if batch is None else predicted[batch]
        whole = self._whole(
            x, edge_index, arguments, output, target, x_cf, of_nodes, edge_logits, node_logits
        )
        batched = batch is not None or inputs.accepts(self.frozen.model, "batch")
        return graph_task(whole, wanted, batched=batched)

    def graphs(
        self,
        graphs: Sequence[tuple[Tensor, Tensor]],
        arguments: Sequence[Mapping[str, Any]],
        target: Any,
        x_cf: Sequence[Any] | None,
        reference: Iterable[Data] | Tensor | None,
    ) -> list[Task]:
        """Returns the tasks of explaining graphs, each by a mask of its own.

        Args:
            graphs: x [N, F] and edge_index [2, E] of each.
            arguments: of the model, for each.
            target: a label for each, or None for the predicted ones.
            x_cf: counterfactual features of each, or None for the matcher's.
            reference: where the matcher looks for them, or None for each graph itself.
        """
        batched = self._takes_batch(*graphs[0], arguments[0])
        outputs = [
            self._output(x, edge_index, self._given(x, extra, batched))
            for (x, edge_index), extra in zip(graphs, arguments, strict=True)
        ]
        together = torch.cat(outputs)
        predicted = self.outcome.labels(together)
        labels = self._labels(target, together)
        if x_cf is None and reference is not None and self.kind != "edge":
            names = list(arguments[0])
            x_cf = self._matched([x for x, _ in graphs], predicted, reference, names, batched)
        elif x_cf is not None:
            parts = x_cf if isinstance(x_cf, (list, tuple)) else ()
            if len(parts) != len(graphs):
                found = f"has {len(parts)} parts" if parts else f"is a {type(x_cf).__name__}"
                raise InputError(
                    f"x_cf {found}; expected a list of tensors, one each for {len(graphs)} graphs."
                )
            if any(part is None for part in parts):
                raise InputError("x_cf holds None; expected a tensor for each graph.")
        tasks = []
        for place, (x, edge_index) in enumerate(graphs):
            whole = self._whole(
                x,
                edge_index,
                self._given(x, arguments[place], batched),
                outputs[place],
                labels[place : place + 1],
                None if x_cf is None else x_cf[place],
                predicted[place : place + 1].expand(len(x)),
            )
            row = torch.zeros(1, dtype=torch.long, device=x.device)
            tasks.append(graph_task(whole, row, batched=batched))
        return tasks

    def _whole(
        self,
        x: Tensor,
        edge_index: Tensor,
        arguments: Mapping[str, Any],
        output: Tensor,
        target: Any,
        x_cf: Any,
        node_labels: Tensor,
        edge_logits: Any = None,
        node_logits: Any = None,
    ) -> Whole:
        if self.kind == "edge":
            features = None
        elif x_cf is not None:
            features = counterfactual_features(constant(x_cf), x, source="x_cf")
        else:
            features = counterfactual_features(self._finder(), x, labels=node_labels)
        others = {name: value for name, value in arguments.items() if name != "batch"}
        return Whole(
            x=x,
            x_cf=features,
            edge_index=edge_index,
            arguments=inputs.arguments(others, len(x), edge_index.shape[1]),
            batch=arguments.get("batch"),
            output=output,
            labels=self._labels(target, output),
            symmetric=self.symmetric,
            edge_logits=inputs.logits("edge_logits", edge_logits, edge_index.shape[1], x.device),
            node_logits=inputs.logits("node_logits", node_logits, len(x), x.device),
        )

    def _labels(self, target: Any, output: Tensor) -> Tensor:
        if target is None:
            return self.outcome.labels(output)
        classes = 2 if self.outcome.binary else output.shape[1]
        return inputs.labels(target, len(output), classes, output.device)

    def _takes_batch(self, x: Tensor, edge_index: Tensor, extra: Mapping[str, Any]) -> bool:
        """Whether the model takes a `batch`; one that takes any keyword is tried."""
        model = self.frozen.model
        if inputs.has_parameter(model, "batch") or not inputs.accepts(model, "batch"):
            return inputs.accepts(model, "batch")
        try:
            self.frozen.calls(x, edge_index, **self._given(x, extra, batched=True))
        except InputError:
            return False
        return True

    @staticmethod
    def _given(x: Tensor, extra: Mapping[str, Any], batched: bool) -> dict[str, Any]:
        """The model's arguments for one graph."""
        if not batched:
            return dict(extra)
        return {**extra, "batch": torch.zeros(len(x), dtype=torch.long, device=x.device)}

    def _output(self, x: Tensor, edge_index: Tensor, given: Mapping[str, Any]) -> Tensor:
        """The model's output for one graph: a single row."""
        output, _ = self.frozen.calls(x, edge_index, **given)
        self.outcome.check(output)
        if len(output) != 1:
            raise InputError(
                f"the model's output for one graph has {len(output)} rows; expected one: is it a "
                "classifier of nodes? See explain_nodes."
            )
        return output

    def _finder(self) -> Any:
        matcher = NearestNeighborMatcher() if self.matcher is None else self.matcher
        return constant(matcher) if isinstance(matcher, Tensor) else matcher

    def _matched(
        self,
        features: Sequence[Tensor],
        predicted: Tensor,
        reference: Iterable[Data] | Tensor,
        names: Sequence[str],
        batched: bool,
    ) -> list[Tensor]:
        """Counterfactual features of every graph among the nodes of a reference."""
        matcher = self._finder()
        rows, row_labels = reference, None
        if isinstance(reference, np.ndarray):
            rows = torch.as_tensor(reference)
        elif not isinstance(reference, Tensor):
            known = inputs.graphs(reference, "reference")
            checked = [
                inputs.graph(each.x, each.edge_index, kind="feature", what=f"reference[{place}]")
                for place, each in enumerate(known)
            ]
            rows = torch.cat([x for x, _ in checked])
            if getattr(matcher, "contrast", False):
                row_labels = torch.cat(
                    [
                        self.outcome.labels(
                            self._output(
                                x,
                                edge_index,
                                self._given(x, inputs.of_graph(each, names, "reference"), batched),
                            )
                        ).expand(len(x))
                        for each, (x, edge_index) in zip(known, checked, strict=True)
                    ]
                )
        lengths = [len(x) for x in features]
        joined = counterfactual_features(
            matcher,
            torch.cat(list(features)),
            reference=rows,
            labels=predicted.repeat_interleave(torch.tensor(lengths, device=predicted.device)),
            reference_labels=row_labels,
        )
        return list(joined.split(lengths))


@contextlib.contextmanager
def ready(model: nn.Module) -> Iterator[Frozen]:
    """The model frozen, in a place where autograd works whatever the caller's mode is."""
    with torch.inference_mode(False), torch.enable_grad(), Frozen(model) as frozen:
        yield frozen


def constant(x_cf: Any) -> Callable[[Tensor], Any]:
    """A callable that gives the user's own counterfactual features."""
    return lambda _x: x_cf
