"""The design paradigm by itself: any levels in reversible columns, trained in little memory.

Nothing in here knows of images or convolutions. Source: Cai et al., "Reversible Column Networks",
ICLR 2023, section 3.
"""

from zoo_revcol.reversible.check import Reversibility
from zoo_revcol.reversible.column import Column
from zoo_revcol.reversible.columns import ReversibleColumns
from zoo_revcol.reversible.level import ModuleLevel, ReversibleLevel

__all__ = ["Column", "ModuleLevel", "Reversibility", "ReversibleColumns", "ReversibleLevel"]
