"""RevCol's cards: the six sizes of the paper, with every checkpoint released, and nano."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoo_core.card import Card, Paper, Weights
from zoo_core.experiment import Experiment
from zoo_core.hookspecs import hookimpl
from zoo_revcol.released import RELEASED
from zoo_revcol.variants import VARIANTS

if TYPE_CHECKING:
    import typer

PAPER = Paper(
    title="Reversible Column Networks",
    authors=(
        "Yuxuan Cai",
        "Yizhuang Zhou",
        "Qi Han",
        "Jianjian Sun",
        "Xiangwen Kong",
        "Jun Li",
        "Xiangyu Zhang",
    ),
    venue="ICLR",
    year=2023,
    arxiv="2212.11696",
    code="https://github.com/megvii-research/RevCol",
)
SIZES = (
    ("revcol-t", "tiny"),
    ("revcol-s", "small"),
    ("revcol-b", "base"),
    ("revcol-l", "large"),
    ("revcol-xl", "xlarge"),
    ("revcol-h", "huge"),
)
"""The cards of the paper's sizes, and the names of their variants."""
EXTENSIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "revcol-vit-tiny": (
        "zoo_revcol.vit:RevColViT",
        {"width": 192, "heads": 3},
        "RevCol-ViT, 6.3 M parameters",
    ),
    "revcol-vit-small": (
        "zoo_revcol.vit:RevColViT",
        {"width": 384, "heads": 6},
        "RevCol-ViT, 24.3 M parameters",
    ),
    "revcol-text-small": (
        "zoo_revcol.text:RevColText",
        {"vocab_size": 30522, "width": 384, "heads": 6},
        "RevCol over text, 35.4 M parameters",
    ),
}
"""Ours: name -> factory, what differs from the others' configuration, summary."""
NANO_PREPROCESSING = {
    "input_size": [3, 32, 32],
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "squash",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@hookimpl
def zoo_commands(app: typer.Typer) -> None:
    """Adds `zoo demo`, `zoo train` and `zoo revcol-convert`."""
    from zoo_revcol import convert_command, demo
    from zoo_revcol.training import command as train_command

    app.command("demo")(demo.command)
    app.command("train")(train_command.command)
    app.command("revcol-convert")(convert_command.command)


@hookimpl
def zoo_experiments() -> Iterable[Experiment]:
    """Returns what `zoo reproduce revcol` runs."""
    from zoo_revcol.experiments import EXPERIMENTS

    return EXPERIMENTS


@hookimpl
def zoo_cards() -> Iterable[Card]:
    """Returns the cards of the paper's six sizes and of nano."""
    return [
        *(_card(*names) for names in SIZES),
        Card(
            name="revcol-nano",
            kind="model",
            factory="zoo_revcol.model:RevCol",
            config=VARIANTS["nano"].config(),
            summary="RevCol of half a million parameters, for images of 32 pixels",
            task="image-classification",
            paper=PAPER,
            weights=(
                _trained_here(
                    "digits",
                    sha256="e793a3740396eb23c410c1500141ba0e1b389a0ec1df23934ecd49cb38c88fad",
                    labels=tuple("0123456789"),
                    accuracy=99.44,
                    description="Trained here on scikit-learn's handwritten digits.",
                ),
                _trained_here(
                    "cifar10",
                    sha256="461acf5c8d6712bc6fa8c3447fe911a27d36d661bc8b84bd7ecb9cdcaffbbdac",
                    labels=CIFAR10,
                    accuracy=50.3,
                    description="Trained here on a tenth of CIFAR-10's training images.",
                ),
            ),
            transform="zoo_revcol.transforms:evaluation",
        ),
        *(_extension(name, *each) for name, each in EXTENSIONS.items()),
    ]


def _card(name: str, variant: str) -> Card:
    return Card(
        name=name,
        kind="model",
        factory="zoo_revcol.model:RevCol",
        config=VARIANTS[variant].config(),
        summary=f"RevCol {variant}, {VARIANTS[variant].parameters / 1e6:.1f} M parameters",
        task="image-classification",
        paper=PAPER,
        weights=RELEASED[variant],
        aliases=(f"revcol-{variant}",),
        transform="zoo_revcol.transforms:evaluation",
    )


def _extension(name: str, factory: str, config: dict[str, Any], summary: str) -> Card:
    return Card(
        name=name,
        kind="model",
        factory=factory,
        config={"layers": [1, 1, 1, 1], "num_columns": 3, **config},
        summary=f"{summary}: our extension of the paper's appendix, no official weights",
        task="image-classification" if factory.endswith("ViT") else "text-classification",
        paper=PAPER,
    )


def _trained_here(
    tag: str, *, sha256: str, labels: tuple[str, ...], accuracy: float, description: str
) -> Weights:
    """Weights of revcol-nano made by `zoo reproduce revcol nano-TAG`, which travel with the zoo."""
    return Weights(
        tag=tag,
        source=f"bundled://revcol-nano.{tag}/model.safetensors",
        license="apache-2.0",
        sha256=sha256,
        size=2_124_712,
        config={"num_classes": len(labels)},
        metrics={"test accuracy (%)": accuracy},
        preprocessing=NANO_PREPROCESSING,
        labels=labels,
        description=description,
    )
