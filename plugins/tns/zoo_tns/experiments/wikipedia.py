"""The paper's setting on all of Wikipedia, but for the edge features: TGN with and without TNS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from zoo_core.experiment import Context
from zoo_tns.evaluation import evaluate_part, replay
from zoo_tns.events import load_dataset
from zoo_tns.experiments.pairs import difference
from zoo_tns.experiments.runs import RECENT, TNS, Variant, row, side_by_side, trained
from zoo_tns.experiments.streams import WIKIPEDIA
from zoo_tns.graph import TemporalGraph
from zoo_tns.model import TemporalGNN
from zoo_tns.node_classification import train_node_classification
from zoo_tns.splits import EventSplit, chronological_split
from zoo_tns.training.saving import save_trained

EPOCHS: Final = 12
LEARNING_RATE: Final = 1e-4
"""The paper's."""


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains both for links and then a decoder of bans; keeps TNS's model of the first seed."""
    data = load_dataset(WIKIPEDIA, context.data(WIKIPEDIA).parent)
    split = chronological_split(data)
    jobs = [
        (split, variant, seed, context.out if variant is TNS and seed == context.seeds[0] else None)
        for seed in context.seeds
        for variant in (TNS, RECENT)
    ]
    yield from side_by_side(context, _measured, jobs)


def _measured(split: EventSplit, variant: Variant, seed: int, kept: Path | None) -> dict[str, Any]:
    model, outcome = trained(split, variant, seed, shared={}, epochs=EPOCHS, lr=LEARNING_RATE)
    measured = row(model, split, outcome)
    if kept is not None:
        _keep(model, split, kept)
    model.reset_memory()
    nodes = train_node_classification(model, split.data, seed=seed, progress=False)
    return {
        "sampling": variant.name,
        "seed": seed,
        **measured,
        "ban AUC": 100 * nodes.test_auc,
        "best epoch": outcome.best_epoch,
    }


def _keep(model: TemporalGNN, split: EventSplit, folder: Path) -> None:
    """Saves a model with the scores that its weights have by themselves, memory replayed."""
    graph = TemporalGraph.from_data(split.data, split.num_nodes)
    model.bind(graph).reset_memory()
    replay(model, split.train)
    replay(model, split.val)
    before = model.memory_state()
    found = evaluate_part(model, split, "test", graph)
    model.load_memory_state(before)
    metrics = {
        "test AP (%)": found["test"]["ap"],
        "test accuracy (%)": found["test"]["acc"],
        "new-node test AP (%)": found["new_node_test"]["ap"],
    }
    save_trained(
        model,
        folder / "tns-tgn.wikipedia",
        name="tns-tgn",
        license="apache-2.0",
        metrics={name: round(100 * value, 2) for name, value in metrics.items()},
        description="Trained on the interactions of JODIE's Wikipedia, without its edge features, "
        "by `zoo reproduce tns wikipedia`; the test decided nothing.",
    )


def check(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether TNS is above the most recent events in every measure, beyond its interval."""
    gaps = {
        measure: difference(rows, TNS.name, RECENT.name, measure)
        for measure in (
            "test AP",
            "test accuracy",
            "new-node test AP",
            "new-node test accuracy",
            "ban AUC",
        )
    }
    shown = ", ".join(f"{measure} {gap}" for measure, gap in gaps.items())
    return all(gap.low > 0 for gap in gaps.values()), f"TNS less most recent: {shown}"
