"""Images to the network's input, as in the official evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.timm_data import timm_data
from zoo_revcol.validation import integer, positive, real

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
_CROP_MODES = ("center", "squash", "border")
# The centre crop of an image longer than this many times its width shows nothing of its ends.
_LONGEST = 16
_LARGEST = 1 << 14


def evaluation(
    *,
    input_size: Sequence[int] = (3, 224, 224),
    interpolation: str = "bicubic",
    crop_pct: float = 0.875,
    crop_mode: str = "center",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Callable[[Image.Image], Tensor]:
    """Makes the evaluation transform; the arguments and their meaning are timm's.

    RevCol's rule for a size S up to 224: the shorter side to int(256 / 224 * S), then the central
    S x S ("center" with 0.875); above 224: straight to S x S, which does not keep the aspect
    ratio ("squash" with 1.0).

    Args:
        input_size: channels (3), height and width of the result.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".
        crop_pct: what share of the resized image's side is kept, in (0, 1].
        crop_mode: "center" keeps the aspect ratio and crops, "squash" changes it, "border" keeps
            it and pads.
        mean: of each channel, subtracted from values in [0, 1].
        std: of each channel, divided by.

    Returns:
        A callable, PIL image of any mode and size -> float tensor [3, height, width], that can be
        pickled. It raises InputError for what is not an image; see `to_rgb`.

    Raises:
        ConfigError: an argument out of its range.
        ZooError: timm cannot be imported.
    """
    _check_size(input_size)
    _check_choice("interpolation", interpolation, _INTERPOLATIONS)
    _check_choice("crop_mode", crop_mode, _CROP_MODES)
    if positive("crop_pct", crop_pct) > 1.0:
        raise ConfigError(f"crop_pct is {crop_pct}; expected at most 1.")
    _check_statistics("mean", mean, real)
    _check_statistics("std", std, positive)
    transform = timm_data().create_transform(
        input_size=tuple(input_size),
        interpolation=interpolation,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        mean=tuple(mean),
        std=tuple(std),
        is_training=False,
    )
    transform.transforms[:0] = [to_rgb, *([without_ends] if crop_mode == "center" else [])]
    return transform


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to RGB.

    Transparent images are laid on white. Greys of more than 8 bits ("I;16", and "I" with values
    above 255) are taken as 16-bit; floating-point greys as 0 to 255.

    Args:
        image: any PIL image with at least one pixel.

    Raises:
        InputError: not a PIL image, or one without pixels.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"the image is a {type(image).__name__}; expected a PIL.Image.Image.")
    if min(image.size) < 1:
        raise InputError(f"the image has size {image.size}; expected at least one pixel.")
    if image.mode.startswith("I"):
        image = _grey(image)
    elif "transparency" in image.info or image.mode.endswith(("A", "a")):
        # The modes with a small "a" hold premultiplied colours, which convert only this way.
        image = image.convert(image.mode.replace("a", "A")).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def without_ends(image: Image.Image) -> Image.Image:
    """Cuts the far ends off a very long or tall image, around its centre.

    A centre crop does not show them, but to enlarge the short side of, say, a 1 x 5000 image
    with them takes gigabytes.
    """
    longest = _LONGEST * min(image.size)
    width, height = (min(side, longest - (longest - side) % 2) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _grey(image: Image.Image) -> Image.Image:
    sixteen_bits = image.mode != "I" or image.getextrema()[1] > 255
    image = image.convert("I")
    if sixteen_bits:
        image = image.point(lambda value: value * (1 / 257) + 0.5)
    return image.convert("L")


def _check_size(input_size: Any) -> None:
    if (
        not isinstance(input_size, Sequence)
        or isinstance(input_size, str)
        or len(input_size) != 3
        or input_size[0] != 3
    ):
        raise ConfigError(f"input_size is {input_size!r}; expected [3, height, width].")
    for side in input_size[1:]:
        integer("input_size", side, minimum=1, maximum=_LARGEST)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")


def _check_statistics(name: str, values: Any, check: Callable[[str, Any], float]) -> None:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 3:
        raise ConfigError(f"{name} is {values!r}; expected three numbers, one a channel.")
    for value in values:
        check(name, value)
