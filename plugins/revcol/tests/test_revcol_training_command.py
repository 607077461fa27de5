"""`zoo train`, from a folder of images to a model that zoo.load reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import zoo
from zoo_core.errors import ZooError, ZooWarning
from zoo_revcol.training.command import _RECIPES, command
from zoo_revcol.training.recipe import RECIPES
from zoo_revcol.variants import VARIANTS

NAMES = ("blue", "red")
COLOURS = ((40, 60, 220), (220, 60, 40))
FEW = ("--batch-size", "8", "--epochs", "2", "--workers", "0", "--log-every", "1")


def train(*arguments):
    """Runs the command; returns its exit code and what it printed."""
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(result.exception, ZooError):
        raise result.exception
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def folder(tmp_path):
    """Red and blue images of several sizes and modes."""
    for split, number in (("train", 12), ("val", 3)):
        for name, colour in zip(NAMES, COLOURS, strict=True):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for index in range(number):
                shade = tuple(min(255, each + 3 * index) for each in colour)
                image = Image.new("RGBA" if index == 1 else "RGB", (36 + index, 40), shade)
                image.save(tmp_path / "data" / split / name / f"{index}.png")
    return tmp_path / "data"


def test_a_model_is_trained_saved_and_loaded(folder, tmp_path):
    out = tmp_path / "run"
    code, output = train("revcol-nano", "--data", folder, "--out", out, *FEW)
    assert code == 0
    assert output.splitlines()[-1].startswith("val accuracy (%)\t")
    model = zoo.load(out)
    assert model.zoo.labels() == NAMES
    weights = model.zoo.weights
    assert weights.preprocessing == RECIPES["nano-cifar10"].preprocessing()
    assert f"{weights.metrics['val accuracy (%)']:.2f}" == output.split()[-1]
    assert "24 images of 2 classes by `zoo train`, recipe nano-cifar10" in weights.description
    assert model.zoo.config["layer_scale_init"] == 0.1
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [each["step"] for each in records if each["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    evaluations = [each for each in records if each["kind"] == "evaluation"]
    assert [each["images"] for each in evaluations] == [6, 6]
    transform = model.zoo.transform()
    right = [
        int(model(transform(Image.open(path))[None]).argmax()) == NAMES.index(path.parent.name)
        for path in (folder / "val").glob("*/*.png")
    ]
    assert len(right) == 6
    assert round(100 * sum(right) / 6, 2) == weights.metrics["val accuracy (%)"]


def test_a_published_recipe_supervises_and_averages_and_neither_is_left(folder, tmp_path):
    out = tmp_path / "run"
    options = ("--recipe", "tiny-1k", "--precision", "no", "--image-size", "32", *FEW)
    with pytest.warns(
        ZooWarning, match="after 6 steps a moving average of decay 0.9999 is still 100"
    ):
        train("revcol-nano", "--data", folder, "--out", out, *options)
    recipe = json.loads((out / "run.json").read_text())["recipe"]
    assert recipe["warmup_epochs"] == pytest.approx(20 * 2 / 300)
    assert (recipe["epochs"], recipe["image_size"], recipe["precision"]) == (2, 32, "no")
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"ce_0", "bce_2", "ce_3"} < records[0].keys()
    assert "ema_accuracy" in records[-1]
    model = zoo.load(out)
    assert model.supervision is None
    assert not model.zoo.config["intermediate_supervision"]
    assert model.zoo.weights.preprocessing["crop_pct"] == 0.875
    assert not any("supervision" in name for name in model.state_dict())


def test_a_trained_model_is_fine_tuned_on_other_classes(folder, tmp_path):
    train("revcol-nano", "--data", folder, "--out", tmp_path / "first", *FEW)
    for split in ("train", "val"):
        (folder / split / "red").rename(folder / split / "scarlet")
    options = ("--pretrained", "--recipe", "base-ft-224", "--precision", "no", "--lr", "1e-12")
    train(
        tmp_path / "first",
        *("--data", folder, "--out", tmp_path / "second", *options, "--image-size", "32", *FEW),
    )
    first, second = zoo.load(tmp_path / "first"), zoo.load(tmp_path / "second")
    assert second.zoo.labels() == ("blue", "scarlet")
    torch.testing.assert_close(first.stem.conv.weight, second.stem.conv.weight)
    assert second.head.fc.weight.abs().max() < 1e-3  # a new head, a thousandth of the usual
    assert second.drop_path_rate == 0.2


def test_a_run_is_resumed_to_the_bit(folder, tmp_path):
    options = ("--data", folder, "--batch-size", "8", "--workers", "0", "--checkpoint-every", "2")
    train("revcol-nano", *options, "--epochs", "3", "--out", tmp_path / "whole")
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from zoo_revcol.training import command, log\n"
        "import os, signal\n"
        "tell = log.Log.tell\n"
        "def killing(self, record):\n"
        "    tell(self, record)\n"
        "    if record['step'] == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "log.Log.tell = killing\n"
        "import typer; typer.run(command.command)\n"
    )
    arguments = [
        *("revcol-nano", *options, "--epochs", "3", "--out", tmp_path / "killed"),
        *("--log-every", "1"),
    ]
    killed = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert not (tmp_path / "killed" / "config.json").exists()
    train("revcol-nano", *options, "--epochs", "3", "--out", tmp_path / "killed", "--resume")
    one, other = (zoo.load(tmp_path / name).state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_says_how_to_go_on(folder, tmp_path, monkeypatch):
    import signal

    from zoo_revcol.training import log

    tell = log.Log.tell

    def interrupted(self, record):
        tell(self, record)
        if record["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(log.Log, "tell", interrupted)
    code, output = train("revcol-nano", "--data", folder, "--out", tmp_path / "run", *FEW)
    assert code == 130
    assert f"stopped at step 2 of 6; --resume goes on in {tmp_path / 'run'}" in output
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("revcol-x",), "revcol-x"),
        (("revcol-nano", "--recipe", "tiny-2k"), "Did you mean tiny-1k"),
        (("revcol-nano", "--recipe", "tiny-1k"), "trains in fp16, which needs a GPU"),
        (("revcol-nano", "--precision", "fp8"), "--precision is 'fp8'"),
        (("revcol-nano", "--memory", "reverse"), "Did you mean reversible"),
        (("revcol-h",), "no recipe to train revcol-h from random weights"),
        (("revcol-xl", "--pretrained"), "has no pretrained weights"),
        (("revcol-t", "--pretrained", "--recipe", "tiny-1k"), "which the weights in1k of"),
        (("revcol-t.in1k_supervised", "--pretrained"), "in1k_supervised of revcol/revcol-t have"),
        (("revcol-nano", "--batch-size", "9", "--accumulation", "2"), "cannot share evenly"),
        (("revcol-nano", "--batch-size", "99"), "fewer than one batch of 99"),
        (("revcol-nano", "--resume"), "has no checkpoint to resume from"),
        (("revcol-nano", "--lr", "-1"), "lr is -1.0"),
        (("revcol-nano", "--ema", "1"), "ema is 1.0"),
        (("revcol-nano", "--data", "nowhere"), "there is no folder nowhere"),
        (("revcol-nano", "--val", "nothing"), "has no folder nothing"),
        (("revcol-nano", "--data", "wds/shards"), "is a stream"),
        (("revcol-nano", "--tracker", "nothing"), "no tracker 'nothing'"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do fp16")
def test_errors_come_before_any_work(arguments, message, folder, tmp_path, monkeypatch):
    def must_not_fetch(*_, **__):
        raise AssertionError("weights were fetched")

    monkeypatch.setattr("zoo_core.loading.fetch", must_not_fetch)
    monkeypatch.chdir(tmp_path)
    defaults = ["--data", folder, "--out", tmp_path / "run"]
    name, *given = arguments
    with pytest.raises(ZooError, match=message):
        train(name, *defaults, *given)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_written_over(folder, tmp_path):
    arguments = ("revcol-nano", "--data", folder, "--out", tmp_path / "run", *FEW)
    train(*arguments)
    with pytest.raises(ZooError, match="already holds a run"):
        train(*arguments)
    with pytest.raises(ZooError, match=r"seed \(0 there, 1 here\)"):
        train(*arguments, "--resume", "--seed", "1")
    assert train(*arguments, "--resume")[0] == 0


def test_other_cards_are_refused(folder, monkeypatch):
    monkeypatch.setattr("zoo_revcol.training.command._FACTORY", "zoo_other.model:Other")
    with pytest.raises(ZooError, match="revcol-nano is not a RevCol for images"):
        train("revcol-nano", "--data", folder)


def test_every_size_has_its_recipes():
    assert len(_RECIPES) == len(VARIANTS)
    for scratch, tuned in _RECIPES.values():
        assert scratch is None or scratch in RECIPES
        assert tuned in RECIPES


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="needs cifar10-small below ZOO_DATA")
def test_real_photographs(tmp_path):
    archive = Path(os.environ["ZOO_DATA"]) / "cifar10-small" / "cifar10_small.zip"
    if not archive.exists():
        pytest.skip(f"needs {archive}")
    with zipfile.ZipFile(archive) as images:
        for name in images.namelist():
            number = Path(name).stem
            if number.isdigit() and int(number) % 40 == 0:
                images.extract(name, tmp_path)
    out = tmp_path / "run"
    options = ("--epochs", "6", "--batch-size", "16", "--workers", "1", "--seed", "3")
    code, _ = train("revcol-nano", "--data", tmp_path, "--out", out, *options)
    assert code == 0
    model = zoo.load(out)
    assert model.zoo.labels()[::9] == ("airplane", "truck")
    assert list(model.zoo.weights.metrics) == ["test accuracy (%)"]
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [each["loss"] for each in records if each["kind"] == "train"]
    assert losses[-1] < losses[0]
