"""`zoo tns-train`: a temporal graph network on events of one's own."""

from __future__ import annotations

import ast
import inspect
import json as json_module
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zoo_core.cache import user_path
from zoo_core.errors import ConfigError, InputError, printable, suggestion
from zoo_core.retries import first_line

if TYPE_CHECKING:
    from torch_geometric.data import TemporalData

    from zoo_tns.model import TemporalGNN
    from zoo_tns.training.trainer import Outcome

_FACTORY = "zoo_tns.model:TemporalGNN"
_DECIDED = ("num_nodes", "edge_dim")
_LARGEST = (1 << 31) - 1
_SHOWN = {"ap": "AP (%)", "acc": "accuracy (%)", "auc": "AUC (%)"}


def command(
    model: Annotated[str, typer.Argument(help="A temporal graph network, such as tns-tgn.")],
    data: Annotated[
        str,
        typer.Option(
            help="Events: a csv in the JODIE layout, any table with --columns, or the name of a "
            "data set in $ZOO_DATA, such as collegemsg."
        ),
    ],
    out: Annotated[str, typer.Option(metavar="PATH", help="The folder to write.")],
    columns: Annotated[
        str | None,
        typer.Option(help="SOURCE,DESTINATION,TIME[,FEATURE...]: names, or numbers from 0."),
    ] = None,
    bipartite_offset: Annotated[
        bool | None,
        typer.Option(
            "--bipartite-offset/--no-bipartite-offset",
            help="Of the JODIE layout: whether items are counted apart from users; by default the "
            "header tells.",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 50,
    batch_size: Annotated[int, typer.Option(min=1, help="Events of a step.")] = 200,
    lr: Annotated[float, typer.Option(help="Adam's learning rate.")] = 1e-4,
    alpha: Annotated[float, typer.Option(help="The expansion modules' lr, over lr.")] = 0.1,
    patience: Annotated[
        int, typer.Option(min=0, help="Epochs without a better validation AP; 0: go on.")
    ] = 5,
    order: Annotated[
        Literal["chronological", "shuffled"],
        typer.Option(help="Of the events; shuffled only without a memory."),
    ] = "chronological",
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 63) - 1, help="Of weights, negatives and dropout.")
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An argument of the model, such as hidden=64. Repeatable."),
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, help="In steps; by default after each epoch.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with what --out holds.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train a temporal graph network to predict links, and test the best epoch.

    The folder --out then holds the model, which zoo.load reads, its memory, log.jsonl and a
    checkpoint. Ctrl-C stops it after a step; the same command goes on from there.
    """
    given = _settings(settings or [])
    _check_model(model)
    from zoo_tns.training.config import TrainingConfig
    from zoo_tns.training.locking import require_free
    from zoo_tns.training.processes import Processes
    from zoo_tns.training.run_folder import require_usable
    from zoo_tns.training.trainer import train_link_prediction

    folder = user_path(out, "--out")
    require_usable(folder, resume)
    config = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        alpha=alpha,
        patience=patience or None,
        order=order,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    processes = Processes.of(None)
    if processes.main:
        require_free(folder)
    events = _events(data, columns, bipartite_offset)
    network = _network(model, given, events, seed)
    outcome = train_link_prediction(network, events, config=config, out=folder, resume=resume)
    if not outcome.finished:
        if processes.main:
            epoch = len(outcome.history) + 1
            _tell(f"stopped in epoch {epoch}; the same command goes on in {folder}.")
        raise typer.Exit(128 + outcome.signal)
    if processes.main:
        _show(outcome, folder, json)


def _check_model(name: str) -> None:
    """Refuses, before data are read, what is no temporal graph network."""
    from zoo_core.cache import Cache
    from zoo_core.hub import Access
    from zoo_core.locating import locate
    from zoo_core.plugins import installed

    found = locate(name, Access(Cache.at(), installed().fetch)).found
    if found.card.factory != _FACTORY:
        raise ConfigError(
            f"{name} is no temporal graph network; zoo tns-train trains tns-tgn, tns-tgat, "
            "tns-mean, tgn-recent and tgat-uniform."
        )


def _settings(given: list[str]) -> dict[str, Any]:
    """Arguments from `key=value`; a value is JSON or Python's, else text as it stands."""
    from zoo_core.loading import load

    found: dict[str, Any] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--set has {each!r}; expected key=value, such as hidden=64.")
        if key in found:
            raise InputError(f"--set gives {key} twice; give it once.")
        if key in _DECIDED:
            raise InputError(f"--set {key}: the data decide that.")
        if key in inspect.signature(load).parameters:
            raise InputError(f"--set {key}: that is no argument of a model.")
        found[key] = _value(text)
        if isinstance(found[key], int) and abs(found[key]) > _LARGEST:
            raise InputError(f"--set {key} is {text}; expected an integer of 32 bits.")
    return found


def _value(text: str) -> Any:
    for read in (json_module.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _network(name: str, given: dict[str, Any], events: TemporalData, seed: int) -> TemporalGNN:
    import torch

    from zoo_core.loading import load

    k = given.get("k")
    if isinstance(k, int) and k > len(events.src):
        raise InputError(f"--set k is {k}, and there are {len(events.src)} events; expected fewer.")
    torch.manual_seed(seed)
    width = events.msg.shape[1]
    try:
        return load(name, pretrained=False, **given, num_nodes=events.num_nodes, edge_dim=width)
    except (RuntimeError, MemoryError, OverflowError) as error:  # of sizes that nothing can hold
        raise ConfigError(f"{name} cannot be made with these settings: {first_line(error)}.") from (
            error
        )


def _events(data: str, columns: str | None, bipartite_offset: bool | None) -> TemporalData:
    from zoo_tns.events import DATASETS, load_dataset, load_jodie_csv, read_events

    known = data in DATASETS and columns is None
    if bipartite_offset is not None and (known or columns is not None):
        raise InputError("--bipartite-offset is for a csv in the JODIE layout; leave it out.")
    if known:
        return load_dataset(data)
    if not user_path(data, "--data").exists():
        raise InputError(
            f"{data}: No such file, and no data set of that name.{suggestion(data, DATASETS)}"
        )
    if columns is None:
        return load_jodie_csv(data, bipartite_offset)
    names = [each.strip() for each in columns.split(",")]
    if len(names) < 3 or not all(names):
        raise InputError(
            f"--columns is {columns!r}; expected SOURCE,DESTINATION,TIME[,FEATURE...]."
        )
    source, destination, time, *features = (
        int(each) if each.isdecimal() and len(each) < 10 else each for each in names
    )
    return read_events(
        data, source=source, destination=destination, time=time, features=features, remap=True
    )


def _show(outcome: Outcome, out: Path, as_json: bool) -> None:
    from zoo_core.cli import output

    if as_json:
        output.as_json({**asdict(outcome), "out": str(out)})
        return
    rows = [
        (f"{part} {title}", f"{100 * measures[name]:.2f}")
        for part, measures in (("test", outcome.test), ("new-node test", outcome.new_node_test))
        if measures
        for name, title in _SHOWN.items()
    ]
    rows.append(("best epoch", f"{outcome.best_epoch} of {len(outcome.history)}"))
    output.table(("trained", str(out)), rows)


def _tell(text: str) -> None:
    print(f"zoo: {printable(text)}", file=sys.stderr)
