"""Which events of its history a node hears of: samplers of temporal neighbours.

All of them read only events strictly before the time asked about. They run in torch_geometric's
loaders (`zoo_tns.loaders`), and `sample` gives the neighbours themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_tns.hops import NeighborTime
from zoo_tns.links import Negatives
from zoo_tns.positions import ShortHistory, expand_positions
from zoo_tns.temporal_sampler import TemporalSampler, check_choice

Rate = float | Callable[[Tensor, Tensor], Tensor]
"""An expansion rate of at least 1, or a function of (nodes [B], times [B]) to rates.

The function's rates are [B], or [B, L] with one column for each layer of a model: the last layer
embeds the seeds, so that hop h reads column L - 1 - h.
"""


class RecentSampler(TemporalSampler):
    """Samples the k most recent events (Eq. 3), newest first; see `TemporalSampler`."""

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, None]:
        return torch.arange(1, self._sizes[hop] + 1).expand(len(available), -1), None


class UniformSampler(TemporalSampler):
    """Samples k events uniformly, as TGAT does; columns are newest first.

    Args:
        k: see `TemporalSampler`.
        replace: whether an event can be drawn several times; it then is several edges. Without
            replacement a history of at most k events is returned whole.
        window: see `TemporalSampler`, as for the rest.
        neighbor_time: see there.
        negatives: see there.
        seed: see there.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        replace: bool = True,
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            k,
            window=window,
            neighbor_time=neighbor_time,
            negatives=negatives,
            seed=seed,
        )
        self.replace = bool(replace)

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, None]:
        draw = self._draws.with_replacement if self.replace else self._draws.without_replacement
        return draw(available, self._sizes[hop]), None


class TNSSampler(TemporalSampler):
    """Samples the fractional positions 1, 1 + r, ..., 1 + (k - 1) r of a history (Eq. 9).

    Columns come in pairs, the two events around each position: column 2 s is the more recent one
    and column 2 s + 1 the older one. Their weights are 1 - w and w, so that the sum of weight times
    message over all columns is the sum of the interpolated messages (Eq. 10); a mean divides it by
    the sum of the weights. In a subgraph, edges of weight 0 are left out and equal ones merged.

    The rates are given. `zoo_tns.model.TemporalGNN` learns them, which no loader can do, since they
    depend on embeddings.

    Args:
        k: see `TemporalSampler`.
        rate: at least 1; or a function of (nodes [B], times [B]) to rates [B] or [B, L], as
            `TemporalGNN.rates` is, see `Rate`; or a list with one of these for each hop. The
            weights of `sample` carry the gradient to the rates.
        short: what becomes of positions beyond the oldest event: "clip" lowers the rate (Eq. 8),
            "truncate" leaves them out.
        window: see `TemporalSampler`, as for the rest.
        neighbor_time: see there.
        negatives: see there.
        seed: see there.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        rate: Rate | Sequence[Rate] = 1.0,
        short: ShortHistory = "clip",
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            k,
            window=window,
            neighbor_time=neighbor_time,
            negatives=negatives,
            seed=seed,
        )
        several = isinstance(rate, list | tuple)
        given = list(rate) if several else [rate] * self.num_hops
        if len(given) != self.num_hops:
            raise InputError(f"rate has {len(given)} entries, but k has {self.num_hops} hops.")
        rates = [each if callable(each) else _as_rate(each) for each in given]
        check_choice(short, ShortHistory, "short")
        self.rate = rates if several else rates[0]
        self.short = short
        self._rates = rates

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, Tensor | None]:
        rate = self._rates[hop]
        if callable(rate):
            rates = self._of_hop(rate(nodes, times), len(available), hop).to(available.device)
        else:
            rates = torch.full_like(available, rate, dtype=torch.float64)
        found = expand_positions(rates, available, self._sizes[hop], self.short)
        pairs = torch.stack((found.floor, found.upper), dim=2) * found.mask.unsqueeze(2)
        weights = torch.stack((1 - found.weight, found.weight), dim=2)
        return pairs.flatten(1), weights.flatten(1)

    def _of_hop(self, rates: object, size: int, hop: int) -> Tensor:
        """Returns a hop's rates [B] of those that a function returned."""
        if not isinstance(rates, Tensor) or rates.ndim not in (1, 2) or len(rates) != size:
            raise InputError(f"rate returned no tensor of shape [{size}] or [{size}, L].")
        if rates.ndim == 1:
            return rates
        layers = rates.shape[1]
        if layers < self.num_hops:
            raise InputError(
                f"rate returned the rates of {layers} layers, but k has {self.num_hops} hops; "
                f"expected a layer for each."
            )
        return rates[:, layers - 1 - hop]


class ExpandedSampler(TNSSampler):
    """Samples every r-th event, going back in time: positions 1, 1 + r, ... (Eq. 6).

    Args:
        k: see `TemporalSampler`.
        rate: r, at least 1. With a fraction, positions are interpolated and columns come in pairs
            with weights, as of `TNSSampler`.
        short: "truncate" leaves out the positions beyond the oldest event (Eq. 6); "clip" lowers
            the rate for short histories so that k positions fit (Eq. 8), which interpolates, too.
        window: see `TemporalSampler`, as for the rest.
        neighbor_time: see there.
        negatives: see there.
        seed: see there.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 10,
        *,
        rate: float = 2,
        short: ShortHistory = "truncate",
        window: float | None = None,
        neighbor_time: NeighborTime = "query",
        negatives: Negatives = "nodes",
        seed: int | None = None,
    ) -> None:
        rate = _as_rate(rate)
        super().__init__(
            k,
            rate=rate,
            short=short,
            window=window,
            neighbor_time=neighbor_time,
            negatives=negatives,
            seed=seed,
        )

    def _columns(
        self, nodes: Tensor, times: Tensor, available: Tensor, hop: int
    ) -> tuple[Tensor, Tensor | None]:
        if self.short == "clip" or self.rate != int(self.rate):
            return super()._columns(nodes, times, available, hop)
        # Events that far back are in no history; it keeps the products within int64.
        rate = min(int(self.rate), 2**31)
        return (1 + rate * torch.arange(self._sizes[hop])).expand(len(available), -1), None


def _as_rate(rate: object) -> int | float:
    number = isinstance(rate, Real) and not isinstance(rate, bool)
    if not (number and 1 <= rate < float("inf")):
        raise InputError(f"rate is {rate!r}; expected a finite number of at least 1.")
    return int(rate) if isinstance(rate, Integral) else float(rate)
