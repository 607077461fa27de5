"""Modules are built without memory for their parameters, and given tensors without copies."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from zoo_core import lean
from zoo_core.checkpoint import TensorInfo
from zoo_core.errors import ConfigError, WeightsMismatchError


class Tied(nn.Module):
    """An embedding whose weight is also the output layer's, and a computed, unsaved table."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, 3)
        self.output = nn.Linear(3, size, bias=False)
        self.output.weight = self.embedding.weight
        self.norm = nn.BatchNorm1d(size)
        self.register_buffer("table", torch.arange(size).float(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.output(self.embedding(x)) + self.table)


def infos(module: nn.Module) -> dict[str, TensorInfo]:
    return {key: TensorInfo.of(it) for key, it in module.state_dict().items()}


def test_parameters_are_on_meta_and_buffers_are_real() -> None:
    module = lean.build(Tied, {"size": 5})
    assert all(parameter.is_meta for parameter in module.parameters())
    assert torch.equal(module.table, torch.arange(5.0))
    assert module.norm.running_var.tolist() == [1.0] * 5


def test_a_parameter_registered_twice_stays_one() -> None:
    assert len(list(lean.build(Tied, {}).parameters())) == 3
    shared = nn.Parameter(torch.ones(2))

    def factory() -> nn.Module:
        module = nn.Module()
        module.first, module.second = shared, shared
        return module

    module = lean.build(factory, {})
    assert module.first is module.second
    assert not shared.is_meta


def test_frozen_parameters_stay_frozen() -> None:
    def factory() -> nn.Module:
        return nn.Linear(2, 2).requires_grad_(False)

    module = lean.build(factory, {})
    lean.assign(module, nn.Linear(2, 2).state_dict().items())
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_building_is_undone_when_the_factory_fails() -> None:
    def factory() -> nn.Module:
        raise ValueError("no")

    with pytest.raises(ConfigError, match="no"):
        lean.build(factory, {})
    assert not nn.Linear(1, 1).weight.is_meta


def test_other_threads_build_real_modules_meanwhile() -> None:
    built = {}

    def factory() -> nn.Module:
        worker = threading.Thread(target=lambda: built.update(other=nn.Linear(1, 1)))
        worker.start()
        worker.join()
        return nn.Linear(1, 1)

    assert lean.build(factory, {}).weight.is_meta
    assert not built["other"].weight.is_meta


def test_assigned_tensors_are_the_modules_own_and_ties_hold() -> None:
    source, module = Tied(), lean.build(Tied, {})
    tensors = source.state_dict()
    lean.assign(module, tensors.items())
    assert module.norm.weight.data_ptr() == tensors["norm.weight"].data_ptr()
    assert module.output.weight is module.embedding.weight
    assert lean.left_on_meta(module) == []
    x = torch.tensor([0, 1, 2])
    assert torch.equal(module.eval()(x), source.eval()(x))


def test_what_never_got_a_value_is_named() -> None:
    module = lean.build(Tied, {})
    assert "embedding.weight" in lean.left_on_meta(module)


def test_a_misfit_lists_missing_unexpected_and_shapes() -> None:
    module = lean.build(Tied, {})
    lean.check_fit(module, infos(Tied()), "they")
    wrong = infos(Tied()) | {
        "extra": TensorInfo((1,), "float32"),
        "norm.bias": TensorInfo((9,), "float32"),
    }
    del wrong["norm.weight"]
    with pytest.raises(WeightsMismatchError) as caught:
        lean.check_fit(module, wrong, "these weights")
    for part in (
        "missing: norm.weight",
        "unexpected: extra",
        "norm.bias ([9] stored, [4] expected)",
    ):
        assert part in str(caught.value)


def test_a_tie_of_the_module_with_two_different_tensors_is_refused() -> None:
    tensors = Tied().state_dict()
    tensors["output.weight"] = tensors["output.weight"] + 1
    with pytest.raises(WeightsMismatchError, match=r"embedding\.weight and output\.weight are one"):
        lean.assign(lean.build(Tied, {}), tensors.items())
    tensors["output.weight"] = tensors["embedding.weight"].clone()  # equal is as good as the same
    module = lean.build(Tied, {})
    lean.assign(module, tensors.items())
    assert module.output.weight is module.embedding.weight


def test_another_kind_of_number_is_a_misfit_and_another_precision_is_not() -> None:
    module = lean.build(nn.Linear, {"in_features": 2, "out_features": 2})
    stored = {"weight": TensorInfo((2, 2), "float16"), "bias": TensorInfo((2,), "bfloat16")}
    lean.check_fit(module, stored, "they")
    for dtype in ("int64", "complex64", "float8_e4m3fn"):
        wrong = stored | {"bias": TensorInfo((2,), dtype)}
        with pytest.raises(WeightsMismatchError, match=f"bias \\({dtype} stored, float32 expected"):
            lean.check_fit(module, wrong, "they")


def test_a_module_that_refuses_to_load_says_why_in_one_line() -> None:
    class Strict(nn.Linear):
        def _load_from_state_dict(self, *_: object) -> None:
            raise KeyError("a\nb")

    module = lean.build(Strict, {"in_features": 1, "out_features": 1})
    with pytest.raises(WeightsMismatchError, match="Strict refuses the tensors"):
        lean.assign(module, nn.Linear(1, 1).state_dict().items())


def test_a_factory_may_itself_build_and_fill_another_module() -> None:
    stored = nn.Linear(2, 2).state_dict()

    def outer() -> nn.Module:
        inner = lean.build(nn.Linear, {"in_features": 2, "out_features": 2})
        lean.assign(inner, stored.items())
        assert lean.left_on_meta(inner) == []
        return nn.Sequential(inner, nn.Linear(2, 2))

    module = lean.build(outer, {})
    lean.assign(module, outer().state_dict().items())
    assert lean.left_on_meta(module) == []
