"""`zoo revcol-convert`: a checkpoint of the official code to a folder that `zoo.load` reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_core.errors import CheckpointError, InputError, ZooError, enumeration
from zoo_revcol.plugin import SIZES
from zoo_revcol.released import preprocessing
from zoo_revcol.variants import VARIANTS

if TYPE_CHECKING:
    from torch import nn

    from zoo_revcol.official import Conversion

_TOP = 5


def command(
    file: Annotated[Path, typer.Argument(help="A .pth of the official code, or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    ema: Annotated[bool, typer.Option("--ema", help="Take the moving average.")] = False,
    supervised: Annotated[
        bool, typer.Option("--supervised", help="Keep the earlier heads and the decoders.")
    ] = False,
    pad_kernels: Annotated[
        int | None, typer.Option(help="Enlarge the kernels with zeros, such as to 7.")
    ] = None,
    resolution: Annotated[int, typer.Option(min=32, help="Side of the images, in pixels.")] = 224,
    verify: Annotated[
        bool, typer.Option("--verify", help="Load the folder and classify a random image.")
    ] = False,
) -> None:
    """Convert a RevCol checkpoint to safetensors and a configuration, without running it."""
    from zoo_core import lean
    from zoo_core.cli import output
    from zoo_core.saving import save
    from zoo_revcol.convert import pad_kernels as padded
    from zoo_revcol.model import RevCol
    from zoo_revcol.official import convert, part_of
    from zoo_revcol.validation import odd

    if pad_kernels is not None:
        odd("pad-kernels", pad_kernels)
    checkpoint = _read(file)
    part = "supervised" if supervised else part_of(checkpoint, ema=ema)
    found = convert(checkpoint, part, ema=ema)
    taken = [name for name in ("config.json", "model.safetensors") if (out / name).exists()]
    if taken:
        raise InputError(f"{out} holds {taken[0]} already; give another folder.")
    config, tensors = found.config, found.tensors
    if pad_kernels is not None:
        config, tensors = {**config, "kernel_size": pad_kernels}, padded(tensors, pad_kernels)
    model = lean.build(RevCol, config)
    lean.assign(model, tensors.items())
    folder = save(
        model,
        out,
        name=_card(config),
        config=config,
        preprocessing=preprocessing(resolution) if config["in_chans"] == 3 else None,
        description=f"Converted from {file.name}.",
    )
    output.table(
        ("converted", str(folder)),
        [
            ("part", part),
            *((name, str(value)) for name, value in config.items()),
            ("parameters", f"{sum(value.numel() for value in tensors.values()):,}"),
            *_surplus(found),
        ],
    )
    if verify:
        _verify(folder, resolution)


def _read(file: Path) -> Any:
    """What a checkpoint holds; nothing in it is run."""
    from zoo_core.checkpoint import INDEX_SUFFIX, Checkpoint
    from zoo_core.foreign import read_foreign

    if not file.is_file():
        raise CheckpointError(f"there is no file {file}.")
    if file.name.endswith((".safetensors", INDEX_SUFFIX)):
        return dict(Checkpoint(file).tensors())
    return read_foreign(file)


def _card(config: dict[str, Any]) -> str:
    """The card of that size; for sizes of one's own tiny's, whose configuration is overridden."""
    for card, variant in SIZES:
        if all(config[name] == value for name, value in VARIANTS[variant].config().items()):
            return card
    return SIZES[0][0]


def _surplus(found: Conversion) -> list[tuple[str, str]]:
    """Rows on what the file holds beside what was taken, by the names' first word."""
    counts = Counter(name.partition(".")[0] for name in found.left_out)
    left_out = [f"{first} ({number})" for first, number in counts.items()]
    rows = [("left out", enumeration(left_out)), ("unknown, left out", enumeration(found.unknown))]
    return [row for row in rows if row[1]]


def _verify(folder: Path, resolution: int) -> None:
    """Loads the folder and runs it once; prints what came out.

    Raises:
        ZooError: values that are not finite.
    """
    import torch

    from zoo_core.cli import output
    from zoo_core.loading import load

    model = load(folder)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, model.in_chans, resolution, resolution, generator=generator)
    image = image.to(next(model.parameters()).dtype)
    with torch.inference_mode():
        results = _results(model, image)
    for name, value in results.items():
        if not value.isfinite().all():
            raise ZooError(f"{folder}: {name} of a random image are not finite.")
    rows = [(name, f"{list(value.shape)} finite") for name, value in results.items()]
    if model.num_classes:
        best = results["logits"][0].float().topk(min(_TOP, model.num_classes))
        rows += [
            (f"class {index}", f"{value:.4f}")
            for index, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
    output.table(("verified", "on a random image"), rows)


def _results(model: nn.Module, image: Any) -> dict[str, Any]:
    """Everything that the network gives for an image, by name."""
    if model.num_classes == 0:
        return {f"level {level}": it for level, it in enumerate(model.forward_pyramid(image))}
    results = {"logits": model(image)}
    if model.supervision is not None:
        logits, reconstructions = model.train()(image)
        results |= {f"logits {point}": each for point, each in enumerate(logits[:-1])}
        results |= {f"reconstruction {point}": it for point, it in enumerate(reconstructions)}
    return results
