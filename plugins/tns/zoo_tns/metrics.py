"""Average precision, ROC AUC and accuracy, averaged over batches or of all batches pooled."""

from __future__ import annotations

import math

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from zoo_core.errors import InputError

MEASURES = ("ap", "auc", "acc")


def measures(labels: Tensor, logits: Tensor) -> dict[str, float]:
    """Returns "ap", "auc" and "acc" of one set of scores.

    Where there is one class only, the AUC is NaN; and so is AP where there are no positives.

    Args:
        labels: [N], 0 or 1.
        logits: floating [N]; a positive one predicts 1, as a sigmoid above 0.5. Ranks are those of
            the logits, which a sigmoid in float32 would round to ties.

    Raises:
        InputError: no scores, other labels, different lengths, or scores that are not finite.
    """
    if labels.shape != logits.shape or labels.ndim != 1 or not len(labels):
        raise InputError(
            f"labels and logits have shapes {list(labels.shape)} and {list(logits.shape)}; "
            "expected [N] for both, and N at least 1."
        )
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise InputError("labels has values other than 0 and 1.")
    if not bool(logits.isfinite().all()):
        raise InputError("logits has values that are not finite.")
    truth, scores = labels.bool().cpu().numpy(), logits.detach().double().cpu().numpy()
    return {
        "ap": float(average_precision_score(truth, scores)) if truth.any() else math.nan,
        "auc": float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else math.nan,
        "acc": float(((scores > 0) == truth).mean()),
    }


def link_measures(positive: Tensor, negative: Tensor, batch_size: int) -> dict[str, float]:
    """Returns the measures of link prediction, with one negative for each event.

    "ap", "auc" and "acc" are the means over batches, as the official TGAT and TGN code has them:
    a short last batch counts as a full one. "ap_pooled", "auc_pooled" and "acc_pooled" are of all
    scores together.

    Args:
        positive: floating [E], the events' logits.
        negative: floating [E], the logits of their negatives.
        batch_size: events of a batch.

    Raises:
        InputError: as `measures`, or no number of events.
    """
    checked_batch_size(batch_size)
    if positive.shape != negative.shape:
        raise InputError(
            f"positive and negative have shapes {list(positive.shape)} and {list(negative.shape)}; "
            "expected the same."
        )
    batches = [
        _both(*each)
        for each in zip(positive.split(batch_size), negative.split(batch_size), strict=True)
    ]
    means = {name: sum(each[name] for each in batches) / len(batches) for name in MEASURES}
    pooled = _both(positive, negative)
    return means | {f"{name}_pooled": pooled[name] for name in MEASURES}


def checked_batch_size(batch_size: object) -> int:
    """Returns a number of events; raises InputError for anything else."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size is {batch_size!r}; expected an integer of at least 1.")
    return batch_size


def _both(positive: Tensor, negative: Tensor) -> dict[str, float]:
    labels = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)])
    return measures(labels, torch.cat([positive, negative]))
