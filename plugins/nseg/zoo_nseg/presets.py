"""The hyperparameters of the official configurations, by data set and type of explanation."""

from __future__ import annotations

from typing import Any, Final

from zoo_core.errors import UnknownNameError, suggestion


def _row(
    epochs: int,
    lr: float,
    alpha_e: float,
    beta_e: float,
    alpha_f: float | None = None,
    beta_f: float | None = None,
) -> dict[str, Any]:
    row = {"epochs": epochs, "lr": lr, "alpha_e": alpha_e, "beta_e": beta_e}
    return row if alpha_f is None else {**row, "alpha_f": alpha_f, "beta_f": beta_f}


PRESETS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("ba-shapes", "edge"): _row(1000, 0.01, 0.005, 1.0),
    ("ba-shapes", "joint"): _row(500, 0.01, 0.005, 1.0, 0.005, 1.0),
    ("tree-cycles", "edge"): _row(500, 0.01, 0.01, 1.0),
    ("tree-cycles", "joint"): _row(500, 0.01, 0.01, 1.0, 0.001, 1.0),
    ("tree-grid", "edge"): _row(500, 0.01, 0.05, 1.0),
    ("tree-grid", "joint"): _row(500, 0.01, 0.01, 1.0, 0.01, 1.0),
    ("msrc21", "edge"): _row(500, 0.01, 0.0005, 1.0),
    ("msrc21", "joint"): _row(500, 0.05, 0.0005, 1.0, 0.0005, 1.0),
    ("mutagenicity", "edge"): _row(500, 0.01, 0.0001, 0.001),
    ("mutagenicity", "joint"): _row(500, 0.01, 0.0001, 0.001, 0.0001, 0.001),
}
"""(data set, type) -> arguments of `NSEGExplainer`, as the official configurations state them."""


def preset(name: str, kind: str = "edge") -> dict[str, Any]:
    """Returns the arguments of `NSEGExplainer` for a data set of the official configurations.

    Args:
        name: "ba-shapes", "tree-cycles", "tree-grid", "msrc21" or "mutagenicity".
        kind: "edge" or "joint".

    Raises:
        UnknownNameError: there is no such configuration.
    """
    if (name, kind) not in PRESETS:
        known = sorted({each for each, _ in PRESETS})
        raise UnknownNameError(
            f"no preset {name!r} of type {kind!r}; there are {', '.join(known)}, each of type edge "
            f"and joint.{suggestion(str(name), known)}"
        )
    return dict(PRESETS[name, kind])
