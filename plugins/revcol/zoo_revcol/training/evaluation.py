"""Accuracy and loss over all processes, every image counted once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo_revcol.training.batches import Batches

if TYPE_CHECKING:
    from accelerate import Accelerator


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches, accelerator: Accelerator) -> dict[str, float]:
    """Returns "accuracy" in percent, the mean cross-entropy "loss", and how many "images".

    The processes' counts are added up, so that unequal shares need no padding.

    Args:
        model: images to logits [B, K], not wrapped; left in the mode in which it was.
        batches: of this process.
        accelerator: its device and precision are used.
    """
    training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    for images, labels in batches.make(0, 0):
        images, labels = images.to(accelerator.device), labels.to(accelerator.device)
        with accelerator.autocast():
            logits = model(images)
        right = (logits.argmax(1) == labels).sum()
        loss = cross_entropy(logits.float(), labels, reduction="sum")
        sums += torch.stack([right.double(), loss.double(), right.new_tensor(len(labels))]).cpu()
    model.train(training)
    if accelerator.num_processes > 1:
        sums = accelerator.reduce(sums.to(accelerator.device), "sum")
    right, loss, images = sums.tolist()
    return {"accuracy": 100 * right / images, "loss": loss / images, "images": int(images)}
