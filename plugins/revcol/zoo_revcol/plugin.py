"""RevCol's cards: the six sizes of the paper, with every classification checkpoint released.

Top-1 accuracies are those that the authors report; sizes are those that the Hub shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoo_core.card import Card, Paper, Weights
from zoo_core.hookspecs import hookimpl
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

_REVISION = "fa566a7e5e4d747edf8d252824e151d0d1d32895"
_FOLDER = "hf://LarryTsai/RevCol/revcol_models/classification"
_IMAGENET_1K = "zoo_revcol.labels:imagenet_1k"
_IMAGENET_22K = "zoo_revcol.labels:imagenet_22k"
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
_FINE_TUNED = "Pretrained on ImageNet-22K, fine-tuned on ImageNet-1K at {} pixels."


@hookimpl
def zoo_commands(app: typer.Typer) -> None:
    """Adds `zoo demo`."""
    from zoo_revcol.demo import command

    app.command("demo")(command)


@hookimpl
def zoo_cards() -> Iterable[Card]:
    """Returns the cards of the paper's six sizes and of nano."""
    return [
        _card("t", "tiny", [_in1k("revcol_tiny_1k.pth", 135_000_000, 82.2)]),
        _card("s", "small", [_in1k("revcol_small_1k.pth", 255_000_000, 83.5)]),
        _card(
            "b",
            "base",
            [
                _fine_tuned("revcol_base_22k_1kft_384.pth", 555_000_000, 384, 86.7),
                _fine_tuned("revcol_base_22k_1kft_224.pth", 555_000_000, 224, 85.6),
                _in1k("revcol_base_1k.pth", 570_000_000, 84.1),
                _in22k("revcol_base_22k.pth", 776_000_000),
            ],
        ),
        _card(
            "l",
            "large",
            [
                _fine_tuned("revcol_large_22k_1kft_384.pth", 1_090_000_000, 384, 87.6),
                _fine_tuned("revcol_large_22k_1kft_224.pth", 1_090_000_000, 224, 86.6),
                _in22k("revcol_large_22k.pth", 1_480_000_000),
            ],
        ),
        _card("xl", "xlarge", []),
        _card(
            "h",
            "huge",
            [
                _released(
                    "megdata_ft_in1k_640",
                    "revcol_huge_megdata_in1k.pth",
                    size=8_630_000_000,
                    resolution=640,
                    labels=_IMAGENET_1K,
                    top_1=90.0,
                    description="Pretrained on Megdata-168M, fine-tuned on ImageNet-1K at 640.",
                ),
                _released(
                    "megdata",
                    "revcol_huge_megdata.pth",
                    size=9_800_000_000,
                    resolution=224,
                    description="Pretrained on Megdata-168M, whose classes are not published.",
                ),
            ],
        ),
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
    ]


def _card(letter: str, variant: str, weights: list[Weights]) -> Card:
    return Card(
        name=f"revcol-{letter}",
        kind="model",
        factory="zoo_revcol.model:RevCol",
        config=VARIANTS[variant].config(),
        summary=f"RevCol {variant}, {VARIANTS[variant].parameters / 1e6:.1f} M parameters",
        task="image-classification",
        paper=PAPER,
        weights=tuple(weights),
        aliases=(f"revcol-{variant}",),
        transform="zoo_revcol.transforms:evaluation",
    )


def _in1k(file: str, size: int, top_1: float) -> Weights:
    return _released(
        "in1k",
        file,
        size=size,
        resolution=224,
        labels=_IMAGENET_1K,
        top_1=top_1,
        description="Trained on ImageNet-1K at 224 pixels, with intermediate supervision.",
    )


def _fine_tuned(file: str, size: int, resolution: int, top_1: float) -> Weights:
    return _released(
        f"in22k_ft_in1k_{resolution}",
        file,
        size=size,
        resolution=resolution,
        labels=_IMAGENET_1K,
        top_1=top_1,
        description=_FINE_TUNED.format(resolution),
    )


def _in22k(file: str, size: int) -> Weights:
    return _released(
        "in22k",
        file,
        size=size,
        resolution=224,
        labels=_IMAGENET_22K,
        config={"num_classes": 21841},
        description="Pretrained on ImageNet-22K at 224 pixels, with intermediate supervision.",
    )


def _released(
    tag: str,
    file: str,
    *,
    size: int,
    resolution: int,
    description: str,
    labels: str | tuple[str, ...] = (),
    top_1: float | None = None,
    config: dict[str, Any] | None = None,
) -> Weights:
    """One of the authors' files, at one pinned revision of their repository."""
    return Weights(
        tag=tag,
        source=f"{_FOLDER}/{file}@{_REVISION}",
        license="apache-2.0",
        size=size,
        converter="zoo_revcol.convert:from_megvii",
        config=config or {},
        metrics={} if top_1 is None else {"imagenet-1k top-1 (%)": top_1},
        preprocessing=_preprocessing(resolution),
        labels=labels,
        description=description,
    )


def _trained_here(
    tag: str, *, sha256: str, labels: tuple[str, ...], accuracy: float, description: str
) -> Weights:
    """Weights of revcol-nano made by training/nano.py, which travel with the zoo."""
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


def _preprocessing(resolution: int) -> dict[str, Any]:
    """Up to 224 pixels the official evaluation crops the centre; above it squashes the image."""
    crops = resolution <= 224
    return {
        "input_size": [3, resolution, resolution],
        "interpolation": "bicubic",
        "crop_pct": 0.875 if crops else 1.0,
        "crop_mode": "center" if crops else "squash",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
