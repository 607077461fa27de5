"""`zoo tns-convert` writes folders that `zoo.load` reads, with the memory beside the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tns_official_modules import tgat, tgn
from torch import Tensor

import zoo
from zoo_core.cli import build
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    SaveError,
    WeightsMismatchError,
)
from zoo_tns.model import TemporalGNN
from zoo_tns.official import convert_official
from zoo_tns.training import saving


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command on tensors; returns the folder and the printed rows."""
    for name in ("ZOO_PLUGINS", "ZOO_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def run(tensors: dict[str, Tensor], *options: str) -> tuple[Path, dict[str, str]]:
        torch.save(tensors, tmp_path / "official.pth")
        out = tmp_path / "out"
        arguments = ["tns-convert", str(tmp_path / "official.pth"), str(out), *options]
        build()(arguments, standalone_mode=False)
        rows = dict(line.split("\t", 1) for line in capsys.readouterr().out.splitlines())
        return out, rows

    return run


def test_a_tgn_with_its_memory(convert) -> None:
    tensors = tgn()
    out, rows = convert(tensors, "--num-nodes", "7", "--k", "5")
    expected = convert_official(tensors, k=5)
    model = zoo.load(out)
    assert isinstance(model, TemporalGNN)
    assert model.zoo.name == "tns/tgn-recent"
    assert model.zoo.weights.license == "unknown"
    for name, value in expected.config.items():
        assert getattr(model.settings, name) == value
        assert rows[name] == str(value)
    assert rows["parameters"] == f"{sum(it.numel() for it in model.parameters()):,}"
    assert rows["memory.safetensors"] == "7 nodes, 7 of them updated"
    state = model.state_dict()
    assert state.keys() == expected.state_dict.keys()
    assert all(torch.equal(it, state[name]) for name, it in expected.state_dict.items())
    model.load_memory_state(load_file(out / "memory.safetensors"))
    for name, tensor in model.memory_state().items():
        assert torch.equal(tensor, expected.memory_state[name]), name
    modes = {path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert len(modes) == 1


def test_a_tgat_and_another_card(convert) -> None:
    out, rows = convert(tgat(), "--num-nodes", "9")
    model = zoo.load(out)
    assert model.zoo.name == "tns/tgat-uniform"
    assert (model.settings.num_nodes, model.sampler, model.neighbor_time) == (9, "uniform", "event")
    assert "memory.safetensors" not in rows
    assert not (out / "memory.safetensors").exists()


def test_with_expansion_modules_it_is_a_tns(convert) -> None:
    out, rows = convert(tgn(), "--expansion", "--seed", "3")
    model = zoo.load(out)
    assert model.zoo.name == "tns/tns-tgn"
    assert rows["sampler"] == model.sampler == "tns"
    [module] = model.expansions
    assert module.aggregator.last.bias.tolist() == [1.0]
    assert 0 < float(module.aggregator.last.weight.detach().abs().max()) < 1e-4
    expected = convert_official(tgn()).state_dict
    state = model.state_dict()
    assert all(torch.equal(state[name], it) for name, it in expected.items())


def test_the_expansion_modules_are_seeded(convert) -> None:
    weights = []
    for seed, folder in (("3", "first"), ("3", "second"), ("4", "third")):
        out, _ = convert(tgn(), "--expansion", "--seed", seed)
        weights.append(zoo.load(out).expansions[0].aggregator.last.weight)
        out.rename(out.with_name(folder))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_safetensors_and_a_name(tmp_path: Path) -> None:
    tensors = {name: it.clone() for name, it in tgn(nodes=None).items()}
    save_file(tensors, tmp_path / "file.safetensors")
    arguments = [str(tmp_path / "file.safetensors"), str(tmp_path / "out"), "--name", "tns-tgn"]
    build()(["tns-convert", *arguments], standalone_mode=False)
    model = zoo.load(tmp_path / "out")
    assert model.zoo.name == "tns/tns-tgn"
    assert (model.sampler, model.memory) == ("recent", None)


def test_nothing_is_written_over_and_nothing_left_by_errors(convert, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatchError, match="memory is of 7 nodes, but num_nodes is 8"):
        convert(tgn(), "--num-nodes", "8")
    with pytest.raises(ConfigError, match="heads is 3"):
        convert(tgn(), "--heads", "3")
    assert not (tmp_path / "out").exists()
    out, _ = convert(tgn())
    with pytest.raises(InputError, match=r"holds config\.json already; give another folder"):
        convert(tgn())
    (out / "config.json").unlink()
    (out / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds memory\.safetensors already"):
        convert(tgat())
    with pytest.raises(CheckpointError, match="there is no file"):
        build()(["tns-convert", str(tmp_path / "absent"), str(out)], standalone_mode=False)


def test_a_full_disk_leaves_nothing(convert, tmp_path: Path, monkeypatch) -> None:
    def full(path: Path, tensors: dict[str, Tensor]) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(saving, "write_tensors", full)
    with pytest.raises(SaveError, match=r"cannot write .*memory\.safetensors: .*No space left"):
        convert(tgn())
    assert not (tmp_path / "out").exists()


def test_empty_paths_and_files_for_folders_are_refused(convert, tmp_path: Path) -> None:
    convert(tgat(), "--num-nodes", "9")
    file = str(tmp_path / "official.pth")
    for given, error, message in (
        ((file, ""), InputError, "OUT is ''"),
        (("", str(tmp_path / "new")), InputError, "FILE is ''"),
        ((file, file), SaveError, "is not a folder"),
    ):
        with pytest.raises(error, match=message):
            build()(["tns-convert", *given], standalone_mode=False)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--k", "9" * 20),
        ("--k", "0"),
        ("--seed", str(2**64)),
        ("--seed", "-1"),
        ("--heads", "0"),
        ("--num-nodes", "9" * 20),
    ],
)
def test_numbers_out_of_range_are_refused(convert, option, value) -> None:
    with pytest.raises(Exception, match=r"Input should be|not in the range") as error:
        convert(tgn(), option, value)
    assert error.value.exit_code == 2
