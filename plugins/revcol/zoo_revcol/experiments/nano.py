"""The small networks of `weights/`: how they are trained, and a plain network beside one of them.

The recipes were settled on a fifth of the training images held out (`Images.split`); the test
images decided nothing. The network of seed 0 is saved among the experiment's artifacts: the zoo
ships such ones.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import torch
from timm.models.convnext import ConvNeXt
from torch import nn

import zoo
from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_revcol.digits import load_split
from zoo_revcol.experiments import cifar
from zoo_revcol.experiments.training import Images, Recipe, accuracy, fit
from zoo_revcol.plugin import CIFAR10, NANO_PREPROCESSING
from zoo_revcol.transforms import evaluation

# A layer scale of 1e-6 is made for hundreds of epochs of ImageNet.
_LAYER_SCALE = 0.1
_DIGITS = Recipe(epochs=60, batch_size=64, warmup=0.05, rotation=12.0, flip=False)
_CIFAR10 = Recipe(epochs=150, warmup=0.05, erase=10)
_DROP_PATH = 0.1
_ACCURACY = "test accuracy (%)"
_REVCOL, _CONVNEXT = "revcol-nano", "ConvNeXt"
_STANDARD_ERROR = 1.6
"""Of an accuracy near 50 % on a thousand images, in points."""


def digits(context: Context) -> Iterator[dict[str, Any]]:
    """Trains revcol-nano on scikit-learn's handwritten digits."""
    transform = evaluation(**NANO_PREPROCESSING)
    train, test = (
        Images(
            torch.stack([transform(image) for image in part.images]),
            torch.as_tensor(part.labels).long(),
        )
        for part in load_split()
    )
    labels = tuple("0123456789")
    for row, network in _trained(context, {_REVCOL: lambda: _revcol(0.0)}, train, test, _DIGITS):
        if row["seed"] == 0:
            _save(context, network, "digits", "scikit-learn's handwritten digits", row, labels)
        yield row


def cifar10(context: Context) -> Iterator[dict[str, Any]]:
    """Trains revcol-nano and a ConvNeXt of its size on a tenth of CIFAR-10, with one recipe."""
    train, test = (cifar.read(context.data(cifar.FOLDER), part) for part in ("train", "test"))
    networks = {_REVCOL: lambda: _revcol(_DROP_PATH), _CONVNEXT: _convnext}
    data = "a fixed tenth of the training images of CIFAR-10, which has no stated licence"
    for row, network in _trained(context, networks, train, test, _CIFAR10):
        if row["seed"] == 0 and row["network"] == _REVCOL:
            _save(context, network, "cifar10", data, row, CIFAR10)
        yield row


def digits_hold(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether nearly all held-out digits are read right."""
    mean = fmean(row[_ACCURACY] for row in rows)
    return mean >= 98, f"{mean:.2f} % of 360 held-out digits, mean over seeds (limit 98 %)"


def cifar10_holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether columns do as well as a plain network of their size, within the test's error."""
    revcol, plain = (
        fmean(row[_ACCURACY] for row in rows if row["network"] == name)
        for name in (_REVCOL, _CONVNEXT)
    )
    return (
        revcol >= plain - _STANDARD_ERROR,
        f"revcol-nano {revcol:.1f} %, ConvNeXt {plain:.1f} % (one standard error of a run is "
        f"{_STANDARD_ERROR} points)",
    )


def _revcol(drop_path_rate: float) -> nn.Module:
    return zoo.load(
        "revcol-nano",
        pretrained=False,
        num_classes=10,
        layer_scale_init=_LAYER_SCALE,
        drop_path_rate=drop_path_rate,
        memory="none",
    )


def _convnext() -> nn.Module:
    return ConvNeXt(
        depths=(2, 2, 2, 2),
        dims=(18, 36, 72, 144),
        num_classes=10,
        drop_path_rate=_DROP_PATH,
        ls_init_value=_LAYER_SCALE,
    )


def _trained(
    context: Context,
    networks: dict[str, Callable[[], nn.Module]],
    train: Images,
    test: Images,
    recipe: Recipe,
) -> Iterator[tuple[dict[str, Any], nn.Module]]:
    with one_thread():
        for seed in context.seeds:
            for name, build in networks.items():
                torch.manual_seed(seed)
                network = build()
                started = time.process_time()
                epochs = functools.partial(context.progress, description=f"{name}, seed {seed}")
                fit(network, train, recipe, epochs)
                minutes = (time.process_time() - started) / 60
                row = {
                    "seed": seed,
                    "network": name,
                    "parameters": sum(each.numel() for each in network.parameters()),
                    _ACCURACY: accuracy(network.eval(), test),
                    "CPU minutes": minutes,
                }
                yield row, network


def _save(
    context: Context,
    network: nn.Module,
    tag: str,
    data: str,
    row: dict[str, Any],
    labels: tuple[str, ...],
) -> None:
    """Writes the network as a folder that zoo.load reads."""
    zoo.save(
        network,
        context.out / f"revcol-nano.{tag}",
        name="revcol-nano",
        config={
            "num_classes": len(labels),
            "drop_path_rate": network.drop_path_rate,
        },
        license="apache-2.0",
        metrics={_ACCURACY: round(row[_ACCURACY], 2)},
        preprocessing=NANO_PREPROCESSING,
        labels=labels,
        description=f"Trained on {data}, in {row['CPU minutes']:.1f} minutes of one CPU core, by "
        f"`zoo reproduce revcol nano-{tag}`; the test decided nothing.",
    )
