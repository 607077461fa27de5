"""`zoo tns-convert`: a checkpoint of the official TGN or TGAT code to a folder for `zoo.load`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_core.cache import user_path
from zoo_core.errors import InputError, SaveError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo_tns.model import TemporalGNN

_CARDS = {
    ("attention", False): "tgn-recent",
    ("tgat", False): "tgat-uniform",
    ("attention", True): "tns-tgn",
    ("tgat", True): "tns-tgat",
}
"""The card whose configuration is nearest; what differs is written down."""
_LARGEST = (1 << 31) - 1


def command(
    file: Annotated[str, typer.Argument(help="A .pth of the official code, or .safetensors.")],
    out: Annotated[str, typer.Argument(help="The folder to write.")],
    num_nodes: Annotated[
        int | None,
        typer.Option(
            min=1, max=_LARGEST, help="The graph's nodes; an error if the memory has others."
        ),
    ] = None,
    heads: Annotated[
        int,
        typer.Option(min=1, max=_LARGEST, help="The heads of attention it was trained with."),
    ] = 2,
    k: Annotated[
        int | None,
        typer.Option(
            min=1, max=_LARGEST, help="The neighbours it was trained with (TGN 10, TGAT 20)."
        ),
    ] = None,
    expansion: Annotated[
        bool, typer.Option(help="Add TNS's expansion modules at their initialisation.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 63) - 1, help="Of the expansion modules' weights.")
    ] = 0,
    name: Annotated[str | None, typer.Option(help="The card that the folder names.")] = None,
) -> None:
    """Convert a checkpoint of the official TGN or TGAT code to safetensors, without running it."""
    from zoo_core.cli import output
    from zoo_core.saving import save
    from zoo_tns.official import convert_official
    from zoo_tns.training.saving import FILE as MEMORY
    from zoo_tns.training.saving import memory_beside

    source, folder = user_path(file, "FILE"), user_path(out, "OUT")
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"{folder} exists and is not a folder.")
    found = convert_official(source, num_nodes=num_nodes, heads=heads, k=k)
    taken = [
        each for each in ("config.json", "model.safetensors", MEMORY) if (folder / each).exists()
    ]
    if taken:
        raise InputError(f"{folder} holds {taken[0]} already; give another folder.")
    config = found.config
    if expansion:
        config = {**config, "sampler": "tns"}
    model = _model(config, found.state_dict, seed)
    with memory_beside(folder, found.memory_state or {}):
        save(
            model,
            folder,
            name=name or _CARDS[config["aggr"], expansion],
            config=config,
            license="unknown",  # the weights are the user's own
            description=f"Converted from {source.name}.",
        )
    output.table(
        ("converted", str(folder)),
        [
            *((key, str(value)) for key, value in config.items() if value is not None),
            ("parameters", f"{sum(each.numel() for each in model.parameters()):,}"),
            *_memory_rows(MEMORY, found.memory_state),
        ],
    )


def _model(config: dict[str, Any], state_dict: dict[str, Tensor], seed: int) -> TemporalGNN:
    import torch

    from zoo_core import lean
    from zoo_tns.model import TemporalGNN
    from zoo_tns.official import load_backbone

    if config["sampler"] != "tns":
        model: TemporalGNN = lean.build(TemporalGNN, config)
        lean.assign(model, state_dict.items())
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TemporalGNN(**config)
    load_backbone(model.to(next(iter(state_dict.values())).dtype), state_dict)
    return model


def _memory_rows(file: str, state: dict[str, Tensor] | None) -> list[tuple[str, str]]:
    if state is None:
        return []
    updated = int((state["last_update"] > 0).sum())
    return [(file, f"{len(state['memory'])} nodes, {updated} of them updated")]
