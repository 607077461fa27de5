"""Whether events prefer different rates: rank correlation of their losses between models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import kendalltau
from torch import Tensor

from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_core.threads import one_thread
from zoo_tns.evaluation import NEGATIVE_SEEDS, score_events
from zoo_tns.experiments.runs import expanded, trained
from zoo_tns.experiments.streams import WIKIPEDIA, first_events
from zoo_tns.negatives import RandomNegatives

RATES: Final = (1, 3, 7, 23)
PAIRS: Final = ((1, 3), (3, 7), (7, 23), (1, 23))
_OTHER: Final = 1_000_000


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains at each rate, and again at each rate from other weights, and ranks test losses."""
    split = first_events(context, WIKIPEDIA)
    with one_thread():
        for seed in context.seeds:
            losses: dict[tuple[int, int], Tensor] = {}
            wanted = [(rate, start) for start in (seed, seed + _OTHER) for rate in RATES]
            for rate, start in context.progress(wanted, "training"):
                model, _ = trained(split, expanded(rate), start)
                graph = model.graph
                negatives = RandomNegatives(split.data.dst, NEGATIVE_SEEDS["test"])
                losses[rate, start] = score_events(model, split.test, graph, negatives).losses()
            for first, second in PAIRS:
                tau = kendalltau(losses[first, seed], losses[second, seed]).statistic
                yield {"rates": f"{first}, {second}", "weights": "same", "seed": seed, "tau": tau}
            for rate in RATES:
                tau = kendalltau(losses[rate, seed], losses[rate, seed + _OTHER]).statistic
                yield {"rates": f"{rate}, {rate}", "weights": "other", "seed": seed, "tau": tau}


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether losses agree less between rates than between trainings at one rate."""
    between = {
        pair: float(np.mean(values(rows, "tau", rates=f"{pair[0]}, {pair[1]}"))) for pair in PAIRS
    }
    within = {rate: float(np.mean(values(rows, "tau", rates=f"{rate}, {rate}"))) for rate in RATES}
    shown = ", ".join(f"{a} and {b}: {tau:.2f}" for (a, b), tau in between.items())
    control = ", ".join(f"{rate}: {tau:.2f}" for rate, tau in within.items())
    right = all(
        tau < min(within[first], within[second]) for (first, second), tau in between.items()
    )
    return right, f"Kendall's tau between rates {shown}; at one rate with other weights {control}"
