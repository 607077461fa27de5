"""The core is built floor by floor: no file imports from its own floor or one above."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def floors() -> dict[str, int]:
    """Module of the core -> its row in CONTRIBUTING.md's table."""
    rows = re.findall(r"^\| (`.+?`) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    names = {
        name: number
        for number, row in enumerate(rows)
        for name in re.findall(r"`(\w+)(?:\.py|/)`", row)
    }
    assert len(names) > 10
    return names


def imported(file: Path) -> set[str]:
    """The modules of the core that a file imports, at its top or in a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "zoo_core":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoo_core."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("zoo_core.")
            }
    return found


def test_every_file_has_a_floor_and_imports_only_from_those_below() -> None:
    level = floors()
    files = {file.stem: file for file in (ROOT / "zoo_core").glob("*.py")}
    del files["__init__"]
    assert files.keys() | {"cli"} == level.keys()
    wrong = [
        f"{name} imports {other}"
        for name, file in files.items()
        for other in imported(file)
        if level[other] >= level[name]
    ]
    assert wrong == []


def test_no_file_of_the_core_is_of_a_plugin() -> None:
    text = "".join(file.read_text() for file in (ROOT / "zoo_core").rglob("*.py"))
    assert not re.search(r"(import|from) zoo_(?!core|weights)", text)
