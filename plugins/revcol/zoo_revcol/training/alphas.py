"""The projection of the stored alphas, where the official code clamps them in place."""

from __future__ import annotations

import torch
from torch import nn

from zoo_revcol.reversible import ReversibleLevel


@torch.no_grad()
def project_alphas(model: nn.Module) -> None:
    """Moves every stored alpha to at least `alpha_min` in magnitude, in place, keeping its sign.

    Call it after an optimiser's step, on every process: it is deterministic, so copies that were
    the same stay the same. `optimizer.register_step_post_hook(lambda *_: project_alphas(model))`
    does so in a loop of another framework. The network's outputs do not change, since it bounds
    alpha wherever it uses it; what the next step starts from does, as in the official code, which
    overwrites the parameter at the start of each forward pass. An alpha of exactly 0 becomes
    `alpha_min`.

    Args:
        model: with columns of `ReversibleLevel`s anywhere in it; wrapped or not.
    """
    for module in model.modules():
        if isinstance(module, ReversibleLevel):
            alpha, least = module.alpha, module.alpha_min
            alpha.copy_(torch.where(alpha < 0, alpha.clamp(max=-least), alpha.clamp(min=least)))
