from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits


def _load(name: str) -> None:
    """Makes a module beside this file one that tests import by its name: they are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


for _name in ("sl_data", "sl_made"):
    _load(_name)


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> Iterator[None]:
    """On one thread sums have one order, so runs can be repeated to the bit."""
    with threadpool_limits(limits=1):
        yield
