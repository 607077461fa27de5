"""The perceptron for inference: the same values in less time, and only where nobody looks on."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, jvp, stack_module_state, vmap
from torch.nn.functional import gelu, linear
from torch.utils.flop_counter import FlopCounterMode

from zoo_revcol import perceptron as module
from zoo_revcol.block import Block
from zoo_revcol.perceptron import fits_inference, perceptron


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return torch.nn.Linear(8, 32), torch.nn.Linear(32, 8)


@pytest.fixture
def block():
    torch.manual_seed(0)
    return Block(8, 3, 0.0, 1.0).eval()


@pytest.fixture
def parts(monkeypatch):
    """Computes all but the smallest maps in parts."""
    monkeypatch.setattr(module, "_WHOLE", 100)
    monkeypatch.setattr(module, "_PART", 96)


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_are_those_of_the_equation(layers, monkeypatch, request, onednn, split, dtype):
    if split:
        request.getfixturevalue("parts")
    monkeypatch.setattr(module, "_ONEDNN", onednn and module._ONEDNN)
    first, second = (layer.to(dtype) for layer in layers)
    x = 4 * torch.randn(2, 5, 7, 8, dtype=dtype)
    expected = linear(
        gelu(linear(x.double(), first.weight.double(), first.bias.double())),
        second.weight.double(),
        second.bias.double(),
    )
    with torch.no_grad():
        given = perceptron(x, first, second)
    assert given.dtype == dtype
    assert given.shape == x.shape
    error = (given.double() - expected).abs().max() / expected.abs().max()
    assert error < 20 * torch.finfo(dtype).eps


@torch.no_grad()
def test_an_empty_batch_and_a_single_row_work(layers, parts):
    for rows in (0, 1, 3, 4):
        given = perceptron(torch.ones(rows, 8), *layers)
        torch.testing.assert_close(given, layers[1](gelu(layers[0](torch.ones(rows, 8)))))


@torch.no_grad()
def test_nothing_is_written_over_the_input(layers, parts):
    x = torch.randn(40, 8)
    before = x.clone()
    perceptron(x, *layers)
    assert torch.equal(x, before)


def test_it_is_for_inference_alone(layers):
    x, act = torch.ones(1, 8), torch.nn.GELU()
    assert not fits_inference(x, *layers, act)
    with torch.no_grad():
        assert fits_inference(x, *layers, act)
        with torch.autocast("cpu", torch.bfloat16):
            assert not fits_inference(x, *layers, act)
        assert not fits_inference(x.to("meta"), *layers, act)
        assert not fits_inference(x, *layers, torch.nn.GELU(approximate="tanh"))
        assert not fits_inference(x, *layers, torch.nn.ReLU())
        assert not fits_inference(x, torch.nn.Linear(8, 32, bias=False), act)


def test_layers_that_do_more_than_the_equation_are_called(layers):
    class Subclass(torch.nn.Linear):
        pass

    class Weight(torch.Tensor):
        pass

    with torch.no_grad():
        assert not fits_inference(torch.ones(1, 8), Subclass(8, 32))
        layer = torch.nn.Linear(8, 32)
        layer.weight = torch.nn.Parameter(layer.weight.data.as_subclass(Weight))
        assert not fits_inference(torch.ones(1, 8), layer)
        handle = layers[0].register_forward_hook(lambda *_: None)
        assert not fits_inference(torch.ones(1, 8), *layers)
        handle.remove()
        assert fits_inference(torch.ones(1, 8), *layers)
        torch.nn.utils.parametrizations.weight_norm(layers[0])
        assert not fits_inference(torch.ones(1, 8), *layers)


def test_operations_are_counted_all(block, parts):
    """A multiplication and an addition a weight and place: 3 x 3 and twice 4 C for each channel."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block(torch.randn(2, 8, 6, 6))
    assert counter.get_total_flops() == 2 * (2 * 6 * 6) * 8 * (9 + 2 * 4 * 8)


def test_an_ensemble_is_computed_by_vmap(block, parts):
    blocks = [block, Block(8, 3, 0.0, 1.0).eval()]
    x = torch.randn(2, 8, 6, 6)
    state = stack_module_state(blocks)
    with torch.no_grad():
        given = vmap(lambda *state: functional_call(block, state, (x,)))(*state)
        for one, each in zip(given, blocks, strict=True):
            torch.testing.assert_close(one, each(x))


def test_forward_mode_derivatives_need_no_reverse_mode(block, parts):
    block = block.double()
    x, tangent = torch.randn(2, 1, 8, 6, 6, dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        expected = (block(x + step * tangent) - block(x - step * tangent)) / (2 * step)
        _, given = jvp(block, (x,), (tangent,))
        with forward_ad.dual_level():
            dual = forward_ad.unpack_dual(block(forward_ad.make_dual(x, tangent))).tangent
    torch.testing.assert_close(given, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(dual, given)


def test_onednn_is_used_unless_turned_off(layers, monkeypatch):
    if not module._ONEDNN:
        pytest.skip("this PyTorch has no oneDNN")
    calls = []
    real = torch.ops.mkldnn._linear_pointwise

    def spy(*arguments):
        calls.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", spy)
    with torch.no_grad():
        perceptron(torch.ones(1, 8), *layers)
        assert calls == ["gelu", "none"]
        with torch.backends.mkldnn.flags(enabled=False):
            perceptron(torch.ones(1, 8), *layers)
    assert calls == ["gelu", "none"]
