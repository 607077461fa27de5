"""Images from folders or from timm's data sets, each augmented from a seed of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zoo_core.cache import user_path
from zoo_core.errors import InputError, ZooError, enumeration
from zoo_core.retries import first_line
from zoo_revcol.timm_data import timm_data
from zoo_revcol.training.augmentation import TensorAugmentation
from zoo_revcol.training.batches import Batch, Batches, Order
from zoo_revcol.training.images import training_transform
from zoo_revcol.training.randomness import seed_all
from zoo_revcol.training.recipe import Recipe
from zoo_revcol.transforms import evaluation
from zoo_revcol.validation import integer

EXTENSIONS: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
SCHEMES: Final = ("torch", "hfds")
_STREAMS = ("hfids", "tfds", "wds")
_TRAIN, _VALIDATION = "train", ("val", "validation", "valid", "test")


class Items(Protocol):
    """Images and their classes, by index."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """An image and its class."""


@dataclass(frozen=True)
class Labelled:
    """Images with classes, and the classes' names.

    Attributes:
        items: the images; can be pickled.
        classes: the names, in the order of the labels.
        split: what part of the data they are, such as "train".
    """

    items: Items
    classes: tuple[str, ...]
    split: str


def open_data(
    data: str, *, validation: str | None = None, root: str | None = None, download: bool = False
) -> tuple[Labelled, Labelled]:
    """Finds the images to train on and those to evaluate on; none is read yet.

    Args:
        data: a folder with train/CLASS/ and val/CLASS/ (or validation/, valid/, test/), or a name
            of timm's data sets, "torch/cifar10" or "hfds/owner/name".
        validation: a folder below `data`, or a path, with those to evaluate on; for timm's data
            sets the name of their part.
        root: where timm's data set is kept.
        download: whether timm may fetch it there.

    Returns:
        Both parts, with the same classes.

    Raises:
        InputError: no such data, no images, or other classes in one part than in the other.
        ZooError: timm cannot be imported.
    """
    scheme = data.partition("/")[0].lower()
    if scheme in _STREAMS and not Path(data).exists():
        raise InputError(
            f"{data} is a stream, which cannot be shuffled as a whole or resumed at a step; "
            f"expected a folder, or {' or '.join(f'{each}/NAME' for each in SCHEMES)}."
        )
    if scheme in SCHEMES and "/" in data and not Path(data).exists():
        parts = [
            _timm_data_set(data, part, root, download)
            for part in (_TRAIN, validation or _VALIDATION[1])
        ]
    else:
        parts = _folders(user_path(data, "data"), validation)
    train, held_out = parts
    if train.classes != held_out.classes:
        only = [
            sorted(set(a.classes) - set(b.classes)) for a, b in ((train, held_out), parts[::-1])
        ]
        raise InputError(
            f"{train.split} and {held_out.split} have different classes: "
            f"{len(train.classes)} and {len(held_out.classes)}; only in {train.split}: "
            f"{enumeration(only[0]) or 'none'}; only in {held_out.split}: "
            f"{enumeration(only[1]) or 'none'}."
        )
    if len(train.classes) < 2:
        raise InputError(f"{data} has {len(train.classes)} classes; expected at least 2.")
    return train, held_out


def image_batches(
    images: Labelled,
    recipe: Recipe,
    batch_size: int,
    *,
    training: bool,
    seed: int = 0,
    workers: int = 0,
    place: tuple[int, int] | None = None,
) -> Batches:
    """Makes batches as the recipe says; how many workers read them changes nothing in them.

    Reading an image seeds the global generators; in a loop of your own seed them before you rely on
    them.

    Args:
        images: from `open_data`.
        recipe: how they are augmented, or prepared for evaluation.
        batch_size: images of a batch of one process.
        training: whether to shuffle and augment.
        seed: of the order and the augmentation.
        workers: processes that read ahead; 0 reads in this one.
        place: as for `tensor_batches`.

    Raises:
        InputError: too few images; while reading, an image that cannot be read, with its file.
        ConfigError: an argument out of its range.
    """
    integer("workers", workers, minimum=0, maximum=1 << 10)
    order = Order(len(images.items), batch_size, training=training, seed=seed, place=place)
    augmented = training and not recipe.tensors
    transform = training_transform(recipe) if augmented else evaluation(**recipe.preprocessing())
    plan = _Plan(order)
    loader = DataLoader(
        _Prepared(images.items, transform, seed if augmented else None),
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=_ignore_signals,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each epoch would draw from the global one
    )

    def make(epoch: int, start: int) -> Iterator[Batch]:
        plan.epoch, plan.start = epoch, start
        for batch in loader:
            if isinstance(batch, ZooError):
                raise batch
            yield batch

    batches = Batches(make, len(order), batch_size)
    if training and recipe.tensors:
        return batches.augmented(TensorAugmentation.of(recipe))
    return batches


class FolderItems:
    """The images in the folders of classes.

    Args:
        files: path and class of each.
    """

    def __init__(self, files: Sequence[tuple[str, int]]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.files[index]
        try:
            with Image.open(path) as image:
                image.load()
                return ImageOps.exif_transpose(image), label
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{path} is not a readable image: {first_line(error)}.") from error


class _Plan:
    """The batches that a loader is to make next, as (epoch, index) of each image."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.epoch = self.start = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.order.batches(self.epoch, self.start):
            yield [(self.epoch, index) for index in batch]


class _Prepared(Dataset):
    """Images as tensors; (epoch, index) decides all that is random in them.

    What is wrong with an image is returned, not raised: a worker's traceback would come along.
    """

    def __init__(self, items: Items, transform: Callable[[Any], Tensor], seed: int | None) -> None:
        self.items, self.transform, self.seed = items, transform, seed

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, int] | ZooError:
        epoch, index = place
        try:
            image, label = self.items[index]
            if self.seed is not None:
                seed_all(self.seed, "image", epoch, index)
            return self.transform(image), label
        except ZooError as error:
            return error


def _collated(samples: list[tuple[Tensor, int] | ZooError]) -> Batch | ZooError:
    for each in samples:
        if isinstance(each, ZooError):
            return each
    images, labels = zip(*samples, strict=True)
    return torch.stack(images), torch.tensor(labels)


def _ignore_signals(_worker: int) -> None:
    """Leaves Ctrl-C, which the terminal sends to workers, too, to the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _folders(folder: Path, validation: str | None) -> list[Labelled]:
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}; expected one with {_TRAIN}/CLASS/ and "
            f"{_VALIDATION[0]}/CLASS/, or {' or '.join(f'{each}/NAME' for each in SCHEMES)}."
        )
    if not (folder / _TRAIN).is_dir():
        raise InputError(f"{folder} has no folder {_TRAIN}; expected {_TRAIN}/CLASS/ in it.")
    names = [validation] if validation else list(_VALIDATION)
    found = [place for name in names if (place := folder / user_path(name, "val")).is_dir()]
    if not found:
        raise InputError(
            f"{folder} has no folder {' or '.join(names)} with the images to evaluate on; name it "
            "with --val."
        )
    return [_labelled(folder / _TRAIN), _labelled(found[0])]


def _labelled(folder: Path) -> Labelled:
    """The images below a folder of classes, in the order of their names."""
    classes = sorted(
        each.name for each in os.scandir(folder) if each.is_dir() and not each.name.startswith(".")
    )
    files: list[tuple[str, int]] = []
    for label, name in enumerate(classes):
        known = len(files)
        for place, folders, names in os.walk(folder / name, followlinks=True):
            folders.sort()
            files += [
                (str(Path(place, each)), label)
                for each in sorted(names)
                if each.lower().endswith(EXTENSIONS) and not each.startswith(".")
            ]
        if len(files) == known:
            raise InputError(f"{folder / name} has no images ({', '.join(EXTENSIONS)}).")
    if not files:
        raise InputError(f"{folder} has no images; expected {folder}/CLASS/NAME.jpg.")
    return Labelled(FolderItems(files), tuple(classes), folder.name)


def _timm_data_set(name: str, part: str, root: str | None, download: bool) -> Labelled:
    """One part of a data set that timm knows."""
    try:
        items = timm_data().create_dataset(name, root=root, split=part, download=download)
        number = len(items)
    except ZooError:
        raise
    except Exception as error:  # foreign code is the other side
        raise InputError(
            f"{name} ({part}) cannot be opened by timm: {first_line(error)}. Where is it kept? Say "
            "so with --root, or allow --download."
        ) from error
    classes = getattr(items, "classes", None) or getattr(
        getattr(items, "reader", None), "class_to_idx", None
    )
    if not classes or not number:
        raise InputError(f"{name} ({part}) has {number} images and names no classes.")
    if isinstance(classes, dict):
        classes = sorted(classes, key=classes.__getitem__)
    return Labelled(items, tuple(str(each) for each in classes), part)
