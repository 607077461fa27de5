"""The checkpoints that the authors released, by the size they are of.

Accuracies are those that the authors report; sizes are those that the Hub shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from zoo_core.card import Weights

_REVISION = "fa566a7e5e4d747edf8d252824e151d0d1d32895"
_SOURCE = "hf://LarryTsai/RevCol/revcol_models/{}/{}@" + _REVISION
_IMAGENET_1K = "zoo_revcol.labels:imagenet_1k"
_IMAGENET_22K = "zoo_revcol.labels:imagenet_22k"
_FINE_TUNED = "Pretrained on ImageNet-22K, fine-tuned on ImageNet-1K at {} pixels."
_SUPERVISED = " With the earlier columns' heads and decoders, to go on training."
_PRETRAINING = {"in1k": "ImageNet-1K", "in22k": "ImageNet-22K", "megdata": "Megdata-168M"}


def preprocessing(resolution: int) -> dict[str, Any]:
    """Up to 224 pixels the official evaluation crops the centre; above it squashes the image."""
    crops = resolution <= 224
    return {
        "input_size": [3, resolution, resolution],
        "interpolation": "bicubic",
        "crop_pct": 0.875 if crops else 1.0,
        "crop_mode": "center" if crops else "squash",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }


def _classifier(
    tag: str,
    file: str,
    *,
    size: int,
    resolution: int,
    description: str,
    labels: str | tuple[str, ...] = (),
    top_1: float | None = None,
    config: Mapping[str, Any] | None = None,
    supervised: bool = False,
) -> Weights:
    """A file of the folder for classification, with one head or with everything in it."""
    suffix = "_supervised" if supervised else ""
    return Weights(
        tag=tag + suffix,
        source=_SOURCE.format("classification", file),
        license="apache-2.0",
        size=size,
        converter=f"zoo_revcol.convert:from_megvii{suffix}",
        config={**(config or {}), **({"intermediate_supervision": True} if supervised else {})},
        metrics={} if top_1 is None else {"imagenet-1k top-1 (%)": top_1},
        preprocessing=preprocessing(resolution),
        labels=labels,
        description=description + (_SUPERVISED if supervised else ""),
    )


def _in1k(file: str, size: int, top_1: float, *, supervised: bool = False) -> Weights:
    return _classifier(
        "in1k",
        file,
        size=size,
        resolution=224,
        labels=_IMAGENET_1K,
        top_1=top_1,
        description="Trained on ImageNet-1K at 224 pixels, with intermediate supervision.",
        supervised=supervised,
    )


def _fine_tuned(file: str, size: int, resolution: int, top_1: float) -> Weights:
    return _classifier(
        f"in22k_ft_in1k_{resolution}",
        file,
        size=size,
        resolution=resolution,
        labels=_IMAGENET_1K,
        top_1=top_1,
        description=_FINE_TUNED.format(resolution),
    )


def _in22k(file: str, size: int, *, supervised: bool = False) -> Weights:
    return _classifier(
        "in22k",
        file,
        size=size,
        resolution=224,
        labels=_IMAGENET_22K,
        config={"num_classes": 21841},
        description="Pretrained on ImageNet-22K at 224 pixels, with intermediate supervision.",
        supervised=supervised,
    )


def _megdata(*, supervised: bool = False) -> Weights:
    return _classifier(
        "megdata",
        "revcol_huge_megdata.pth",
        size=9_800_000_000,
        resolution=224,
        description="Pretrained on Megdata-168M, whose classes are not published.",
        supervised=supervised,
    )


def _backbone(
    tag: str,
    folder: str,
    file: str,
    resolution: int,
    description: str,
    *,
    metrics: Mapping[str, float] | None = None,
    size: int | None = None,
) -> Weights:
    """The backbone alone, whatever else is in the file."""
    return Weights(
        tag=tag,
        source=_SOURCE.format(folder, file),
        license="apache-2.0",
        size=size,
        converter="zoo_revcol.convert:backbone_from_megvii",
        config={"num_classes": 0, "global_pool": ""},
        metrics=metrics or {},
        preprocessing=preprocessing(resolution) | {"crop_pct": 1.0, "crop_mode": "squash"},
        description=description,
    )


def _detector(file: str, size: int, pretraining: str, box: float, mask: float) -> Weights:
    """Trained at shorter sides of 480 to 800 pixels; the card states the largest."""
    return _backbone(
        f"coco_cascade_mask_rcnn_{pretraining}",
        "detection",
        file,
        800,
        f"Pretrained on {_PRETRAINING[pretraining]}; the backbone of a Cascade Mask R-CNN trained "
        "on COCO. The file is the whole detector, the metrics are its.",
        metrics={"coco box AP of the detector": box, "coco mask AP of the detector": mask},
        size=size,
    )


def _segmenter(file: str, pretraining: str, resolution: int, mean_iou: Sequence[float]) -> Weights:
    single, several = mean_iou
    return _backbone(
        f"ade20k_upernet_{pretraining}_{resolution}",
        "segmentation",
        file,
        resolution,
        f"Pretrained on {_PRETRAINING[pretraining]}; the backbone of a UPerNet trained on ADE20K "
        f"at {resolution} pixels. The file is the whole segmenter, the metrics are its.",
        metrics={
            "ade20k mIoU of the segmenter (%)": single,
            "ade20k multi-scale mIoU of the segmenter (%)": several,
        },
    )


RELEASED: Final[Mapping[str, tuple[Weights, ...]]] = {
    "tiny": (
        _in1k("revcol_tiny_1k.pth", 135_000_000, 82.2),
        _in1k("revcol_tiny_1k.pth", 135_000_000, 82.2, supervised=True),
        _detector("cmr_tiny_3x_in1k_AP508.pth", 1_060_000_000, "in1k", 50.8, 44.0),
        _segmenter("upernet_revcol_tiny_fp16_512x512_160k_ade20k.pth", "in1k", 512, (47.4, 47.6)),
    ),
    "small": (
        _in1k("revcol_small_1k.pth", 255_000_000, 83.5),
        _in1k("revcol_small_1k.pth", 255_000_000, 83.5, supervised=True),
        _detector("cmr_revcol_small_3x_in1k.pth", 1_420_000_000, "in1k", 52.6, 45.5),
        _segmenter("upernet_revcol_small_fp16_512x512_160k_ade20k.pth", "in1k", 512, (47.9, 49.0)),
    ),
    "base": (
        _fine_tuned("revcol_base_22k_1kft_384.pth", 555_000_000, 384, 86.7),
        _fine_tuned("revcol_base_22k_1kft_224.pth", 555_000_000, 224, 85.6),
        _in1k("revcol_base_1k.pth", 570_000_000, 84.1),
        _in22k("revcol_base_22k.pth", 776_000_000),
        _in1k("revcol_base_1k.pth", 570_000_000, 84.1, supervised=True),
        _in22k("revcol_base_22k.pth", 776_000_000, supervised=True),
        _detector("cmr_base_3x_in1k.pth", 2_350_000_000, "in1k", 53.0, 45.9),
        _detector("cmr_base_3x_in22k_AP55.pth", 2_350_000_000, "in22k", 55.0, 47.5),
        _segmenter("upernet_revcol_base_512x512_160k_ade20k.pth", "in1k", 512, (49.0, 50.1)),
        _segmenter("upernet_revcol_base_640x640_160k_ade20k.pth", "in22k", 640, (52.7, 53.3)),
    ),
    "large": (
        _fine_tuned("revcol_large_22k_1kft_384.pth", 1_090_000_000, 384, 87.6),
        _fine_tuned("revcol_large_22k_1kft_224.pth", 1_090_000_000, 224, 86.6),
        _in22k("revcol_large_22k.pth", 1_480_000_000),
        _in22k("revcol_large_22k.pth", 1_480_000_000, supervised=True),
        _detector("cmr_large_3x_in22k_AP559.pth", 3_960_000_000, "in22k", 55.9, 48.4),
        _segmenter("upernet_revcol_large_fp16_640x640_160k_ade20k.pth", "in22k", 640, (53.4, 53.7)),
    ),
    "xlarge": (),
    "huge": (
        _classifier(
            "megdata_ft_in1k_640",
            "revcol_huge_megdata_in1k.pth",
            size=8_630_000_000,
            resolution=640,
            labels=_IMAGENET_1K,
            top_1=90.0,
            description="Pretrained on Megdata-168M, fine-tuned on ImageNet-1K at 640.",
        ),
        _megdata(),
        _megdata(supervised=True),
        _backbone(
            "megdata_k7",
            "segmentation",
            "revcol_huge_k7padded.pth",
            640,
            "The pretrained backbone, its kernels padded with zeros to 7 x 7, as the authors "
            "fine-tune it on ADE20K.",
        ),
        _segmenter(
            "upernet_revcol_huge_fp16_640x640_160k_ade20k.pth", "megdata", 640, (57.8, 58.0)
        ),
    ),
}
