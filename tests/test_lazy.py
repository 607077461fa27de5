"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with the names `Here`, `there` (as its module is called) and `gone`."""
    folder = tmp_path / "zoo_lazy_toy"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from zoo_core import lazy\n"
        "own = 1\n"
        "__getattr__, __dir__, __all__ = lazy.attach(__name__, {\n"
        "    'there': 'zoo_lazy_toy.there',\n"
        "    'Here': 'zoo_lazy_toy.here',\n"
        "    'gone': 'zoo_lazy_toy.gone',\n"
        "})\n"
    )
    (folder / "here.py").write_text("class Here: pass\n")
    (folder / "there.py").write_text("there = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "zoo_lazy_toy"
    for name in [name for name in sys.modules if name.startswith("zoo_lazy_toy")]:
        del sys.modules[name]


def test_a_module_is_imported_when_its_name_is_used(package: str) -> None:
    toy = __import__(package)
    assert not any(name.startswith(f"{package}.") for name in sys.modules)
    assert toy.there is toy.there is sys.modules[f"{package}.there"].there
    assert f"{package}.here" not in sys.modules
    assert toy.Here is sys.modules[f"{package}.here"].Here


def test_names_are_listed_before_they_are_imported(package: str) -> None:
    toy = __import__(package)
    assert toy.__all__ == ["Here", "gone", "there"]
    assert {"Here", "gone", "own", "there"} <= set(dir(toy))
    assert not any(name.startswith(f"{package}.") for name in sys.modules)


def test_names_that_are_not_there(package: str) -> None:
    toy = __import__(package)
    with pytest.raises(AttributeError, match="module 'zoo_lazy_toy' has no attribute 'nowhere'"):
        _ = toy.nowhere
    assert not hasattr(toy, "nowhere")
    with pytest.raises(ModuleNotFoundError, match="gone"):
        _ = toy.gone
