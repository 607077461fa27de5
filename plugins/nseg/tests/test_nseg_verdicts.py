"""The verdicts of `zoo reproduce nseg`: on which rows a claim holds, and on which not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from nseg_experiment import EXPLAINERS

from zoo_nseg.experiments import joint, logic, motifs, msrc21, mutag, mutagenicity, parity
from zoo_nseg.experiments.comparison import GNN_EXPLAINER, PG_EXPLAINER, PN, PNS, PS, RANDOM

Check = Callable[[Sequence[dict[str, Any]]], tuple[bool, str]]
MUTAG = {
    "charact": (0.84, 0.7, 0.5, 0.73, 0.8, 0.4, 0.86),
    "PNS lower bound": (0.6, 0.44, 0.29, 0.43, 0.5, 0.0, 0.7),
}
MUTAGENICITY = {
    "Fid+": (1, 1, 0.98, 1, 1, 0.98, 1),
    "Fid-": (0, 0, 1, 0, 0, 0.98, 0),
    "AUC": (0.73, 0.74, 0.52, 0.65, 0.8, 0.5, 0.5),
    "kept by the empty graph": (0,) * 7,
}
MSRC21 = {"charact": (0.955, 0.96, 0.95, 0.9, 0.92, 0.47, 0.91)}
TREES = {
    "charact": (0.96, 0.77, 0.93, 0.97, 0, 0.5, 0.95),
    "recall@K": (0.73, 0.65, 0.74, 0.62, 0, 0.6, 0.5),
}
HOUSES = {
    "Fid+": (1, 1, 1, 1, 0, 0.6, 1),
    "Fid-": (0, 0, 0.25, 0, 0, 0.9, 0),
    "recall@K": (0.82, 0.82, 0.81, 0.2, 0, 0.1, 0.1),
    "AUC": (0.99, 0.99, 0.99, 0.9, 0, 0.5, 0.5),
}
JOINT = {
    "soft PNS lower bound": (0.79, 0.68, 0.82, 0, 0, 0.1, 0),
    "soft Fid-": (0, 0, 0, 0, 0, 0.4, 0),
}


def made_up(
    numbers: dict[str, tuple[float, ...]], spread: float = 0.0, **also: str
) -> list[dict[str, Any]]:
    """Rows of two seeds with these means."""
    return [
        {"seed": seed, **also, "explainer": name}
        | {column: means[place] + (2 * seed - 1) * spread for column, means in numbers.items()}
        for seed in (0, 1)
        for place, name in enumerate(EXPLAINERS)
    ]


def changed(
    numbers: dict[str, tuple[float, ...]], column: str, name: str, value: float
) -> dict[str, tuple[float, ...]]:
    means = list(numbers[column])
    means[EXPLAINERS.index(name)] = value
    return {**numbers, column: tuple(means)}


@pytest.mark.parametrize(
    ("check", "numbers", "failures"),
    [
        (
            mutag.holds,
            MUTAG,
            [
                ("charact", GNN_EXPLAINER, 0.85),
                ("charact", PG_EXPLAINER, 0.85),
                ("PNS lower bound", PS, 0.61),
                ("charact", PNS, 0.79),
            ],
        ),
        (
            mutagenicity.holds,
            MUTAGENICITY,
            [
                ("Fid+", PNS, 0.8),
                ("Fid-", PNS, 0.2),
                ("Fid-", PN, 0.3),
                ("AUC", GNN_EXPLAINER, 0.74),
                ("AUC", RANDOM, 0.74),
            ],
        ),
        (
            msrc21.holds,
            MSRC21,
            [
                ("charact", PS, 0.97),
                ("charact", GNN_EXPLAINER, 0.956),
                ("charact", PN, 0.89),
                ("charact", RANDOM, 0.91),
            ],
        ),
    ],
    ids=["mutag", "mutagenicity", "msrc21"],
)
def test_verdicts_are_on_means_over_seeds(
    check: Check,
    numbers: dict[str, tuple[float, ...]],
    failures: list[tuple[str, str, float]],
) -> None:
    seen, why = check(made_up(numbers, spread=0.005))
    assert seen, why
    first = next(iter(numbers.values()))
    assert f"{PNS} {first[0]:.3f}" in why
    for failure in failures:
        assert not check(made_up(changed(numbers, *failure)))[0], failure


def test_verdict_on_motifs() -> None:
    def rows(trees: dict[str, Any] = TREES, houses: dict[str, Any] = HOUSES) -> Any:
        columns = {**HOUSES, **TREES}
        blank = dict.fromkeys(columns, (0.0,) * 7)
        return made_up({**blank, **trees}, network=motifs.TREES.name) + made_up(
            {**blank, **houses}, network=motifs.HOUSES.name
        )

    seen, why = motifs.holds(rows())
    assert seen, why
    assert "0.960" in why
    for failure in (
        ("charact", PN, 0.97),
        ("charact", PS, 0.97),
        ("recall@K", PS, 0.75),
        ("recall@K", PN, 0.8),
    ):
        assert not motifs.holds(rows(trees=changed(TREES, *failure)))[0], failure
    for failure in (
        ("recall@K", PNS, 0.7),
        ("AUC", PNS, 0.9),
        ("Fid+", PNS, 0.9),
        ("Fid-", PNS, 0.1),
    ):
        assert not motifs.holds(rows(houses=changed(HOUSES, *failure)))[0], failure


def test_verdict_on_joint_explanations() -> None:
    def rows(numbers: dict[str, tuple[float, ...]]) -> Any:
        blank = dict.fromkeys(numbers, (0.0,) * 7)
        return [
            row
            for kind in ("edge", "feature", "joint")
            for row in made_up(numbers if kind == "joint" else blank, type=kind)
        ]

    seen, why = joint.holds(rows(JOINT))
    assert seen, why
    assert f"soft Fid-, joint: {PNS} 0.000" in why
    for failure in (
        ("soft PNS lower bound", PS, 0.8),
        ("soft PNS lower bound", RANDOM, 0.7),
    ):
        assert not joint.holds(rows(changed(JOINT, *failure)))[0], failure


def logic_rows(**found: float) -> list[dict[str, Any]]:
    """Made-up rows in which a share of two seeds finds both causes; pns_and=0.5 changes one."""
    shares = {"pns_and": 1, "ps_and": 0.5, "pn_and": 0, "pns_or": 1, "ps_or": 0, "pn_or": 0.5}
    shares |= found
    return [
        {"seed": seed, "label": f"A {word} B", "alpha": alpha, "objective": objective}
        | {"both causes": seed < 2 * share}
        for alpha in logic.ALPHAS
        for key, share in shares.items()
        for objective, word in [key.split("_")]
        for seed in (0, 1)
    ]


def test_logic_holds_where_halves_fail() -> None:
    seen, why = logic.holds(logic_rows())
    assert seen
    assert "A or B, alpha 0.1: pns 100 %, ps 0 %, pn 50 %" in why
    assert not logic.holds(logic_rows(pns_and=0.5))[0]
    assert not logic.holds(logic_rows(pns_or=0.5))[0]
    assert not logic.holds(logic_rows(pn_and=1))[0]
    assert not logic.holds(logic_rows(ps_or=1))[0]


def parity_rows(**changed: float) -> list[dict[str, Any]]:
    """Made-up rows; `single_masks=1` changes one of float32, `double_losses=1` of float64."""
    rows = [{"dtype": "float32", "logits": 5e-5, "losses": None, "masks": None}] + [
        {"dtype": dtype, "logits": 1e-6, "losses": 1e-6, "masks": masks}
        for dtype, masks in (("float32", 2e-5), ("float64", 1e-6))
    ]
    for key, value in changed.items():
        which, measure = key.split("_")
        rows[{"network": 0, "single": 1, "double": 2}[which]][measure] = value
    return rows


def test_parity_holds_within_rounding() -> None:
    seen, why = parity.holds(parity_rows())
    assert seen
    assert "masks in float32 2.0e-05 (limit 3e-05)" in why
    assert not parity.holds(parity_rows(network_logits=2e-4))[0]
    assert not parity.holds(parity_rows(single_masks=4e-5))[0]
    assert not parity.holds(parity_rows(double_masks=3e-5))[0]
    assert not parity.holds(parity_rows(double_losses=2e-5))[0]
