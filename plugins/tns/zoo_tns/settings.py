"""What a temporal graph network is built from, validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zoo_core.errors import ConfigError, InputError, suggestion
from zoo_tns.gate import Gate
from zoo_tns.memory import LastBy
from zoo_tns.positions import ShortHistory, check_size
from zoo_tns.rate import check_number

Aggregator = Literal["attention", "tgat", "mean", "sum"]
Sampling = Literal["tns", "recent", "uniform", "expanded"]
Expansion = Literal["same", "mean"]
NeighborTime = Literal["query", "event"]

_CHOICES = {
    "aggr": Aggregator,
    "sampler": Sampling,
    "expansion": Expansion,
    "neighbor_time": NeighborTime,
    "short": ShortHistory,
    "gate": Gate,
    "last_by": LastBy,
}
_SIZES = ("node_dim", "time_dim", "hidden", "layers", "k", "heads")


@dataclass(frozen=True)
class Settings:
    """The arguments of `TemporalGNN`, which describes them.

    Raises:
        ConfigError: a value is not one of those allowed, or two do not fit each other.
    """

    num_nodes: int | None
    edge_dim: int
    node_dim: int
    time_dim: int
    hidden: int
    layers: int
    k: int
    aggr: Aggregator
    memory: bool
    sampler: Sampling
    rate: float
    short: ShortHistory
    expansion: Expansion
    neighbor_time: NeighborTime
    heads: int
    dropout: float
    sigma: float
    init_rate: float
    gate: Gate
    last_by: LastBy

    def __post_init__(self) -> None:
        try:
            self._check()
        except InputError as error:
            raise ConfigError(str(error)) from None
        for layer in range(self.layers):
            width = self.query_dim(layer)
            if self.aggr in ("attention", "tgat") and width % self.heads:
                raise ConfigError(
                    f"heads is {self.heads}, which does not divide the attention's width {width}."
                )

    def _check(self) -> None:
        for name in _SIZES:
            check_size(getattr(self, name), name)
        if self.num_nodes is not None:
            check_size(self.num_nodes, "num_nodes")
        if self.edge_dim != 0:
            check_size(self.edge_dim, "edge_dim")
        for name, choice in _CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in get_args(choice):
                hint = suggestion(value, get_args(choice)) if isinstance(value, str) else ""
                allowed = ", ".join(map(repr, get_args(choice)))
                raise InputError(f"{name} is {value!r}; expected one of {allowed}.{hint}")
        if not isinstance(self.memory, bool):
            raise InputError(f"memory is {self.memory!r}; expected True or False.")
        check_number(self.rate, "rate", 1)
        check_number(self.sigma, "sigma", 0)
        check_number(self.init_rate, "init_rate", 1)
        check_number(self.dropout, "dropout", 0)
        if self.dropout >= 1:
            raise InputError(f"dropout is {self.dropout!r}; expected a number below 1.")

    def input_dim(self, layer: int) -> int:
        """The width of what a layer, counted from 0, starts from."""
        return self.node_dim if layer == 0 else self.hidden

    def message_dim(self, layer: int) -> int:
        """d_m of a layer, counted from 0."""
        return self.input_dim(layer) + self.edge_dim + self.time_dim

    def query_dim(self, layer: int) -> int:
        """The width of the attention of a layer, counted from 0."""
        tgat = self.aggr == "tgat"
        return self.message_dim(layer) if tgat else self.input_dim(layer) + self.time_dim
