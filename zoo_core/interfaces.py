"""The four interfaces, as structural types: what each ecosystem already agrees on.

They are runtime-checkable protocols, so that a plugin implements an interface by being a
`torch.nn.Module`, a `torch_geometric.explain.ExplainerAlgorithm`, a scikit-learn estimator, ...
and inherits nothing of ours. `isinstance` checks the names of the methods, not their signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Model(Protocol):
    """A `torch.nn.Module`: what is called on tensors, trained and saved by its state dict.

    A model with a classifier may also offer timm's `reset_classifier(num_classes)`: it is how
    `zoo.load(..., num_classes=K)` gives pretrained weights a new head.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def parameters(self, recurse: bool = True) -> Iterator[Any]: ...
    def state_dict(self, *args: Any, **kwargs: Any) -> Any: ...
    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...
    def eval(self) -> Any: ...


@runtime_checkable
class Explainer(Protocol):
    """A `torch_geometric.explain.ExplainerAlgorithm`, which `torch_geometric`'s Explainer runs."""

    def __call__(
        self, model: Any, x: Any, edge_index: Any, *, target: Any, **kwargs: Any
    ) -> Any: ...
    def supports(self) -> bool: ...
    def connect(self, explainer_config: Any, model_config: Any) -> None: ...


@runtime_checkable
class Sampler(Protocol):
    """A temporal neighbour sampler: (seeds, their times) to neighbours strictly before them."""

    def sample(self, seeds: Any, seed_times: Any, **kwargs: Any) -> Any: ...


@runtime_checkable
class Estimator(Protocol):
    """scikit-learn's contract: the constructor stores, `fit` learns and returns self.

    An estimator may also be `Stateful`: it is how `zoo.save` and `zoo.load` keep what it learnt.
    """

    def fit(self, X: Any, y: Any = None, **kwargs: Any) -> Any: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...
    def set_params(self, **params: Any) -> Any: ...


@runtime_checkable
class Stateful(Estimator, Protocol):
    """An estimator that says what it learnt, as arrays and JSON values.

    `get_state` gives ({}, {}) before `fit`; with `skops` it may hold bytes that skops wrote, as
    uint8, of what arrays cannot say. `set_state` checks all of it before it sets any, and raises
    WeightsMismatchError or CheckpointError; `trusted` names the types that skops may build.
    """

    def get_state(
        self, *, skops: bool = False
    ) -> tuple[Mapping[str, np.ndarray[Any, Any]], Mapping[str, Any]]: ...
    def set_state(
        self,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        values: Mapping[str, Any],
        *,
        trusted: Sequence[str] = (),
    ) -> Any: ...


INTERFACES: dict[str, type] = {
    "model": Model,
    "explainer": Explainer,
    "sampler": Sampler,
    "estimator": Estimator,
}
"""The interface of each kind that a card can have."""
