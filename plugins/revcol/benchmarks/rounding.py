"""What rebuilding maps costs in precision: errors of gradients against float64.

    python plugins/revcol/benchmarks/rounding.py

Relative error, in the 2-norm over all parameters' gradients, of a small network with all alphas
equal (channels 16, 32, 48, 64, layers 1, 1, 2, 1, images of 64 pixels). About two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import warnings

import torch
from torch import Tensor

from zoo_core.errors import ZooWarning
from zoo_revcol.experiments.weights import randomise
from zoo_revcol.model import RevCol

CASES = ((0.5, 2), (0.5, 4), (0.5, 8), (0.5, 16), (0.1, 4), (0.1, 16), (0.01, 4))
MODES = {
    "plain": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "k=1": {"memory": "reversible"},
    "k=N": {"memory": "reversible", "anchor_every": 9999},
    "k=N, exact": {"memory": "reversible", "anchor_every": 9999, "exact": True},
}


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore", ZooWarning)  # they say what the table shows
    names = [*MODES, *(f"{mode}, bf16" for mode in MODES)]
    print("| alpha | N | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    for alpha, columns in CASES:
        print(f"| {alpha} | {columns} | " + " | ".join(errors(alpha, columns)) + " |", flush=True)


def errors(alpha: float, columns: int) -> list[str]:
    """Returns the errors of every mode, in float32 and then under bfloat16 autocast."""
    model = RevCol((16, 32, 48, 64), (1, 1, 2, 1), columns, num_classes=10, memory="none").train()
    randomise(model, alpha=alpha)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    weight = torch.randn(4, 10, generator=generator)
    expected = gradient(copy.deepcopy(model).double(), images.double(), weight.double())
    found = []
    for autocast in (False, True):
        for options in MODES.values():
            model.columns.remember(**options)
            given = gradient(model, images, weight, autocast).double()
            found.append(f"{float((given - expected).norm() / expected.norm()):.1g}")
    return found


def gradient(model: RevCol, images: Tensor, weight: Tensor, autocast: bool = False) -> Tensor:
    """Returns all parameters' gradients as one vector."""
    model.zero_grad()
    context = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
    with context:
        logits = model(images)
    (logits.to(weight.dtype) * weight).sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


if __name__ == "__main__":
    main()
