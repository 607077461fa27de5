"""Trains revcol-nano, and a plain network of the same size beside it.

    python plugins/revcol/training/nano.py digits --out weights/revcol-nano.digits
    python plugins/revcol/training/nano.py cifar10 --data DIR --out weights/revcol-nano.cifar10
    python plugins/revcol/training/nano.py cifar10 --data DIR --network convnext

DIR holds cifar10_small.zip: JPEG images in folders train/<class>/ and test/<class>/. The recipe was
settled on a validation split of the training images (`--validate`); the test images are for the
final figure, after the last epoch, and decide nothing. Seed and epochs are fixed and one thread
computes, so that runs can be repeated.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn
from tqdm import trange

import zoo
from zoo_revcol import digits
from zoo_revcol.plugin import CIFAR10, NANO_PREPROCESSING
from zoo_revcol.transforms import evaluation


@dataclass(frozen=True)
class Recipe:
    """How one data set is trained on.

    Attributes:
        epochs: over the training images.
        batch_size: images a step.
        lr: the highest learning rate of AdamW, after a warm-up of a twentieth of the steps.
        weight_decay: on tensors of two or more dimensions, the shortcuts' alpha excepted.
        drop_path_rate: stochastic depth.
        layer_scale_init: of both networks; 1e-6 is made for hundreds of epochs of ImageNet.
        shift: the largest random shift, in pixels of the 32 x 32 input.
        rotation: the largest random rotation, in degrees.
        flip: whether to mirror at random.
        erase: side of the square that is erased at random; 0 for none.
        label_smoothing: of the cross-entropy.
    """

    epochs: int
    batch_size: int = 100
    lr: float = 2e-3
    weight_decay: float = 0.05
    drop_path_rate: float = 0.0
    layer_scale_init: float = 0.1
    shift: float = 4.0
    rotation: float = 0.0
    flip: bool = False
    erase: int = 0
    label_smoothing: float = 0.1


RECIPES = {
    "digits": Recipe(epochs=60, batch_size=64, rotation=12.0),
    "cifar10": Recipe(epochs=150, flip=True, erase=10, drop_path_rate=0.1),
}


@dataclass(frozen=True)
class Split:
    """Images [N, 3, 32, 32], preprocessed, and labels [N]."""

    images: Tensor
    labels: Tensor


def main() -> None:
    """Trains, tests and, with `--out`, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=RECIPES)
    parser.add_argument("--network", choices=("revcol", "convnext"), default="revcol")
    parser.add_argument("--data", type=Path, help="folder of cifar10_small.zip")
    parser.add_argument("--out", type=Path, help="where to save a revcol network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true", help="hold out a fifth of training")
    arguments = parser.parse_args()
    if arguments.out and arguments.network != "revcol":
        parser.error("--out saves revcol networks only")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)  # a run can then be repeated to the bit

    recipe = RECIPES[arguments.task]
    labels, train, test = load(arguments.task, arguments.data)
    if arguments.validate:
        train, test = hold_out(train)
    network = build(arguments.network, len(labels), recipe)
    size = sum(parameter.numel() for parameter in network.parameters())
    started = time.process_time()
    fit(network, train, recipe)
    minutes = (time.process_time() - started) / 60
    accuracy = test_accuracy(network, test)
    kind = "validation" if arguments.validate else "test"
    print(
        f"{arguments.network} on {arguments.task}: {kind} accuracy {accuracy:.2f} %, "
        f"{size:,} parameters, {recipe.epochs} epochs, {minutes:.1f} CPU minutes, "
        f"seed {arguments.seed}"
    )
    if arguments.out:
        zoo.save(
            network,
            arguments.out,
            name="revcol-nano",
            config=revcol_config(len(labels), recipe),
            license="apache-2.0",
            metrics={"test accuracy (%)": round(accuracy, 2)},
            preprocessing=NANO_PREPROCESSING,
            labels=labels,
            description=describe(arguments, len(train.labels), len(test.labels), minutes),
        )


def describe(arguments: argparse.Namespace, trained: int, tested: int, minutes: float) -> str:
    """Returns the line of the model card that says how the weights came to be."""
    data = {
        "digits": "scikit-learn's handwritten digits",
        "cifar10": "a fixed tenth of the training images of CIFAR-10, which has no stated licence",
    }[arguments.task]
    folder = " --data DIR" if arguments.data else ""
    return (
        f"Trained on {data} ({trained} images; the {tested} of the test decided nothing) in "
        f"{minutes:.1f} minutes of one CPU core by `python plugins/revcol/training/nano.py "
        f"{arguments.task}{folder}`."
    )


def revcol_config(num_classes: int, recipe: Recipe) -> dict[str, Any]:
    """Returns what differs from the card of revcol-nano."""
    return {"num_classes": num_classes, "drop_path_rate": recipe.drop_path_rate}


def build(network: str, num_classes: int, recipe: Recipe) -> nn.Module:
    """Returns revcol-nano, or timm's ConvNeXt with as many parameters, freshly initialised."""
    if network == "revcol":
        config = revcol_config(num_classes, recipe)
        return zoo.load(
            "revcol-nano", pretrained=False, layer_scale_init=recipe.layer_scale_init, **config
        )
    return ConvNeXt(
        depths=(2, 2, 2, 2),
        dims=(18, 36, 72, 144),
        num_classes=num_classes,
        drop_path_rate=recipe.drop_path_rate,
        ls_init_value=recipe.layer_scale_init,
    )


def load(task: str, data: Path | None) -> tuple[tuple[str, ...], Split, Split]:
    """Returns the class names and the preprocessed training and test images."""
    transform = evaluation(**NANO_PREPROCESSING)
    if task == "digits":
        names = tuple("0123456789")
        parts = [(part.images, part.labels) for part in digits.load_split()]
    else:
        if data is None:
            raise SystemExit("cifar10 needs --data DIR")
        names = CIFAR10
        parts = [read_cifar10(data / "cifar10_small.zip", name) for name in ("train", "test")]
    train, test = (
        Split(torch.stack([transform(image) for image in images]), torch.as_tensor(labels).long())
        for images, labels in parts
    )
    return names, train, test


def read_cifar10(archive: Path, split: str) -> tuple[list[Image.Image], np.ndarray]:
    """Returns the images and labels of one split."""
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if name.startswith(f"{split}/"))
        images = [Image.open(io.BytesIO(file.read(name))).convert("RGB") for name in names]
    return images, np.array([CIFAR10.index(name.split("/")[1]) for name in names])


def hold_out(train: Split) -> tuple[Split, Split]:
    """Splits off a random fifth of the training images for validation."""
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(1))
    cut = len(order) // 5
    rest, held = order[cut:], order[:cut]
    return (
        Split(train.images[rest], train.labels[rest]),
        Split(train.images[held], train.labels[held]),
    )


def fit(network: nn.Module, train: Split, recipe: Recipe) -> None:
    """Trains in place: AdamW, a linear warm-up, then half a cosine to zero."""
    network.train()
    decayed = [
        parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and not name.endswith("alpha")
    ]
    known = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    steps = len(train.labels) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.lr,
        total_steps=recipe.epochs * steps,
        pct_start=0.05,
        anneal_strategy="cos",
        cycle_momentum=False,
    )
    progress = trange(recipe.epochs, unit="epoch", disable=None)
    for _ in progress:
        total = 0.0
        for batch in torch.randperm(len(train.labels))[: steps * recipe.batch_size].split(
            recipe.batch_size
        ):
            logits = network(augment(train.images[batch], recipe))
            loss = F.cross_entropy(
                logits, train.labels[batch], label_smoothing=recipe.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        progress.set_postfix(loss=f"{total / steps:.3f}")


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
def test_accuracy(network: nn.Module, test: Split) -> float:
    """Returns the share of right answers, in percent."""
    network.eval()
    answers = torch.cat([network(batch).argmax(1) for batch in test.images.split(200)])
    return 100 * (answers == test.labels).double().mean().item()


if __name__ == "__main__":
    main()
