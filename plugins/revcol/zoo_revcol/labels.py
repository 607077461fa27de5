"""The names of the classes, read from timm's tables."""

from __future__ import annotations

from zoo_revcol.timm_data import timm_data


def imagenet_1k() -> tuple[str, ...]:
    """Returns the 1000 names of ImageNet-1K, in the usual order (0 is "tench, Tinca tinca").

    Raises:
        ZooError: timm cannot be imported.
    """
    return _names("imagenet-1k")


def imagenet_22k() -> tuple[str, ...]:
    """Returns the 21,841 names of ImageNet-22K (the fall 2011 release).

    The order is that of the sorted synsets. The official code does not state its order; this one
    is inferred from how image folders are read, by sorted folder name.

    Raises:
        ZooError: timm cannot be imported.
    """
    return _names("imagenet-22k")


def _names(subset: str) -> tuple[str, ...]:
    return tuple(timm_data().ImageNetInfo(subset).label_descriptions())
