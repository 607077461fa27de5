"""From a model's output to the probability of a label: P(Y = y | do(E = e, X = x)).

The graph neural network is the structural equation of Y, so that an intervention is a forward
pass and its probabilities are the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.explain.config import ModelConfig, ModelMode, ModelReturnType

from zoo_core.errors import InputError

SATURATED = 1 - 1e-6
"""From this probability on a model counts as certain: its gradients vanish."""


@dataclass(frozen=True)
class Outcome:
    """How to read the outputs of one model.

    Attributes:
        config: its mode (binary or multiclass) and what it returns (raw, probs, log_probs).
        temperature: of the softmax or sigmoid; 1 is the model's own probability.
    """

    config: ModelConfig
    temperature: float = 1.0

    @property
    def binary(self) -> bool:
        """Whether there is one number an output, for the label 1."""
        return self.config.mode == ModelMode.binary_classification

    def check(self, output: object) -> Tensor:
        """Returns an output that can be read: [R, C], or [R] or [R, 1] of a binary model.

        Raises:
            InputError: it is no such tensor, not finite, or not what the model is said to return.
        """
        if not isinstance(output, Tensor) or not output.is_floating_point():
            found = output.dtype if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"the model returns {found}; expected a floating-point tensor.")
        expected = (
            "[R] or [R, 1] of a binary model" if self.binary else "[R, C] of a multiclass one"
        )
        width = output.shape[1] if output.ndim == 2 else None
        fits = (output.ndim == 1 or width == 1) if self.binary else output.ndim == 2
        if not fits or output.numel() == 0:
            raise InputError(f"the model's output is {list(output.shape)}; expected {expected}.")
        values = output.detach()
        kind = self.config.return_type
        if bool(values.isnan().any()) or (
            kind != ModelReturnType.log_probs and not bool(values.isfinite().all())
        ):
            raise InputError("the model's output on the unmasked graph is not finite.")
        if kind == ModelReturnType.probs and not bool(((values >= 0) & (values <= 1)).all()):
            raise InputError(
                "the model is said to return probs, but values lie outside [0, 1]: pass "
                "return_type='raw' or 'log_probs'."
            )
        if kind == ModelReturnType.log_probs and bool((values > 1e-4).any()):
            raise InputError(
                "the model is said to return log_probs, but values are above 0: pass "
                "return_type='raw' or 'probs'."
            )
        return output

    def labels(self, output: Tensor) -> Tensor:
        """Returns the predicted labels [R], int64."""
        if not self.binary:
            return output.argmax(dim=-1)
        threshold = 0.5 if self.config.return_type == ModelReturnType.probs else 0.0
        return (output.reshape(-1) > threshold).long()

    def probability(self, output: Tensor, labels: Tensor) -> Tensor:
        """Returns the probability [R] of a label in each row of an output.

        Half precision is computed in float32.

        Args:
            output: [R, C], or [R] or [R, 1] of a binary model.
            labels: [R] int64.
        """
        if output.dtype in (torch.float16, torch.bfloat16):
            output = output.float()
        kind = self.config.return_type
        if self.binary:
            logits = output.reshape(-1)
            if kind == ModelReturnType.probs:
                if self.temperature == 1:
                    return torch.where(labels == 1, logits, 1 - logits)
                tiny = torch.finfo(logits.dtype).tiny
                logits = logits.clamp_min(tiny).log() - (1 - logits).clamp_min(tiny).log()
            return (torch.where(labels == 1, logits, -logits) / self.temperature).sigmoid()
        chosen = labels.unsqueeze(-1)
        if kind == ModelReturnType.probs:
            if self.temperature == 1:
                return output.gather(-1, chosen).squeeze(-1)
            output = output.clamp_min(torch.finfo(output.dtype).tiny).log()
        elif kind == ModelReturnType.log_probs and self.temperature == 1:
            return output.gather(-1, chosen).squeeze(-1).exp()
        return (output / self.temperature).softmax(-1).gather(-1, chosen).squeeze(-1)
