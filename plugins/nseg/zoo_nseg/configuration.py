"""What `NSEGExplainer` supports, and how its settings and a caller's become one configuration."""

from __future__ import annotations

from typing import Final

from torch_geometric.explain.config import (
    ExplainerConfig,
    MaskType,
    ModelConfig,
    ModelMode,
    ModelTaskLevel,
)

from zoo_core.errors import InputError
from zoo_nseg.outcome import Outcome

_MULTICLASS: Final = ModelMode.multiclass_classification.value
_MASKS: Final = {
    "edge": "edge_mask_type='object' alone",
    "feature": "node_mask_type='object' alone",
    "joint": "node_mask_type='object' and edge_mask_type='object'",
}


def kind_of(config: ExplainerConfig) -> str:
    """Returns what mask settings explain: "edge", "feature" or "joint"."""
    if config.node_mask_type is None:
        return "edge"
    return "feature" if config.edge_mask_type is None else "joint"


def unsupported(kind: str | None, explainer: ExplainerConfig, model: ModelConfig) -> str | None:
    """Returns why a configuration is not supported, or None.

    Args:
        kind: what the explainer explains; None if the mask settings say so.
        explainer: the mask settings.
        model: what the model returns.
    """
    if model.mode == ModelMode.regression:
        return "mode is 'regression'; NSEG explains labels of classifiers."
    if model.task_level == ModelTaskLevel.edge:
        return "task_level is 'edge'; NSEG explains outputs of nodes and of graphs."
    for name in ("node_mask_type", "edge_mask_type"):
        value = getattr(explainer, name)
        if value not in (None, MaskType.object):
            return f"{name} is {value.value!r}; expected 'object' or None."
    if kind is not None and kind != kind_of(explainer):
        return (
            f"this explainer is of kind {kind!r}, but the mask settings are those of "
            f"{kind_of(explainer)!r}; expected {_MASKS[kind]}."
        )
    return None


def outcome_of(
    connected: ModelConfig | None,
    mode: str | None,
    return_type: str | None,
    level: ModelTaskLevel,
    temperature: float,
) -> Outcome:
    """Returns how a model's output is read: as given, else as connected, else raw multiclass.

    Raises:
        InputError: there is no such mode or return type, or not together.
    """
    if connected is not None:
        mode, return_type = mode or connected.mode, return_type or connected.return_type
    try:
        config = ModelConfig(mode or _MULTICLASS, level, return_type or "raw")
    except ValueError as error:
        raise InputError(f"mode {mode!r} with return_type {return_type!r}: {error}.") from error
    if config.mode == ModelMode.regression:
        raise InputError("mode is 'regression'; NSEG explains labels of classifiers.")
    return Outcome(config, temperature)
