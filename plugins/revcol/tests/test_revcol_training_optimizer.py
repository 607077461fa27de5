"""Groups of parameters, and alphas as the official code clamps them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.layers import layer_id
from zoo_revcol.model import RevCol
from zoo_revcol.reversible import ReversibleLevel
from zoo_revcol.segmentation import UPerNet
from zoo_revcol.training import RECIPES, parameter_groups, project_alphas
from zoo_revcol.training.optimizer import adamw, set_learning_rate


def by_name(model, groups):
    """Name -> (weight decay, scale of the learning rate), from groups of parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {}
    for group in groups:
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = (group["weight_decay"], group["lr_scale"])
    return found


@pytest.mark.parametrize("decay_alpha", [False, True])
def test_every_parameter_is_in_one_group_as_the_formula_says(decay_alpha, narrow):
    model = RevCol(**narrow("huge", intermediate_supervision=True))
    groups = parameter_groups(model, weight_decay=0.3, layer_decay=0.8, decay_alpha=decay_alpha)
    found = by_name(model, groups)
    assert set(found) == {name for name, _ in model.named_parameters()}
    top = sum(model.layers) + model.num_columns
    for name, parameter in model.named_parameters():
        decayed = parameter.ndim > 1 and (decay_alpha or not name.endswith("alpha"))
        scale = 0.8 ** (top - layer_id(name, model.layers, model.num_columns))
        assert found[name] == (0.3 if decayed else 0.0, scale), name


def test_without_layer_decay_there_are_two_groups(narrow):
    model = RevCol(**narrow("tiny"))
    groups = parameter_groups(model, weight_decay=0.05, lr=0.1)
    assert [(group["weight_decay"], group["lr"]) for group in groups] == [(0.05, 0.1), (0.0, 0.1)]
    assert len(parameter_groups(nn.Linear(2, 2), weight_decay=0.05)) == 2


def test_a_backbone_inside_decays_and_the_rest_learns_as_a_head(narrow):
    backbone = RevCol(**narrow("tiny", num_classes=0, global_pool=""))
    model = UPerNet(backbone, 3, channels=8)
    options = {"weight_decay": 0.01, "layer_decay": 0.9, "lr": 1.0}
    found = by_name(model, parameter_groups(model, **options))
    alone = by_name(backbone, parameter_groups(backbone, **options))
    prefix = next(name for name, module in model.named_modules() if module is backbone)
    assert min(scale for _, scale in alone.values()) == pytest.approx(0.9**14)
    for name, (decay, scale) in found.items():
        if name.startswith(f"{prefix}."):
            assert (decay, scale) == alone[name.removeprefix(f"{prefix}.")]
        else:
            assert scale == 1.0


def test_frozen_parameters_are_left_out(narrow):
    model = RevCol(**narrow("tiny"))
    model.stem.requires_grad_(False)
    found = by_name(model, parameter_groups(model, weight_decay=0.05))
    assert set(found) == {name for name, it in model.named_parameters() if it.requires_grad}
    with pytest.raises(InputError, match="all are frozen"):
        parameter_groups(model.requires_grad_(False), weight_decay=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0.9}, "no RevCol in it"),
        ({"layer_decay": 1.1}, "layer_decay is 1.1"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"decay_alpha": 1}, "decay_alpha is 1"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        parameter_groups(nn.Linear(2, 2), **{"weight_decay": 0.0, **options})


def test_learning_rates_follow_the_layer(narrow):
    model = RevCol(**narrow("base"))
    optimizer = adamw(model, RECIPES["base-ft-224"])
    set_learning_rate(optimizer, 0.5)
    scales = sorted(group["lr_scale"] for group in optimizer.param_groups)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [0.5 * it for it in scales]
    assert scales[0] == pytest.approx(0.9**23)
    assert scales[-1] == 1.0


def levels(model):
    return [module for module in model.modules() if isinstance(module, ReversibleLevel)]


def test_projected_values():
    model = RevCol((4, 8, 16, 32), (1, 1, 1, 1), 2, alpha_min=1e-3)
    alpha = levels(model)[0].alpha
    given = torch.tensor([0.0, -0.0, 5e-4, -5e-4, 1e-3, -1e-3, 0.7, -0.7])[:4]
    with torch.no_grad():
        alpha[0, :, 0, 0] = given
    project_alphas(model)
    least = torch.tensor(1e-3)
    assert torch.equal(alpha[0, :, 0, 0], torch.stack([least, least, least, -least]))
    assert (levels(model)[1].alpha == 0.5).all()


def test_every_projected_value_is_the_bound_itself_to_the_last_bit():
    model = RevCol((4096, 8, 8, 8), (1, 1, 1, 1), 1)
    level = levels(model)[0]
    with torch.no_grad():
        level.alpha.normal_(std=1e-3, generator=torch.Generator().manual_seed(0))
        before = level.alpha.clone()
    project_alphas(model)
    small = before.abs() < 1e-3
    assert 0.5 < small.float().mean() < 0.8
    expected = torch.where(small, torch.tensor(1e-3).copysign(before), before)
    assert torch.equal(level.alpha, expected)


def clamped_before_forward(model):
    """The official way: each alpha is overwritten when the forward pass begins."""

    def clamp(*_):
        for level in levels(model):
            sign = torch.sign(level.alpha.data)
            level.alpha.data = sign * level.alpha.data.abs().clamp(min=level.alpha_min)

    model.register_forward_pre_hook(clamp)
    return clamp


@pytest.mark.parametrize("memory", ["none", "checkpoint"])
def test_projecting_after_steps_is_clamping_in_place_before_forward(memory, make):
    config = {
        "channels": (4, 8, 16, 32),
        "layers": (1, 1, 1, 1),
        "num_columns": 2,
        "num_classes": 3,
        "memory": memory,
    }
    mine = make(config).train()
    with torch.no_grad():
        for level in levels(mine):
            level.alpha.mul_(2e-3)  # near enough to cross the bound and zero
    theirs = copy.deepcopy(mine)
    clamp = clamped_before_forward(theirs)
    project_alphas(mine)
    images = torch.randn(
        2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    optimizers = [torch.optim.AdamW(each.parameters(), lr=1e-3) for each in (mine, theirs)]
    optimizers[0].register_step_post_hook(lambda *_: project_alphas(mine))
    moved = 0
    for _ in range(6):
        for model, optimizer in zip((mine, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()
        moved += sum(int((level.alpha.abs() < 1e-3).sum()) for level in levels(theirs))
    assert moved > 20
    clamp()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
