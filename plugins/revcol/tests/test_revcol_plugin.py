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

# Card -> its tags, the default first.
TAGS = {
    "revcol-t": (
        "in1k",
        "in1k_supervised",
        "coco_cascade_mask_rcnn_in1k",
        "ade20k_upernet_in1k_512",
    ),
    "revcol-s": (
        "in1k",
        "in1k_supervised",
        "coco_cascade_mask_rcnn_in1k",
        "ade20k_upernet_in1k_512",
    ),
    "revcol-b": (
        "in22k_ft_in1k_384",
        "in22k_ft_in1k_224",
        "in1k",
        "in22k",
        "in1k_supervised",
        "in22k_supervised",
        "coco_cascade_mask_rcnn_in1k",
        "coco_cascade_mask_rcnn_in22k",
        "ade20k_upernet_in1k_512",
        "ade20k_upernet_in22k_640",
    ),
    "revcol-l": (
        "in22k_ft_in1k_384",
        "in22k_ft_in1k_224",
        "in22k",
        "in22k_supervised",
        "coco_cascade_mask_rcnn_in22k",
        "ade20k_upernet_in22k_640",
    ),
    "revcol-xl": (),
    "revcol-h": (
        "megdata_ft_in1k_640",
        "megdata",
        "megdata_supervised",
        "megdata_k7",
        "ade20k_upernet_megdata_640",
    ),
}
# Classifiers: file, side of the images, top-1 accuracy.
CLASSIFIERS = {
    "revcol-t.in1k": ("revcol_tiny_1k.pth", 224, 82.2),
    "revcol-s.in1k": ("revcol_small_1k.pth", 224, 83.5),
    "revcol-b.in1k": ("revcol_base_1k.pth", 224, 84.1),
    "revcol-b.in22k": ("revcol_base_22k.pth", 224, None),
    "revcol-b.in22k_ft_in1k_224": ("revcol_base_22k_1kft_224.pth", 224, 85.6),
    "revcol-b.in22k_ft_in1k_384": ("revcol_base_22k_1kft_384.pth", 384, 86.7),
    "revcol-l.in22k": ("revcol_large_22k.pth", 224, None),
    "revcol-l.in22k_ft_in1k_224": ("revcol_large_22k_1kft_224.pth", 224, 86.6),
    "revcol-l.in22k_ft_in1k_384": ("revcol_large_22k_1kft_384.pth", 384, 87.6),
    "revcol-h.megdata": ("revcol_huge_megdata.pth", 224, None),
    "revcol-h.megdata_ft_in1k_640": ("revcol_huge_megdata_in1k.pth", 640, 90.0),
}
# Detectors: file, box and mask AP.
DETECTORS = {
    "revcol-t.coco_cascade_mask_rcnn_in1k": ("cmr_tiny_3x_in1k_AP508.pth", 50.8, 44.0),
    "revcol-s.coco_cascade_mask_rcnn_in1k": ("cmr_revcol_small_3x_in1k.pth", 52.6, 45.5),
    "revcol-b.coco_cascade_mask_rcnn_in1k": ("cmr_base_3x_in1k.pth", 53.0, 45.9),
    "revcol-b.coco_cascade_mask_rcnn_in22k": ("cmr_base_3x_in22k_AP55.pth", 55.0, 47.5),
    "revcol-l.coco_cascade_mask_rcnn_in22k": ("cmr_large_3x_in22k_AP559.pth", 55.9, 48.4),
}
# Segmenters: file after "upernet_revcol_", side of the crops, mIoU at one scale and at several.
SEGMENTERS = {
    "revcol-t.ade20k_upernet_in1k_512": ("tiny_fp16_512x512", 512, 47.4, 47.6),
    "revcol-s.ade20k_upernet_in1k_512": ("small_fp16_512x512", 512, 47.9, 49.0),
    "revcol-b.ade20k_upernet_in1k_512": ("base_512x512", 512, 49.0, 50.1),
    "revcol-b.ade20k_upernet_in22k_640": ("base_640x640", 640, 52.7, 53.3),
    "revcol-l.ade20k_upernet_in22k_640": ("large_fp16_640x640", 640, 53.4, 53.7),
    "revcol-h.ade20k_upernet_megdata_640": ("huge_fp16_640x640", 640, 57.8, 58.0),
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


def test_every_tag_is_told_of_below():
    told = {*CLASSIFIERS, *DETECTORS, *SEGMENTERS, "revcol-h.megdata_k7"}
    tags = {f"{card}.{tag}" for card, tags in TAGS.items() for tag in tags}
    assert {name.removesuffix("_supervised") for name in tags} == told


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_are_those_published(name):
    file, side, top_1 = CLASSIFIERS[name]
    weights = all_weights()[name]
    assert f"/classification/{file}@" in weights.source
    assert weights.converter == "zoo_revcol.convert:from_megvii"
    assert weights.metrics == ({} if top_1 is None else {"imagenet-1k top-1 (%)": top_1})
    assert weights.license == "apache-2.0"
    assert weights.preprocessing["input_size"] == [3, side, side]
    assert weights.config == ({"num_classes": 21841} if name.endswith(".in22k") else {})


def test_supervised_tags_are_the_same_files_read_whole():
    weights = all_weights()
    supervised = {name for name in weights if name.endswith("_supervised")}
    assert len(supervised) == 6
    for name in supervised:
        whole, plain = weights[name], weights[name.removesuffix("_supervised")]
        assert whole.converter == "zoo_revcol.convert:from_megvii_supervised"
        assert whole.config == {**plain.config, "intermediate_supervision": True}
        for field in ("source", "size", "license", "metrics", "preprocessing", "labels"):
            assert getattr(whole, field) == getattr(plain, field)


@pytest.mark.parametrize("name", [*DETECTORS, *SEGMENTERS, "revcol-h.megdata_k7"])
def test_dense_prediction_gives_backbones(name):
    weights = all_weights()[name]
    assert weights.converter == "zoo_revcol.convert:backbone_from_megvii"
    assert weights.config == {"num_classes": 0, "global_pool": ""}
    assert weights.labels == ()
    assert "backbone" in weights.description


def test_detectors_and_segmenters_are_those_published():
    weights = all_weights()
    for name, (file, box, mask) in DETECTORS.items():
        assert f"/detection/{file}@" in weights[name].source
        assert list(weights[name].metrics.values()) == [box, mask]
        assert all("of the detector" in key for key in weights[name].metrics)
    for name, (file, side, *mean_iou) in SEGMENTERS.items():
        assert f"/segmentation/upernet_revcol_{file}_160k_ade20k.pth@" in weights[name].source
        assert list(weights[name].metrics.values()) == mean_iou
        assert all("of the segmenter" in key for key in weights[name].metrics)
        assert weights[name].preprocessing["input_size"] == [3, side, side]
    padded = weights["revcol-h.megdata_k7"]
    assert "/segmentation/revcol_huge_k7padded.pth@" in padded.source
    assert padded.metrics == {}


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
