"""Files and tensors that are no official checkpoint are refused, and nothing in them is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tns_official_modules import TGAT_LAYER, TGN_LAYER, tgat, tgn
from torch import Tensor

from zoo_core.errors import CheckpointError, WeightsMismatchError, ZooError
from zoo_tns.official import convert_official

Q, K, V = (TGN_LAYER.format(0) + f"multi_head_target.{each}_proj_weight" for each in "qkv")
BIAS = TGN_LAYER.format(0) + "multi_head_target.in_proj_bias"
FC1 = TGN_LAYER.format(0) + "merger.fc1.weight"
QS = TGAT_LAYER.format(1) + "multi_head_target.w_qs.weight"


def _changed(make: Callable[..., dict[str, Any]], **changes: Any) -> dict[str, Any]:
    tensors = {**make(), **changes}
    return {name: value for name, value in tensors.items() if value is not None}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({}, "a dict without tensors"),
        ({"state_dict": {}}, "without tensors"),
        (_changed(tgn, **{Q: "text"}), "other values, under embedding"),
        (_changed(tgn, **{Q: None}), "TGN with attention .*; missing: .*q_proj_weight"),
        (_changed(tgn, **{BIAS: None}), "missing: .*in_proj_bias"),
        (_changed(tgn, **{"time_encoder.w.weight": None}), r"missing: time_encoder\.w\.weight"),
        (_changed(tgn, **{"affinity_score.fc2.bias": None}), "missing: affinity_score"),
        (
            _changed(tgn, **{"memory_updater.memory_updater.bias_hh": None}),
            r"missing: memory_updater\.memory_updater\.bias_hh",
        ),
        (_changed(tgn, **{"memory.last_update": None}), "but no memory.last_update"),
        (_changed(tgn, surplus=torch.ones(1)), "unknown: surplus"),
        (
            _changed(tgn, **{"embedding_module.linear_1.0.weight": torch.ones(2, 2)}),
            "unknown: embedding_module.linear_1.0.weight",
        ),
        (
            _changed(tgn, **{Q.replace("models.0", "models.00"): torch.ones(10, 10)}),
            "unknown: embedding_module.attention_models.00",
        ),
        (
            _changed(tgn, **{Q.replace("models.0", "models.7"): torch.ones(10, 10)}),
            "missing: embedding_module.attention_models.1",
        ),
        (_changed(tgn, **{Q: torch.ones(10, 9)}), r"aggregators.0.query.weight \(\[10, 9\] stor"),
        (_changed(tgn, **{K: torch.ones(10)}), "of another rank: aggregators.0.key.weight"),
        (_changed(tgn, **{V: torch.ones(10, 13)}), r"aggregators.0.value.weight \(\[10, 13\]"),
        (_changed(tgn, **{K: torch.ones(10, 9)}), "contradict each other: edge_dim -1"),
        (_changed(tgn, **{FC1: torch.ones(4, 10)}), "contradict each other: .*node_dim 0"),
        (_changed(tgn, **{BIAS: torch.ones(29)}), r"shape \[29\]; expected three parts"),
        (_changed(tgn, **{BIAS: torch.ones(33)}), r"query.bias \(\[11\] stored"),
        (
            _changed(tgn, **{"memory_updater.memory_updater.weight_ih": torch.ones(4, 16)}),
            r"memory.cell.weight_ih \(\[4, 16\] stored, \[12, 16\] expected",
        ),
        (
            _changed(tgn, **{"embedding_module.time_encoder.w.bias": torch.ones(6)}),
            "are one tensor in the official code, but differ",
        ),
        (
            _changed(tgn, **{"memory_updater.memory.memory": torch.ones(8, 4)}),
            "memory_updater.memory.memory and memory.memory are one",
        ),
        (_changed(tgn, **{Q: torch.ones(10, 10).double()}), "of torch.float32, torch.float64"),
        (_changed(tgn, **{Q: torch.ones(10, 10).long()}), "another dtype"),
        (_changed(tgat, **{QS: None}), "TGAT with attention .*; missing: attn_model_list.1"),
        (_changed(tgat, **{"time_encoder.phase": None}), "missing: time_encoder.phase"),
        (_changed(tgat, **{QS: torch.ones(12, 11)}), r"aggregators.1.query.weight \(\[12, 11\]"),
        (_changed(tgat, **{"memory.memory": torch.ones(3, 4)}), "TGAT .*; unknown: memory.memory"),
        (
            {
                name: it
                for name, it in tgn().items()
                if not name.startswith("memory_updater.memory_updater")
            },
            "missing: memory_updater.memory_updater.weight_ih",
        ),
        (
            _changed(tgat, **{"attn_model_list.0.lstm.weight_ih_l0": torch.ones(3)}),
            "unknown: attn_model_list.0.lstm",
        ),
    ],
)
def test_tensors_of_no_official_network(checkpoint: Any, message: str) -> None:
    with pytest.raises(WeightsMismatchError, match=message):
        convert_official(checkpoint)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"memory": torch.ones(8, 3)}, WeightsMismatchError, r"\[8, 3\] and .* do not fit"),
        ({"memory": torch.ones(7, 4)}, WeightsMismatchError, r"expected \[V, 4\] and \[V\]"),
        ({"memory": torch.ones(8, 4).long()}, CheckpointError, "finite floating-point"),
        ({"memory": torch.ones(8, 4) * torch.nan}, CheckpointError, "memory.memory is not of"),
        ({"last_update": torch.full((8,), torch.inf)}, CheckpointError, "last_update is not of"),
        ({"memory": torch.ones(1, 4), "last_update": torch.ones(1)}, WeightsMismatchError, "one n"),
    ],
)
def test_damaged_memories(changes: dict[str, Tensor], error: type[Exception], message: str) -> None:
    tensors = tgn()
    for name, tensor in changes.items():
        tensors[f"memory.{name}"] = tensors[f"memory_updater.memory.{name}"] = tensor
    with pytest.raises(error, match=message):
        convert_official(tensors)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    trap, file = tmp_path / "sprung", tmp_path / "file.pth"
    torch.save(_changed(tgn, **{Q: _Trap(trap)}), file)
    with pytest.raises(WeightsMismatchError, match="other values, under"):
        convert_official(file)
    file.write_bytes(pickle.dumps(_Trap(trap)))
    with pytest.raises(ZooError):
        convert_official(file)
    assert not trap.exists()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        convert_official(tmp_path / "absent.pth")
    file = tmp_path / "file.pth"
    torch.save(tgn(), file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"file\.pth"):
        convert_official(file)
    torch.save([1, 2], file)
    with pytest.raises(WeightsMismatchError, match="a list without tensors"):
        convert_official(file)
