"""Columns lose nothing: the last column's maps give back those of all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from zoo_core.experiment import Context
from zoo_revcol.experiments.weights import randomise
from zoo_revcol.model import RevCol

_COLUMNS = (2, 4, 8, 16)
_ALPHAS = {"0.2 to 1": None, "0.5": 0.5, "1": 1.0}
_CHANNELS = (16, 32, 64, 128)


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Inverts networks of random weights from their last column to their first."""
    cases = [
        (alpha, columns, dtype)
        for alpha in _ALPHAS
        for columns in _COLUMNS
        for dtype in (torch.float64, torch.float32)
    ]
    for alpha, columns, dtype in context.progress(cases, "inverting"):
        model = RevCol(_CHANNELS, (1, 1, 1, 1), columns, num_classes=10, memory="none")
        model = randomise(model, alpha=_ALPHAS[alpha]).to(dtype)
        images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
        yield {
            "alpha": alpha,
            "columns": columns,
            "dtype": str(dtype).removeprefix("torch."),
            "worst relative error": model.check_reversible(images).worst,
        }


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the errors are as small as rounding allows, where they should be."""
    error = {
        (row["alpha"], row["columns"], row["dtype"]): row["worst relative error"] for row in rows
    }
    double, single = error["0.2 to 1", 4, "float64"], error["0.2 to 1", 4, "float32"]
    ones = error["1", 16, "float32"]
    return (
        double < 1e-9 and single < 5e-3 and ones < 1e-4,
        f"4 columns come back within {double:.1g} in float64 (limit 1e-9) and {single:.1g} in "
        f"float32 (5e-3), 16 columns with alphas of 1 within {ones:.1g} in float32 (1e-4)",
    )
