"""Official TGN and TGAT checkpoints, converted both ways, compute what their tensors say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tns_official_modules import TGN, tgat, tgn
from tns_reference import Memory, Reference, Setting
from tns_small import NODES, events, graph, node_features, queries
from torch import Tensor

from zoo_core.errors import ConfigError, WeightsMismatchError, ZooWarning
from zoo_tns.model import TemporalGNN
from zoo_tns.official import (
    config_of,
    convert_official,
    from_official,
    load_backbone,
    to_official,
)


def _doubled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in tensors.items()}


def _agrees(built: TemporalGNN, expected: Reference, features: Tensor | None, past: Any) -> None:
    nodes, times = queries(past)
    pairs = zip(nodes.tolist(), times.tolist(), strict=True)
    wanted = torch.stack([expected.embed(*pair) for pair in pairs])
    found = built.bind(graph(past, features)).embed(nodes, times)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("edge", "layers"), [(2, 1), (0, 1), (2, 2)])
def test_a_tgn_computes_what_its_tensors_say(edge: int, layers: int) -> None:
    tensors = _doubled(tgn(edge, layers))
    found = convert_official(tensors, k=3)
    assert found.config == {
        "num_nodes": NODES,
        "edge_dim": edge,
        "node_dim": 4,
        "time_dim": 6,
        "hidden": 4,
        "layers": layers,
        "aggr": "attention",
        "memory": True,
        "k": 3,
        "sampler": "recent",
        "neighbor_time": "query",
        "heads": 2,
    }
    built = TemporalGNN(**found.config).double().eval()
    built.load_state_dict(found.state_dict)
    built.load_memory_state(found.memory_state)
    past, features = events(edge_dim=edge), node_features()
    memory = Memory(tensors, NODES)
    rows = zip(tensors["memory.memory"], tensors["memory.last_update"].tolist(), strict=True)
    for node, (row, last) in list(enumerate(rows, start=-1))[1:]:
        memory.memory[node], memory.last_update[node] = row, last
    setting = Setting(k=3, layers=layers)
    _agrees(built, Reference(tensors, past, setting, features + memory.all()), features, past)
    state = built.memory_state()
    assert state["last_update"].tolist() == tensors["memory.last_update"][1:].tolist()
    built.update([0], [1], [200.0], torch.zeros(1, edge).double())


def test_a_tgat_computes_what_its_tensors_say() -> None:
    tensors = _doubled(tgat())
    found = convert_official(tensors, k=3)
    assert found.memory_state is None
    assert found.config == {
        "num_nodes": None,
        "edge_dim": 4,
        "node_dim": 4,
        "time_dim": 4,
        "hidden": 4,
        "layers": 2,
        "aggr": "tgat",
        "memory": False,
        "k": 3,
        "sampler": "uniform",
        "neighbor_time": "event",
        "heads": 2,
    }
    built = TemporalGNN(**{**found.config, "sampler": "recent"}).double().eval()
    built.load_state_dict(found.state_dict)
    past, features = events(edge_dim=4), node_features()
    setting = Setting(aggr="tgat", k=3, layers=2, neighbor_time="event")
    _agrees(built, Reference(tensors, past, setting, features), features, past)


def test_defaults_of_the_official_codes() -> None:
    assert convert_official(tgn()).config["k"] == 10
    assert convert_official(tgat()).config["k"] == 20
    assert convert_official(tgat(), num_nodes=12).config["num_nodes"] == 12
    without = convert_official(tgn(nodes=None), num_nodes=5)
    assert (without.config["num_nodes"], without.memory_state) == (5, None)
    assert not without.config["memory"]
    assert convert_official(tgn(), heads=5).config["heads"] == 5
    with pytest.raises(ConfigError, match="heads is 3"):
        convert_official(tgn(), heads=3)


def test_the_memory_loses_the_row_for_padding() -> None:
    tensors = tgn()
    state = convert_official(tensors, num_nodes=NODES).memory_state
    assert torch.equal(state["memory"], tensors["memory.memory"][1:])
    assert state["last_update"].dtype == torch.float64
    assert state["pending_messages"].shape == (0, 2 * 4 + 2 + 6)
    with pytest.raises(
        WeightsMismatchError, match=f"memory is of {NODES} nodes, but num_nodes is {NODES + 1}"
    ):
        convert_official(tensors, num_nodes=NODES + 1)


@pytest.mark.parametrize("edge", [2, 0])
@pytest.mark.parametrize("layers", [1, 2])
def test_tgn_there_and_back(edge: int, layers: int) -> None:
    tensors = tgn(edge, layers)
    found = convert_official(tensors)
    back = to_official(found.state_dict, found.config, found.memory_state)
    TGN(4, edge, 6, layers, NODES).load_state_dict(back)
    for name, tensor in tensors.items():
        if name.endswith("in_proj_bias"):
            query, key, value = tensor.chunk(3)
            tensor = torch.cat([query, key * 0, value])
        elif "layer_norm" in name:
            tensor = torch.full_like(tensor, float("weight" in name))
        elif name.endswith("memory.memory") or name.endswith("memory.last_update"):
            tensor = torch.cat([tensor[:1] * 0, tensor[1:]])
        assert torch.equal(back[name], tensor), name


def test_tgat_there_and_back() -> None:
    tensors = tgat()
    found = convert_official(tensors)
    back = to_official(found.state_dict, found.config)
    dropped = ("merge_layer", "n_feat_th", "e_feat_th", "node_raw", "edge_raw")
    assert set(tensors) - set(back) == {name for name in tensors if name.startswith(dropped)}
    assert all(torch.equal(it, tensors[name]) for name, it in back.items())


def test_what_the_official_code_has_no_place_for() -> None:
    found = convert_official(tgn())
    built = TemporalGNN(**{**found.config, "sampler": "tns"})
    with pytest.warns(ZooWarning, match="no place for them: the expansion modules"):
        tensors = to_official(built.state_dict(), found.config)
    assert not any("expansion" in name for name in tensors)
    built.update([0, 1], [1, 2], [1.0, 2.0], torch.zeros(2, 2))
    state = {name: it for name, it in built.state_dict().items() if "expansions" not in name}
    with pytest.warns(ZooWarning, match="for them: 3 pending messages"):
        to_official(state, found.config, built.memory_state())
    with pytest.raises(WeightsMismatchError, match="aggr is 'mean'"):
        to_official(state, {"aggr": "mean"})
    with pytest.raises(WeightsMismatchError, match=r"TGAT: no aggregators\.0\.norm\.weight"):
        to_official(state, {"aggr": "tgat"})
    with pytest.raises(WeightsMismatchError, match="unknown: surplus"):
        to_official({**state, "surplus": torch.ones(1)}, found.config)
    without = convert_official(tgn(nodes=None))
    with pytest.raises(WeightsMismatchError, match="a model without memory"):
        to_official(without.state_dict, without.config, found.memory_state)


def test_tns_starts_from_a_backbone_with_its_own_initialisation() -> None:
    found = convert_official(tgn(layers=2))
    built = TemporalGNN(**{**found.config, "sampler": "tns"})
    before = {name: it.clone() for name, it in built.state_dict().items()}
    load_backbone(built, found.state_dict)
    for name, tensor in built.state_dict().items():
        expected = before[name] if name.startswith("expansions.") else found.state_dict[name]
        assert torch.equal(tensor, expected), name
    assert [each.aggregator.last.bias.tolist() for each in built.expansions] == [[1.0], [1.0]]
    with pytest.raises(WeightsMismatchError, match="expansion modules of their own"):
        load_backbone(built, built.state_dict())
    recent = TemporalGNN(**found.config)
    with pytest.raises(WeightsMismatchError, match="no expansion modules"):
        load_backbone(recent, found.state_dict)
    other = TemporalGNN(**{**found.config, "sampler": "tns", "layers": 1})
    before = {name: it.clone() for name, it in other.state_dict().items()}
    with pytest.raises(WeightsMismatchError, match=r"unexpected: aggregators\.1"):
        load_backbone(other, found.state_dict)
    assert all(torch.equal(it, before[name]) for name, it in other.state_dict().items())


@pytest.mark.parametrize("make", [tgn, tgat])
@pytest.mark.parametrize("wrap", [dict, lambda it: {"state_dict": it, "epoch": 3}])
def test_files_of_both_formats(
    make: Callable[[], dict[str, Tensor]], wrap: Callable[[Any], Any], tmp_path: Path
) -> None:
    tensors = make()
    torch.save(wrap(tensors), tmp_path / "file.pth")
    save_file({name: it.clone() for name, it in tensors.items()}, tmp_path / "file.safetensors")
    expected = convert_official(tensors)
    for name in ("file.pth", "file.safetensors"):
        found = convert_official(tmp_path / name)
        assert found.config == expected.config
        assert found.state_dict.keys() == expected.state_dict.keys()
        assert all(
            torch.equal(it, found.state_dict[key]) for key, it in expected.state_dict.items()
        )


def test_the_converter_of_cards() -> None:
    assert from_official.version == 1
    assert from_official.config is config_of
    state = from_official({"model": tgn()})
    assert config_of(state) == {
        "edge_dim": 2,
        "node_dim": 4,
        "time_dim": 6,
        "hidden": 4,
        "layers": 1,
        "aggr": "attention",
        "memory": True,
    }
