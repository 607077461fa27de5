"""Training in minutes: small images in memory, augmented as tensors, one thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from zoo_revcol.layers import without_weight_decay
from zoo_revcol.loss import revcol_loss
from zoo_revcol.plugin import NANO_PREPROCESSING


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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Computes on one thread meanwhile, so that a run can be repeated to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    optimizer = torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=recipe.lr)
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
            images = augment(train.images[batch], recipe)
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


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    spared = without_weight_decay(network)
    decayed = [each for name, each in network.named_parameters() if name not in spared]
    others = [each for name, each in network.named_parameters() if name in spared]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def augment(images: Tensor, recipe: Recipe) -> Tensor:
    """Rotates, shifts, mirrors and erases at random, each image in its own way.

    Args:
        images: [B, 3, S, S].
        recipe: how much.

    Returns:
        [B, 3, S, S].
    """
    number, size = len(images), images.shape[-1]
    angle = torch.deg2rad((2 * torch.rand(number) - 1) * recipe.rotation)
    shift = (2 * torch.rand(number, 2) - 1) * (2 * recipe.shift / size)
    mirror = torch.where(torch.rand(number) < 0.5, -1.0, 1.0) if recipe.flip else torch.ones(number)
    rows = [
        torch.stack([mirror * angle.cos(), -angle.sin(), shift[:, 0]], dim=1),
        torch.stack([mirror * angle.sin(), angle.cos(), shift[:, 1]], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if recipe.erase:
        corner = torch.randint(1 - recipe.erase, size, (2, number, 1))
        line = torch.arange(size)
        inside = (line >= corner) & (line < corner + recipe.erase)
        moved = moved.masked_fill((inside[0, :, :, None] & inside[1, :, None, :])[:, None], 0.0)
    return moved


@torch.inference_mode()
def accuracy(network: Callable[[Tensor], Any], test: Images) -> float:
    """Returns the share of right answers, in percent.

    Args:
        network: images to logits; put it in evaluation mode first.
        test: the images.
    """
    answers = torch.cat([network(batch).argmax(1) for batch in test.images.split(200)])
    return 100 * (answers == test.labels).double().mean().item()
