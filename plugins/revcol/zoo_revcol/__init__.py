"""Reversible Column Networks (RevCol, arXiv 2212.11696) for the zoo.

The public names are imported when they are first used, so that `import zoo_revcol` costs nothing.
"""

from __future__ import annotations

from zoo_core import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    {
        "Column": "zoo_revcol.reversible",
        "ModuleLevel": "zoo_revcol.reversible",
        "RevCol": "zoo_revcol.model",
        "RevColText": "zoo_revcol.text",
        "RevColViT": "zoo_revcol.vit",
        "Reversibility": "zoo_revcol.reversible",
        "ReversibleColumns": "zoo_revcol.reversible",
        "ReversibleLevel": "zoo_revcol.reversible",
        "SupervisedOutput": "zoo_revcol.supervision",
        "UPerNet": "zoo_revcol.segmentation",
        "VARIANTS": "zoo_revcol.variants",
        "Variant": "zoo_revcol.variants",
        "backbone_from_megvii": "zoo_revcol.convert",
        "config_of": "zoo_revcol.convert",
        "from_megvii": "zoo_revcol.convert",
        "from_megvii_supervised": "zoo_revcol.convert",
        "linear_cka": "zoo_revcol.cka",
        "pad_kernels": "zoo_revcol.convert",
        "revcol_loss": "zoo_revcol.loss",
        "to_megvii": "zoo_revcol.convert",
    },
)
