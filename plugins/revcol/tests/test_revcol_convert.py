"""Official checkpoints become ours without loss, and what does not fit is said."""

from __future__ import annotations

import hashlib

import pytest
import torch

import zoo
from zoo_core import loading
from zoo_core.errors import ConfigError, WeightsMismatchError, ZooWarning
from zoo_core.hub import Fetched
from zoo_revcol.convert import (
    backbone_config,
    backbone_from_megvii,
    config_of,
    from_megvii,
    from_megvii_supervised,
    head_config,
    pad_kernels,
    supervised_config,
    to_megvii,
)
from zoo_revcol.keys import official_name, our_name
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS

SMALL = {
    "channels": [4, 6, 8, 10],
    "layers": [1, 1, 2, 1],
    "num_columns": 4,
    "top_down_skip": False,
}
SUPERVISED = {
    ("tiny", 1000): 33_063_984,
    ("small", 1000): 63_176_240,
    ("base", 1000): 141_694_960,
    ("large", 1000): 280_372_272,
    ("xlarge", 1000): 851_958_576,
    ("huge", 1000): 2_199_107_704,
    ("tiny", 21841): 79_494_852,
    ("small", 21841): 109_607_108,
    ("base", 21841): 193_772_980,
    ("large", 21841): 371_077_188,
    ("xlarge", 21841): 1_005_203_844,
    ("huge", 21841): 2_433_000_700,
}


class Inert:
    """Any object that a checkpoint may hold beside its tensors."""


# What a detector or segmenter has beside its backbone.
OTHERS = [
    "neck.lateral_convs.0.conv.weight",
    "rpn_head.rpn_conv.bias",
    "roi_head.bbox_head.0.fc_cls.weight",
    "decode_head.psp_modules.0.1.conv.weight",
    "decode_head.bottleneck.bn.num_batches_tracked",
    "auxiliary_head.convs.0.conv.weight",
    "decode_head.backbone.stem.0.weight",
]


@pytest.fixture
def weights(reference):
    return reference.random_weights(reference.shapes(**SMALL, num_classes=5), dtype=torch.float32)


def on_meta(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_true_sizes_go_there_and_back(variant, reference):
    config = VARIANTS[variant].config()
    official = on_meta(reference.shapes(**config))
    ours = from_megvii(official)
    with torch.device("meta"):
        model = RevCol(**config)
    expected = model.state_dict()
    assert list(ours) == list(expected)
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in expected.items()
    }
    back = to_megvii(ours)
    assert back.keys() == official.keys()
    assert all(back[name] is official[name] for name in official)
    assert all(our_name(official_name(name)) == name for name in ours)


@pytest.mark.parametrize(("variant", "classes"), SUPERVISED)
def test_supervised_checkpoints_of_true_size(variant, classes, reference):
    config = VARIANTS[variant].config()
    shapes = reference.shapes(**config, num_classes=classes, supervised=True)
    official = on_meta(shapes)
    assert sum(value.numel() for value in official.values()) == SUPERVISED[variant, classes]
    assert config_of({"model": official}) == {
        **config,
        "kernel_size": 3,
        "num_classes": classes,
        "in_chans": 3,
    }
    ours = from_megvii({"model": official})
    assert head_config(ours) == {"num_classes": classes}
    assert ours["head.fc.weight"] is official["cls_blocks.3.classifier.1.weight"]
    whole = from_megvii_supervised({"model": official})
    stated = supervised_config(whole)
    assert stated == {
        "num_classes": classes,
        "intermediate_supervision": True,
        "simple_decoders": classes > 1000,
    }
    with torch.device("meta"):
        model = RevCol(**config, **stated)
    assert list(whole) == list(model.state_dict())
    back = to_megvii(whole)
    assert back.keys() == official.keys()
    assert all(back[name] is official[name] for name in official)
    for name in whole:
        assert our_name(official_name(name, supervised=True), supervised=True) == name


@pytest.mark.parametrize("classes", [5, 1001], ids=["decoders", "simple decoders"])
def test_supervised_checkpoints_give_the_last_head(classes, reference, images):
    shapes = reference.shapes(**SMALL, num_classes=classes, supervised=True)
    weights = reference.random_weights(shapes)
    model = RevCol(**config_of(weights)).double()
    model.load_state_dict(from_megvii(weights), strict=True)
    image = images(2, 3, 64, 64)
    expected = reference.logits(weights, reference.columns(weights, image)[-1][3], "cls_blocks.3")
    torch.testing.assert_close(model(image), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["supervision.heads.3.fc.bias", "supervision.decoders.0.x", "x"])
def test_names_that_no_supervision_has(name):
    assert official_name(name, supervised=True) is None
    assert official_name("supervision.heads.0.fc.bias") is None
    assert our_name("cls_blocks.0.classifier.1.bias") is None
    assert our_name("cls.classifier.1.bias", supervised=True) is None


def test_a_checkpoint_with_one_head_has_no_supervision(weights):
    for function in (from_megvii_supervised, lambda it: config_of(it, supervised=True)):
        with pytest.raises(WeightsMismatchError, match=r"no heads .*cls_blocks.*from_megvii"):
            function(weights)


@pytest.mark.parametrize(
    "name",
    [
        "cls_blocks.0.classifier.0.weight",
        "cls_blocks.3.classifier.0.bias",
        "decoder_blocks.2.projback.0.weight",
        "decoder_blocks.1.normal_layers.2.0.gamma",
    ],
)
def test_parts_that_supervision_lacks_are_listed(name, reference):
    weights = reference.random_weights(reference.shapes(**SMALL, num_classes=5, supervised=True))
    del weights[name]
    with pytest.raises(WeightsMismatchError, match=f"missing: {name}"):
        from_megvii_supervised(weights)


def test_a_decoder_of_the_usual_width_is_not_ours(reference):
    # The official blocks there have as many hidden channels as outer ones, not four times as many.
    weights = reference.random_weights(reference.shapes(**SMALL, num_classes=5, supervised=True))
    name = "decoder_blocks.0.normal_layers.0.0.pwconv1.weight"
    weights[name] = torch.zeros(32, 8)
    with pytest.raises(WeightsMismatchError, match=rf"{name} \(32, 8\) instead of \(8, 8\)"):
        from_megvii_supervised(weights)


def test_supervision_sits_on_a_multiple_of_four_columns(reference):
    config = {**SMALL, "num_columns": 5}
    weights = reference.random_weights(reference.shapes(**config, num_classes=5, supervised=True))
    with pytest.raises(WeightsMismatchError, match="multiple of 4"):
        from_megvii_supervised(weights)
    assert from_megvii(weights)


@pytest.mark.parametrize("variant", ["narrow", "huge"])
@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_a_detector_gives_its_backbone(variant, prefix, narrow, reference, images):
    config = narrow("huge") if variant == "huge" else {**SMALL, "num_classes": 5}
    config["kernel_size"] = 7
    weights = reference.random_weights(reference.shapes(**config))
    backbone = {k: v for k, v in weights.items() if not k.startswith("cls.")}
    state = {prefix + name: value for name, value in backbone.items()}
    state |= {name: torch.ones(2) for name in OTHERS}
    checkpoint = {"meta": {"epoch": 36, "config": Inert()}, "state_dict": state, "optimizer": {}}
    ours = backbone_from_megvii(checkpoint)
    stated = {"num_classes": 0, "global_pool": "", "kernel_size": 7}
    assert backbone_config(ours) == stated
    expected = {**config, **stated, "in_chans": 3}
    assert config_of(checkpoint) == expected
    model = RevCol(**expected).double()
    model.load_state_dict(ours)
    image = images(1, 3, 64, 96)
    maps = model.forward_pyramid(image)
    for ours_map, theirs in zip(maps, reference.columns(weights, image)[-1], strict=True):
        torch.testing.assert_close(ours_map, theirs, rtol=1e-9, atol=1e-9)
    assert to_megvii(model.state_dict()).keys() == backbone.keys()


@pytest.mark.parametrize("container", [None, "model", "state_dict"])
@pytest.mark.parametrize("supervised", [False, True])
def test_a_classifier_gives_its_backbone(container, supervised, reference):
    shapes = reference.shapes(**SMALL, num_classes=5, kernel_size=7, supervised=supervised)
    weights = reference.random_weights(shapes)
    ours = backbone_from_megvii({container: weights} if container else weights)
    assert backbone_config(ours)["kernel_size"] == 7
    assert to_megvii(ours).keys() == {k for k in weights if k.startswith(("stem", "subnet"))}


def test_an_unknown_part_of_a_backbone_is_reported(weights):
    state = {f"backbone.{name}": value for name, value in weights.items()}
    with pytest.warns(ZooWarning, match="norm3.weight"):
        backbone_from_megvii({"state_dict": {**state, "backbone.norm3.weight": torch.ones(2)}})


def test_a_detector_is_no_classifier(weights):
    state = {f"backbone.{k}": v for k, v in weights.items() if not k.startswith("cls.")}
    with pytest.raises(WeightsMismatchError, match=r"no classifier.*backbone_from_megvii"):
        from_megvii({"state_dict": {**state, "neck.x": torch.ones(1)}})


@pytest.mark.parametrize("function", [from_megvii, from_megvii_supervised, backbone_from_megvii])
def test_the_moving_average_is_taken_when_asked_for(function, reference):
    shapes = reference.shapes(**SMALL, num_classes=5, supervised=True)
    last, average = (reference.random_weights(shapes, seed) for seed in range(2))
    other = reference.random_weights(reference.shapes(**SMALL, num_classes=9, supervised=True))
    checkpoint = {"model": last, "state_dict_ema": average}
    for ema, expected in ((False, last), (True, average)):
        assert function(checkpoint, ema=ema)["stem.conv.bias"] is expected["stem.0.bias"]
    mixed = {"model": last, "state_dict_ema": other}
    assert [config_of(mixed, ema=ema)["num_classes"] for ema in (False, True)] == [5, 9]
    for item in ({"model": last}, last, {"model": last, "state_dict_ema": None}):
        with pytest.raises(WeightsMismatchError, match="no moving average"):
            function(item, ema=True)


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Loads a name as `zoo.load` does, from a checkpoint instead of what the card's source has."""

    def from_checkpoint(checkpoint, name, **config):
        file = tmp_path / "official.pth"
        torch.save(checkpoint, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        monkeypatch.setattr(loading, "fetch", lambda *_: Fetched(file, digest, "test"))
        return zoo.load(name, cache_dir=tmp_path / "cache", **SMALL, **config)

    return from_checkpoint


def test_a_supervised_tag_loads_all_heads(load, reference, images):
    shapes = reference.shapes(**SMALL, num_classes=5, supervised=True)
    weights = reference.random_weights(shapes)
    model = load({"model": weights}, "revcol-t.in1k_supervised")
    assert model.zoo.config["num_classes"] == 5
    image = images(1, 3, 64, 64)
    tops = [maps[3] for maps in reference.columns(weights, image)]
    expected = reference.logits(weights, tops[3], "cls_blocks.3")
    torch.testing.assert_close(model(image), expected, rtol=1e-9, atol=1e-9)
    logits, reconstructions = model.train()(image)
    for j in range(3):
        expected = reference.logits(weights, tops[j], f"cls_blocks.{j}")
        torch.testing.assert_close(logits[j], expected, rtol=1e-9, atol=1e-9)
        expected = reference.reconstruction(weights, j, tops[j], (64, 64))
        torch.testing.assert_close(reconstructions[j], expected, rtol=1e-9, atol=1e-9)


def test_a_supervised_network_comes_back_from_a_folder(load, reference, images, tmp_path):
    weights = reference.random_weights(reference.shapes(**SMALL, num_classes=5, supervised=True))
    with pytest.warns(ZooWarning, match=r"num_classes=3 .*supervision\.heads\.0\.fc\.weight"):
        model = load({"model": weights}, "revcol-t.in1k_supervised", num_classes=3)
    assert torch.equal(
        model.supervision.heads[1].norm.weight, weights["cls_blocks.1.classifier.0.weight"]
    )
    again = zoo.load(zoo.save(model, tmp_path / "saved"))
    image = images(1, 3, 64, 64)
    for ours, theirs in zip(again.train()(image), model.train()(image), strict=True):
        for each, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(each, other)


def test_fine_tuning_drops_the_heads_and_keeps_the_rest(load, reference):
    weights = reference.random_weights(reference.shapes(**SMALL, num_classes=5, supervised=True))
    with pytest.warns(ZooWarning, match=r"head\.fc\.weight, head\.fc\.bias"):
        model = load({"model": weights}, "revcol-t.in1k", num_classes=3)
    ours = model.state_dict()
    assert ours["head.fc.weight"].shape == (3, 10)
    assert not any(name.startswith("supervision") for name in ours)
    for name, value in to_megvii(ours).items():
        if name in weights and not name.startswith("cls"):
            assert torch.equal(value, weights[name]), name
    assert sum(name in weights for name in to_megvii(ours)) == len(ours) - 4


def test_a_detector_tag_loads_the_backbone(load, reference, images):
    weights = reference.random_weights(reference.shapes(**SMALL, kernel_size=5))
    state = {f"backbone.{k}": v for k, v in weights.items() if not k.startswith("cls.")}
    state |= {name: torch.ones(2) for name in OTHERS}
    model = load({"meta": {}, "state_dict": state}, "revcol-t.coco_cascade_mask_rcnn_in1k")
    assert model.zoo.config["kernel_size"] == 5
    image = images(1, 3, 64, 64)
    for ours, theirs in zip(
        model.forward_pyramid(image), reference.columns(weights, image)[-1], strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_further_head_does_not_win_over_the_supervised_one(reference):
    shapes = reference.shapes(**SMALL, num_classes=5, supervised=True)
    shapes |= {"cls.classifier.0.weight": (10,), "cls.classifier.0.bias": (10,)}
    shapes |= {"cls.classifier.1.weight": (5, 10), "cls.classifier.1.bias": (5,)}
    weights = reference.random_weights(shapes)
    assert from_megvii(weights)["head.fc.bias"] is weights["cls_blocks.3.classifier.1.bias"]


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
@pytest.mark.parametrize("container", ["model", "state_dict", "state_dict_ema", None])
def test_wrappings(prefix, container, weights):
    wrapped = {prefix + name: value for name, value in weights.items()}
    rest = {"config": Inert(), "input": Inert(), "epoch": 3, "optimizer": {}, "max_accuracy": 0.8}
    checkpoint = {**rest, **({container: wrapped} if container else wrapped)}
    ours = from_megvii(checkpoint)
    assert len(ours) == len(weights)
    for name, value in to_megvii(ours).items():
        assert value is weights[name]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_are_kept(dtype, weights):
    ours = from_megvii({name: value.to(dtype) for name, value in weights.items()})
    assert {value.dtype for value in ours.values()} == {dtype}


def test_nan_is_kept(weights):
    weights["stem.0.bias"][0] = float("nan")
    assert from_megvii(weights)["stem.conv.bias"][0].isnan()


def test_the_converter_says_its_version_and_what_only_the_file_knows():
    for function, config in (
        (from_megvii, head_config),
        (from_megvii_supervised, supervised_config),
        (backbone_from_megvii, backbone_config),
    ):
        assert function.version == 1
        assert function.config is config


@pytest.mark.parametrize(
    "name",
    [
        "stem.0.weight",
        "subnet0.alpha0",
        "subnet2.alpha3",
        "subnet3.level1.fusion.up.channel_reschedule.1.bias",
        "subnet1.level2.blocks.1.gamma",
        "cls.classifier.0.weight",
        "cls.classifier.1.weight",
    ],
)
def test_missing_tensors_are_listed(name, weights):
    del weights[name]
    with pytest.raises(WeightsMismatchError, match=rf"missing.*{name}"):
        from_megvii(weights)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("subnet2.alpha3", (1, 11, 1, 1), r"subnet2.alpha3 \(1, 11, 1, 1\) instead of \(1, 10"),
        ("subnet0.alpha0", (4,), "another rank: subnet0.alpha0"),
        ("subnet3.level0.blocks.0.dwconv.weight", (4, 1, 7, 7), r"\(4, 1, 7, 7\) instead of"),
        ("stem.0.bias", (1, 4), r"stem.0.bias \(1, 4\) instead of \(4,\)"),
        ("cls.classifier.1.bias", (6,), r"\(6,\) instead of \(5,\)"),
        ("subnet0.alpha2", (1, 0, 1, 1), r"channels\[2\] is 0"),
    ],
)
def test_shapes_that_do_not_fit_are_listed(name, shape, said, weights):
    weights[name] = torch.zeros(shape)
    with pytest.raises(WeightsMismatchError, match=said):
        from_megvii(weights)


def test_gaps_are_not_filled(weights):
    no_second_column = {k: v for k, v in weights.items() if not k.startswith("subnet1.")}
    with pytest.raises(WeightsMismatchError, match="lacks columns 1"):
        from_megvii(no_second_column)
    far = {**weights, "subnet9999.alpha0": weights["subnet0.alpha0"]}
    with pytest.raises(WeightsMismatchError, match=r"lacks columns 4, 5, .* and 9987 more"):
        from_megvii(far)
    no_first_block = {k: v for k, v in weights.items() if "level2.blocks.0." not in k}
    with pytest.raises(WeightsMismatchError, match="lacks level2 blocks 0"):
        from_megvii(no_first_block)


@pytest.mark.parametrize(
    "name",
    [
        "neck.conv.weight",
        "subnet1.level2.fusion.up2.channel_reschedule.0.weight",
        "subnet0.level3.fusion.up.channel_reschedule.0.bias",
        "subnet007.alpha0",
        "cls_blocks.4.classifier.0.weight",
    ],
)
def test_tensors_that_no_rule_knows_are_reported(name, reference):
    # With the top-down path in place, so that a further one is not taken for huge's.
    config = {**SMALL, "top_down_skip": True, "num_classes": 5}
    weights = reference.random_weights(reference.shapes(**config))
    with pytest.warns(ZooWarning, match=name):
        ours = from_megvii({**weights, name: torch.zeros(3)})
    assert ours.keys() == RevCol(**config).state_dict().keys()


@pytest.mark.parametrize("value", [None, 3, "text", [1.0], Inert()])
def test_values_that_are_no_tensors_are_refused(value, weights):
    weights["subnet1.alpha0"] = value
    with pytest.raises(WeightsMismatchError, match=r"no tensors.*subnet1\.alpha0"):
        from_megvii({"model": weights})


@pytest.mark.parametrize(
    "checkpoint", [{}, {"model": {}}, {"model": Inert()}, {"stem.0.weight": torch.ones(1)}]
)
def test_a_checkpoint_without_columns_is_refused(checkpoint):
    for function in (from_megvii, config_of):
        with pytest.raises(WeightsMismatchError, match="lacks columns"):
            function(checkpoint)


@pytest.mark.parametrize("checkpoint", [None, [1], torch.ones(2), Inert()])
def test_what_is_no_dict_is_refused(checkpoint):
    with pytest.raises(WeightsMismatchError, match=f"is a {type(checkpoint).__name__}"):
        from_megvii(checkpoint)


def test_a_tensor_that_is_there_twice_is_refused(weights):
    weights["module.stem.0.bias"] = weights["stem.0.bias"]
    with pytest.raises(WeightsMismatchError, match=r"stem\.0\.bias with and without"):
        from_megvii(weights)


def test_to_megvii_refuses_foreign_names():
    with pytest.raises(WeightsMismatchError, match="neck"):
        to_megvii({"neck.weight": torch.ones(1)})


@pytest.mark.parametrize("kernel_size", [3, 7])
def test_padded_kernels_change_no_output(kernel_size, make, images):
    config = {**SMALL, "num_classes": 5}
    model = make(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wide = RevCol(**config, kernel_size=kernel_size).double().eval()
    wide.load_state_dict(pad_kernels(model.state_dict(), kernel_size))
    image = images(2, 3, 45, 64)
    torch.testing.assert_close(wide(image), model(image), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_padding_leaves_the_decoders(make, images):
    config = {**SMALL, "num_classes": 5, "intermediate_supervision": True}
    model = make(config)
    wide = RevCol(**config, kernel_size=7).double()
    wide.load_state_dict(pad_kernels(model.state_dict(), 7))
    image = images(1, 3, 64, 64)
    for ours, theirs in zip(wide(image)[1], model.train()(image)[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_kernels_are_not_padded_to_what_does_not_fit(make):
    state_dict = make({**SMALL, "num_classes": 5}).state_dict()
    with pytest.raises(ConfigError, match="odd"):
        pad_kernels(state_dict, 6)
    with pytest.raises(WeightsMismatchError, match="larger than 1"):
        pad_kernels(state_dict, 1)
    with pytest.raises(WeightsMismatchError, match="no depthwise kernels"):
        pad_kernels({}, 7)
