"""How necessary and how sufficient explanations are: Fid+, Fid-, charact and the PNS.

The model is run under each mask, as its explanation was made, on two kinds of worlds: what the
explanation keeps, and what it leaves. Features that are left out are counterfactual ones.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch_geometric.explain import Explanation
from torch_geometric.explain.config import ModelTaskLevel

from zoo_core.errors import InputError
from zoo_nseg import inputs
from zoo_nseg.masking import Frozen, Masked
from zoo_nseg.masks import World, blend, complement, worlds
from zoo_nseg.outcome import Outcome
from zoo_nseg.reading import Case, cases, real
from zoo_nseg.result import HARD

_Measure = TypeVar("_Measure")


@dataclass(frozen=True)
class Fidelity:
    """The fidelity of explanations, averaged over them.

    Attributes:
        plus: Fid+, the share of labels lost without the explanation: high if it is necessary.
        minus: Fid-, the share of labels lost with nothing but the explanation: low if it is
            sufficient.
        charact: the harmonic mean of Fid+ and 1 - Fid-.
        p_suff: P(Y_A = y).
        p_nec: P(Y_notA != y), averaged over the cases of not-A.
        pns_lower: P(Y_A = y) - P(Y_notA = y), not cut off at 0.
        pns_upper: min(P(Y_A = y), P(Y_notA != y)).
        plus_cases: Fid+ averaged over the cases of not-A: for edges and features jointly that both
            differ, the edges alone, the features alone; else the same as `plus`.
        empty: the share of labels that hold with nothing at all: no messages, and counterfactual
            features where features are explained. There Fid- is 0 for the empty explanation.
        n: how many explanations.
    """

    plus: float
    minus: float
    charact: float
    p_suff: float
    p_nec: float
    pns_lower: float
    pns_upper: float
    plus_cases: float
    empty: float
    n: int


def fidelity_pm(
    model: nn.Module,
    explanations: Explanation | Iterable[Explanation],
    *,
    hard: bool = True,
    threshold: float = HARD,
    temperature: float = 1.0,
) -> Fidelity:
    """Returns how necessary and how sufficient explanations are to a model.

    Fid+ counts the labels that the model does not give under 1 - M, Fid- those that it does not
    give under M (official code). Where features are explained M blends them with counterfactual
    ones: for M jointly of edges and features Fid+ is that of both complements (ours).

    Args:
        model: the one that was explained; left as it was found.
        explanations: one or several, of `NSEGExplainer` or of any other algorithm in
            torch_geometric's `Explainer`, with an `edge_mask` [E], a `node_mask` [N, 1] and `x_cf`
            [N, F], or all. The explained labels are `target[index]`; several under one mask count
            as their mean.
        hard: whether M is 1 where a mask is at least `threshold`, and else 0; False takes the masks
            as they are.
        threshold: see `hard`.
        temperature: of the model's probabilities, whatever they were explained at.

    Raises:
        InputError: what is given cannot be scored; a ValueError.
        IndexOutOfRangeError: a row that is not there; an IndexError.
    """
    limit = real("threshold", threshold) if hard else None
    if not real("temperature", temperature) > 0:
        raise InputError(f"temperature is {temperature!r}; expected a number above 0.")
    given = cases(explanations)
    if limit is None:
        for case in given:
            _check_soft(case)
    else:
        given = [_hard(case, limit) for case in given]
    scores = _measured(model, given, temperature, _scores)
    plus, minus, p_suff, p_nec, upper, plus_cases, empty = (
        statistics.fmean(each) for each in zip(*scores, strict=True)
    )
    return Fidelity(
        plus=plus,
        minus=minus,
        charact=charact(plus, minus),
        p_suff=p_suff,
        p_nec=p_nec,
        pns_lower=p_suff + p_nec - 1,
        pns_upper=upper,
        plus_cases=plus_cases,
        empty=empty,
        n=len(given),
    )


def empty_graph_rate(model: nn.Module, explanations: Explanation | Iterable[Explanation]) -> float:
    """Returns the share of labels that hold with nothing kept; see `Fidelity.empty`.

    Such labels need no explanation, and Fid- of the smallest one is 0 for them.

    Args:
        model: the one that was explained; left as it was found.
        explanations: as for `fidelity_pm`; what their masks hold makes no difference.

    Raises:
        InputError, IndexOutOfRangeError: as `fidelity_pm`.
    """
    kept = _measured(model, cases(explanations), 1.0, lambda case, them: them.empty(case))
    return statistics.fmean(kept)


def charact(fid_plus: float | Tensor, fid_minus: float | Tensor) -> Any:
    """Returns the characterisation score 2 Fid+ (1 - Fid-) / (Fid+ + 1 - Fid-).

    Args:
        fid_plus: in [0, 1], a number or a tensor of averages.
        fid_minus: in [0, 1], likewise.

    Returns:
        in [0, 1], 0 where Fid+ is 0: a tensor if one is given, else a float.

    Raises:
        InputError: outside [0, 1].
    """
    plus, minus = (
        each if isinstance(each, Tensor) else torch.tensor(real(name, each), dtype=torch.float64)
        for name, each in (("fid_plus", fid_plus), ("fid_minus", fid_minus))
    )
    for name, value in (("fid_plus", plus), ("fid_minus", minus)):
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise InputError(f"{name} holds values outside [0, 1]; expected averages of Fid.")
    total = plus + 1 - minus
    score = 2 * plus * (1 - minus) / torch.where(total > 0, total, 1)
    tensors = isinstance(fid_plus, Tensor) or isinstance(fid_minus, Tensor)
    return score if tensors else float(score)


class _Worlds:
    """The worlds of explanations of one input, run by a model.

    Args:
        masked: the model on the input's edges, within its block.
        arguments: of the model.
        outcome: how outputs are read.
    """

    def __init__(self, masked: Masked, arguments: dict[str, Any], outcome: Outcome) -> None:
        self._masked = masked
        self._arguments = arguments
        self._outcome = outcome
        self._empty: dict[tuple[str, int], Tensor] = {}

    def run(self, case: Case, world: World) -> tuple[float, float]:
        """Returns the share of rows that keep their label, and its mean probability."""
        return self._read(case, self._output(case, world, case.edges, case.nodes))

    def empty(self, case: Case) -> float:
        """Returns the share of rows that keep their label with nothing kept."""
        key = (case.kind, id(case.x_cf))
        if key not in self._empty:
            nothing = [
                None if mask is None else torch.zeros_like(mask)
                for mask in (case.edges, case.nodes)
            ]
            self._empty[key] = self._output(case, worlds(case.kind, (1, 1, 1))[0], *nothing)
        return self._read(case, self._empty[key])[0]

    def _output(
        self, case: Case, world: World, edges: Tensor | None, nodes: Tensor | None
    ) -> Tensor:
        x = case.x
        weights = torch.ones(case.edge_index.shape[1], device=x.device)
        if edges is not None and world.edges != "whole":
            weights = edges if world.edges == "set" else complement(edges, None)
        if nodes is not None and case.x_cf is not None and world.features != "whole":
            kept = nodes if world.features == "set" else complement(nodes, None)
            x = blend(kept.to(x.dtype), x, case.x_cf)
        return self._masked(weights, x, **self._arguments)

    def _read(self, case: Case, output: Tensor) -> tuple[float, float]:
        rows, labels = output[case.rows], case.target[case.rows].long()
        probability = self._outcome.probability(rows, labels)
        if not bool(probability.isfinite().all()):
            raise InputError(f"the model's output under the mask of {case.name} is not finite.")
        kept = self._outcome.labels(rows) == labels
        return float(kept.double().mean()), float(probability.double().mean())


def _scores(case: Case, them: _Worlds) -> list[float]:
    """Fid+, Fid-, P(Y_A = y), P(Y_notA != y), the smaller of them, Fid+ over cases, empty."""
    present, *absent = worlds(case.kind, (1, 1, 1), sampled=False)
    kept, p_suff = them.run(case, present)
    found = [them.run(case, each) for each in absent]
    p_nec = 1 - sum(probability for _, probability in found) / len(found)
    over_cases = 1 - sum(each for each, _ in found) / len(found)
    plus = 1 - found[0][0]
    return [plus, 1 - kept, p_suff, p_nec, min(p_suff, p_nec), over_cases, them.empty(case)]


def _measured(
    model: nn.Module,
    given: Sequence[Case],
    temperature: float,
    measure: Callable[[Case, _Worlds], _Measure],
) -> list[_Measure]:
    """What is measured of each case; not in order, for those of one input are run in a row."""
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in given:
        groups.setdefault(case.given, []).append(case)
    found = []
    with torch.no_grad(), Frozen(model) as frozen:
        for group in groups.values():
            first = group[0]
            outcome = Outcome(first.config, temperature)
            arguments = _arguments(frozen, first)
            _check_output(frozen, group, arguments, outcome)
            with Masked(frozen, first.edge_index, len(first.x)) as masked:
                them = _Worlds(masked, arguments, outcome)
                found += [measure(case, them) for case in group]
    return found


def _arguments(frozen: Frozen, case: Case) -> dict[str, Any]:
    """The model's arguments; with a `batch` of one graph where it can be told that it takes one."""
    parameters = inspect.signature(frozen.model.forward).parameters
    one_graph = case.config.task_level == ModelTaskLevel.graph and len(case.target) == 1
    if one_graph and "batch" in parameters and "batch" not in case.arguments:
        batch = torch.zeros(len(case.x), dtype=torch.long, device=case.x.device)
        return {**case.arguments, "batch": batch}
    return case.arguments


def _check_output(
    frozen: Frozen, cases: Sequence[Case], arguments: dict[str, Any], outcome: Outcome
) -> None:
    """Refuses cases that the model's unmasked output does not fit."""
    first = cases[0]
    for parameter in frozen.model.parameters():
        if parameter.device != first.x.device:
            raise InputError(
                f"the model is on {parameter.device} and {first.name} on {first.x.device}; move "
                "both to one device."
            )
    output, _ = frozen.calls(first.x, first.edge_index, **arguments)
    outcome.check(output)
    classes = 2 if outcome.binary else output.shape[1]
    for case in cases:
        inputs.labels(case.target, len(output), classes, case.x.device)


def _hard(case: Case, limit: float) -> Case:
    edges, nodes = (
        None if mask is None else (mask >= limit).float() for mask in (case.edges, case.nodes)
    )
    return replace(case, edges=edges, nodes=nodes)


def _check_soft(case: Case) -> None:
    for mask in (case.edges, case.nodes):
        if mask is not None and not bool(((mask >= 0) & (mask <= 1)).all()):
            raise InputError(
                f"a mask of {case.name} holds values outside [0, 1]; score it with hard=True."
            )
