"""`zoo predict`: the most likely labels of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_core.cli import output
from zoo_core.errors import InputError, ZooError
from zoo_core.plugins import installed

if TYPE_CHECKING:
    import torch

_TASK = "image-classification"


def command(
    name: Annotated[str, typer.Argument(help="A model for image classification.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many labels to show.")] = 5,
    device: Annotated[str | None, typer.Option(help="Such as cuda; default CPU.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Keep files below this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Classify images with a model's pretrained weights."""
    for path in images:
        _opened(path)
    _check_name(name, cache_dir)
    import torch

    from zoo_core.loading import load

    model = load(name, device=device, cache_dir=cache_dir)
    transform, labels = model.zoo.transform(), model.zoo.labels()
    results = []
    for path in images:
        try:
            inputs = transform(_opened(path)).unsqueeze(0).to(device)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        with torch.inference_mode():
            logits = model(inputs)
        results.append((path, _ranked(logits[0], labels, top)))
    if json:
        output.as_json(
            [
                {
                    "image": str(path),
                    "labels": [{"label": label, "probability": value} for label, value in ranked],
                }
                for path, ranked in results
            ]
        )
        return
    rows = [
        (str(path), label, f"{100 * probability:.1f} %")
        for path, ranked in results
        for label, probability in ranked
    ]
    output.table(("image", "label", "probability"), rows)


def _check_name(name: str, cache_dir: Path | None) -> None:
    """Refuses, before any weights are fetched, a card that cannot classify images."""
    from zoo_core.cache import Cache
    from zoo_core.hub import Access
    from zoo_core.locating import locate

    located = locate(name, Access(Cache.at(cache_dir), installed().fetch))
    found = located.found
    if found.card.task != _TASK:
        raise ZooError(f"{name} is for {found.card.task}; zoo predict needs {_TASK}.")
    if found.weights is None:
        raise ZooError(f"{name} has no pretrained weights to predict with.")
    if {**found.weights.config, **located.config}.get("num_classes") == 0:
        raise ZooError(f"{name} is a backbone without a classifier; it predicts no labels.")


def _ranked(logits: torch.Tensor, labels: tuple[str, ...], top: int) -> list[tuple[str, float]]:
    """The `top` most probable (label, probability) of logits [K]; without labels, the index."""
    best = logits.float().softmax(dim=0).topk(min(top, len(logits)))
    return [
        (labels[index] if index < len(labels) else str(index), probability)
        for index, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _opened(path: Path) -> Any:
    """The image in a file, read whole and upright as its EXIF says."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise ZooError(f"zoo predict needs Pillow, which is missing: {error}.") from error
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a file.")
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that Pillow can read.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable image: {error}.") from error
