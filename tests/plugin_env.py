"""Plugins to test with: real distributions, installed in a folder of the test's own.

A test asks for the fixture `site`, installs plugins there, and either runs a subprocess that sees
that folder (`site.python`, `site.zoo`) or lets this process see it (`site.activate`).
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from zoo_core.plugins import installed

CARD = """Card(
    name="{name}", kind="model", factory="{module}.model:Net", summary="A net", task="testing"
)"""
PLUGIN = """
from zoo_core import Card, Paper, Weights, hookimpl

@hookimpl
def zoo_cards():
    return [{cards}]
"""
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 4, num_classes: int = 3, tied: bool = False) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width is {width}; expected at least 1")
        self.body = nn.Linear(12, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, num_classes)
        if tied:
            self.again = nn.Linear(12, width)
            self.again.weight = self.body.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.body(x.flatten(1)))))

    def reset_classifier(self, num_classes: int) -> None:
        self.head = nn.Linear(self.head.in_features, num_classes)
"""
TRANSFORM = """
import torch

class Transform:
    def __init__(self, size: int = 2) -> None:
        self.size = size

    def __call__(self, image):
        pixels = image.convert("RGB").resize((self.size, self.size)).tobytes()
        return torch.tensor(list(pixels), dtype=torch.float32).div(255)
"""


class Site:
    """A folder of installed distributions."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.home = path.with_name("home")
        self.home.mkdir()
        self.monkeypatch = monkeypatch

    def install(
        self,
        plugin: str,
        code: str,
        *,
        distribution: str | None = None,
        module: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Installs a distribution with one plugin; returns the name of its package.

        Args:
            plugin: the name of the entry point.
            code: of its `plugin.py`.
            distribution: its name; `zoo-PLUGIN` by default.
            module: the name of its package; `zoo_PLUGIN_pkg` by default.
            files: name -> content of more files in the package.
        """
        distribution = distribution or f"zoo-{plugin}"
        module = module or f"zoo_{plugin.replace('-', '_')}_pkg"
        sources = {"__init__.py": "", "plugin.py": code, **(files or {})}
        for name, source in sources.items():
            file = self.path / module / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source, encoding="utf-8")
        metadata = {
            "METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
            "entry_points.txt": f"[zoo]\n{plugin} = {module}.plugin\n",
            "RECORD": "".join(f"{module}/{name},,\n" for name in sources),
        }
        info = self.path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        for name, text in metadata.items():
            (info / name).write_text(text, encoding="utf-8")
        return module

    def install_cards(self, plugin: str, *names: str, **more: str) -> str:
        """Installs a plugin with these cards of one tiny network; returns its package's name."""
        module = f"zoo_{plugin.replace('-', '_')}_pkg"
        cards = ", ".join(CARD.format(name=name, module=module) for name in names)
        files = {"model.py": NET, "transform.py": TRANSFORM}
        return self.install(plugin, PLUGIN.format(cards=cards), files=files, **more)

    def activate(self) -> None:
        """Lets this process find what is installed here."""
        self.monkeypatch.syspath_prepend(str(self.path))
        installed.cache_clear()

    def forget(self) -> None:
        """Unloads the modules installed here."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.path)):
                del sys.modules[name]
        installed.cache_clear()

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a subprocess: none of the user's settings, everything kept here."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ZOO_", "HF_", "PYTHON"))
        }
        own = {
            "PYTHONPATH": str(self.path),
            "HOME": str(self.home),
            "ZOO_CACHE": str(self.home / "cache"),
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_OFFLINE": "1",
        }
        return kept | own | variables

    def python(self, code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs Python code in a process that finds what is installed here."""
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment(**variables),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def zoo(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs the command `zoo` so."""
        return self.python("from zoo_core.cli import main; main()", *arguments, **variables)


@pytest.fixture(name="site")
def site_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder of distributions; what it holds is unloaded after the test."""
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "site"
    folder.mkdir()
    made = Site(folder, monkeypatch)
    monkeypatch.setenv("ZOO_CACHE", str(made.home / "cache"))
    yield made
    made.forget()
