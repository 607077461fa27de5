"""What `zoo explain` writes and prints: masks, a report, and whose folder it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from zoo_core.cache import replacing, user_path
from zoo_core.errors import SaveError

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.explain import Explanation

    from zoo_nseg.fidelity import Fidelity

MASKS: Final = "masks.safetensors"
REPORT: Final = "report.json"
MADE_BY: Final = "zoo explain"
FORMAT: Final = 1
"""The version of report.json."""
_MEASURES: Final = ("p_full", "p_suff", "p_nec", "pns_lower", "pns_upper")


def place(out: Path) -> Path:
    """Returns the folder to write, if it may be: a new or an empty one, or one that we wrote.

    Raises:
        SaveError: it holds something else, which would be lost.
    """
    folder = user_path(out, "--out").resolve()
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"{out} exists and is not a folder; give another with --out.")
    if Path.cwd().resolve().is_relative_to(folder):
        raise SaveError(f"{out} is the working folder or one around it; name one inside it.")
    if not folder.exists():
        return folder
    names = {each.name for each in folder.iterdir()}
    foreign = sorted(names - _written(folder))
    if foreign:
        raise SaveError(
            f"{out} holds {foreign[0]}, which is not of {MADE_BY}; give another folder with --out."
        )
    return folder


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Yields a fresh folder that takes the place of `folder` when the block ends well.

    Raises:
        SaveError: nothing can be written there.
    """
    try:
        with replacing(folder) as fresh:
            fresh.mkdir()
            yield fresh
    except OSError as error:
        why = error.strerror or error
        raise SaveError(f"cannot write {folder}: {why}. Name a folder with --out.") from error


def described(
    indices: Sequence[int], explanations: Sequence[Explanation], known: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Returns what the report says of each explanation, as JSON values.

    Args:
        indices: the ids of the nodes or graphs.
        explanations: one for each.
        known: their true labels, where they are known.
    """
    found = []
    for index, explanation, true in zip(indices, explanations, known, strict=True):
        entry: dict[str, Any] = {"index": index, "label": int(explanation.label)}
        if true is not None:
            entry["true_label"] = true
        entry |= {name: float(explanation[name]) for name in _MEASURES}
        if explanation.get("hard_edge_mask") is not None:
            kept, reach = explanation.hard_edge_mask, explanation.get("influencing_edge_mask")
            entry["edges"] = int(kept.numel() if reach is None else reach.sum())
            entry["edges_kept"] = int(kept.sum())
            entry["hard_edges"] = explanation.edge_index[:, kept].T.tolist()
        if explanation.get("hard_node_mask") is not None:
            entry["nodes_kept"] = int(explanation.hard_node_mask.sum())
            entry["hard_nodes"] = explanation.hard_node_mask.nonzero().flatten().tolist()
        found.append(entry)
    return found


def means(instances: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the means of what was measured of each explanation, and of the sizes."""
    names = [*_MEASURES, *(n for n in ("edges_kept", "nodes_kept") if n in instances[0])]
    return {name: sum(each[name] for each in instances) / len(instances) for name in names}


def of_fidelity(hard: Fidelity, soft: Fidelity) -> dict[str, Any]:
    """Returns both fidelities as JSON values."""
    return {"hard": asdict(hard), "soft": asdict(soft)}


def tensors(
    indices: Sequence[int], explanations: Sequence[Explanation], shared: bool
) -> dict[str, Tensor]:
    """Returns what is saved: `3.edge_mask` [E], `3.node_mask` [N, 1], `3.edge_index`, `3.x_cf`.

    Args:
        indices: the ids of the nodes or graphs.
        explanations: one for each.
        shared: all are of one graph, so that `edge_index` and `x_cf` are saved once, without an id.
    """
    found = {}
    for place_, (index, explanation) in enumerate(zip(indices, explanations, strict=True)):
        for name in ("edge_mask", "node_mask", "edge_index", "x_cf"):
            of_graph = shared and name in ("edge_index", "x_cf")
            if explanation.get(name) is not None and not (of_graph and place_):
                key = name if of_graph else f"{index}.{name}"
                # Tensors that share memory cannot be saved.
                found[key] = explanation[name].detach().cpu().clone().contiguous()
    return found


def write(folder: Path, report: Mapping[str, Any], saved: Mapping[str, Tensor]) -> None:
    """Writes report.json and masks.safetensors.

    Raises:
        OSError: they cannot be written.
    """
    from safetensors.torch import save

    (folder / MASKS).write_bytes(save(dict(saved), metadata={"made_by": MADE_BY}))
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")


def tables(report: Mapping[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """Returns the tables to print, each its columns and rows."""
    instances = report["instances"]
    sized = [name for name in ("edges", "nodes") if f"{name}_kept" in instances[0]]
    columns = [report["task_level"], "label", "p", "p_suff", "p_nec", "PNS", *sized]
    rows = [
        [str(each["index"]), str(each["label"]), *_measured(each), *(_kept(each, n) for n in sized)]
        for each in instances
    ]
    average = report["means"]
    sizes = (f"{average[f'{name}_kept']:.1f}" for name in sized)
    rows.append(["mean", "", *_measured(average), *sizes])
    fidelity = [
        [label, *(f"{report['fidelity'][mask][name]:.3f}" for mask in ("hard", "soft"))]
        for name, label in (
            ("plus", "fidelity+"),
            ("minus", "fidelity-"),
            ("charact", "charact"),
            ("empty", "kept by the empty graph"),
        )
    ]
    return [(columns, rows), (["", "hard mask", "soft mask"], fidelity)]


def _measured(entry: Mapping[str, Any]) -> list[str]:
    bounds = f"{entry['pns_lower']:.3f} to {entry['pns_upper']:.3f}"
    return [*(f"{entry[name]:.3f}" for name in _MEASURES[:3]), bounds]


def _kept(entry: Mapping[str, Any], name: str) -> str:
    kept = str(entry[f"{name}_kept"])
    return f"{kept} of {entry[name]}" if name in entry else kept


def _written(folder: Path) -> set[str]:
    """The names of the files that an earlier run wrote into a folder."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(report, dict) or report.get("made_by") != MADE_BY:
        return set()
    files = report.get("files")
    return {str(each) for each in files} if isinstance(files, list) else set()
