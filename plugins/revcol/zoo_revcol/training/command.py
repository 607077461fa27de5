"""`zoo train`: a RevCol on images of one's own, by the paper's recipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_core.errors import ConfigError, InputError, printable, suggestion
from zoo_revcol.training.recipe import PRECISIONS, Recipe, recipe_named

if TYPE_CHECKING:
    from zoo_core.registry import Resolved
    from zoo_revcol.training.data import Labelled
    from zoo_revcol.training.trainer import Outcome

_FACTORY = "zoo_revcol.model:RevCol"
_MEMORY = ("none", "checkpoint", "reversible")
# What the paper did with each size: from random weights, and from weights of more images.
_RECIPES = {
    "revcol-nano": ("nano-cifar10", "nano-cifar10"),
    "revcol-t": ("tiny-1k", "base-ft-224"),
    "revcol-s": ("small-1k", "base-ft-224"),
    "revcol-b": ("base-1k", "base-ft-224"),
    "revcol-l": ("large-22k", "large-ft-224"),
    "revcol-xl": ("xlarge-22k", "xlarge-ft-384"),
    "revcol-h": (None, "huge-ft-640"),
}


def command(
    name: Annotated[str, typer.Argument(help="A RevCol, such as revcol-t; NAME.TAG or a folder.")],
    data: Annotated[
        str,
        typer.Option(help="A folder with train/CLASS/ and val/CLASS/; or torch/NAME, hfds/NAME."),
    ],
    val: Annotated[
        str | None, typer.Option(help="What to evaluate on: a folder, or a part's name.")
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Where the data of torch/NAME or hfds/NAME are kept.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Let torch/NAME download.")] = False,
    recipe: Annotated[
        str | None, typer.Option(help="Such as tiny-1k or base-ft-224; default by NAME.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write here; default runs/NAME.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")
    ] = False,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from the pretrained weights of NAME.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default the recipe's; warm-up shrinks alike.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images of a step, over all processes.")
    ] = None,
    accumulation: Annotated[
        int, typer.Option(min=1, help="Split a step's images into so many, to save memory.")
    ] = 1,
    lr: Annotated[
        float | None, typer.Option(help="For as many images a step as the recipe's (1024).")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay of the moving average; 0 keeps the last weights.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="In pixels.")] = None,
    precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    memory: Annotated[str, typer.Option(help="none, checkpoint or reversible.")] = "checkpoint",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images; default 4 at most.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 63) - 1, help="Of weights, order and augmentation.")
    ] = 0,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, help="In steps; by default after each epoch.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many checkpoints stay.")] = 3,
    log_every: Annotated[int, typer.Option(min=1, help="In steps.")] = 50,
    tracker: Annotated[
        list[str] | None, typer.Option(help="Such as tensorboard; can be repeated.")
    ] = None,
) -> None:
    """Train a RevCol, or fine-tune one; `accelerate launch` spreads it over many GPUs.

    The folder --out then holds the model, which zoo.load reads, log.jsonl and checkpoints. Ctrl-C
    stops it at the end of a step; --resume goes on as if nothing had happened.
    """
    found = _located(name)
    chosen, recipe_name = _recipe(found, recipe, pretrained)
    chosen = _overridden(
        chosen,
        epochs,
        batch_size=batch_size,
        lr=lr,
        ema=ema,
        image_size=image_size,
        precision=precision,
    )
    _check(found, chosen, recipe_name, memory, pretrained)
    from zoo_core.cache import user_path
    from zoo_revcol.training.acceleration import process_state
    from zoo_revcol.training.data import image_batches, open_data
    from zoo_revcol.training.run_folder import starting_point
    from zoo_revcol.training.trainer import check_trackers, fit

    check_trackers(tracker or ())
    train, validation = open_data(data, validation=val, root=root, download=download)
    target = user_path(out or Path("runs") / found.card.name, "out")
    starting_point(target, resume)

    import torch

    from zoo_core.loading import load

    if workers is None:
        workers = min(4, os.cpu_count() or 1)
    size = _share(chosen.batch_size, accumulation)
    batches = image_batches(train, chosen, size, training=True, seed=seed, workers=workers)
    held_out = image_batches(validation, chosen, size, training=False, workers=workers)
    config = _config(chosen, len(train.classes), memory, pretrained)
    torch.manual_seed(seed)
    model = load(name, pretrained=pretrained, **config)
    if pretrained and found.weights is not None and model.zoo.labels() != train.classes:
        model.reset_classifier(len(train.classes))
    outcome = fit(
        model,
        chosen,
        batches,
        validation=held_out,
        out=target,
        resume=resume,
        seed=seed,
        accumulation=accumulation,
        checkpoint_every=checkpoint_every,
        keep=keep,
        log_every=log_every,
        identity={
            "name": found.full_name,
            "pretrained": pretrained,
            "images": len(train.items),
            "classes": len(train.classes),
        },
        trackers=tuple(tracker or ()),
        progress=True,
    )
    process_state().destroy_process_group()
    if not outcome.finished:
        _tell(f"stopped at step {outcome.step} of {outcome.steps}; --resume goes on in {target}.")
        raise typer.Exit(128 + outcome.signal)
    _finish(outcome, found, chosen, recipe_name, train, validation, target)


def _located(name: str) -> Resolved:
    """The card, or the folder's, which must be a RevCol."""
    from zoo_core.cache import Cache
    from zoo_core.hub import Access
    from zoo_core.locating import locate
    from zoo_core.plugins import installed

    found = locate(name, Access(Cache.at(), installed().fetch)).found
    if found.card.factory != _FACTORY:
        raise ConfigError(
            f"{name} is not a RevCol for images; zoo train trains {', '.join(_RECIPES)}."
        )
    return found


def _recipe(found: Resolved, name: str | None, pretrained: bool) -> tuple[Recipe, str]:
    if name is None:
        name = _RECIPES.get(found.card.name, (None, None))[pretrained]
    if name is None:
        raise ConfigError(
            f"no recipe to train {found.card.name} from random weights is published; name one with "
            "--recipe, such as xlarge-22k."
        )
    return recipe_named(name), name


def _overridden(
    recipe: Recipe, epochs: int | None, *, precision: str | None, **others: Any
) -> Recipe:
    """The recipe with what the user gave; the warm-up keeps its share of the epochs."""
    if precision is not None and precision not in PRECISIONS:
        raise ConfigError(
            f"--precision is {precision!r}.{suggestion(precision, PRECISIONS)} Expected one of "
            f"{', '.join(PRECISIONS)}."
        )
    warmup = None if epochs is None else recipe.warmup_epochs * epochs / recipe.epochs
    return recipe.changed(
        epochs=epochs,
        warmup_epochs=warmup,
        precision=precision,
        **others,
    )


def _check(
    found: Resolved, recipe: Recipe, recipe_name: str, memory: str, pretrained: bool
) -> None:
    """Refuses, before any data is looked at, what cannot work."""
    if memory not in _MEMORY:
        raise ConfigError(
            f"--memory is {memory!r}.{suggestion(memory, _MEMORY)} Expected one of "
            f"{', '.join(_MEMORY)}."
        )
    if pretrained and found.weights is None:
        raise ConfigError(f"{found.full_name} has no pretrained weights; leave out --pretrained.")
    if pretrained and found.weights is not None:
        supervised = bool(found.weights.config.get("intermediate_supervision"))
        if supervised != recipe.supervision:
            raise ConfigError(
                f"the recipe {recipe_name} trains {'with' if recipe.supervision else 'without'} "
                f"classifiers of earlier columns, which the weights {found.weights.tag} of "
                f"{found.full_name} {'have' if supervised else 'lack'}; choose another recipe, or "
                "NAME.TAG of other weights."
            )
    if recipe.precision == "fp16":
        from zoo_revcol.training.acceleration import process_state

        if process_state().device.type == "cpu":
            raise ConfigError(
                f"the recipe {recipe_name} trains in fp16, which needs a GPU; here give "
                "--precision no or --precision bf16."
            )


def _config(recipe: Recipe, classes: int, memory: str, pretrained: bool) -> dict[str, Any]:
    """The network's arguments that data, recipe and user decide."""
    config: dict[str, Any] = {
        "num_classes": classes,
        "drop_path_rate": recipe.drop_path,
        "intermediate_supervision": recipe.supervision,
        "memory": memory,
    }
    if recipe.layer_scale is not None and not pretrained:
        config["layer_scale_init"] = recipe.layer_scale
    return config


def _share(images: int, accumulation: int) -> int:
    """The images of one process's batch."""
    from zoo_revcol.training.acceleration import process_place

    _, processes = process_place()
    if images % (processes * accumulation):
        raise InputError(
            f"a step has {images} images, which {processes} processes with {accumulation} batches "
            "each cannot share evenly; give another --batch-size."
        )
    return images // (processes * accumulation)


def _finish(
    outcome: Outcome,
    found: Resolved,
    recipe: Recipe,
    recipe_name: str,
    train: Labelled,
    validation: Labelled,
    target: Path,
) -> None:
    """Saves the network without what only training needs, and says how good it is."""
    from zoo_core.cli import output
    from zoo_core.saving import save
    from zoo_revcol.training.acceleration import process_place

    if process_place()[0]:
        return
    accuracy = round(float(outcome.accuracy or 0.0), 2)
    measure = f"{validation.split} accuracy (%)"
    model: Any = outcome.model
    model.supervision, model.supervised_columns = None, ()
    folder = save(
        model,
        target,
        config={"num_classes": len(train.classes), "intermediate_supervision": False},
        metrics={measure: accuracy},
        preprocessing=recipe.preprocessing(),
        labels=train.classes,
        description=f"{found.card.name} trained on {len(train.items)} images of "
        f"{len(train.classes)} classes by `zoo train`, recipe {recipe_name}, "
        f"{recipe.epochs} epochs.",
    )
    output.table(("trained", str(folder)), [(measure, f"{accuracy:.2f}")])


def _tell(text: str) -> None:
    print(f"zoo: {printable(text)}", file=sys.stderr)
