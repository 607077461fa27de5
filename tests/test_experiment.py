"""What a plugin declares is checked when it is made; what its function gets fails clearly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo_core.errors import InputError, PluginError
from zoo_core.experiment import Context, Experiment, Figure

GOOD: dict[str, Any] = {
    "name": "memory-by-depth",
    "claim": "Memory does not grow.",
    "run": "zoo_mine.memory:run",
    "measures": ("peak",),
    "minutes": 2,
    "seeds": 3,
}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Memory", "name is 'Memory'; expected kebab-case"),
        ("name", None, "name is None"),
        ("claim", "two\nlines", "claim is .*; expected one line"),
        ("claim", " ", "expected one line"),
        ("run", "zoo_mine.memory", "run is .*; expected module:function"),
        ("check", "check", "check is 'check'; expected module:function"),
        ("paper", "", "paper is ''; expected one line"),
        ("measures", "peak", "measures is 'peak'; expected a tuple of strings"),
        ("measures", (), "measures is empty"),
        ("measures", ("a", "a"), "measures holds 'a' twice"),
        ("measures", ("seed",), "'seed' is in measures and in over"),
        ("data", ("../secret",), "data is '../secret'; expected names of folders"),
        ("data", "cifar10-small", "expected a tuple"),
        ("minutes", 0, "minutes is 0; expected a positive number"),
        ("minutes", float("nan"), "minutes is nan"),
        ("minutes", "2", "minutes is '2'"),
        ("seeds", -1, "seeds is -1; expected a number of seeds"),
        ("seeds", True, "seeds is True"),
        ("figure", {"x": "depth"}, "figure is a dict; expected a Figure"),
        ("figure", Figure(x="depth", y=("time",)), "draws 'time', which is no measure"),
        ("figure", Figure(x="seed", y=("peak",)), "needs 'seed', over which the mean is taken"),
    ],
)
def test_a_bad_experiment_is_refused_by_the_name_of_the_field(
    field: str, value: object, message: str
) -> None:
    assert Experiment(**GOOD).over == ("seed",)
    with pytest.raises(PluginError, match=message):
        Experiment(**GOOD | {field: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"y": ()}, "y is empty"),
        ({"y": "peak"}, "y is 'peak'; expected a tuple"),
        ({"kind": "pie"}, "kind is 'pie'; expected one of line, bar"),
        ({"log": "z"}, "log is 'z'"),
        ({"kind": "bar", "log": "x"}, "a logarithmic x needs kind 'line'"),
        ({"x": ""}, "x is ''"),
    ],
)
def test_a_bad_figure_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        Figure(**{"x": "depth", "y": ("peak",)} | fields)


def test_lists_will_do_where_tuples_are_kept() -> None:
    made = Experiment(**GOOD | {"measures": ["peak"], "data": ["a"]})
    assert (made.measures, made.data) == (("peak",), ("a",))


def test_data_are_found_below_the_folder_or_the_error_says_how_to_give_them(tmp_path: Path) -> None:
    (tmp_path / "cifar").mkdir()
    (tmp_path / "file").write_text("")
    context = Context(seeds=(0,), folder=tmp_path / "out", data_root=tmp_path)
    assert context.data("cifar") == context.data("cifar") == tmp_path / "cifar"
    assert context.used == ["cifar"]
    assert context.has("cifar")
    assert not context.has("file")
    with pytest.raises(InputError, match=r"no folder mnist in .*--data DIR or the variable ZOO_DA"):
        context.data("mnist")
    bare = Context(seeds=(), folder=tmp_path)
    assert not bare.has("cifar")
    with pytest.raises(InputError, match=r"the data cifar is needed: .*--data DIR"):
        bare.data("cifar")


def test_a_context_of_ones_own_loops_without_a_terminal(tmp_path: Path) -> None:
    context = Context(seeds=(0, 1), folder=tmp_path / "own")
    assert list(context.progress(context.seeds, "seeds")) == [0, 1]
    context.note("two\n lines")
    assert context.notes == ["two lines"]
    assert not (tmp_path / "own").exists()
    assert context.out.is_dir()
