"""Every memory mode gives plain autograd's gradients, however it is used, or refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from zoo_core.errors import ConfigError, InputError, ZooError, ZooWarning
from zoo_revcol.loss import revcol_loss
from zoo_revcol.model import RevCol
from zoo_revcol.reversible import ReversibleColumns, ReversibleLevel

NONE = {"memory": "none"}
CHECKPOINT = {"memory": "checkpoint"}
MODES = {
    "checkpoint": CHECKPOINT,
    "within a column": {"memory": "reversible"},
    "chains of two": {"memory": "reversible", "anchor_every": 2},
    "one chain": {"memory": "reversible", "anchor_every": 99},
    "one exact chain": {"memory": "reversible", "anchor_every": 99, "exact": True},
}
CHAINS = [name for name, mode in MODES.items() if mode["memory"] == "reversible"]
FLOAT32_MODES = ["checkpoint", "within a column", "one exact chain"]
CONFIG = {"channels": (4, 8, 12, 16), "layers": (1, 1, 2, 1), "num_columns": 4, "num_classes": 5}
FLOAT64, FLOAT32 = 1e-10, 1e-4

every_mode = pytest.mark.parametrize("mode", MODES)


def difference(given, expected):
    """The worst over the tensors of the largest difference relative to the largest value."""
    worst = 0.0
    for ours, theirs in zip(given, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            scale = max(float(theirs.abs().max()), 1e-30)
            worst = max(worst, float((ours - theirs).abs().max()) / scale)
    return worst


def gradients(model, images, memory, loss=None):
    """The loss, and the gradients of the images and of every parameter, by autograd.grad."""
    model.columns.remember(**memory)
    images = images.detach().requires_grad_()
    torch.manual_seed(0)
    total = loss(model, images) if loss else model(images).square().sum()
    leaves = [images, *(each for each in model.parameters() if each.requires_grad)]
    return total.detach(), torch.autograd.grad(total, leaves, allow_unused=True)


def supervised_loss(model, images):
    return revcol_loss(model(images), images, torch.arange(len(images)))[0]


def regularised(model):
    for column in model.columns:
        column.levels[2].blocks.append(nn.Dropout(0.3))
    return model.train()


class Mix(ReversibleLevel):
    """tanh of a linear map of the sum of everything that a level may see."""

    def __init__(self, extra=None, width=4):
        super().__init__((width,))
        self.linear = nn.Linear(width, width)
        self.extra = extra

    def transform(self, stem, lower, higher):
        total = sum((*lower, *higher), stem)
        mixed = torch.tanh(self.linear(total))
        return mixed if self.extra is None else self.extra(self, mixed)


@pytest.fixture
def mix():
    def build(mode=None, extra=None, columns=4, levels=2, level=Mix):
        torch.manual_seed(3)
        made = ReversibleColumns([[level(extra) for _ in range(levels)] for _ in range(columns)])
        made.remember(**(MODES[mode] if mode else NONE))
        return made.double()

    return build


@pytest.fixture
def stem():
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def grads(columns, stem, loss=lambda maps: maps[-1].square().sum()):
    """The gradients of the stem and the parameters, by backward."""
    columns.zero_grad()
    stem = stem.detach().requires_grad_()
    loss(columns(stem)).backward()
    return [stem.grad, *(each.grad for each in columns.parameters())]


CASES = {
    "plain": ({}, (2, 3, 64, 64)),
    "top down skip": ({"top_down_skip": True}, (2, 3, 64, 64)),
    "odd sizes": ({"top_down_skip": True}, (2, 3, 45, 71)),
    "batch of one": ({}, (1, 3, 32, 32)),
    "drop path and dropout": ({"drop_path_rate": 0.5, "top_down_skip": True}, (4, 3, 32, 32)),
    "supervision": ({"intermediate_supervision": True, "drop_path_rate": 0.3}, (2, 3, 64, 64)),
}


@pytest.mark.parametrize("case", CASES)
@every_mode
def test_gradients_are_those_of_plain_autograd(mode, case, make, images):
    changes, shape = CASES[case]
    model = make({**CONFIG, **changes})
    if changes.get("drop_path_rate"):
        regularised(model)
    loss = supervised_loss if case == "supervision" else None
    expected_loss, expected = gradients(model, images(*shape), NONE, loss)
    given_loss, given = gradients(model, images(*shape), MODES[mode], loss)
    assert torch.equal(given_loss, expected_loss)
    assert difference(given, expected) < FLOAT64
    assert all(each is not None for each in given)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mode", FLOAT32_MODES)
def test_gradients_in_float32(mode, memory_format, make, images):
    model = regularised(make({**CONFIG, "drop_path_rate": 0.3}, dtype=torch.float32))
    model = model.to(memory_format=memory_format)
    image = images(4, 3, 64, 64, dtype=torch.float32).to(memory_format=memory_format)
    expected_loss, expected = gradients(model, image, NONE)
    given_loss, given = gradients(model, image, MODES[mode])
    assert torch.equal(given_loss, expected_loss)
    assert difference(given, expected) < FLOAT32


def test_a_wrong_alpha_in_use_would_show(make, images):
    model = make(CONFIG)
    expected = gradients(model, images(2, 3, 32, 32), NONE)[1]
    with torch.no_grad():
        model.columns[2].levels[1].alpha.mul_(1 + 1e-6)
    for mode in MODES.values():
        assert difference(gradients(model, images(2, 3, 32, 32), mode)[1], expected) > 1e-8


@every_mode
def test_alphas_below_their_bound(mode, make, images):
    model = make({**CONFIG, "num_columns": 2, "alpha_min": 0.1})
    for level in model.columns[1].levels:
        nn.init.constant_(level.alpha, 0.0)
    expected = gradients(model, images(1, 3, 32, 32), NONE)[1]
    assert difference(gradients(model, images(1, 3, 32, 32), MODES[mode])[1], expected) < FLOAT64


@every_mode
def test_gradients_are_those_of_finite_differences(mode, mix, stem):
    columns = mix(mode, columns=3)
    leaves = (stem[:2].clone().requires_grad_(), *columns.parameters())
    # The first column's alphas have no effect; the others' are checked as all parameters are.
    assert torch.autograd.gradcheck(lambda x, *_: tuple(columns(x)), leaves, fast_mode=True)


@pytest.mark.parametrize("columns", [1, 3, 5])
@every_mode
def test_any_number_of_columns(mode, columns, make, images):
    model = make({**CONFIG, "num_columns": columns})
    expected = gradients(model, images(2, 3, 32, 32), NONE)[1]
    assert difference(gradients(model, images(2, 3, 32, 32), MODES[mode])[1], expected) < FLOAT64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["checkpoint", "one exact chain"])
def test_a_whole_model_in_half_precision_is_bit_for_bit(mode, dtype, make, images):
    model = make(CONFIG, dtype=dtype)
    image = images(2, 3, 64, 64, dtype=dtype)
    expected = gradients(model, image, NONE)[1]
    for ours, theirs in zip(gradients(model, image, MODES[mode])[1], expected, strict=True):
        assert torch.equal(ours, theirs)


def saved_bytes(model, memory, image):
    """The bytes that autograd holds after forward: unique storages, parameters left out."""
    model.columns.remember(**memory)
    known = {each.untyped_storage().data_ptr() for each in (*model.parameters(), image)}
    held = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            held[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(image).sum()
    total = sum(storage.nbytes() for storage in held.values())
    loss.backward()
    return total


def bytes_a_column(make, image, memory, **changes):
    few, many = (
        saved_bytes(make({**CONFIG, "num_columns": n, **changes}, dtype=image.dtype), memory, image)
        for n in (4, 8)
    )
    return (many - few) / 4


def test_bytes_saved_for_a_column(make, images):
    image = images(2, 3, 64, 64, dtype=torch.float32)
    sizes = {"channels": (16, 32, 64, 128), "layers": (2, 2, 4, 2)}
    maps = sum(
        2 * 4 * width * (16 // 2**level) ** 2 for level, width in enumerate((16, 32, 64, 128))
    )
    plain = bytes_a_column(make, image, NONE, **sizes)
    stored = bytes_a_column(make, image, CHECKPOINT, **sizes)
    assert maps <= stored <= 1.05 * maps
    assert plain > 20 * stored
    chain = {"memory": "reversible", "anchor_every": 99}
    with pytest.warns(ZooWarning, match="precision"):
        growth = bytes_a_column(make, image, chain, **sizes)
    assert growth == 0
    assert bytes_a_column(make, image, {**chain, "exact": True}, **sizes) <= stored / 3


def test_exact_chain_of_sixteen_columns_in_float32(make, images):
    model = make({**CONFIG, "num_columns": 16}, dtype=torch.float32)
    for column in model.columns:
        for level in column.levels:
            nn.init.constant_(level.alpha, 0.5)
    image = images(2, 3, 64, 64, dtype=torch.float32)
    expected = gradients(model, image, NONE)[1]
    exact = gradients(model, image, MODES["one exact chain"])[1]
    assert difference(exact, expected) < 1e-6
    with pytest.warns(ZooWarning, match="check_reversible"):
        rounded = gradients(model, image, MODES["one chain"])[1]
    assert difference(rounded, expected) > 1e-3
    model.columns.remember(**MODES["one exact chain"])
    assert model.check_reversible(image).worst == 0
    model.columns.remember(**MODES["one chain"])
    assert model.check_reversible(image).worst > 1e-3


@every_mode
def test_accumulation_over_micro_batches(mode, mix, stem):
    expected = grads(mix(), stem)
    columns = mix(mode)
    for rows in stem.split(2):
        columns(rows)[-1].square().sum().backward()
    assert difference([each.grad for each in columns.parameters()], expected[1:]) < FLOAT64


@every_mode
def test_two_forwards_before_the_backwards(mode, mix, stem):
    def twice(columns, order):
        columns.zero_grad()
        losses = [columns(stem * factor)[-1].square().sum() for factor in (1, 2)]
        for index in order:
            losses[index].backward()
        return [each.grad.clone() for each in columns.parameters()]

    expected = twice(mix(), (0, 1))
    assert difference(twice(mix(mode), (0, 1)), expected) < FLOAT64
    assert difference(twice(mix(mode), (1, 0)), expected) < FLOAT64


@every_mode
def test_double_use_in_one_step(mode, mix, stem):
    def chained(maps_of):
        return lambda maps: (maps[-1] * maps_of(maps[0])[-1]).sum()

    plain, columns = mix(), mix(mode)
    expected = grads(plain, stem, chained(plain))
    assert difference(grads(columns, stem, chained(columns)), expected) < FLOAT64


@every_mode
def test_backward_twice_through_a_retained_graph(mode, mix, stem):
    expected = grads(mix(), stem)
    columns = mix(mode)
    loss = columns(stem)[-1].square().sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert difference([each.grad / 2 for each in columns.parameters()], expected[1:]) < FLOAT64
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@every_mode
def test_gradients_of_the_input_only_and_then_of_all(mode, mix, stem):
    expected = grads(mix(), stem)
    columns, leaf = mix(mode), stem.clone().requires_grad_()
    loss = columns(leaf)[-1].square().sum()
    (of_stem,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    (of_late,) = torch.autograd.grad(loss, columns[3].levels[1].linear.weight, retain_graph=True)
    loss.backward()
    given = [each.grad for each in columns.parameters()]
    assert difference([of_stem, *given], expected) < FLOAT64
    assert torch.equal(of_late, columns[3].levels[1].linear.weight.grad)


FROZEN = {
    "the stem": lambda name: name.startswith("stem"),
    "the first columns": lambda name: name.startswith(("stem", "columns.0", "columns.1")),
    "the last column": lambda name: name.startswith("columns.3"),
    "all but the alphas": lambda name: not name.endswith("alpha"),
    "all alphas": lambda name: name.endswith("alpha"),
    "one level in between": lambda name: name.startswith("columns.2.levels.1"),
    "all but the head": lambda name: not name.startswith("head"),
}


@pytest.mark.parametrize("frozen", FROZEN)
@every_mode
def test_frozen_parts(mode, frozen, make, images):
    model = make(CONFIG)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not FROZEN[frozen](name))

    def trained(memory):
        model.columns.remember(**memory)
        model.zero_grad()
        model(images(2, 3, 32, 32)).square().sum().backward()
        return [each.grad for each in model.parameters()]

    expected = trained(NONE)
    assert sum(each is not None for each in expected) > 0
    assert difference(trained(MODES[mode]), expected) < FLOAT64


OUTPUTS = {
    "c_0 of the last column": lambda columns: columns[-1][0],
    "c_1 of the last column": lambda columns: columns[-1][1],
    "c_3 of an early column": lambda columns: columns[0][3],
    "c_0 of two columns": lambda columns: columns[1][0] * columns[2][0],
}


@pytest.mark.parametrize("output", OUTPUTS)
@every_mode
def test_some_of_the_maps_in_the_loss(mode, output, make, images):
    model = make(CONFIG)

    def loss(model, images):
        return OUTPUTS[output](model.forward_columns(images)).square().sum()

    expected = gradients(model, images(2, 3, 32, 32), NONE, loss)[1]
    given = gradients(model, images(2, 3, 32, 32), MODES[mode], loss)[1]
    # What the loss does not depend on may have a gradient of zero in place of none.
    zeros = [torch.zeros(()) if each is None else each for each in expected]
    given = [zero if each is None else each for each, zero in zip(given, zeros, strict=True)]
    assert difference(given, zeros) < FLOAT64


def test_gradients_of_early_maps_by_checkpoint(make, images):
    model = make(CONFIG)

    def of_maps(memory):
        model.columns.remember(**memory)
        columns = model.forward_columns(images(2, 3, 32, 32))
        maps = [each for maps in columns for each in maps]
        return torch.autograd.grad(columns[-1][-1].square().sum(), maps)

    assert difference(of_maps(CHECKPOINT), of_maps(NONE)) < FLOAT64


@pytest.mark.parametrize("use_reentrant", [False, True])
@every_mode
def test_checkpointing_around_the_columns(mode, use_reentrant, make, images):
    model = regularised(make({**CONFIG, "drop_path_rate": 0.4}))

    def loss(model, images):
        maps = checkpoint(
            lambda stem: tuple(model.columns(stem)), model.stem(images), use_reentrant=use_reentrant
        )
        return model.head(maps[-1]).square().sum()

    expected_loss, expected = gradients(model, images(4, 3, 32, 32), NONE)
    if use_reentrant:  # which has no autograd.grad

        def by_backward(memory):
            model.columns.remember(**memory)
            image = images(4, 3, 32, 32).requires_grad_()
            torch.manual_seed(0)
            total = loss(model, image)
            total.backward()
            return total.detach(), [image.grad, *(each.grad for each in model.parameters())]

        given_loss, given = by_backward(MODES[mode])
    else:
        given_loss, given = gradients(model, images(4, 3, 32, 32), MODES[mode], loss)
    assert difference([given_loss], [expected_loss]) < FLOAT64
    assert difference(given, expected) < FLOAT64


@every_mode
def test_backward_hooks_run_once(mode, mix, stem):
    def hooked(columns):
        calls = []
        for name, module in columns.named_modules():
            if isinstance(module, nn.Linear):
                module.register_full_backward_hook(
                    lambda *_, name=name: calls.append(name), prepend=False
                )
        return grads(columns, stem), calls

    expected, expected_calls = hooked(mix())
    given, calls = hooked(mix(mode))
    assert difference(given, expected) < FLOAT64
    assert sorted(calls) == sorted(expected_calls)


@every_mode
def test_one_level_shared_by_all_columns(mode, mix, stem):
    plain = ReversibleColumns([mix()[0]] * 4, "none")
    shared = ReversibleColumns([mix()[0]] * 4, **MODES[mode])
    assert difference(grads(shared, stem), grads(plain, stem)) < FLOAT64


@every_mode
def test_evaluation_mode_has_gradients_too(mode, make, images):
    model = make({**CONFIG, "drop_path_rate": 0.5}).eval()
    expected = gradients(model, images(2, 3, 32, 32), NONE)[1]
    assert difference(gradients(model, images(2, 3, 32, 32), MODES[mode])[1], expected) < FLOAT64


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
@every_mode
def test_without_gradients_the_outputs_are_the_same(mode, without, make, images):
    model = make(CONFIG)
    model.columns.remember(**NONE)
    expected = model(images(2, 3, 32, 32)).detach()
    model.columns.remember(**MODES[mode])
    with without():
        output = model(images(2, 3, 32, 32))
    assert not output.requires_grad
    assert torch.equal(output, expected)


@every_mode
def test_nothing_to_train_keeps_nothing(mode, make, images):
    model = make(CONFIG).requires_grad_(False)
    model.columns.remember(**MODES[mode])
    held = []
    with saved_tensors_hooks(held.append, lambda packed: packed):
        output = model(images(1, 3, 32, 32))
    assert not output.requires_grad
    assert not held


@every_mode
def test_weights_made_in_inference_mode(mode, stem):
    with torch.inference_mode():
        columns = ReversibleColumns([[Mix(), Mix()], [Mix(), Mix()]], **MODES[mode]).double()
        expected = columns(stem)
    columns.requires_grad_(False)
    for ours, theirs in zip(columns(stem), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_mode
@pytest.mark.filterwarnings("ignore::zoo_core.errors.ZooWarning")
def test_nan_and_infinity_pass_through(mode, dtype, value, make, images):
    model = make(CONFIG, dtype=dtype)
    image = images(2, 3, 32, 32, dtype=dtype)
    image[0, 0, 5, 7] = value
    loss, given = gradients(model, image, MODES[mode])
    assert loss.isnan()
    assert given[0][0].isnan().any()
    assert given[1].isnan().any()


@every_mode
def test_backward_from_another_thread(mode, mix, stem):
    expected = grads(mix(), stem)
    columns = mix(mode)
    loss = columns(stem)[-1].square().sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert difference([each.grad for each in columns.parameters()], expected[1:]) < FLOAT64


@every_mode
def test_an_error_in_forward_or_backward_leaves_nothing_behind(mode, mix, stem):
    class Refused(Exception):
        pass

    refusing = []

    def refuse(level, mixed):
        if level in refusing:
            raise Refused
        return mixed

    expected = grads(mix(), stem)
    columns = mix(mode, refuse)
    state = torch.get_rng_state()
    refusing.append(columns[2].levels[1])
    with pytest.raises(Refused):
        columns(stem)
    refusing.clear()
    loss = columns(stem)[-1].square().sum()
    refusing.append(columns[1].levels[1])
    with pytest.raises(Refused):
        loss.backward()
    refusing.clear()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert difference(grads(columns, stem), expected) < FLOAT64


@pytest.mark.parametrize("frozen", [False, True])
@every_mode
def test_no_maps_outlive_the_graph(mode, frozen, mix):
    columns = mix(mode)
    if frozen:
        columns[0].requires_grad_(False)
    stem = torch.randn(173, 4, dtype=torch.float64)
    gc.collect()
    gc.disable()
    try:
        columns(stem)
        columns(stem)[-1].sum().backward()
        leaf = stem.clone().requires_grad_()
        torch.autograd.grad(columns(leaf)[-1].sum(), columns[3].levels[1].alpha)
        del leaf
        held = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        assert [each.shape for each in held if each.shape[:1] == (173,)] == [stem.shape]
    finally:
        gc.enable()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("mode", CHAINS)
def test_a_chain_lets_go_of_its_maps_when_backward_ends(mode, frozen, mix):
    columns = mix(mode)
    if frozen:
        columns[0].requires_grad_(False)
    stem = torch.randn(173, 4, dtype=torch.float64)
    loss = columns(stem)[-1].sum()
    loss.backward()
    gc.collect()
    held = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    assert [each.shape for each in held if each.shape[:1] == (173,)] == [stem.shape]
    assert loss.grad_fn is not None


@every_mode
def test_copies_train_alike(mode, make, images):
    model = make(CONFIG)
    expected = gradients(model, images(1, 3, 32, 32), NONE)[1]
    model.columns.remember(**MODES[mode])
    model(images(1, 3, 32, 32)).sum().backward()
    fresh = RevCol(**CONFIG).double().eval()
    fresh.load_state_dict(model.state_dict())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh):  # noqa: S301
        given = gradients(other, images(1, 3, 32, 32), MODES[mode])[1]
        assert difference(given, expected) < FLOAT64


@every_mode
def test_forward_leaves_parameters_alone(mode, make, images):
    model = make({**CONFIG, "alpha_min": 0.5}).train()
    model.columns.remember(**MODES[mode])
    before = [(each.detach().clone(), each._version) for each in model.parameters()]
    model(images(1, 3, 32, 32)).sum().backward()
    for parameter, (value, version) in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter._version == version


@pytest.mark.parametrize("linear", [True, False])
@every_mode
def test_gradients_of_gradients_are_refused(mode, linear, mix, stem):
    columns, leaf = mix(mode), stem.clone().requires_grad_()
    output = columns(leaf)[-1]
    loss = output.sum() if linear else output.square().sum()
    with pytest.raises(ZooError, match="memory='none'"):
        torch.autograd.grad(loss, leaf, create_graph=True)


@every_mode
def test_forward_mode_and_functional_gradients_are_refused(mode, mix, stem):
    columns = mix(mode)
    with pytest.raises(ZooError, match=r"torch\.func; use memory='none'"):
        torch.func.grad(lambda x: columns(x)[-1].sum())(stem)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="jvp"):
        columns(torch.autograd.forward_ad.make_dual(stem, torch.ones_like(stem)))


@pytest.mark.parametrize("quietly", [True, False])
@pytest.mark.parametrize("column", [0, -1])
@pytest.mark.parametrize("level", [0, 1])
@every_mode
def test_a_returned_map_changed_in_place_is_never_silently_wrong(
    mode, level, column, quietly, mix, stem
):
    def changed(columns):
        leaf = stem.clone().requires_grad_()
        maps = columns(leaf, range(4))
        with torch.no_grad() if quietly else nullcontext():
            maps[column][level].mul_(2)
        maps[-1][-1].square().sum().backward()
        return [leaf.grad, *(each.grad for each in columns.parameters())]

    def attempt(columns):
        try:
            return changed(columns), ""
        except RuntimeError as error:
            return None, str(error)

    given, error = attempt(mix(mode))
    expected, _ = attempt(mix())
    if given is None:
        assert "inplace operation" in error or "modified inplace" in error
    else:  # Plain autograd may refuse what does not matter, where another mode has its own copy.
        assert difference(given, expected or grads(mix(), stem)) < FLOAT64


@every_mode
def test_the_stem_changed_in_place_raises(mode, mix, stem):
    stem = stem.clone()
    loss = mix(mode)(stem)[-1].sum()
    stem.mul_(2)
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()


@every_mode
def test_a_parameter_changed_before_backward_raises(mode, mix, stem):
    columns = mix(mode)
    loss = columns(stem)[-1].sum()
    torch.optim.SGD(columns.parameters(), lr=0.1)
    with torch.no_grad():
        columns[1].levels[1].linear.bias.add_(1)
    with pytest.raises(ZooError, match="before the optimiser's step"):
        loss.backward()


@every_mode
def test_parameters_replaced_for_forward_only_raise(mode, mix, stem):
    columns = mix(mode)
    others = {
        name: (2 * value.detach()).requires_grad_() for name, value in columns.named_parameters()
    }
    loss = torch.func.functional_call(columns, others, (stem,))[-1].sum()
    with pytest.raises(ZooError, match="replaced"):
        loss.backward()


@every_mode
def test_the_training_mode_of_forward_is_that_of_backward(mode, mix, stem):
    def switched(columns):
        columns.train()
        columns[1].levels[1].eval()
        leaf = stem.clone().requires_grad_()
        loss = columns(leaf)[-1].square().sum()
        columns.eval()
        loss.backward()
        assert not any(module.training for module in columns.modules())
        return [leaf.grad, *(each.grad for each in columns.parameters())]

    def extra(level, mixed):
        return mixed * (2.0 if level.training else 0.5)

    assert difference(switched(mix(mode, extra)), switched(mix(None, extra))) < FLOAT64


OTHERS = {
    "more tensors": lambda mixed: mixed.exp().log(),
    "another shape": lambda mixed: mixed * mixed.new_ones(5, 1),
    "another dtype": lambda mixed: mixed * torch.ones(4),
}


@pytest.mark.parametrize("other", OTHERS)
@every_mode
def test_a_transform_that_does_not_repeat_raises(mode, other, mix, stem):
    levels = iter(range(1000))

    def other_in_backward(level, mixed):
        return mixed * mixed.new_ones(4) if next(levels) < 8 else OTHERS[other](mixed)

    loss = mix(mode, other_in_backward)(stem)[-1].sum()
    with pytest.raises(ZooError, match="did not repeat"):
        loss.backward()


@pytest.mark.parametrize("frozen", [False, True])
def test_an_exact_chain_notices_other_values(frozen, mix, stem):
    random = np.random.default_rng(0)
    columns = mix("one exact chain", lambda level, mixed: mixed * float(random.uniform()))
    if frozen:
        columns[0].requires_grad_(False)
    loss = columns(stem)[-1].sum()
    with pytest.raises(ZooError, match="to the bit"):
        loss.backward()


@every_mode
def test_running_statistics_are_refused_in_training(mode, mix, stem):
    columns = mix(mode)
    columns[1].levels[0].linear = nn.Sequential(
        columns[1].levels[0].linear, nn.BatchNorm1d(4).double()
    )
    with pytest.raises(ConfigError, match=r"1\.levels\.0\.linear\.1 keeps running statistics"):
        columns(stem)
    columns.eval()
    given = grads(columns, stem)
    columns.remember("none")
    assert difference(given, grads(columns, stem)) < FLOAT64


@every_mode
def test_buffers_written_by_a_transform_are_refused(mode, mix, stem):
    columns = mix(mode)
    nn.utils.parametrizations.spectral_norm(columns[1].levels[0].linear)
    with pytest.raises(ZooError, match="twice"):
        columns(stem)
    columns.eval()
    assert len(grads(columns, stem)) == len(list(columns.parameters())) + 1


class WritesItsStem(Mix):
    def transform(self, stem, lower, higher):
        return super().transform(stem.mul_(1.5), lower, higher)


class WritesItsLower(Mix):
    def transform(self, stem, lower, higher):
        for each in lower:
            each.relu_()
        return super().transform(stem, lower, higher)


@pytest.mark.parametrize("level", [WritesItsStem, WritesItsLower])
@every_mode
def test_arguments_written_by_a_transform_are_refused(mode, level, mix, stem):
    with pytest.raises(ZooError, match="in place"):
        mix(mode, level=level)(stem.clone())


@every_mode
def test_in_place_operations_that_autograd_would_refuse_are_refused(mode, mix, stem):
    loss = mix(mode, lambda level, mixed: mixed.exp().add_(1))(stem)[-1].sum()
    with pytest.raises(ZooError, match="in place"):
        loss.backward()


@every_mode
def test_harmless_in_place_operations_are_welcome(mode, mix, stem):
    def extra(level, mixed):
        return (2 * mixed).add_(mixed).relu_()

    assert difference(grads(mix(mode, extra), stem), grads(mix(None, extra), stem)) < FLOAT64


def inside(columns, stem, module, with_output):
    """The gradients of a loss on a tensor from inside, which a hook took."""
    taken, leaf = [], stem.clone().requires_grad_()
    handle = module.register_forward_hook(lambda *arguments: taken.append(arguments[-1]))
    maps = columns(leaf)
    handle.remove()
    loss = taken[0].square().sum() + (maps[-1].sum() if with_output else 0)
    columns.zero_grad()
    loss.backward()
    return [leaf.grad, columns[0].levels[0].linear.weight.grad]


@every_mode
def test_a_tensor_from_inside_a_level_is_right_or_refused(mode, mix, stem):
    columns, plain = mix(mode), mix()
    with pytest.raises(ZooError, match="inside"):
        inside(columns, stem, columns[1].levels[0].linear, with_output=False)
    given = inside(columns, stem, columns[1].levels[0].linear, with_output=True)
    expected = inside(plain, stem, plain[1].levels[0].linear, with_output=True)
    assert difference(given, expected) < FLOAT64


@pytest.mark.parametrize("mode", CHAINS)
def test_a_map_from_inside_a_chain_is_right_or_refused(mode, mix, stem):
    columns, plain = mix(mode), mix()
    with pytest.raises(ZooError, match="not through"):
        inside(columns, stem, columns[1].levels[0], with_output=False)
    given = inside(columns, stem, columns[1].levels[0], with_output=True)
    expected = inside(plain, stem, plain[1].levels[0], with_output=True)
    assert difference(given, expected) < FLOAT64


@pytest.mark.parametrize("in_place", [False, True])
@every_mode
def test_hooks_that_change_a_map_are_followed_or_refused(mode, in_place, mix, stem):
    def hook(level, arguments, output):
        if not in_place:
            return output * 0.5
        with torch.no_grad():
            output.add_(1)
        return None

    def hooked(columns):
        for column in columns:
            column.levels[0].register_forward_hook(hook)
        return grads(columns, stem)

    if mode in CHAINS:
        with pytest.raises(ZooError, match="hook"):
            hooked(mix(mode))
    else:
        assert difference(hooked(mix(mode)), hooked(mix())) < FLOAT64


@every_mode
def test_context_is_watched(mode, stem):
    class Masked(Mix):
        def transform(self, stem, lower, higher, mask):
            return super().transform(stem, lower, higher) * mask

    torch.manual_seed(0)
    columns = ReversibleColumns([[Masked(), Masked()] for _ in range(3)], **MODES[mode]).double()
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    given = torch.autograd.grad(columns(stem, None, [mask])[-1].sum(), list(columns.parameters()))
    columns.remember("none")
    expected = torch.autograd.grad(
        columns(stem, None, [mask])[-1].sum(), list(columns.parameters())
    )
    assert difference(given, expected) < FLOAT64
    columns.remember(**MODES[mode])
    loss = columns(stem, None, [mask])[-1].sum()
    mask.zero_()
    with pytest.raises(ZooError, match="context"):
        loss.backward()
    with pytest.raises(InputError, match="context"):
        columns(stem, None, [mask.requires_grad_()])
