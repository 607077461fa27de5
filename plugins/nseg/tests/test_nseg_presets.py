"""The hyperparameters of the official configurations."""

from __future__ import annotations

import pytest

from zoo_core.errors import UnknownNameError
from zoo_nseg.presets import PRESETS, preset


def test_presets_are_the_official_configurations() -> None:
    table = """
        ba-shapes     edge   1000  0.01  0.005   1
        ba-shapes     joint   500  0.01  0.005   1      0.005   1
        tree-cycles   edge    500  0.01  0.01    1
        tree-cycles   joint   500  0.01  0.01    1      0.001   1
        tree-grid     edge    500  0.01  0.05    1
        tree-grid     joint   500  0.01  0.01    1      0.01    1
        msrc21        edge    500  0.01  0.0005  1
        msrc21        joint   500  0.05  0.0005  1      0.0005  1
        mutagenicity  edge    500  0.01  0.0001  0.001
        mutagenicity  joint   500  0.01  0.0001  0.001  0.0001  0.001
    """
    names = ("epochs", "lr", "alpha_e", "beta_e", "alpha_f", "beta_f")
    rows = [line.split() for line in table.strip().splitlines()]
    assert len(rows) == len(PRESETS)
    for name, kind, *values in rows:
        found = preset(name, kind)
        assert found == dict(zip(names, map(float, values), strict=False))
        found["lr"] = 9.0  # a caller's own copy
        assert preset(name, kind)["lr"] != 9.0


def test_a_preset_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="ba-shapes"):
        preset("ba-shape")
    with pytest.raises(UnknownNameError, match="feature"):
        preset("ba-shapes", "feature")
