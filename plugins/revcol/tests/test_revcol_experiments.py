"""What `zoo reproduce revcol` computes: similarities, comparisons and their verdicts."""

from __future__ import annotations

import importlib
import io
import itertools
import zipfile
from dataclasses import replace

import pytest
import torch
from PIL import Image

from zoo_core.errors import InputError
from zoo_core.experiment import Context
from zoo_core.factories import import_string
from zoo_core.threads import one_thread
from zoo_revcol.cka import linear_cka
from zoo_revcol.experiments import (
    EXPERIMENTS,
    accuracy,
    cifar,
    disentangling,
    gradients,
    memory,
    reversibility,
    same_training,
)
from zoo_revcol.experiments import training as small
from zoo_revcol.experiments.training import Images, Recipe, fit
from zoo_revcol.model import RevCol
from zoo_revcol.plugin import CIFAR10


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic(x: torch.Tensor, y: torch.Tensor) -> float:
    """The unbiased estimator as its paper sums it, entry by entry."""
    n = len(x)
    k, l = ((each.flatten(1) @ each.flatten(1).T).fill_diagonal_(0) for each in (x, y))  # noqa: E741
    products = sum(k[i, j] * l[j, i] for i in range(n) for j in range(n))
    sums = k.sum() * l.sum() / ((n - 1) * (n - 2))
    rows = sum(k[i].sum() * l[i].sum() for i in range(n)) * 2 / (n - 2)
    return float((products + sums - rows) / (n * (n - 3)))


def test_cka_is_the_ratio_of_unbiased_estimates():
    x, noise = random(12, 5), random(12, 2, 3, seed=1)
    y = (x @ random(5, 6, seed=2)).view(12, 2, 3) + noise
    expected = hsic(x, y) / (hsic(x, x) * hsic(y, y)) ** 0.5
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)


def test_cka_sees_no_rotation_shift_or_factor():
    x = random(30, 8)
    rotation, _ = torch.linalg.qr(random(8, 8, seed=1))
    assert linear_cka(x, 3 * x @ rotation - 100) == pytest.approx(1, abs=1e-9)
    assert abs(linear_cka(random(400, 3), random(400, 3, seed=5))) < 0.05


def test_cka_refuses_what_it_cannot_estimate():
    with pytest.raises(InputError, match="at least 4"):
        linear_cka(random(3, 2), random(3, 2))
    with pytest.raises(InputError, match="12 and 11"):
        linear_cka(random(12, 2), random(11, 2))


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.name)
def test_every_experiment_names_functions(experiment):
    assert callable(import_string(experiment.run))
    assert callable(import_string(experiment.check))


@pytest.fixture
def context(tmp_path):
    """Two seeds, and forty images of two colours in the shape of the real archive."""
    folder = tmp_path / cifar.FOLDER
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    with zipfile.ZipFile(folder / "cifar10_small.zip", "w") as archive:
        for split, number in (("train", 8), ("test", 4)):
            for place, name in enumerate(CIFAR10):
                for index in range(number):
                    pixels = torch.randint(256, (32, 32, 3), generator=generator).byte() // 8
                    pixels[place * 3 : place * 3 + 4] = 255
                    file = io.BytesIO()
                    Image.fromarray(pixels.numpy()).save(file, "JPEG")
                    archive.writestr(f"{split}/{name}/{index:04}.jpg", file.getvalue())
    return Context(seeds=(0, 1), folder=tmp_path / "out", data_root=tmp_path)


@pytest.fixture
def short(monkeypatch):
    """Recipes of one epoch of few steps."""
    for module in (same_training, disentangling, accuracy):
        recipe = replace(module._RECIPE, epochs=1, batch_size=20)
        monkeypatch.setattr(module, "_RECIPE", recipe)
    monkeypatch.setattr(disentangling, "_NUMBER", 40)


def test_images_are_read_with_their_labels(context):
    test = cifar.read(context.data(cifar.FOLDER), "test")
    assert test.images.shape == (40, 3, 32, 32)
    assert test.labels.tolist() == [label for label in range(10) for _ in range(4)]
    bright = test.images.mean((1, 3)).argmax(1)
    assert torch.equal(bright // 3, test.labels) or (bright - 3 * test.labels).abs().max() <= 4


def test_training_is_the_same_in_every_mode(context, short):
    rows = list(same_training.run(context))
    assert [(row["seed"], row["memory"]) for row in rows] == [
        (seed, mode) for seed in (0, 1) for mode in same_training._MODES
    ]
    seen, why = same_training.holds(rows)
    assert seen, why
    losses = {row["seed"]: row["loss"] for row in rows}
    assert losses[0] != losses[1]
    rows[1]["loss"] += 0.01
    assert not same_training.holds(rows)[0]


def test_similarities_are_of_every_column_and_level(context, short):
    rows = list(disentangling.run(replace(context, seeds=(0,))))
    places = [(row["supervision"], row["column"], row["level"]) for row in rows]
    assert places == list(itertools.product((False, True), range(4), range(4)))
    assert all(-1 <= row["CKA with the image"] <= 1 for row in rows)
    assert isinstance(disentangling.holds(rows)[0], bool)


def trend(**changes):
    """Rows in which every trend shows, but for changes to a place's value."""
    rows = [
        {
            "seed": seed,
            "supervision": supervised,
            "column": column,
            "level": level,
            "CKA with the image": 0.6 - 0.1 * level - 0.1 * supervised,
            "CKA with the label": 0.1 + 0.1 * level + 0.1 * column,
        }
        for seed in (0, 1)
        for supervised in (False, True)
        for column in range(2)
        for level in range(4)
    ]
    for row in rows:
        if all(row[key] == value for key, value in changes.get("at", {"seed": -1}).items()):
            row[changes["measure"]] = changes["value"]
    return rows


@pytest.mark.parametrize(
    ("at", "measure", "value"),
    [
        ({"seed": 1, "supervision": False, "column": 1, "level": 3}, "label", 0.3),
        ({"seed": 0, "supervision": True, "column": 1, "level": 0}, "label", 0.9),
        ({"seed": 1, "supervision": True, "column": 1, "level": 0}, "image", 0.0),
        ({"supervision": True, "column": 1, "level": 3}, "image", 0.35),
    ],
)
def test_the_trends_must_all_show(at, measure, value):
    assert disentangling.holds(trend())[0]
    assert not disentangling.holds(trend(at=at, measure=f"CKA with the {measure}", value=value))[0]


def test_accuracy_compares_networks_of_one_size(context, short):
    rows = list(accuracy.run(replace(context, seeds=(0,))))
    sizes = {row["network"]: row["parameters"] for row in rows}
    assert list(sizes) == list(cifar.NETWORKS)
    assert sizes["4 columns"] == sizes["4 columns, supervised"]
    compared = [size for name, size in sizes.items() if name != "1 such column"]
    assert max(compared) < 1.06 * min(compared)
    better = [
        {**row, "test accuracy (%)": 50 + 10 * (row["network"] == "4 columns, supervised")}
        for row in rows
    ]
    assert accuracy.holds(better)[0]
    assert not accuracy.holds([{**row, "test accuracy (%)": 50.0} for row in rows])[0]


def test_reversibility_and_its_limits():
    rows = list(reversibility.run(Context(seeds=(), folder=None)))
    assert len(rows) == 24
    assert reversibility.holds(rows)[0]
    for row in rows:
        if (row["alpha"], row["columns"]) == ("1", 16):
            row["worst relative error"] *= 1e6
    assert not reversibility.holds(rows)[0]


def test_gradients_and_their_limits(monkeypatch):
    few = {name: gradients.VARIANTS[name] for name in ("nano", "huge")}
    monkeypatch.setattr(gradients, "VARIANTS", few)
    rows = list(gradients.run(Context(seeds=(), folder=None)))
    assert len(rows) == 2 * 2 * 2 * len(gradients.MODES)
    assert gradients.holds(rows)[0]
    rows[-1]["worst relative difference"] = 1e-3
    assert not gradients.holds(rows)[0]


def test_kept_bytes_counts_each_storage_once_and_no_parameter():
    net = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.Sigmoid(), torch.nn.Flatten())
    images = torch.randn(5, 10)
    # The linear layer keeps its input, the sigmoid its output.
    assert memory.kept_bytes(net, images) == 4 * (5 * 10 + 5 * 20)


def test_memory_is_judged_by_its_growth():
    def rows(none, checkpoint, chain, exact):
        growth = {
            "none": none,
            "checkpoint": checkpoint,
            "reversible, k=N": chain,
            "reversible, k=N, exact": exact,
        }
        return [
            {"columns": n, "memory": mode, "kept for backward (MiB)": 5 + n * each}
            for n in (1, 2, 4, 8, 16)
            for mode, each in growth.items()
        ]

    assert memory.holds(rows(54, 1.9, 0, 0.5))[0]
    assert not memory.holds(rows(54, 3.0, 0, 0.5))[0]
    assert not memory.holds(rows(54, 1.9, 0.1, 0.5))[0]
    assert not memory.holds(rows(54, 1.9, 0, 0.7))[0]


def test_fit_learns_and_repeats(context):
    train = cifar.read(context.data(cifar.FOLDER), "train")

    def trained():
        torch.manual_seed(0)
        network = RevCol((8, 8, 16, 16), (1, 1, 1, 1), 1, num_classes=10, layer_scale_init=0.1)
        recipe = Recipe(epochs=20, batch_size=20, flip=False, shift=0.0)
        with one_thread():
            loss = fit(network, train, recipe)
        return network.eval(), loss

    network, loss = trained()
    again, same = trained()
    assert loss == same < 1.6
    assert small.accuracy(network, train) > 60
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_held_out_share_is_apart_and_fixed():
    everything = Images(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10))
    rest, held = everything.split(0.2, seed=1)
    assert sorted([*rest.labels.tolist(), *held.labels.tolist()]) == list(range(10))
    assert len(held) == 2
    assert torch.equal(held.labels, everything.split(0.2, seed=1)[1].labels)


def test_declaring_experiments_imports_nothing_heavy():
    module = importlib.import_module("zoo_revcol.experiments")
    assert {each.name for each in module.EXPERIMENTS} >= {"reversibility", "accuracy"}
