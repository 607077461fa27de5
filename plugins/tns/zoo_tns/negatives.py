"""Negative destinations, one for each event, from seeded generators of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_tns.checks import as_ids
from zoo_tns.seeds import checked_seed, derived


class RandomNegatives:
    """Draws destinations uniformly from the distinct ones of a set of events.

    A drawn destination may be the event's own: like the official TGAT and TGN code, nothing is
    compared.

    Attributes:
        destinations: int64 [D], sorted.
        seed: of its generator.
    """

    def __init__(self, destinations: Tensor, seed: int) -> None:
        """Makes it.

        Args:
            destinations: int [E], repeated or not.
            seed: of its generator.

        Raises:
            InputError: there are no destinations, or they are no ids; no seed.
        """
        ids = as_ids(destinations, "destinations")
        if not len(ids):
            raise InputError("there are no destinations to draw negatives from.")
        self.destinations = torch.from_numpy(ids).unique()
        self.seed = checked_seed(seed)
        self._generator = torch.Generator()
        self.reset()

    def reset(self, *place: int | str) -> None:
        """Starts the drawing anew: always the same for the same place, another for another."""
        self._generator.manual_seed(derived(self.seed, *place) if place else self.seed)

    def draw(self, src: Tensor, dst: Tensor) -> Tensor:
        """Returns a negative destination for each event, int64 [B].

        Args:
            src: int64 [B], the events' sources.
            dst: int64 [B], their destinations.
        """
        drawn = torch.randint(len(self.destinations), (len(dst),), generator=self._generator)
        return self.destinations[drawn]


class PartnerNegatives(RandomNegatives):
    """Draws, for each event, another destination that its source has in a pool of pairs.

    With the pairs of training as the pool these are the "historical" negatives of the literature,
    which are harder than random ones; with the pairs that only evaluation has, the "inductive"
    ones. A source without another destination in the pool gets a random one.
    """

    def __init__(self, src: Tensor, dst: Tensor, destinations: Tensor, seed: int) -> None:
        """Makes it.

        Args:
            src: int64 [P], the sources of the pool.
            dst: int64 [P], their destinations; pairs may be repeated.
            destinations: as for `RandomNegatives`, where the pool has none.
            seed: of its generator.

        Raises:
            InputError: sources and destinations of different length, or what are no ids.
        """
        super().__init__(destinations, seed)
        sources = as_ids(src, "src")
        ends = torch.from_numpy(as_ids(dst, "dst", len(sources)))
        pairs = torch.stack([torch.from_numpy(sources), ends]).unique(dim=1)
        self._src, self._dst = pairs[0].contiguous(), pairs[1].contiguous()

    def draw(self, src: Tensor, dst: Tensor) -> Tensor:
        """Returns a negative destination for each event, int64 [B]; never dst from the pool."""
        if len(src) != len(dst):
            raise InputError(f"src has length {len(src)} and dst {len(dst)}; expected the same.")
        fallback = super().draw(src, dst)
        src, dst = src.cpu().contiguous(), dst.cpu()
        first = torch.searchsorted(self._src, src)
        size = torch.searchsorted(self._src, src, right=True) - first
        own = self._place(src, dst)
        others = size - (own >= 0).long()
        share = torch.rand(len(src), dtype=torch.float64, generator=self._generator)
        chosen = first + (share * others).long()
        chosen += ((own >= 0) & (chosen >= own)).long()  # steps over the event's own pair
        if not len(self._dst):
            return fallback
        partner = self._dst[chosen.clamp(max=len(self._dst) - 1)]
        return torch.where(others > 0, partner, fallback)

    def _place(self, src: Tensor, dst: Tensor) -> Tensor:
        """Where the pool holds each pair; -1 where it does not."""
        width = 1 + max(int(each.max()) if len(each) else 0 for each in (self._dst, dst))
        keys, wanted = self._src * width + self._dst, src * width + dst
        place = torch.searchsorted(keys, wanted)
        found = place < len(keys)
        found[found.clone()] = keys[place[found]] == wanted[found]
        return torch.where(found, place, -1)
