"""RevCol as the backbone of torchvision's detectors."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.ops import MultiScaleRoIAlign

from zoo_core.errors import ConfigError
from zoo_revcol.model import RevCol
from zoo_revcol.pyramid import Pyramid, PyramidWithFPN

SMALL = {"channels": (8, 12, 16, 20), "layers": (1, 1, 2, 1), "num_columns": 3, "num_classes": 7}
MODES = [
    {"memory": "none"},
    {"memory": "checkpoint"},
    {"memory": "reversible", "anchor_every": 3},
    {"memory": "reversible", "anchor_every": 3, "exact": True},
]
SIZES = [(83, 97), (70, 61)]


def detector(kind, **arguments):
    torch.manual_seed(0)
    backbone = PyramidWithFPN(RevCol(**{**SMALL, "layer_scale_init": 0.3, **arguments}), 16)
    options = {
        # Images are neither enlarged nor padded to multiples of 32.
        "min_size": 64,
        "max_size": 128,
        "size_divisible": 1,
        "box_roi_pool": MultiScaleRoIAlign(["0", "1", "2", "3"], 3, 2),
        "rpn_pre_nms_top_n_train": 50,
        "rpn_post_nms_top_n_train": 20,
    }
    if kind is MaskRCNN:
        options["mask_roi_pool"] = MultiScaleRoIAlign(["0", "1", "2", "3"], 4, 2)
    return kind(backbone, num_classes=4, **options)


def scenes():
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, *size, generator=generator) for size in SIZES]
    masks = [torch.zeros(2, *size, dtype=torch.uint8) for size in SIZES]
    boxes = torch.tensor([[4.0, 6.0, 40.0, 50.0], [20.0, 10.0, 58.0, 44.0]])
    for mask in masks:
        for index, (left, top, right, bottom) in enumerate(boxes.int().tolist()):
            mask[index, top:bottom, left:right] = 1
    targets = [
        {"boxes": boxes.clone(), "labels": torch.tensor([1, 3]), "masks": mask} for mask in masks
    ]
    return images, targets


@pytest.mark.parametrize("kind", [FasterRCNN, MaskRCNN], ids=["faster", "mask"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_training_step_reaches_every_parameter(kind, mode):
    model = detector(kind, **mode).train()
    torch.manual_seed(3)
    losses = model(*scenes())
    expected = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert set(losses) == expected | ({"loss_mask"} if kind is MaskRCNN else set())
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    missing = [name for name, it in model.named_parameters() if it.grad is None]
    assert not missing
    assert all(it.grad.isfinite().all() for it in model.parameters())
    still = [
        name
        for name, it in model.backbone.named_parameters()
        if not it.grad.any() and not (".columns.0." in name and name.endswith("alpha"))
    ]
    assert not still, "only the first column's alphas have no effect"


def test_the_memory_modes_train_alike():
    gradients = []
    for mode in MODES:
        model = detector(FasterRCNN, **mode).train()
        torch.manual_seed(3)
        sum(model(*scenes()).values()).backward()
        gradients.append(torch.cat([it.grad.flatten() for it in model.backbone.parameters()]))
    plain, *others = gradients
    assert plain.norm() > 0
    for each in others:
        assert (each - plain).norm() < 1e-3 * plain.norm()


@pytest.mark.parametrize("kind", [FasterRCNN, MaskRCNN], ids=["faster", "mask"])
def test_detections_lie_in_images_of_any_size(kind):
    model = detector(kind).eval()
    model.roi_heads.score_thresh = 0.0
    images, _ = scenes()
    with torch.no_grad():
        outputs = model(images)
    assert len(outputs) == 2
    for image, output in zip(images, outputs, strict=True):
        height, width = image.shape[1:]
        assert len(output["boxes"]) > 0
        limits = torch.tensor([width, height, width, height])
        assert (output["boxes"] >= 0).all()
        assert (output["boxes"] <= limits + 1e-3).all()
        assert output["scores"].isfinite().all()
        if kind is MaskRCNN:
            assert output["masks"].shape[1:] == (1, height, width)


@pytest.mark.parametrize("levels", [(0, 1, 2, 3), (1, 3), (2,)])
def test_the_pyramid_gives_the_last_column_s_maps(levels, make, images):
    model = make(SMALL)
    x = images(2, 3, 48, 100)
    expected = model.forward_pyramid(x)
    pyramid = Pyramid(model, levels)
    assert pyramid.out_channels == tuple(SMALL["channels"][level] for level in levels)
    assert pyramid.strides == tuple(4 * 2**level for level in levels)
    maps = pyramid(x)
    assert list(maps) == [str(level) for level in levels]
    for level in levels:
        assert torch.equal(maps[str(level)], expected[level])
    for map_, channels, stride in zip(
        maps.values(), pyramid.out_channels, pyramid.strides, strict=True
    ):
        assert map_.shape == (2, channels, 48 // stride, 100 // stride)
    assert not [name for name, _ in pyramid.named_parameters() if "head" in name]


def test_supervision_is_left_behind(images):
    model = RevCol(**{**SMALL, "num_columns": 4, "intermediate_supervision": True})
    pyramid = Pyramid(model).train()
    assert not [name for name, _ in pyramid.named_parameters() if "supervision" in name]
    sum(it.sum() for it in pyramid(images(1, 3, 32, 32, dtype=torch.float32)).values()).backward()
    assert all(it.grad is not None for it in pyramid.parameters())


def test_the_feature_pyramid_has_the_paper_s_five_maps():
    backbone = PyramidWithFPN(RevCol(**SMALL), 24)
    assert backbone.out_channels == 24
    maps = backbone(torch.rand(1, 3, 128, 192))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    for map_, stride in zip(maps.values(), (4, 8, 16, 32, 64), strict=True):
        assert map_.shape == (1, 24, 128 // stride, 192 // stride)


def test_bad_arguments_are_named():
    with pytest.raises(ConfigError, match="backbone is a Linear; expected a RevCol"):
        Pyramid(torch.nn.Linear(1, 1))
    for levels in ((), (0, 0), (3, 1)):
        with pytest.raises(ConfigError, match=r"levels is .* in rising order"):
            Pyramid(RevCol(**SMALL), levels)
    for levels in ((0, 4), (-1,), ("0",)):
        with pytest.raises(ConfigError, match=r"levels is .* expected a whole number"):
            Pyramid(RevCol(**SMALL), levels)
    with pytest.raises(ConfigError, match="out_channels is 0"):
        PyramidWithFPN(RevCol(**SMALL), 0)


def test_a_refused_backbone_keeps_its_head():
    model = RevCol(**SMALL)
    with pytest.raises(ConfigError):
        Pyramid(model, (9,))
    with pytest.raises(ConfigError):
        PyramidWithFPN(model, out_channels=0)
    assert model.num_classes == 7


@pytest.mark.parametrize("error", ["ImportError('a\\nb')", "RuntimeError('no torchvision::nms')"])
def test_without_torchvision_the_pyramid_works_and_the_fpn_says_so(error):
    code = f"""
import sys
class Broken:
    def find_spec(self, name, path, target=None):
        if name.startswith("torchvision"):
            raise {error}
sys.meta_path.insert(0, Broken())
import torch
from zoo_core.errors import ZooError
from zoo_revcol.model import RevCol
from zoo_revcol.pyramid import Pyramid, PyramidWithFPN
model = RevCol((4, 4, 4, 4), (1, 1, 1, 1), 1)
assert len(Pyramid(model)(torch.zeros(1, 3, 32, 32))) == 4
try:
    PyramidWithFPN(model)
except ZooError as caught:
    assert "torchvision cannot be imported" in str(caught) and "\\n" not in str(caught), caught
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
