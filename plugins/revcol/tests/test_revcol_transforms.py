"""The evaluation transform follows the official rule, for every kind of image."""

from __future__ import annotations

import pickle

import pytest
import torch
from PIL import Image

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.plugin import zoo_cards
from zoo_revcol.transforms import evaluation, to_rgb

MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    generator = torch.Generator().manual_seed(width * 1000 + height)
    pixels = torch.randint(0, 256, (height * width * 3,), generator=generator, dtype=torch.uint8)
    return Image.frombytes("RGB", (width, height), bytes(pixels.tolist())).convert(mode)


def to_tensor(image: Image.Image) -> torch.Tensor:
    width, height = image.size
    values = torch.tensor(list(image.tobytes()), dtype=torch.float32).view(height, width, 3) / 255
    return ((values - MEAN) / STD).permute(2, 0, 1)


def by_the_rule(image: Image.Image, size: int) -> torch.Tensor:
    if size > 224:
        return to_tensor(image.resize((size, size), Image.Resampling.BICUBIC))
    shorter = int(256 / 224 * size)
    width, height = image.size
    if width <= height:
        width, height = shorter, int(shorter * height / width)
    else:
        width, height = int(shorter * width / height), shorter
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return to_tensor(image.crop((left, top, left + size, top + size)))


def preprocessing(size: int) -> dict:
    found = [
        weights.preprocessing
        for card in zoo_cards()
        for weights in card.weights
        if weights.preprocessing["input_size"][1] == size
    ]
    assert found
    return found[0]


@pytest.mark.parametrize("size", [224, 384, 640])
@pytest.mark.parametrize(
    "shape", [(427, 640), (33, 500), (500, 33), (224, 224), (1, 1), (257, 256)]
)
def test_the_official_rule(shape, size):
    image = photograph(*shape)
    transform = evaluation(**preprocessing(size))
    torch.testing.assert_close(transform(image), by_the_rule(image, size))


def test_other_small_sizes_follow_the_rule():
    image = photograph(150, 101)
    for size in (32, 65, 160, 223):
        transform = evaluation(input_size=[3, size, size])
        torch.testing.assert_close(transform(image), by_the_rule(image, size))


@pytest.mark.parametrize(
    "path",
    [
        *("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F"),
        *("L LA", "L LA La", "RGBA", "RGBA RGBa", "RGBA P PA"),
    ],
)
def test_opaque_images_of_every_mode_look_as_pillow_shows_them(path):
    image = photograph(60, 40)
    for mode in path.split():
        image = image.convert(mode)
    expected = image.convert("L") if image.mode in ("I", "F") else image
    if image.mode.endswith(("a", "A")):
        expected = image.convert(image.mode.replace("a", "A")).convert("RGBA")
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    assert rgb.tobytes() == expected.convert("RGB").tobytes()
    assert evaluation()(image).isfinite().all()


def test_sixteen_bits_keep_their_range():
    image = Image.new("I;16", (3, 1))
    for column, value in enumerate((0, 65279, 65535)):
        image.putpixel((column, 0), value)
    big_endian = Image.frombytes("I;16B", (3, 1), bytes([0, 0, 254, 255, 255, 255]))
    for grey in (image, image.convert("I"), big_endian):
        rgb = to_rgb(grey)
        assert [rgb.getpixel((column, 0)) for column in range(3)] == [
            (0, 0, 0),
            (254, 254, 254),
            (255, 255, 255),
        ]


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    rgb = to_rgb(image)
    assert [rgb.getpixel((column, 0)) for column in range(2)] == [(10, 20, 30), (255, 255, 255)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([0, 0, 0])
    palette.info["transparency"] = 0
    assert to_rgb(palette).getpixel((0, 0)) == (255, 255, 255)


def test_a_very_long_image_is_cheap_and_shows_its_centre():
    long = Image.new("RGB", (60_000, 1), "black")
    long.paste("white", (29_990, 0, 30_010, 1))
    transform = evaluation()
    white = ((1 - MEAN) / STD)[:, None, None].expand(3, 224, 224)
    torch.testing.assert_close(transform(long), white)
    torch.testing.assert_close(transform(long.transpose(Image.Transpose.ROTATE_90)), white)


def test_the_result_can_be_pickled():
    image = photograph(50, 70)
    transform = evaluation()
    assert torch.equal(pickle.loads(pickle.dumps(transform))(image), transform(image))  # noqa: S301


@pytest.mark.parametrize("image", [None, "cat.jpg", torch.zeros(3, 8, 8), Image.new("RGB", (0, 5))])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InputError, match="expected"):
        evaluation()(image)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("input_size", 224),
        ("input_size", [1, 224, 224]),
        ("input_size", [3, 0, 224]),
        ("input_size", [3, 200_000, 224]),
        ("mean", [10**400, 0, 0]),
        ("interpolation", "cubic"),
        ("crop_pct", 0.0),
        ("crop_pct", 1.5),
        ("crop_pct", "0.875"),
        ("crop_mode", "centre"),
        ("mean", 0.5),
        ("mean", [0.5, 0.5]),
        ("std", [0.2, 0.2, None]),
        ("std", [0.2, 0.2, 0.0]),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ConfigError, match=argument):
        evaluation(**{argument: value})
