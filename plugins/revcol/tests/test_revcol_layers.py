"""Layers of parameters for layer-wise decay, and which parameters are not decayed."""

from __future__ import annotations

import pytest

from zoo_revcol.layers import layer_id
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS


def walked(model: RevCol) -> dict[str, int]:
    """The layers by a walk over the modules, from the rule in words: no names are taken apart."""
    ids = {id(parameter): 0 for parameter in model.stem.parameters()}
    for number, column in enumerate(model.columns):
        block_number = 0
        for level in column.levels:
            for fusion in (level.down, level.up, level.top_down):
                for parameter in fusion.parameters() if fusion is not None else ():
                    ids[id(parameter)] = 1 + number + block_number
            for block in level.blocks:
                for parameter in block.parameters():
                    ids[id(parameter)] = 1 + number + block_number
                block_number += 1
            ids[id(level.alpha)] = 1 + number
    last = sum(model.layers) + model.num_columns
    return {name: ids.get(id(it), last) for name, it in model.named_parameters()}


@pytest.mark.parametrize("variant", ["tiny", "base", "huge"])
def test_every_parameter_has_the_layer_of_its_block(variant, narrow):
    model = RevCol(**narrow(variant, intermediate_supervision=True))
    expected = walked(model)
    assert {name: layer_id(name, model.layers, model.num_columns) for name in expected} == expected
    matcher = model.group_matcher()
    assert {name: matcher(name) for name in expected} == expected


def test_layers_of_tiny_worked_by_hand():
    layers, columns = VARIANTS["tiny"].layers, VARIANTS["tiny"].num_columns
    expected = {
        "stem.conv.weight": 0,
        "columns.0.levels.0.blocks.0.gamma": 1,
        "columns.0.levels.1.down.conv.weight": 3,
        "columns.0.levels.3.alpha": 1,
        "columns.1.levels.2.up.proj.weight": 6,
        "columns.3.levels.3.blocks.1.norm.weight": 13,
        "head.fc.bias": 14,
        "supervision.decoders.0.output.0.weight": 14,
    }
    assert {name: layer_id(name, layers, columns) for name in expected} == expected


def test_alphas_and_vectors_are_not_decayed(narrow):
    model = RevCol(**narrow("huge"))
    spared = model.no_weight_decay()
    for name, parameter in model.named_parameters():
        weight = name.endswith("weight") and "norm" not in name
        assert (name in spared) != weight, name
        assert (parameter.ndim > 1 and not name.endswith("alpha")) == weight
