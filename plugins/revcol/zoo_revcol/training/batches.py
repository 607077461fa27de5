"""Batches of images and labels, epoch by epoch, from any point of an epoch on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_revcol.training.acceleration import process_place
from zoo_revcol.training.randomness import permutation
from zoo_revcol.validation import integer

Batch = tuple[Tensor, Tensor]
"""Images [B, C, H, W], floating point, and classes [B], int64."""


@dataclass(frozen=True)
class Batches:
    """The batches that one process gets.

    Attributes:
        make: (epoch, start) -> the batches of that epoch from number `start` on. They may be drawn
            from the global generators, which the trainer seeds before it asks for a batch. All else
            must depend on the epoch alone.
        number: of batches in an epoch.
        batch_size: images of each; evaluation may have a smaller last one.
        seekable: whether `make` can start anywhere; else it is asked to start at 0, and the
            trainer leaves out what was done before.
    """

    make: Callable[[int, int], Iterable[Batch]]
    number: int
    batch_size: int
    seekable: bool = True

    @classmethod
    def of(
        cls,
        factory: Callable[[int], Iterable[Batch]],
        number: int | None = None,
        batch_size: int = 1,
    ) -> Batches:
        """Makes them of any function from an epoch to its batches, such as a list or DataLoader.

        Args:
            factory: epoch -> batches.
            number: of batches in an epoch; None asks the first epoch for its length.
            batch_size: images of each.

        Raises:
            InputError: no number, and no length either.
        """
        if number is None:
            first = factory(0)
            if not isinstance(first, Sized):
                raise InputError("the batches have no length; expected number= with how many.")
            number = len(first)
        return cls(lambda epoch, _start: factory(epoch), number, batch_size, seekable=False)

    def augmented(self, augment: Callable[[Tensor], Tensor]) -> Batches:
        """Returns the batches with their images augmented."""

        def make(epoch: int, start: int) -> Iterator[Batch]:
            for images, labels in self.make(epoch, start):
                yield augment(images), labels

        return replace(self, make=make)


def tensor_batches(
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    *,
    training: bool = True,
    seed: int = 0,
    augment: Callable[[Tensor], Tensor] | None = None,
    place: tuple[int, int] | None = None,
) -> Batches:
    """Makes batches of images in memory.

    In training they are shuffled anew each epoch, and the last images that do not fill a batch of
    every process are left out; else they come in order, all of them.

    Args:
        images: [N, C, H, W], preprocessed.
        labels: [N], int64.
        batch_size: images of a batch of one process.
        training: see above.
        seed: of the order.
        augment: images [B, C, H, W] to such, in training; see `TensorAugmentation`.
        place: (number of this process, of how many); None asks Accelerate.

    Raises:
        InputError: images and labels that do not belong together, or too few of them.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise InputError(
            f"images have shape {tuple(images.shape)} and dtype {images.dtype}; expected "
            "floating-point [N, C, H, W]."
        )
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise InputError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype} for {len(images)} "
            "images; expected classes [N] (torch.int64)."
        )
    order = Order(len(images), batch_size, training=training, seed=seed, place=place)

    def make(epoch: int, start: int) -> Iterator[Batch]:
        for index in order.batches(epoch, start):
            chosen = torch.tensor(index, device=images.device)
            yield images[chosen], labels[chosen]

    batches = Batches(make, len(order), batch_size)
    return batches.augmented(augment) if augment is not None and training else batches


class Order:
    """Which images each batch of one process has.

    All processes share one order of the images, so that the images of a step do not depend on how
    many processes there are.

    Args:
        images: how many there are.
        batch_size: images of a batch of one process.
        training: whether to shuffle, and to leave out what does not fill the last batches.
        seed: of the order.
        place: as for `tensor_batches`.

    Raises:
        InputError: no images, or in training fewer than one batch.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        *,
        training: bool,
        seed: int = 0,
        place: tuple[int, int] | None = None,
    ) -> None:
        self.images, self.training, self.seed = images, training, seed
        self.batch_size = integer("batch_size", batch_size, minimum=1, maximum=1 << 24)
        self.rank, self.world = process_place() if place is None else place
        together = batch_size * self.world
        if not images:
            raise InputError("there are no images.")
        if training and images < together:
            raise InputError(
                f"there are {images} images, fewer than one batch of {together}; give a smaller "
                "batch size."
            )

    def __len__(self) -> int:
        if self.training:
            return self.images // (self.batch_size * self.world)
        return -(-len(range(self.rank, self.images, self.world)) // self.batch_size)

    def batches(self, epoch: int, start: int) -> Iterator[list[int]]:
        """Yields the images of the batches of an epoch from number `start` on, by their index."""
        size = self.batch_size
        if self.training:
            order = permutation(self.images, self.seed, "order", epoch)
            for number in range(start, len(self)):
                first = (number * self.world + self.rank) * size
                yield order[first : first + size].tolist()
        else:
            own = range(self.rank, self.images, self.world)
            for number in range(start, len(self)):
                yield list(own[number * size : (number + 1) * size])
