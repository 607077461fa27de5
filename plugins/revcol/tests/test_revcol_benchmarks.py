"""The benchmarks compare what they say they compare."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest
import torch

from zoo_core.errors import ZooWarning
from zoo_revcol.block import Block
from zoo_revcol.reversible import ModuleLevel, ReversibleColumns

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Imports one of the scripts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize(
    ("variant", "changes"),
    [("tiny", {}), ("base", {"kernel_size": 5, "num_columns": 3}), ("huge", {"num_columns": 2})],
)
def test_straightforward_gives_our_outputs_and_gradients(
    benchmark, narrow, make, images, variant, changes
):
    model = make(narrow(variant, memory="none", **changes))
    other = benchmark("straightforward").Straightforward(model)
    x = images(2, 3, 64, 96)
    expected = model(x)
    given = other(x)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)
    parameters = dict(model.named_parameters())
    weight = images(*expected.shape, seed=1)
    ours, theirs = (
        torch.autograd.grad((logits * weight).sum(), list(parameters.values()), allow_unused=True)
        for logits in (expected, given)
    )
    for (name, parameter), our, their in zip(parameters.items(), ours, theirs, strict=True):
        their = torch.zeros_like(parameter) if their is None else their
        torch.testing.assert_close(
            their, our, rtol=1e-7, atol=1e-8 * our.abs().max().item(), msg=name
        )


def test_straightforward_is_contiguous_and_bounds_alpha(benchmark, narrow, make, images):
    model = make(narrow("nano"))
    with torch.no_grad():
        for column in model.columns:
            for index, level in enumerate(column.levels):
                level.alpha.fill_((0.0, -1e-5, 1e-5, -2.0)[index])
    other = benchmark("straightforward").Straightforward(model)
    formats = []
    for module in other.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda _, inputs, __: formats.append(inputs[0].is_contiguous())
            )
    x = images(1, 3, 64, 64)
    given = other(x)
    assert formats
    assert all(formats)
    torch.testing.assert_close(given, model(x), rtol=1e-9, atol=1e-9)
    assert not all(formats)  # the same layers, in our format


def test_functions_run_in_turn_after_a_round_to_warm_up(benchmark):
    timing = benchmark("timing")
    calls = []
    times = timing.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert {name: len(each.cpu) + len(each.wall) for name, each in times.items()} == {
        "a": 6,
        "b": 6,
    }


def test_wall_and_processor_time_are_told_apart(benchmark, monkeypatch):
    timing = benchmark("timing")
    wall, cpu = iter(range(0, 400, 100)), iter(range(0, 40, 10))
    monkeypatch.setattr(time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(time, "process_time", lambda: next(cpu))
    assert timing.interleaved({"a": lambda: None}, 1)["a"] == timing.Timing((10,), (100,))


def test_a_ratio_is_taken_round_by_round(benchmark):
    timing = benchmark("timing")
    above = timing.Timing(cpu=(2.0, 9.0, 8.0), wall=(1.0, 1.0, 1.0))
    below = timing.Timing(cpu=(1.0, 3.0, 2.0), wall=(2.0, 4.0, 1.0))
    assert str(timing.ratio(above, below)) == "3.00 (2.00 to 4.00)"
    assert str(timing.ratio(above, below, "wall")) == "0.50 (0.25 to 1.00)"


@pytest.mark.parametrize("script", ["memory", "rounding", "step_time"])
def test_every_mode_of_the_engine_is_compared(benchmark, script):
    assert {mode["memory"] for mode in benchmark(script).MODES.values()} == {
        "none",
        "checkpoint",
        "reversible",
    }
    for mode in benchmark(script).MODES.values():
        columns = ReversibleColumns([[_level()]])
        columns.remember(**mode)
        assert columns.memory == mode["memory"]


def test_errors_of_gradients_are_small_where_nothing_is_rebuilt(benchmark):
    with pytest.warns(ZooWarning, match="may lose all precision"):
        errors = benchmark("rounding").errors(0.1, 3)
    plain, checkpoint, inside, chained, exact, *lower = map(float, errors)
    assert plain == checkpoint == exact < 1e-5
    assert plain < inside < chained
    assert lower[0] == lower[1] == lower[4]
    assert 1e-3 < lower[0] < 0.1


def test_the_table_of_memory_has_a_line_for_each_number_of_columns(benchmark):
    memory = benchmark("memory")
    rows = [
        {"memory": mode, "columns": n, "kept (MiB)": n, "peak (MiB)": n + 0.5, "CPU (s)": index}
        for index, mode in enumerate(memory.MODES)
        for n in memory.COLUMNS
    ]
    lines = memory.table(rows).splitlines()
    assert lines[-5:][0] == (
        "| 1 | 1 / 1.5, 0 | 1 / 1.5, 1 | 1 / 1.5, 2 | 1 / 1.5, 3 | 1 / 1.5, 4 | 79 |"
    )
    assert [line.split(" | ")[0] for line in lines[-5:]] == ["| 1", "| 2", "| 4", "| 8", "| 16"]


def _level():
    return ModuleLevel(Block(2, 3, 0.0, 1.0), (1, 2, 1, 1))
