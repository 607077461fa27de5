"""Access to timm's data tools, for everything here that needs them."""

from __future__ import annotations

from types import ModuleType

from zoo_core.errors import ZooError


def timm_data() -> ModuleType:
    """Returns the module `timm.data`, imported when first needed.

    Raises:
        ZooError: it cannot be imported; the message says why in one line.
    """
    try:
        import timm.data
    # timm imports torchvision, and one built for another torch raises RuntimeError
    # ("operator torchvision::nms does not exist") instead of ImportError.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ZooError(
            f"timm cannot be imported ({reason}); install timm and the torchvision that belongs to "
            "the installed torch."
        ) from error
    return timm.data
