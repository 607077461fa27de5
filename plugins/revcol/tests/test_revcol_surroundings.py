"""A level is repeated under the random state and autocast settings that it ran under."""

from __future__ import annotations

import contextlib
import gc
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zoo_core.errors import ZooWarning
from zoo_revcol.reversible import ReversibleColumns, ReversibleLevel
from zoo_revcol.reversible.surroundings import Surroundings

MODES = {
    "checkpoint": {"memory": "checkpoint"},
    "within a column": {"memory": "reversible"},
    "one exact chain": {"memory": "reversible", "anchor_every": 99, "exact": True},
}
CONFIG = {"channels": (4, 8, 12, 16), "layers": (1, 1, 2, 1), "num_columns": 3, "num_classes": 5}
CPU = torch.device("cpu")
# Relative to the largest value of a gradient; both sides compute in the same low precision.
TOLERANCES = {torch.bfloat16: 2e-2, torch.float16: 5e-3}

every_mode = pytest.mark.parametrize("mode", MODES)
# Low precision is warned about within a column, too, from an estimate on the safe side.
pytestmark = pytest.mark.filterwarnings("ignore:rebuilding 1 columns")


def difference(given, expected):
    return max(
        float((ours - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(given, expected, strict=True)
    )


def gradients(model, images, memory, dtype=None, cache=True, inside=False):
    """By backward, under autocast to `dtype` in forward, and in backward where `inside`."""
    model.columns.remember(**memory)
    model.zero_grad()
    images = images.detach().requires_grad_()
    torch.manual_seed(0)
    autocast = torch.autocast("cpu", dtype, enabled=dtype is not None, cache_enabled=cache)
    with autocast:
        loss = model(images).double().square().sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return [images.grad, *(each.grad for each in model.parameters())]


@pytest.fixture
def trained(make):
    def build(dtype=torch.float32):
        model = make({**CONFIG, "drop_path_rate": 0.4}, dtype=dtype).train()
        for column in model.columns:
            column.levels[2].blocks.append(nn.Dropout(0.3))
        return model

    return build


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("dtype", list(TOLERANCES))
@every_mode
def test_autocast(mode, dtype, cache, trained, images):
    model, image = trained(), images(4, 3, 64, 64, dtype=torch.float32)
    expected = gradients(model, image, {"memory": "none"}, dtype, cache)
    full = gradients(model, image, {"memory": "none"})
    given = gradients(model, image, MODES[mode], dtype, cache)
    assert difference(expected, full) > 1e-3
    assert difference(given, expected) < TOLERANCES[dtype]
    if mode != "within a column":
        assert difference(given, expected) < 1e-5


@every_mode
def test_backward_under_other_autocast_settings(mode, trained, images):
    model, image = trained(), images(4, 3, 64, 64, dtype=torch.float32)

    def backward_in_bfloat16(memory):
        model.columns.remember(**memory)
        model.zero_grad()
        torch.manual_seed(0)
        loss = model(image).double().square().sum()
        with torch.autocast("cpu", torch.bfloat16):
            loss.backward()
        return [each.grad for each in model.parameters()]

    expected = backward_in_bfloat16({"memory": "none"})
    given = backward_in_bfloat16(MODES[mode])
    assert difference(given, expected) < TOLERANCES[torch.bfloat16]
    if mode != "within a column":
        assert difference(given, expected) < 1e-5
    assert not torch.is_autocast_enabled("cpu")


@every_mode
def test_forward_and_backward_in_one_autocast_region(mode, trained, images):
    model, image = trained(), images(4, 3, 64, 64, dtype=torch.float32)
    expected = gradients(model, image, {"memory": "none"}, torch.bfloat16, inside=True)
    given = gradients(model, image, MODES[mode], torch.bfloat16, inside=True)
    assert difference(given, expected) < TOLERANCES[torch.bfloat16]


@every_mode
def test_scaled_loss(mode, trained, images):
    model, image = trained(), images(4, 3, 64, 64, dtype=torch.float32)
    expected = gradients(model, image, {"memory": "none"}, torch.float16)
    model.columns.remember(**MODES[mode])
    model.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.float16):
        loss = model(image).double().square().sum()
    scaler.scale(loss).backward()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler.unscale_(optimiser)
    given = [each.grad for each in model.parameters()]
    assert difference(given, expected[1:]) < TOLERANCES[torch.float16]


@every_mode
def test_random_numbers_go_on_as_without_recomputation(mode, trained, images):
    model, image = trained(torch.float64), images(4, 3, 32, 32)

    def steps(memory):
        model.columns.remember(**memory)
        torch.manual_seed(5)
        found = []
        for _ in range(2):
            loss = model(image).sum()
            found += [loss.item(), torch.rand(()).item()]
            loss.backward()
            found.append(torch.rand(()).item())
        return found

    assert steps(MODES[mode]) == steps({"memory": "none"})


@every_mode
def test_random_numbers_between_forward_and_backward_do_not_matter(mode, trained, images):
    model, image = trained(torch.float64), images(4, 3, 32, 32)
    expected = gradients(model, image, {"memory": "none"})
    model.columns.remember(**MODES[mode])
    model.zero_grad()
    torch.manual_seed(0)
    loss = model(image).double().square().sum()
    torch.manual_seed(999)
    state = torch.get_rng_state()
    loss.backward()
    assert torch.equal(torch.get_rng_state(), state)
    given = [each.grad for each in model.parameters()]
    assert difference(given, expected[1:]) < 1e-10


def test_the_random_state_is_kept_only_where_it_is_used():
    unused, used = Surroundings(CPU), Surroundings(CPU)
    unused.forget_unused()
    torch.rand(1)
    used.forget_unused()
    state = torch.get_rng_state()
    with unused.restored():
        assert torch.equal(torch.get_rng_state(), state)
    with used.restored():
        assert not torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_error_inside_leaves_the_random_state_and_autocast_as_they_were():
    with torch.autocast("cpu", torch.bfloat16):
        surroundings = Surroundings(CPU)
    torch.rand(1)
    state = torch.get_rng_state()

    def fail():
        assert torch.is_autocast_enabled("cpu")
        torch.rand(3)
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), surroundings.restored():
        fail()
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_settings_come_back(enabled, cache, dtype):
    with torch.autocast("cpu", dtype, enabled=enabled):
        surroundings = Surroundings(CPU)
    with torch.autocast("cpu", torch.bfloat16, enabled=not enabled, cache_enabled=cache):
        with surroundings.restored():
            assert torch.is_autocast_enabled("cpu") is enabled
            assert torch.get_autocast_dtype("cpu") is dtype
            assert not torch.is_autocast_cache_enabled()
        assert torch.is_autocast_enabled("cpu") is not enabled
        assert torch.get_autocast_dtype("cpu") is torch.bfloat16
        assert torch.is_autocast_cache_enabled() is cache


@every_mode
def test_autocast_holds_no_casts_of_maps_after_backward(mode, trained, images):
    model, image = trained(), images(7, 3, 64, 64, dtype=torch.float32)
    model.columns.remember(**MODES[mode])
    with torch.autocast("cpu", torch.bfloat16):
        model(image).float().sum().backward()
        gc.collect()
        held = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        assert not [each for each in held if each.dtype is torch.bfloat16 and len(each) == 7]


class Accelerator:
    """The random state of two devices, as a device module of torch has it."""

    def __init__(self):
        self.states = {index: torch.tensor([10 * index]) for index in range(2)}

    def _index(self, device):
        return torch.device(device).index or 0

    def get_rng_state(self, device):
        return self.states[self._index(device)].clone()

    def set_rng_state(self, state, device):
        self.states[self._index(device)] = state.clone()

    def draw(self, device):
        self.states[self._index(device)] += 1
        return int(self.states[self._index(device)])

    def is_available(self):
        return True


@pytest.fixture
def accelerator(monkeypatch):
    module = Accelerator()
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    # torch.random.fork_rng finds the module by the device's type.
    monkeypatch.setattr(torch.cuda, "get_rng_state", module.get_rng_state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", module.set_rng_state)
    return module


@pytest.mark.parametrize("index", [0, 1])
def test_the_random_state_of_a_second_device(index, accelerator):
    device = torch.device("cuda", index)
    surroundings = Surroundings(device)
    drawn, on_cpu = [accelerator.draw(device) for _ in range(3)], torch.rand(2)
    surroundings.forget_unused()
    accelerator.draw(torch.device("cuda", 1 - index))
    before = {key: state.clone() for key, state in accelerator.states.items()}
    with surroundings.restored():
        assert [accelerator.draw(device) for _ in range(3)] == drawn
        assert torch.equal(torch.rand(2), on_cpu)
    assert all(torch.equal(accelerator.states[key], before[key]) for key in before)


@pytest.mark.parametrize("drawn_on", ["device", "cpu", "neither"])
def test_a_number_drawn_on_either_device_keeps_the_states_of_both(drawn_on, accelerator):
    device = torch.device("cuda", 0)
    surroundings = Surroundings(device)
    if drawn_on == "device":
        accelerator.draw(device)
    elif drawn_on == "cpu":
        torch.rand(1)
    surroundings.forget_unused()
    accelerator.draw(device)
    torch.rand(1)
    now = accelerator.get_rng_state(device), torch.get_rng_state()
    with surroundings.restored():
        changed = not torch.equal(accelerator.get_rng_state(device), now[0])
        assert changed == (drawn_on != "neither")
        assert torch.equal(torch.get_rng_state(), now[1]) == (drawn_on == "neither")


def test_autocast_of_a_second_device(accelerator, monkeypatch):
    entered = []

    def autocast(**settings):
        entered.append(settings)
        return contextlib.nullcontext()

    enabled = {"cpu": False, "cuda": True}
    dtypes = {"cpu": torch.bfloat16, "cuda": torch.float16}
    with monkeypatch.context() as patched:
        patched.setattr(torch, "is_autocast_enabled", enabled.__getitem__)
        patched.setattr(torch, "get_autocast_dtype", dtypes.__getitem__)
        surroundings = Surroundings(torch.device("cuda", 0))
        patched.setattr(torch, "autocast", autocast)
        with surroundings.restored():
            pass
    found = {each["device_type"]: (each["enabled"], each["dtype"]) for each in entered}
    assert found == {"cpu": (False, torch.bfloat16), "cuda": (True, torch.float16)}


def test_the_meta_device_has_no_random_state():
    with Surroundings(torch.device("meta")).restored():
        assert torch.rand(2, device="meta").is_meta


def test_columns_on_the_meta_device_have_gradients_of_the_right_shapes(make, images):
    model = make(CONFIG).to("meta")
    model(images(2, 3, 32, 32).to("meta")).sum().backward()
    assert all(each.grad.shape == each.shape for each in model.parameters())


@pytest.mark.parametrize("anchor_every", [1, 99])
def test_low_precision_alphas_are_warned_about(anchor_every, images):
    class Identity(ReversibleLevel):
        def transform(self, stem, lower, higher):
            return stem

    levels = [[Identity((4, 1, 1), alpha_init=0.1)] for _ in range(4)]
    columns = ReversibleColumns(levels, "reversible", anchor_every).bfloat16()
    stem = images(1, 4, 2, 2, dtype=torch.bfloat16).requires_grad_()
    with pytest.warns(ZooWarning, match=r"torch\.bfloat16"):
        columns(stem)
    columns(stem)  # once is enough


def test_settings_are_plain_values():
    """So that what a graph holds of them is small."""
    surroundings = SimpleNamespace(**vars(Surroundings(CPU)))
    held = [each for each in vars(surroundings).values() if isinstance(each, tuple)]
    assert sum(t.numel() for pair in held for t in pair if t is not None) < 10_000
