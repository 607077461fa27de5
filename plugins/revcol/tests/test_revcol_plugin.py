"""The cards are valid, light, and name things that exist."""

from __future__ import annotations

import builtins
import importlib
import inspect
import subprocess
import sys

import pytest

from zoo_core.errors import ZooError
from zoo_revcol.labels import imagenet_1k, imagenet_22k
from zoo_revcol.plugin import zoo_cards
from zoo_revcol.timm_data import timm_data

TAGS = {
    "revcol-t": ("in1k",),
    "revcol-s": ("in1k",),
    "revcol-b": ("in22k_ft_in1k_384", "in22k_ft_in1k_224", "in1k", "in22k"),
    "revcol-l": ("in22k_ft_in1k_384", "in22k_ft_in1k_224", "in22k"),
    "revcol-xl": (),
    "revcol-h": ("megdata_ft_in1k_640", "megdata"),
}
REPORTED = {
    "revcol-t.in1k": 82.2,
    "revcol-s.in1k": 83.5,
    "revcol-b.in1k": 84.1,
    "revcol-b.in22k_ft_in1k_224": 85.6,
    "revcol-b.in22k_ft_in1k_384": 86.7,
    "revcol-l.in22k_ft_in1k_224": 86.6,
    "revcol-l.in22k_ft_in1k_384": 87.6,
    "revcol-h.megdata_ft_in1k_640": 90.0,
}
FILES = {
    "revcol-t.in1k": "revcol_tiny_1k.pth",
    "revcol-s.in1k": "revcol_small_1k.pth",
    "revcol-b.in1k": "revcol_base_1k.pth",
    "revcol-b.in22k": "revcol_base_22k.pth",
    "revcol-b.in22k_ft_in1k_224": "revcol_base_22k_1kft_224.pth",
    "revcol-b.in22k_ft_in1k_384": "revcol_base_22k_1kft_384.pth",
    "revcol-l.in22k": "revcol_large_22k.pth",
    "revcol-l.in22k_ft_in1k_224": "revcol_large_22k_1kft_224.pth",
    "revcol-l.in22k_ft_in1k_384": "revcol_large_22k_1kft_384.pth",
    "revcol-h.megdata": "revcol_huge_megdata.pth",
    "revcol-h.megdata_ft_in1k_640": "revcol_huge_megdata_in1k.pth",
}


def target(import_string):
    module, name = import_string.split(":")
    return getattr(importlib.import_module(module), name)


def all_weights():
    return {f"{card.name}.{item.tag}": item for card in zoo_cards() for item in card.weights}


def test_names_and_tags():
    cards = {card.name: card for card in zoo_cards()}
    assert {name: cards[name].tags for name in TAGS} == TAGS
    assert cards["revcol-xl"].aliases == ("revcol-xlarge",)


def test_the_cards_repeat_what_is_published():
    weights = all_weights()
    key = "imagenet-1k top-1 (%)"
    for name, file in FILES.items():
        assert f"/classification/{file}@" in weights[name].source
        assert weights[name].metrics == ({key: REPORTED[name]} if name in REPORTED else {})
        assert weights[name].license == "apache-2.0"
        size = int(name.split("_")[-1]) if name[-1] in "04" and "ft" in name else 224
        assert weights[name].preprocessing["input_size"] == [3, size, size]
    assert weights["revcol-b.in22k"].config == {"num_classes": 21841}
    assert weights["revcol-h.megdata"].config == {}


def test_everything_that_a_card_names_exists():
    for card in zoo_cards():
        factory = target(card.factory)
        inspect.signature(factory).bind(**card.config)
        for weights in card.weights:
            inspect.signature(factory).bind(**card.config, **weights.config)
            if weights.converter:
                assert target(weights.converter).version >= 1
            inspect.signature(target(card.transform)).bind(**weights.preprocessing)
            if isinstance(weights.labels, str):
                classes = weights.config.get("num_classes", 1000)
                assert len(target(weights.labels)()) == classes


def test_cards_cost_no_heavy_import():
    code = (
        "import sys; from zoo_revcol.plugin import zoo_cards; zoo_cards(); "
        "print([name for name in ('torch', 'timm', 'PIL', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_names_its_public_parts_lazily():
    code = (
        "import sys, zoo_revcol; assert 'torch' not in sys.modules; "
        "assert set(zoo_revcol.__all__) <= set(dir(zoo_revcol)); "
        "[getattr(zoo_revcol, name) for name in zoo_revcol.__all__]; "
        "assert zoo_revcol.RevCol.__module__ == 'zoo_revcol.model'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module("zoo_revcol").nothing  # noqa: B018


def test_labels():
    names = imagenet_1k()
    assert len(names) == 1000
    assert names[0].startswith("tench")
    assert names[207] == "golden retriever"
    assert names[999].startswith("toilet tissue")
    more = imagenet_22k()
    assert len(more) == 21841
    assert more[0].startswith("organism")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'timm'"),
        RuntimeError("operator torchvision::nms does not exist\nand more"),
        RuntimeError(),
    ],
)
def test_a_timm_that_cannot_be_imported_is_explained_in_one_line(error, monkeypatch):
    real_import = builtins.__import__

    def broken(name, *rest):
        if name.startswith("timm"):
            raise error
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ZooError, match="timm cannot be imported") as caught:
        timm_data()
    assert "\n" not in str(caught.value)
