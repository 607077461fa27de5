"""The weights that come along do what their cards say, and the demo shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo_core.errors import ZooError
from zoo_revcol import digits
from zoo_revcol.experiments import cifar
from zoo_revcol.model import RevCol

ZOO = (sys.executable, "-c", "from zoo_core.cli import main; main()")
TAGS = ("digits", "cifar10")


def accuracy(model: Any, images: list[Image.Image], labels: np.ndarray) -> float:
    transform = model.zoo.transform()
    with torch.inference_mode():
        answers = model(torch.stack([transform(image) for image in images])).argmax(1).numpy()
    return 100 * (answers == labels).mean().item()


def test_the_digits_are_split_once_and_for_all() -> None:
    train, test = digits.load_split()
    assert (len(train.images), len(test.images)) == (1437, 360)
    assert np.bincount(test.labels).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    seen = {image.tobytes() for image in train.images}
    assert sum(image.tobytes() in seen for image in test.images) == 0


def test_digits_reach_the_accuracy_that_the_card_states() -> None:
    model = zoo.load("revcol-nano.digits", local_files_only=True)
    _, test = digits.load_split()
    stated = model.zoo.weights.metrics["test accuracy (%)"]
    assert stated >= 98.0
    # One image more or less, for another processor's rounding.
    assert accuracy(model, test.images, test.labels) == pytest.approx(stated, abs=100 / 360 + 0.01)


def test_cifar10_reaches_the_accuracy_that_the_card_states() -> None:
    data = os.environ.get("ZOO_DATA")
    if not data or not (archive := Path(data) / "cifar10-small" / "cifar10_small.zip").exists():
        pytest.skip("needs ZOO_DATA with cifar10-small/cifar10_small.zip")
    model = zoo.load("revcol-nano.cifar10", local_files_only=True)
    test = cifar.read(archive.parent, "test")
    with torch.inference_mode():
        right = model(test.images).argmax(1) == test.labels
    stated = model.zoo.weights.metrics["test accuracy (%)"]
    assert 100 * right.double().mean().item() == pytest.approx(stated, abs=0.21)


@pytest.mark.parametrize("tag", TAGS)
def test_card_folder_and_file_say_the_same(tag: str) -> None:
    """The card in plugin.py and the config.json beside the tensors describe one thing."""
    by_name = zoo.load(f"revcol-nano.{tag}")
    folder = Path(__file__).parents[3] / "weights" / f"revcol-nano.{tag}"
    by_folder = zoo.load(folder)
    assert isinstance(by_name, RevCol)
    card, own = by_name.zoo.weights, by_folder.zoo.weights
    assert (card.license, card.metrics) == (own.license, own.metrics)
    assert by_name.zoo.labels() == by_folder.zoo.labels()
    assert card.preprocessing == own.preprocessing
    for name, tensor in by_name.state_dict().items():
        assert torch.equal(tensor, by_folder.state_dict()[name])


def test_the_demo_prints_the_accuracy_and_draws_the_digits(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ZOO, "demo"],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    total = next(row for row in rows if row[0] == "all")
    assert total[1] == "360"
    assert float(total[3]) >= 98.0
    assert any(row[0] == "revcol-h" for row in rows)
    with Image.open(tmp_path / "demo" / "digits.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100


def test_predict_reads_a_digit_from_a_file(tmp_path: Path) -> None:
    _, test = digits.load_split()
    test.images[0].save(tmp_path / "digit.png")
    done = subprocess.run(
        [*ZOO, "predict", "revcol-nano.digits", str(tmp_path / "digit.png"), "--top", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\t")[1] == str(test.labels[0])


def test_predict_refuses_a_backbone(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    done = subprocess.run(
        [*ZOO, "predict", "revcol-t.ade20k_upernet_in1k_512", str(tmp_path / "image.png")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "without a classifier" in done.stderr


def test_a_missing_scikit_learn_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ZooError, match="come with scikit-learn"):
        digits.load_split()


def test_a_demo_that_cannot_write_says_so_before_it_works(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run([*ZOO, "demo", "--out", "file/x"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("zoo: cannot write file/x")
    assert done.stdout == b""
