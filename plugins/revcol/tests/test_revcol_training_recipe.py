"""The published recipes, number by number, and the schedules of the learning rate."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from zoo_core.errors import ConfigError, UnknownNameError
from zoo_revcol.plugin import NANO_PREPROCESSING
from zoo_revcol.released import preprocessing
from zoo_revcol.training import DENSE_RECIPES, RECIPES, Recipe, recipe_named
from zoo_revcol.training.schedule import polynomial, step_decay, warmup_cosine

COLUMNS = (
    "epochs",
    "lr",
    "warmup_epochs",
    "warmup_lr",
    "min_lr",
    "weight_decay",
    "clip",
    "mixup",
    "cutmix",
    "color_jitter",
    "ema",
    "layer_decay",
    "drop_path",
    "image_size",
)
PUBLISHED = {
    "tiny-1k": (300, 1e-3, 20, 1e-5, 1e-6, 0.05, None, 0.8, 1.0, 0.4, 0.9999, 1, 0.1, 224),
    "small-1k": (300, 1e-3, 20, 1e-5, 1e-6, 0.05, None, 0.8, 1.0, 0.4, 0.9999, 1, 0.3, 224),
    "base-1k": (300, 1e-3, 20, 1e-5, 1e-8, 0.05, 5.0, 0.8, 1.0, 0, 0.9999, 1, 0.4, 224),
    "base-22k": (90, 1.25e-4, 5, 1e-5, 1e-7, 0.1, 10, 0.8, 1.0, 0.4, None, 1, 0.3, 224),
    "large-22k": (90, 1.25e-4, 5, 1e-5, 1e-7, 0.1, 10, 0.8, 1.0, 0.4, None, 1, 0.3, 224),
    "xlarge-22k": (90, 1.25e-4, 5, 1e-5, 1e-7, 0.1, 10, 0.8, 1.0, 0, None, 1, 0.4, 224),
    "base-ft-224": (30, 1e-4, 0, 0, 2e-7, 1e-8, 10, 0, 0, 0, None, 0.9, 0.2, 224),
    "base-ft-384": (30, 1e-4, 0, 0, 2e-7, 1e-8, 10, 0, 0, 0, None, 0.9, 0.2, 384),
    "large-ft-224": (30, 5e-5, 0, 0, 2e-7, 1e-8, 10, 0, 0, 0, None, 0.8, 0.3, 224),
    "large-ft-384": (30, 5e-5, 0, 0, 2e-7, 1e-8, 10, 0, 0, 0, None, 0.8, 0.3, 384),
    "xlarge-ft-384": (30, 2e-5, 0, 0, 2e-7, 1e-8, 10, 0, 0, 0, 0.9999, 0.8, 0.4, 384),
    "huge-ft-640": (20, 4e-5, 0, 0, 2e-8, 1e-8, 100, 0, 0, 0, 0.9999, 0.8, 0.4, 640),
}
# lr, weight decay, layer decay, drop path, length
DENSE = {
    "tiny-coco": (2e-4, 0.05, 0.85, 0.3, 36),
    "small-coco": (2e-4, 0.05, 0.85, 0.4, 36),
    "base-1k-coco": (2e-4, 0.05, 0.9, 0.4, 36),
    "base-22k-coco": (1e-4, 0.05, 0.9, 0.4, 36),
    "large-22k-coco": (1e-4, 0.05, 0.85, 0.5, 36),
    "tiny-ade20k": (6e-5, 0.01, 1.0, 0.3, 160_000),
    "small-ade20k": (4e-5, 0.01, 1.0, 0.3, 160_000),
    "base-1k-ade20k": (4e-5, 0.01, 1.0, 0.3, 160_000),
    "base-22k-ade20k": (4e-5, 0.01, 0.9, 0.3, 160_000),
    "large-22k-ade20k": (4e-5, 0.01, 0.9, 0.3, 160_000),
    "huge-ade20k": (4e-5, 0.01, 0.9, 0.3, 160_000),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes(name):
    recipe = RECIPES[name]
    assert tuple(getattr(recipe, column) for column in COLUMNS) == PUBLISHED[name]
    assert recipe.supervision == ("ft" not in name)
    assert (recipe.betas, recipe.eps, recipe.precision) == ((0.9, 0.999), 1e-8, "fp16")
    assert (recipe.auto_augment, recipe.erasing) == ("rand-m9-mstd0.5-inc1", 0.25)
    assert (recipe.bce, recipe.ce, recipe.label_smoothing) == (3.0, 0.7, 0.1)
    assert recipe.decay_alpha
    assert not recipe.tensors
    assert recipe.lr_images == 1024
    assert recipe.preprocessing() == preprocessing(recipe.image_size)


def test_every_recipe_is_published_or_nano_s():
    assert set(RECIPES) == {*PUBLISHED, "nano-digits", "nano-cifar10"}
    assert set(DENSE_RECIPES) == set(DENSE)


@pytest.mark.parametrize("name", ["nano-digits", "nano-cifar10"])
def test_nano_sees_images_as_its_weights_say(name):
    recipe = RECIPES[name]
    assert recipe.preprocessing() == NANO_PREPROCESSING
    assert recipe.tensors
    assert not recipe.decay_alpha
    assert recipe.scaled(recipe.batch_size) == (2e-3, 0.0, 0.0)


@pytest.mark.parametrize("name", DENSE)
def test_dense_recipes(name):
    recipe = DENSE_RECIPES[name]
    numbers = (recipe.lr, recipe.weight_decay, recipe.layer_decay, recipe.drop_path, recipe.length)
    assert numbers == DENSE[name]
    assert recipe.group_options()["decay_alpha"] is False
    if name.endswith("coco"):
        factors = [recipe.schedule(epoch) for epoch in (0, 26, 27, 32, 33, 35)]
        assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    else:
        warmup = 3000 if name.startswith(("large", "huge")) else 1500
        assert recipe.schedule(warmup // 2 - 1) == pytest.approx(
            0.5 * (1 - (warmup // 2 - 1) / 160_000)
        )
        assert recipe.schedule(80_000) == pytest.approx(0.5)
        assert recipe.schedule(160_000) == 0
        large = "22k" in name or name.startswith("huge")
        assert recipe.crop == (640 if large else 512)


def test_all_three_learning_rates_are_scaled_by_the_images_of_a_step():
    assert RECIPES["tiny-1k"].scaled(4096) == pytest.approx((4e-3, 4e-5, 4e-6))
    assert RECIPES["tiny-1k"].scaled(256) == pytest.approx((2.5e-4, 2.5e-6, 2.5e-7))


def test_warmup_and_cosine_worked_by_hand():
    plan = {"total": 110, "lr": 1.0, "warmup": 10, "warmup_lr": 0.1, "min_lr": 0.2}
    rates = [warmup_cosine(step, **plan) for step in (0, 5, 10, 35, 60, 110, 200)]
    quarter = 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2
    assert rates == pytest.approx([0.1, 0.55, 1.0, quarter, 0.6, 0.2, 0.2])


def test_cosine_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01)
    for step in range(20):
        mine = warmup_cosine(step, total=20, lr=0.3, min_lr=0.01)
        assert mine == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(("total", "warmup"), [(0, 0), (5, 5), (5, -1)])
def test_a_schedule_needs_steps_after_warm_up(total, warmup):
    with pytest.raises(ConfigError, match="expected fewer"):
        warmup_cosine(0, total=total, lr=1.0, warmup=warmup)
    with pytest.raises(ConfigError, match="expected fewer"):
        polynomial(total, warmup)


def test_factors_without_warm_up():
    assert polynomial(10, 0, power=2.0)(5) == pytest.approx(0.25)
    assert step_decay((2, 4), 0.5)(4) == pytest.approx(0.25)


def test_unknown_recipe_suggests():
    with pytest.raises(UnknownNameError, match="Did you mean base-ft-384"):
        recipe_named("base-ft-383")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"erasing": 2.0}, "erasing is 2.0"),
        ({"warmup_epochs": 300.0}, "of 300 epochs"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"betas": (0.9,)}, "two numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "std is 0.0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"crop_pct": 1.5}, "crop_pct is 1.5"),
        ({"image_size": 16}, "image_size is 16"),
        ({"flip": 1}, "flip is 1"),
        ({"lrr": 1.0}, "no field 'lrr'. Did you mean lr"),
    ],
)
def test_recipes_are_checked(changes, message):
    with pytest.raises(ConfigError, match=message):
        RECIPES["tiny-1k"].changed(**changes)


def test_none_changes_nothing():
    assert RECIPES["tiny-1k"].changed(lr=None, epochs=None) == RECIPES["tiny-1k"]


def test_recipes_are_json_and_come_back():
    for recipe in RECIPES.values():
        assert Recipe(**recipe.to_json()) == recipe


def test_names_cost_no_heavy_import():
    code = (
        "import sys, zoo_revcol.training as t; from zoo_revcol.training import command; "
        "t.RECIPES, t.DENSE_RECIPES; "
        "assert not {'torch', 'timm', 'accelerate', 'PIL'} & set(sys.modules); "
        "assert set(t.__all__) <= set(dir(t)); [getattr(t, name) for name in t.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
