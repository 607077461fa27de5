"""The network computes the paper's equations: against a plain reference in float64."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from zoo_revcol.convert import from_megvii
from zoo_revcol.drop_path import DropPath
from zoo_revcol.level import Level
from zoo_revcol.model import RevCol
from zoo_revcol.reversible import Column
from zoo_revcol.variants import VARIANTS


def assert_close(actual, expected, tolerance):
    scale = expected.abs().max()
    assert (actual - expected).abs().max() <= tolerance * scale


@pytest.mark.parametrize("size", [(64, 64), (45, 99)], ids=["even", "odd"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_equals_the_reference(variant, size, narrow, reference, images):
    config = narrow(variant)
    weights = reference.random_weights(reference.shapes(**config))
    model = RevCol(**config).double().eval()
    model.load_state_dict(from_megvii({"model": weights}), strict=True)
    image = images(2, 3, *size)
    expected = reference.columns(weights, image)
    with torch.no_grad():
        actual = model.forward_columns(image)
        logits = model(image)
    assert len(actual) == len(expected) == config["num_columns"]
    for ours, theirs in zip(actual, expected, strict=True):
        for map_, reference_map in zip(ours, theirs, strict=True):
            assert map_.shape == reference_map.shape
            assert_close(map_, reference_map, 1e-9)
    assert_close(logits, reference.logits(weights, expected[-1][3]), 1e-9)


@pytest.mark.parametrize("kernel_size", [1, 5, 7])
def test_other_kernels_equal_the_reference(kernel_size, narrow, reference, images):
    config = narrow("nano", kernel_size=kernel_size, in_chans=1)
    weights = reference.random_weights(reference.shapes(**config))
    model = RevCol(**config).double().eval()
    model.load_state_dict(from_megvii(weights))
    image = images(1, 1, 64, 32)
    expected = reference.columns(weights, image)[-1]
    for map_, reference_map in zip(model.forward_pyramid(image), expected, strict=True):
        assert_close(map_, reference_map, 1e-9)


def test_the_pyramid_is_the_last_of_the_columns(narrow, make, images):
    model = make(narrow("huge"))
    image = images(2, 3, 40, 64)
    for last, features in zip(
        model.forward_columns(image)[-1], model.forward_pyramid(image), strict=True
    ):
        assert torch.equal(last, features)


def level(alpha: torch.Tensor, alpha_min: float = 1e-3) -> Level:
    made = Level(
        alpha.numel(),
        lower_channels=None,
        higher_channels=None,
        top_channels=None,
        kernel_size=3,
        drop_path_rates=[0.0],
        layer_scale_init=1.0,
        alpha_init=0.5,
        alpha_min=alpha_min,
    ).to(alpha.dtype)
    with torch.no_grad():
        made.alpha.copy_(alpha.view(1, -1, 1, 1))
    return made


def test_small_alphas_are_bounded_and_keep_their_sign():
    alpha = torch.tensor([0.0, 1e-5, -1e-5, -1e-3, 0.3, -2.0, float("nan")], dtype=torch.float64)
    expected = torch.tensor([1e-3, 1e-3, -1e-3, -1e-3, 0.3, -2.0, float("nan")]).double()
    made = level(alpha)
    torch.testing.assert_close(made.scale().flatten(), expected, equal_nan=True, rtol=1e-6, atol=0)
    assert torch.equal(made.scale().flatten()[4:6], alpha[4:6])


def test_the_bound_on_alpha_does_not_mask_its_gradient(images):
    made = level(torch.tensor([0.0, 1e-5, -1e-5, 0.3], dtype=torch.float64))
    previous, lower, weight = (images(2, 4, 8, 8, seed=seed) for seed in (1, 2, 3))
    (made(previous, lower, (), ()) * weight).sum().backward()
    assert_close(made.alpha.grad.flatten(), (previous * weight).sum((0, 2, 3)), 1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_forward_changes_no_parameter(training, narrow, make, images):
    model = make(narrow("nano", drop_path_rate=0.2)).train(training)
    with torch.no_grad():
        model.columns[1].levels[0].alpha.fill_(1e-7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(images(2, 3, 32, 32))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_gradients_of_a_column():
    channels = (3, 4, 5, 6)
    config = {"layers": (1, 1, 1, 1), "num_columns": 2, "num_classes": 2, "top_down_skip": True}
    torch.manual_seed(0)
    column = RevCol(channels, layer_scale_init=0.7, **config).double().columns[1]
    with torch.no_grad():
        for parameter in column.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    maps = [
        torch.randn(1, width, 8 >> index, 8 >> index, dtype=torch.float64, requires_grad=True)
        for index, width in enumerate((channels[0], *channels[1:]))
    ]
    stem = torch.randn(1, channels[0], 8, 8, dtype=torch.float64, requires_grad=True)
    names, values = zip(*column.named_parameters(), strict=True)

    def run(stem, *rest):
        parameters = dict(zip(names, rest[4:], strict=True))
        return tuple(functional_call(column, parameters, (stem, rest[:4])))

    assert isinstance(column, Column)
    assert torch.autograd.gradcheck(lambda *inputs: run(*inputs, *values), (stem, *maps))
    assert torch.autograd.gradcheck(run, (stem, *maps, *values), fast_mode=True)


def test_every_parameter_gets_a_gradient_and_the_first_alphas_a_zero(narrow, make, images):
    model = make(narrow("huge")).train()
    model(images(2, 3, 64, 64)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        is_first_alpha = name.startswith("columns.0.") and name.endswith("alpha")
        assert bool(parameter.grad.any()) != is_first_alpha, name


def test_drop_path_rises_linearly_in_every_column_alike(narrow):
    model = RevCol(**narrow("small", drop_path_rate=0.3))
    for column in model.columns:
        rates = [module.rate for module in column.modules() if isinstance(module, DropPath)]
        torch.testing.assert_close(torch.tensor(rates), torch.linspace(0, 0.3, 10))


def test_drop_path_drops_whole_samples_and_keeps_the_expectation():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(20000, 2, 1, 2)
    dropped = drop(x)
    assert torch.equal(dropped, dropped[:, :1, :, :1].expand_as(x))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs(dropped.mean().item() - 1) < 0.02
    assert torch.equal(drop.eval()(x), x)


def test_drop_path_acts_in_training_only(narrow, make, images):
    model = make(narrow("nano", drop_path_rate=0.9))
    image = images(8, 3, 32, 32)
    assert torch.equal(model(image), model(image))
    model.train()
    assert not torch.equal(model(image), model(image))
