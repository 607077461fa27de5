"""`zoo tns-convert`: a checkpoint of the official TGN or TGAT code to a folder for `zoo.load`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_core.errors import InputError

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
_MEMORY = "memory.safetensors"


def command(
    file: Annotated[Path, typer.Argument(help="A .pth of the official code, or .safetensors.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    num_nodes: Annotated[
        int | None, typer.Option(help="The graph's nodes; an error if the memory has others.")
    ] = None,
    heads: Annotated[int, typer.Option(help="The heads of attention it was trained with.")] = 2,
    k: Annotated[
        int | None, typer.Option(help="The neighbours it was trained with (TGN 10, TGAT 20).")
    ] = None,
    expansion: Annotated[
        bool, typer.Option(help="Add TNS's expansion modules at their initialisation.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the expansion modules' weights.")] = 0,
    name: Annotated[str | None, typer.Option(help="The card that the folder names.")] = None,
) -> None:
    """Convert a checkpoint of the official TGN or TGAT code to safetensors, without running it."""
    from zoo_core.cli import output
    from zoo_core.saving import save
    from zoo_tns.official import convert_official

    found = convert_official(file, num_nodes=num_nodes, heads=heads, k=k)
    taken = [
        each for each in ("config.json", "model.safetensors", _MEMORY) if (out / each).exists()
    ]
    if taken:
        raise InputError(f"{out} holds {taken[0]} already; give another folder.")
    config = found.config
    if expansion:
        config = {**config, "sampler": "tns"}
    model = _model(config, found.state_dict, seed)
    folder = save(
        model,
        out,
        name=name or _CARDS[config["aggr"], expansion],
        config=config,
        license="unknown",  # the weights are the user's own
        description=f"Converted from {file.name}.",
    )
    if found.memory_state is not None:
        _write_memory(found.memory_state, folder / _MEMORY)
    output.table(
        ("converted", str(folder)),
        [
            *((key, str(value)) for key, value in config.items() if value is not None),
            ("parameters", f"{sum(each.numel() for each in model.parameters()):,}"),
            *_memory_rows(found.memory_state),
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


def _write_memory(state: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    from zoo_core.cache import replacing
    from zoo_core.errors import SaveError

    try:
        with replacing(path) as fresh:
            save_file(state, fresh)
            fresh.chmod((path.parent / "config.json").stat().st_mode)
    except OSError as error:
        raise SaveError(f"cannot write {path}: {error.strerror or error}.") from error


def _memory_rows(state: dict[str, Tensor] | None) -> list[tuple[str, str]]:
    if state is None:
        return []
    updated = int((state["last_update"] > 0).sum())
    return [(_MEMORY, f"{len(state['memory'])} nodes, {updated} of them updated")]
