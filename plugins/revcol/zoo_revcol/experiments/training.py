"""Training in minutes: small images in memory, augmented as tensors, one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo_revcol.loss import revcol_loss
from zoo_revcol.plugin import NANO_PREPROCESSING
from zoo_revcol.training.augmentation import TensorAugmentation
from zoo_revcol.training.optimizer import parameter_groups


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: over the training images.
        batch_size: images a step.
        lr: the highest learning rate of AdamW.
        warmup: the share of the steps in which it rises linearly, before half a cosine to zero.
        weight_decay: on tensors of two or more dimensions, the shortcuts' alphas excepted.
        clip: the largest norm of a gradient.
        shift: the largest random shift, in pixels.
        rotation: the largest random rotation, in degrees.
        flip: whether to mirror at random.
        erase: side of the square that is erased at random; 0 for none.
        label_smoothing: of the cross-entropy.
    """

    epochs: int
    batch_size: int = 100
    lr: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    clip: float = 5.0
    shift: float = 4.0
    rotation: float = 0.0
    flip: bool = True
    erase: int = 0
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class Images:
    """Images [N, 3, S, S], preprocessed, and their labels [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, share: float, seed: int) -> tuple[Images, Images]:
        """Returns the rest, and a random share held out."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        cut = int(share * len(self))
        rest, held = order[cut:], order[:cut]
        return (
            Images(self.images[rest], self.labels[rest]),
            Images(self.images[held], self.labels[held]),
        )


def fit(
    network: nn.Module,
    train: Images,
    recipe: Recipe,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> float:
    """Trains in place, from the random state as it is, and returns the last epoch's mean loss.

    Args:
        network: images to logits, or to the outputs of intermediate supervision.
        train: the images.
        recipe: how.
        progress: shows the progress of a loop over epochs.
    """
    network.train()
    groups = parameter_groups(network, weight_decay=recipe.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
    augment = TensorAugmentation(recipe.rotation, recipe.shift, recipe.flip, recipe.erase)
    steps = len(train) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.lr,
        total_steps=recipe.epochs * steps,
        pct_start=recipe.warmup,
        cycle_momentum=False,
    )
    mean = 0.0
    for _ in progress(range(recipe.epochs)):
        losses = []
        for batch in torch.randperm(len(train))[: steps * recipe.batch_size].split(
            recipe.batch_size
        ):
            images = augment(train.images[batch])
            loss, _ = revcol_loss(
                network(images),
                images,
                train.labels[batch],
                label_smoothing=recipe.label_smoothing,
                mean=NANO_PREPROCESSING["mean"],
                std=NANO_PREPROCESSING["std"],
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / steps
    return mean


@torch.inference_mode()
def accuracy(network: Callable[[Tensor], Any], test: Images) -> float:
    """Returns the share of right answers, in percent.

    Args:
        network: images to logits; put it in evaluation mode first.
        test: the images.
    """
    answers = torch.cat([network(batch).argmax(1) for batch in test.images.split(200)])
    return 100 * (answers == test.labels).double().mean().item()
