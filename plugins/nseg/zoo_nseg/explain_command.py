"""`zoo explain`: why a graph network says what it says, as masks, a report and pictures."""

from __future__ import annotations

import ast
import json as json_module
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zoo_core.errors import InputError, ZooError, printable

if TYPE_CHECKING:
    from torch import nn
    from torch_geometric.data import Data
    from torch_geometric.explain import Explanation

    from zoo_nseg.explain_data import DataSet
    from zoo_nseg.explainer import NSEGExplainer


def command(
    explainer: Annotated[str, typer.Argument(help="An explainer, such as nseg or nseg-joint.")],
    model: Annotated[
        str, typer.Option(help="A trained graph network: a name, or a folder of zoo.save.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="A graph as an .npz file with edge_index and x; a folder that holds "
            "NAME/raw/NAME_A.txt; or ba-shapes, tree-cycles, tree-grid."
        ),
    ],
    index: Annotated[
        str | None, typer.Option(help="Which nodes or graphs, such as 3,7,10-20.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Explain every node or graph.")] = False,
    kind: Annotated[
        Literal["edge", "feature", "joint"] | None,
        typer.Option(
            help="What is masked; default the explainer's own, else edge. Masked-out features are "
            "replaced by those of the nearest other node among all graphs of the data."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the explainer, such as epochs=300. Repeatable."),
    ] = None,
    fallback: Annotated[
        Literal["error", "zeros"] | None,
        typer.Option(help="Where no node has other features: refuse, or replace by zeros."),
    ] = None,
    task_level: Annotated[
        Literal["node", "graph"] | None,
        typer.Option(help="What the model classifies; default as the model or the data says."),
    ] = None,
    mode: Annotated[
        Literal["multiclass_classification", "binary_classification"] | None,
        typer.Option(help="Several logits, or one; default several."),
    ] = None,
    return_type: Annotated[
        Literal["raw", "probs", "log_probs"] | None,
        typer.Option(help="What the model returns; default raw logits."),
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option(help="A part of the data that the model takes, too: edge_attr. Repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("explanations"),
    figure: Annotated[bool, typer.Option("--figure", help="Draw each into INDEX.png.")] = False,
    device: Annotated[str | None, typer.Option(help="Such as cuda; default CPU.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Keep files below this folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Explain predictions of a graph network: writes masks.safetensors and report.json."""
    given = _settings(settings or [])
    if (index is None) == (not all_):
        raise InputError("give either --index, such as 3,7,10-20, or --all.")
    _check_kind(explainer, "explainer", cache_dir)
    _check_kind(model, "model", cache_dir)

    from zoo_core.cli import output
    from zoo_core.loading import load
    from zoo_nseg import explain_data, explain_report
    from zoo_nseg.drawing import require_matplotlib

    if figure:
        require_matplotlib()
    target = explain_report.place(out)
    ranges = None if index is None else explain_data.parsed(index)
    method = _explainer(explainer, given, fallback, cache_dir)
    found = explain_data.read(data)
    network = load(model, device=device, cache_dir=cache_dir)
    level = _level(task_level, network, found)
    number = found.graphs[0].num_nodes if level == "node" else len(found.graphs)
    indices = explain_data.chosen(ranges, number, level)
    graphs = [_fitted(each, network) for each in found.graphs]
    names = list(arguments or [])
    options: dict[str, Any] = {
        "kind": kind,
        "mode": mode,
        "return_type": return_type,
        "arguments": names,
    }
    with explain_report.writing(target) as folder:
        if level == "node":
            explanations = method.explain_nodes(network, graphs[0], indices, **options)
        else:
            some = [graphs[each] for each in indices]
            explanations = method.explain_graphs(network, some, reference=graphs, **options)
        drawn = _draw(folder, indices, explanations, found, level) if figure else []
        files = [explain_report.MASKS, explain_report.REPORT, *drawn]
        report = _report(method, network, found, level, indices, explanations, files)
        saved = explain_report.tensors(indices, explanations, shared=level == "node")
        explain_report.write(folder, report, saved)
    if json:
        output.as_json(report)
    else:
        for columns, rows in explain_report.tables(report):
            output.table(columns, rows)
    print(printable(f"zoo: written to {out}"), file=sys.stderr)


def _settings(given: list[str]) -> dict[str, Any]:
    """Settings from `key=value`; a value is JSON or Python's, else text as it stands."""
    found: dict[str, Any] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--set has {each!r}; expected key=value, such as epochs=300.")
        if key in found:
            raise InputError(f"--set gives {key} twice; give it once.")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    for read in (json_module.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _check_kind(name: str, kind: str, cache_dir: Path | None) -> None:
    """Refuses, before anything is fetched or imported, what is not of a kind, or not trained."""
    from zoo_core.cache import Cache
    from zoo_core.hub import Access
    from zoo_core.locating import locate
    from zoo_core.plugins import installed

    found = locate(name, Access(Cache.at(cache_dir), installed().fetch)).found
    if found.card.kind != kind:
        what = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        raise ZooError(f"{name} is of kind {found.card.kind}; zoo explain needs {what} here.")
    if kind == "model" and found.weights is None:
        raise ZooError(f"{name} has no weights; train it, zoo.save it, and give that folder.")


def _explainer(
    name: str, given: dict[str, Any], fallback: str | None, cache_dir: Path | None
) -> NSEGExplainer:
    import inspect

    from zoo_core.loading import load
    from zoo_nseg.counterfactual import NearestNeighborMatcher
    from zoo_nseg.explainer import NSEGExplainer

    for key in given:
        if key in inspect.signature(load).parameters:
            raise InputError(f"--set {key}: that is no setting of an explainer.")
    if fallback is not None:
        given = {**given, "matcher": NearestNeighborMatcher(fallback=fallback)}
    found = load(name, cache_dir=cache_dir, **given)
    if not isinstance(found, NSEGExplainer):
        raise InputError(
            f"{name} is a {type(found).__name__}; expected an NSEGExplainer, such as nseg."
        )
    return found


def _level(given: str | None, network: nn.Module, data: DataSet) -> str:
    """What is explained, "node" or "graph": as given, as the model says, or as the data is used."""
    own = getattr(network, "task_level", None)
    if given is not None and own in ("node", "graph") and given != own:
        raise InputError(f"--task-level is {given}, but the model classifies {own}s.")
    level = given or (own if own in ("node", "graph") else data.task_level)
    if level == "node" and len(data.graphs) > 1:
        raise InputError(
            f"the model classifies nodes, but {data.name} holds {len(data.graphs)} graphs; "
            "expected one graph, such as an .npz file."
        )
    return level


def _fitted(graph: Data, network: nn.Module) -> Data:
    """The graph on the model's device, its floating-point tensors in the model's precision."""
    like = next((each for each in network.parameters() if each.is_floating_point()), graph.x)
    return graph.apply(lambda it: it.to(like) if it.is_floating_point() else it.to(like.device))


def _draw(
    folder: Path,
    indices: list[int],
    explanations: list[Explanation],
    data: DataSet,
    level: str,
) -> list[str]:
    """Draws each explanation, and returns the names of the files."""
    from tqdm import tqdm

    from zoo_nseg.explain_data import truth
    from zoo_nseg.pictures import save_picture

    options: dict[str, Any] = {} if data.atoms is None else {"atoms": data.atoms}
    names = []
    for index, explanation in zip(
        tqdm(indices, desc="drawing", disable=None, leave=False), explanations, strict=True
    ):
        graph, node = (data.graphs[0], index) if level == "node" else (data.graphs[index], None)
        names.append(f"{index}.png")
        save_picture(folder / names[-1], explanation, truth=truth(graph, node), **options)
    return names


def _report(
    explainer: NSEGExplainer,
    network: Any,
    data: DataSet,
    level: str,
    indices: list[int],
    explanations: list[Explanation],
    files: list[str],
) -> dict[str, Any]:
    """What report.json holds."""
    from importlib.metadata import version

    import zoo_core
    from zoo_core.report import environment
    from zoo_nseg import explain_report
    from zoo_nseg.fidelity import fidelity_pm

    instances = explain_report.described(indices, explanations, _known(data, level, indices))
    hard, soft = (fidelity_pm(network, explanations, hard=each) for each in (True, False))
    origin = network.zoo
    return {
        "made_by": explain_report.MADE_BY,
        "format": explain_report.FORMAT,
        "explainer": explainer.zoo.name,
        "settings": {
            "kind": explanations[0].kind,
            **asdict(explainer.settings),
            "fallback": getattr(explainer.matcher, "fallback", "error"),
        },
        "model": {
            "name": origin.name,
            "weights": origin.weights.tag if origin.weights else None,
            "config": origin.config,
        },
        "data": data.name,
        "task_level": level,
        "instances": instances,
        "means": explain_report.means(instances),
        "fidelity": explain_report.of_fidelity(hard, soft),
        "environment": {
            "zoo-nseg": version("zoo-nseg"),
            **environment(zoo_core.__version__),
        },
        "files": files,
    }


def _known(data: DataSet, level: str, indices: list[int]) -> list[int | None]:
    """The true labels, where the data tells them."""
    if level == "node":
        labels = data.graphs[0].get("y")
        return [None if labels is None else int(labels[each]) for each in indices]
    own = [data.graphs[each].get("y") for each in indices]
    return [None if each is None or each.numel() != 1 else int(each) for each in own]
