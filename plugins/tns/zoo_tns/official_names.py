"""The names of tensors in the official TGN and TGAT code, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import torch
from torch import Tensor

from zoo_core.errors import WeightsMismatchError, enumeration

Backbone = Literal["tgn", "tgat"]

MEMORY: Final = ("memory.memory", "memory.last_update")
"""TGN's memory and its times, which are no weights."""

_LAYERS: Final[dict[Backbone, str]] = {
    "tgn": "embedding_module.attention_models.",
    "tgat": "attn_model_list.",
}
_MERGER: Final = {
    f"merger.{layer}.{kind}": f"merger.{layer}.{kind}"
    for layer in ("fc1", "fc2")
    for kind in ("weight", "bias")
}
_LAYER: Final[dict[Backbone, dict[str, str]]] = {
    "tgn": {
        "multi_head_target.q_proj_weight": "query.weight",
        "multi_head_target.k_proj_weight": "key.weight",
        "multi_head_target.v_proj_weight": "value.weight",
        "multi_head_target.out_proj.weight": "out.weight",
        "multi_head_target.out_proj.bias": "out.bias",
        **_MERGER,
    },
    "tgat": {
        "multi_head_target.w_qs.weight": "query.weight",
        "multi_head_target.w_ks.weight": "key.weight",
        "multi_head_target.w_vs.weight": "value.weight",
        "multi_head_target.fc.weight": "out.weight",
        "multi_head_target.fc.bias": "out.bias",
        "multi_head_target.layer_norm.weight": "norm.weight",
        "multi_head_target.layer_norm.bias": "norm.bias",
        **_MERGER,
    },
}
"""Of the tensors of a layer, those that are the same but for their names."""
_PACKED_BIAS: Final = "multi_head_target.in_proj_bias"
_PACKED_WEIGHT: Final = "multi_head_target.in_proj_weight"
"""In place of three weights where the messages are as wide as the query: without edge features."""
_PARTS: Final = ("query", "key", "value")
_SCORE: Final = {
    f"affinity_score.{layer}.{kind}": f"predictor.{layer}.{kind}"
    for layer in ("fc1", "fc2")
    for kind in ("weight", "bias")
}
_SHARED: Final[dict[Backbone, dict[str, str]]] = {
    "tgn": {
        "time_encoder.w.bias": "time_encoder.bias",
        **{
            f"memory_updater.memory_updater.{name}": f"memory.cell.{name}"
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        },
        **_SCORE,
    },
    "tgat": {
        "time_encoder.basis_freq": "time_encoder.weight",
        "time_encoder.phase": "time_encoder.bias",
        **_SCORE,
    },
}
_FREQUENCY: Final = "time_encoder.w.weight"
"""TGN's, a linear layer's [d_t, 1]; ours is [d_t]."""
_COPIES: Final = {
    "embedding_module.time_encoder.w.weight": _FREQUENCY,
    "embedding_module.time_encoder.w.bias": "time_encoder.w.bias",
    **{f"memory_updater.{name}": name for name in MEMORY},
}
"""What TGN stores twice, by the name that is kept."""
_NORM: Final = ("memory_updater.layer_norm.weight", "memory_updater.layer_norm.bias")
_UNUSED: Final[dict[Backbone, tuple[str, ...]]] = {
    "tgn": _NORM,
    "tgat": (
        *(f"merge_layer.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")),
        "n_feat_th",
        "e_feat_th",
        "node_raw_embed.weight",
        "edge_raw_embed.weight",
    ),
}
"""What no output depends on, and TGAT's copies of the data."""
_NUMBERED: Final = re.compile(r"(0|[1-9]\d{0,3})\.(.+)")


def backbone_of(names: Mapping[str, object]) -> Backbone:
    """Tells TGAT's names from TGN's."""
    tgat = any(name.startswith((_LAYERS["tgat"], "time_encoder.basis_freq")) for name in names)
    return "tgat" if tgat else "tgn"


def without_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors without those that are stored twice or never used.

    Raises:
        WeightsMismatchError: two copies differ.
    """
    for copy, kept in _COPIES.items():
        if copy in tensors and kept in tensors and not _same(tensors[copy], tensors[kept]):
            raise WeightsMismatchError(
                f"{copy} and {kept} are one tensor in the official code, but differ here."
            )
    left_out = {*_COPIES, *_UNUSED[backbone_of(tensors)]}
    return {name: tensor for name, tensor in tensors.items() if name not in left_out}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors in our names and layout.

    Args:
        tensors: official name -> tensor, without copies and unused ones. The memory's contents are
            left out.

    Raises:
        WeightsMismatchError: names that are missing or unknown, or packed tensors that do not
            fall into three.
    """
    backbone = backbone_of(tensors)
    converted, unknown, layers = {}, [], set()
    for name, tensor in tensors.items():
        match = _NUMBERED.fullmatch(name.removeprefix(_LAYERS[backbone]))
        inner = match[2] if match and name.startswith(_LAYERS[backbone]) else None
        packed = backbone == "tgn" and inner in (_PACKED_BIAS, _PACKED_WEIGHT)
        if name in _SHARED[backbone]:
            converted[_SHARED[backbone][name]] = tensor
        elif name in MEMORY and backbone == "tgn":
            continue
        elif name == _FREQUENCY and backbone == "tgn":
            converted["time_encoder.weight"] = _column(tensor)
        elif match and (packed or inner in _LAYER[backbone]):
            layers.add(int(match[1]))
            own = f"aggregators.{match[1]}."
            if packed:
                converted |= _unpacked(name, tensor, own)
            else:
                converted[own + _LAYER[backbone][str(inner)]] = tensor
        else:
            unknown.append(name)
    missing = [name for name in _expected(tensors, backbone, layers) if name not in tensors]
    if missing or unknown:
        raise WeightsMismatchError(
            f"the checkpoint is not a {backbone.upper()} with attention of the official code"
            + (f"; missing: {enumeration(missing)}" if missing else "")
            + (f"; unknown: {enumeration(unknown)}" if unknown else "")
            + "."
        )
    return converted


def restored(state_dict: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Returns our tensors in the official names and layout, with the copies and the unused norm.

    Raises:
        WeightsMismatchError: names that are missing or unknown.
    """
    tensors: dict[str, Tensor] = {}
    used: list[str] = []

    def take(name: str) -> Tensor:
        used.append(name)
        if name not in state_dict:
            raise WeightsMismatchError(f"not the tensors of a {backbone.upper()}: no {name}.")
        return state_dict[name]

    has_memory = any(name.startswith("memory.") for name in state_dict)
    for official, own in _SHARED[backbone].items():
        if has_memory or not own.startswith("memory."):
            tensors[official] = take(own)
    layers = {name.split(".")[1] for name in state_dict if name.startswith("aggregators.")}
    for layer in sorted(layers or {"0"}):
        inside = {
            official: take(f"aggregators.{layer}.{own}")
            for official, own in _LAYER[backbone].items()
        }
        if backbone == "tgn":
            biases = [take(f"aggregators.{layer}.{part}.bias") for part in ("query", "value")]
            inside[_PACKED_BIAS] = torch.cat([biases[0], torch.zeros_like(biases[0]), biases[1]])
            names = [f"multi_head_target.{part[0]}_proj_weight" for part in _PARTS]
            if len({inside[name].shape for name in names}) == 1:
                inside[_PACKED_WEIGHT] = torch.cat([inside.pop(name) for name in names])
        tensors |= {f"{_LAYERS[backbone]}{layer}.{name}": it for name, it in inside.items()}
    if backbone == "tgn":
        tensors[_FREQUENCY] = take("time_encoder.weight").unsqueeze(1)
        tensors |= {copy: tensors[kept] for copy, kept in _COPIES.items() if kept in tensors}
        if has_memory:
            width = tensors["memory_updater.memory_updater.weight_hh"]
            tensors[_NORM[0]] = width.new_ones(width.shape[1])
            tensors[_NORM[1]] = width.new_zeros(width.shape[1])
    if unknown := [name for name in state_dict if name not in used]:
        raise WeightsMismatchError(
            f"not the tensors of a {backbone.upper()}; unknown: {enumeration(unknown)}."
        )
    return tensors


def _expected(tensors: Mapping[str, Tensor], backbone: Backbone, layers: set[int]) -> list[str]:
    """The names that must be there, given those that are."""
    has_memory = any(name.startswith("memory") for name in tensors)
    expected = [
        name for name in _SHARED[backbone] if has_memory or not name.startswith("memory_updater.")
    ]
    if backbone == "tgn":
        expected.append(_FREQUENCY)
    for layer in range(max(layers, default=0) + 1):
        prefix = f"{_LAYERS[backbone]}{layer}."
        names = list(_LAYER[backbone])
        if backbone == "tgn":
            names.append(_PACKED_BIAS)
            if prefix + _PACKED_WEIGHT in tensors:
                names = [name for name in names if not name.endswith("_proj_weight")]
        expected += [prefix + name for name in names]
    return expected


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal; NaN, which is found out elsewhere, is equal to itself."""
    alike = first.shape == second.shape and first.dtype == second.dtype
    return alike and torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)


def _column(tensor: Tensor) -> Tensor:
    return tensor.squeeze(1) if tensor.ndim == 2 and tensor.shape[1] == 1 else tensor


def _unpacked(name: str, tensor: Tensor, own: str) -> dict[str, Tensor]:
    """The query's, key's and value's parts of a packed tensor, in our names; no bias of keys."""
    if tensor.ndim == 0 or len(tensor) % 3:
        raise WeightsMismatchError(
            f"{name} has the shape {list(tensor.shape)}; expected three parts of equal length."
        )
    kind = "bias" if name.endswith("bias") else "weight"
    parts = zip(_PARTS, tensor.chunk(3), strict=True)
    return {
        f"{own}{part}.{kind}": it.clone() for part, it in parts if (part, kind) != ("key", "bias")
    }
