"""A package's public names, imported when they are first used, so that importing it costs nothing.

```python
__getattr__, __dir__, __all__ = lazy.attach(__name__, {"Mine": "zoo_mine.model"})
```
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attach(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns what a package's `__init__.py` takes for its `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: its `__name__`.
        homes: public name -> the module that defines it.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        # An import leaves the module in its package, under a name that may be this one's.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)
