"""`zoo revcol-convert` writes folders that load, says what it left out, and verifies."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

import zoo
from zoo_core.cli import build
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    WeightsMismatchError,
    ZooError,
)
from zoo_revcol.variants import VARIANTS

SIZES = {"channels": [4, 6, 8, 10], "layers": [1, 1, 2, 1], "num_columns": 4}


class Trap:
    """An object whose pickle would write a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def official(reference):
    """Official weights of a small network."""

    def build(seed=0, supervised=True, **changes):
        shapes = reference.shapes(**{**SIZES, **changes}, num_classes=5, supervised=supervised)
        return reference.random_weights(shapes, seed, torch.float32)

    return build


@pytest.fixture
def convert(tmp_path, capsys):
    """Runs the command on a checkpoint; returns the folder and the printed rows."""

    def run(checkpoint, *options, file="official.pth"):
        path, out = tmp_path / file, tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        if checkpoint is not None and file.endswith(".pth"):
            torch.save(checkpoint, path)
        elif checkpoint is not None:
            save_file(checkpoint, path)
        arguments = ["revcol-convert", str(path), str(out), *options]
        build()(arguments, standalone_mode=False)
        lines = capsys.readouterr().out.splitlines()
        return out, dict(line.split("\t", 1) if "\t" in line else (line, "") for line in lines)

    return run


@pytest.fixture
def top_maps(reference, images):
    """An image, and the reference's top maps of it."""

    def of(weights):
        image = images(1, 3, 64, 64, dtype=torch.float32)
        return image, [maps[3] for maps in reference.columns(weights, image)]

    return of


@pytest.mark.parametrize("file", ["official.pth", "official.safetensors"])
def test_the_last_head_without_options(file, official, convert, reference, top_maps):
    weights = official()
    folder, rows = convert({"model": weights} if file.endswith("pth") else weights, file=file)
    assert rows["part"] == "classifier"
    assert rows["num_classes"] == "5"
    assert rows["left out"] == "cls_blocks (12), decoder_blocks (123)"
    assert "unknown, left out" not in rows
    model = zoo.load(folder)
    assert rows["parameters"] == f"{sum(it.numel() for it in model.parameters()):,}"
    image, tops = top_maps(weights)
    expected = reference.logits(weights, tops[-1], "cls_blocks.3")
    torch.testing.assert_close(model(image), expected, rtol=1e-3, atol=1e-4)
    assert model.zoo.transform().transforms


def test_supervised_keeps_everything(official, convert, reference, top_maps):
    weights = official()
    folder, rows = convert({"model": weights}, "--supervised", "--verify")
    assert rows["part"] == "supervised"
    assert "left out" not in rows
    assert rows["parameters"] == f"{sum(value.numel() for value in weights.values()):,}"
    assert rows["logits 2"] == "[1, 5] finite"
    assert rows["reconstruction 2"] == "[1, 3, 224, 224] finite"
    image, tops = top_maps(weights)
    _, reconstructions = zoo.load(folder).train()(image)
    for j, each in enumerate(reconstructions):
        expected = reference.reconstruction(weights, j, tops[j], (64, 64))
        torch.testing.assert_close(each, expected, rtol=1e-3, atol=1e-4)


def test_a_segmenter_gives_its_backbone(official, convert, reference, images):
    weights = official(supervised=False, kernel_size=7)
    state = {f"backbone.{k}": v for k, v in weights.items() if not k.startswith("cls.")}
    state |= {"decode_head.conv.weight": torch.ones(2), "decode_head.conv.bias": torch.ones(2)}
    checkpoint = {"meta": {}, "state_dict": state, "optimizer": {}}
    folder, rows = convert(checkpoint, "--verify", "--resolution", "64")
    assert rows["part"] == "backbone"
    assert (rows["kernel_size"], rows["num_classes"], rows["global_pool"]) == ("7", "0", "")
    assert rows["left out"] == "decode_head (2)"
    assert rows["level 3"] == "[1, 10, 2, 2] finite"
    image = images(1, 3, 64, 64, dtype=torch.float32)
    maps = zoo.load(folder).forward_pyramid(image)
    for ours, theirs in zip(maps, reference.columns(weights, image)[-1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_moving_average_is_another_network(official, convert, reference, top_maps):
    last, average = official(0), official(1)
    folder, _ = convert({"model": last, "state_dict_ema": average}, "--ema")
    image, tops = top_maps(average)
    expected = reference.logits(average, tops[-1], "cls_blocks.3")
    torch.testing.assert_close(zoo.load(folder)(image), expected, rtol=1e-3, atol=1e-4)


def test_a_folder_that_holds_a_model_is_left_alone(official, convert, tmp_path):
    kept = tmp_path / "out-1"  # one folder there makes the next one out-1
    kept.mkdir()
    (kept / "config.json").write_text("mine")
    with pytest.raises(InputError, match=r"holds config\.json already"):
        convert(official())
    assert (kept / "config.json").read_text() == "mine"


@pytest.mark.parametrize("dtype", [torch.float16, torch.int32, torch.complex64])
def test_tensors_that_no_network_runs_in_are_refused(dtype, official, convert, tmp_path):
    weights = official(supervised=False)
    name = next(iter(weights))
    with pytest.raises(WeightsMismatchError, match="one floating-point dtype"):
        convert({**weights, name: weights[name].to(dtype)})
    if not dtype.is_floating_point:
        with pytest.raises(WeightsMismatchError, match="one floating-point dtype"):
            convert({key: value.to(dtype) for key, value in weights.items()})
    assert not list(tmp_path.glob("out-*"))


def test_padded_kernels_change_no_logits(official, convert):
    weights = official()
    _, plain = convert(weights, "--verify")
    folder, wide = convert(weights, "--verify", "--pad-kernels", "7")
    assert wide["kernel_size"] == "7"
    assert zoo.load(folder).columns[0].levels[0].blocks[0].dwconv.kernel_size == (7, 7)
    scores = {name: float(value) for name, value in plain.items() if name.startswith("class ")}
    assert len(scores) == 5
    for name, value in scores.items():
        assert float(wide[name]) == pytest.approx(value, abs=2e-3)


def test_verify_prints_the_logits_of_the_folder(official, convert, reference):
    weights = official()
    _, rows = convert(weights, "--verify", "--resolution", "64")
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 64, 64, generator=generator)
    expected = reference.logits(weights, reference.columns(weights, image)[-1][3], "cls_blocks.3")
    names = [name for name in rows if name.startswith("class ")]
    assert names == [f"class {index}" for index in expected[0].argsort(descending=True).tolist()]
    for name in names:
        value = expected[0, int(name.split()[1])].item()
        assert float(rows[name]) == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "said"), [("cls_blocks.3", "logits"), ("decoder_blocks.1.projback.0", "reconstruct")]
)
def test_verify_refuses_what_is_not_finite(name, said, official, convert):
    weights = official()
    bias = next(key for key in weights if key.startswith(name) and key.endswith("bias"))
    weights[bias][0] = float("nan")
    with pytest.raises(ZooError, match=rf"{said}.* of a random image are not finite"):
        convert(weights, "--supervised", "--verify")


def test_other_precisions_and_channels_are_kept(official, convert):
    weights = {name: value.bfloat16() for name, value in official(in_chans=4).items()}
    folder, rows = convert(weights, "--verify")
    model = zoo.load(folder)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert rows["in_chans"] == "4"
    with pytest.raises(ZooError, match="no preprocessing"):
        model.zoo.transform()


def test_a_published_size_is_saved_under_its_card(convert, reference):
    config = VARIANTS["tiny"].config()
    shapes = reference.shapes(**config, num_classes=1, supervised=False)
    weights = {name: torch.zeros(1).expand(shape).clone() for name, shape in shapes.items()}
    folder, _ = convert({name: value.half() for name, value in weights.items()})
    saved = json.loads((folder / "config.json").read_text())
    assert saved["name"] == "revcol/revcol-t"
    assert saved["config"]["channels"] == config["channels"]


def test_unknown_tensors_are_shown(official, convert):
    _, rows = convert({**official(), "neck.weight": torch.ones(1)})
    assert rows["unknown, left out"] == "neck.weight"


def test_nothing_in_the_file_is_run(official, convert, tmp_path):
    written = tmp_path / "written"
    folder, _ = convert({"model": official(), "input": Trap(written)})
    assert not written.exists()
    assert zoo.load(folder)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["--ema"], WeightsMismatchError, "no moving average"),
        (["--supervised"], WeightsMismatchError, "no heads of intermediate supervision"),
        (["--pad-kernels", "6"], ConfigError, "odd"),
        (["--pad-kernels", "1"], WeightsMismatchError, "larger than 1"),
    ],
)
def test_what_cannot_be_done_leaves_no_folder(options, error, said, official, convert, tmp_path):
    with pytest.raises(error, match=said):
        convert(official(supervised=False), *options)
    assert not list(tmp_path.glob("out-*"))


def test_files_that_are_no_checkpoints_are_refused(convert, tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        convert(None)
    for name in ("official.pth", "official.safetensors"):
        (tmp_path / name).write_bytes(b"no checkpoint")
        with pytest.raises(CheckpointError, match=name):
            convert(None, file=name)
