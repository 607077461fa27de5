"""The model zoo: methods from papers, by name.

```python
import zoo

zoo.list()                          # names
zoo.info("revcol-h")                # the card: paper, configuration, weights, licence
model = zoo.load("revcol-h")        # the object, with its weights
zoo.save(model, "./runs/mine")      # a folder that zoo.load reads back
zoo.push(model, "someone/mine")     # a repository of the Hugging Face Hub
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo_core import __version__
from zoo_core.errors import ZooError, ZooWarning
from zoo_core.registry import list_names as list

if TYPE_CHECKING:
    from zoo_core.loading import load
    from zoo_core.locating import info
    from zoo_core.saving import push, save

__all__ = ["ZooError", "ZooWarning", "__version__", "info", "list", "load", "push", "save"]


def __getattr__(name: str) -> Any:
    """Imports all verbs but `list` when they are first used."""
    if name == "load":
        from zoo_core.loading import load

        return load
    if name == "info":
        from zoo_core.locating import info

        return info
    if name in ("save", "push"):
        from zoo_core import saving

        return getattr(saving, name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted(__all__)
