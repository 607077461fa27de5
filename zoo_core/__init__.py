"""The core of the zoo, for authors of plugins: cards, hooks, checkpoints, errors.

A plugin's `plugin.py` needs `Card`, `Paper`, `Weights` and `hookimpl`, and for what `zoo reproduce`
runs `Experiment` and `Figure`; its `convert.py` needs `zoo_core.checkpoint.converter`; everything
raises errors of `zoo_core.errors`. Users import `zoo`.
"""

from zoo_core.card import Card, Paper, Weights
from zoo_core.errors import ZooError, ZooWarning
from zoo_core.experiment import Context, Experiment, Figure
from zoo_core.hookspecs import hookimpl

__version__ = "0.1.0"
__all__ = [
    "Card",
    "Context",
    "Experiment",
    "Figure",
    "Paper",
    "Weights",
    "ZooError",
    "ZooWarning",
    "__version__",
    "hookimpl",
]
