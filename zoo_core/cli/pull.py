"""`zoo pull`: fetch and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_core.cli import output


def command(
    name: Annotated[str, typer.Argument(help="A name, NAME.TAG or hf-hub:owner/repo.")],
    cache_dir: Annotated[Path | None, typer.Option(help="Keep files below this folder.")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.")] = None,
) -> None:
    """Fetch the weights of a name and verify them, so that they load without a network."""
    from zoo_core.loading import pull

    fetched = pull(name, cache_dir=cache_dir, revision=revision)
    rows = [
        ("file", str(fetched.path)),
        ("size", output.size(fetched.path.stat().st_size)),
        ("sha256", fetched.sha256),
    ]
    output.table(("fetched", name), rows)
