"""The expansion rate r that TNS predicts for a node at a time (Eq. 7, 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError, InputError, ZooError
from zoo_tns.gate import Gate, truncate
from zoo_tns.positions import check_size, largest_rate


@dataclass
class RateStats:
    """Sums over the rates that an expansion module gave in training.

    Attributes:
        queries: how many there were.
        active: of those, how many had N > S, so that a rate above 1 was possible.
        closed: of the active ones, how many had x < 1, where Eq. 8 gives 1.
        bounded: of the active ones, how many had x above the upper bound.
        total: the sum of the rates of the active ones.
    """

    queries: int = 0
    active: int = 0
    closed: float | Tensor = 0.0
    bounded: float | Tensor = 0.0
    total: float | Tensor = 0.0

    def __add__(self, other: RateStats) -> RateStats:
        """Returns the sums of both."""
        return RateStats(
            self.queries + other.queries,
            self.active + other.active,
            self.closed + other.closed,
            self.bounded + other.bounded,
            self.total + other.total,
        )

    def shares(self) -> dict[str, float]:
        """Returns means; those over active queries are NaN where there was none.

        Keys: mean_rate (of active queries), closed_share, bounded_share, active_share.
        """
        some = self.active or float("nan")
        return {
            "mean_rate": float(self.total) / some,
            "closed_share": float(self.closed) / some,
            "bounded_share": float(self.bounded) / some,
            "active_share": self.active / self.queries if self.queries else float("nan"),
        }


class ExpansionRate(nn.Module):
    """The expansion module: x = AGGR_r(h, the S most recent messages), truncated to a rate.

    r = min(max(1, x), (N - 1) / (S - 1)) if N >= S, else 1; and 1 if S is 1 (ours). Nodes with
    N <= S have only the rate 1, and AGGR_r is not computed for them.

    Attributes:
        aggregator: AGGR_r, of width 1.
        held: a rate that is given, truncated, in place of the predicted one; None predicts.
    """

    def __init__(
        self,
        aggregator: nn.Module,
        k: int,
        *,
        sigma: float = 1e-5,
        init_rate: float = 1.0,
        gate: Gate = "inward",
    ) -> None:
        """Makes the module and initialises AGGR_r's last layer (section "Initialisation").

        Args:
            aggregator: a module (h, messages, mask, now) -> [B, 1] whose attribute `last` is its
                last linear layer and which has `reset_parameters`.
            k: S, the number of positions.
            sigma: the standard deviation of the last layer's weights at first.
            init_rate: its bias at first; the paper's is 1.
            gate: which gradient passes beyond the bounds; see `zoo_tns.gate.truncate`.

        Raises:
            ConfigError: a value is not as described.
        """
        super().__init__()
        if gate not in get_args(Gate):
            raise ConfigError(f"gate is {gate!r}; expected 'inward' or 'strict'.")
        try:
            check_size(k, "k")
            check_number(sigma, "sigma", 0)
            check_number(init_rate, "init_rate", 1)
        except InputError as error:
            raise ConfigError(str(error)) from None
        self.aggregator = aggregator
        self.k = k
        self.sigma = sigma
        self.init_rate = init_rate
        self.gate: Gate = gate
        self.held: float | None = None
        self._stats = RateStats()
        self._initialise_last()

    def reset_parameters(self) -> None:
        """Draws the weights anew; the last layer's again as the paper says."""
        self.aggregator.reset_parameters()
        self._initialise_last()

    def _initialise_last(self) -> None:
        nn.init.normal_(self.aggregator.last.weight, std=self.sigma)
        nn.init.constant_(self.aggregator.last.bias, self.init_rate)

    def forward(
        self,
        h: Tensor,
        messages: Tensor,
        mask: Tensor,
        count: Tensor,
        now: Tensor | None = None,
    ) -> Tensor:
        """Returns the rates, float64 [B], at least 1.

        Args:
            h: floating [B, d], the nodes' own embeddings below this layer.
            messages: floating [B, S, d_m], of the S most recent events, the newest first.
            mask: bool [B, S], which of them there are.
            count: int64 [B], N.
            now: floating [d_t], phi(0), for aggregators with a query.

        Raises:
            InputError: there are not k messages.
            ZooError: a rate is not finite.
        """
        if messages.shape[1] != self.k:
            raise InputError(f"messages has {messages.shape[1]} of each node; expected k={self.k}.")
        rate = torch.ones(len(h), dtype=torch.float64, device=h.device)
        if self.k == 1:
            return rate
        rows = (count > self.k).nonzero().squeeze(1)
        upper = largest_rate(count[rows], self.k)
        if self.held is not None:
            return rate.index_copy(0, rows, upper.clamp(max=self.held))
        if len(rows) == 0:
            self._count(len(h), upper, upper, upper)
            return rate
        if len(rows) < len(h):
            h, messages, mask = (each.index_select(0, rows) for each in (h, messages, mask))
        x = self.aggregator(h, messages, mask, now).squeeze(1).double()
        if not bool(x.isfinite().all()):
            raise ZooError(
                "an expansion rate is not finite: the expansion module's weights, or the messages "
                "it reads, are not. Try a lower learning rate, or alpha."
            )
        found = truncate(x, upper, self.gate)
        self._count(len(rate), x, upper, found)
        return rate.index_copy(0, rows, found)

    def _count(self, queries: int, x: Tensor, upper: Tensor, found: Tensor) -> None:
        """Adds to the statistics, in training alone."""
        if self.training:
            self._stats.queries += queries
            self._stats.active += len(x)
            with torch.no_grad():
                self._stats.closed = self._stats.closed + (x < 1).sum()
                self._stats.bounded = self._stats.bounded + (x > upper).sum()
                self._stats.total = self._stats.total + found.sum()

    def stats(self) -> RateStats:
        """Returns the sums over all rates given in training since `reset_stats`."""
        return self._stats

    def reset_stats(self) -> None:
        """Starts the statistics anew."""
        self._stats = RateStats()

    def extra_repr(self) -> str:
        """Returns what `print` shows of it."""
        return f"k={self.k}, sigma={self.sigma}, init_rate={self.init_rate}, gate={self.gate!r}"


def check_number(value: object, name: str, least: float) -> None:
    """Checks that a value is a finite number of at least `least`."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value < float("inf"):
        raise InputError(f"{name} is {value!r}; expected a finite number of at least {least:g}.")
