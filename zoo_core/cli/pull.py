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
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch the weights of a name and verify them, so that they load without a network."""
    from zoo_core.checkpoint import INDEX_SUFFIX, shards_of
    from zoo_core.loading import pull

    fetched = pull(name, cache_dir=cache_dir, revision=revision)
    path = fetched.path
    parts = set(shards_of(path).values()) if path.name.endswith(INDEX_SUFFIX) else set()
    size = sum(each.stat().st_size for each in (path, *(path.parent / part for part in parts)))
    if json:
        output.as_json({"file": str(path), "size": size, "sha256": fetched.sha256 or None})
        return
    rows = [("file", str(path)), ("size", output.size(size)), ("sha256", fetched.sha256)]
    output.table(("fetched", name), [row for row in rows if row[1]])
