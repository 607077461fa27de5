"""The model's interface: sizes, features, heads, dtypes, memory, and what it refuses."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

import zoo
from zoo_core.errors import ConfigError, InputError
from zoo_revcol.model import RevCol
from zoo_revcol.variants import VARIANTS

PUBLISHED = {
    "tiny": (30_456_168, 29_942_144, 468),
    "small": (60_568_424, 60_054_400, 940),
    "base": (138_616_408, 138_038_256, 1452),
    "large": (273_095_400, 272_068_352, 1012),
    "xlarge": (833_807_400, 832_010_816, 1012),
    "huge": (2_157_600_160, 2_154_713_400, 1040),
}
SMALL = {"channels": (8, 12, 16, 20), "layers": (1, 1, 2, 1), "num_columns": 3, "num_classes": 7}


@pytest.mark.parametrize("variant", PUBLISHED)
def test_published_sizes(variant):
    with torch.device("meta"):
        model = RevCol(**VARIANTS[variant].config())
    total, backbone, entries = PUBLISHED[variant]
    assert sum(parameter.numel() for parameter in model.parameters()) == total
    assert VARIANTS[variant].parameters == total
    head = sum(parameter.numel() for parameter in model.head.parameters())
    assert total - head == backbone
    assert len(model.state_dict()) == entries
    assert not list(model.buffers())


def test_nano_has_the_size_that_its_table_states():
    model = RevCol(**VARIANTS["nano"].config())
    assert sum(it.numel() for it in model.parameters()) == VARIANTS["nano"].parameters


def test_a_model_built_without_memory_takes_tensors(make, images):
    model = make(SMALL, dtype=torch.float32)
    with torch.device("meta"):
        empty = RevCol(**SMALL).eval()
    empty.load_state_dict(model.state_dict(), assign=True)
    image = images(2, 3, 33, 47, dtype=torch.float32)
    assert torch.equal(empty(image), model(image))


def test_initial_values():
    torch.manual_seed(0)
    model = RevCol((64, 64, 64, 64), (1, 1, 1, 1), 2, layer_scale_init=0.25, alpha_init=-0.75)
    for name, value in model.named_parameters():
        if name.endswith("alpha"):
            assert torch.equal(value, torch.full((1, 64, 1, 1), -0.75)), name
        elif name.endswith("gamma"):
            assert torch.equal(value, torch.full((64,), 0.25)), name
        elif name.endswith("norm.weight"):
            assert torch.equal(value, torch.ones(64)), name
        elif name.endswith("bias"):
            assert not value.any(), name
        else:
            assert abs(value.mean().item()) < 0.004, name
            assert 0.018 < value.std().item() < 0.022, name
    defaults = RevCol((4, 4, 4, 4), (1, 1, 1, 1), 1).columns[0].levels[0]
    assert torch.equal(defaults.alpha, torch.full((1, 4, 1, 1), 0.5))
    assert torch.equal(defaults.blocks[0].gamma, torch.full((4,), 1e-6))


def test_features_are_as_feature_info_says(make, images):
    model = make(SMALL)
    seen = {}
    for info in model.feature_info:
        name = info["module"]
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output})
        )
    features = model.forward_pyramid(images(2, 3, 64, 96))
    for info, map_ in zip(model.feature_info, features, strict=True):
        stride = info["reduction"]
        assert map_.shape == (2, info["num_chs"], 64 // stride, 96 // stride)
        assert seen[info["module"]] is map_
    assert [info["reduction"] for info in model.feature_info] == [4, 8, 16, 32]


@pytest.mark.parametrize("size", [(32, 32), (33, 63), (48, 100)])
def test_any_size_from_32_pixels(size, make, images):
    model = make(SMALL)
    features = model.forward_pyramid(images(1, 3, *size))
    for index, map_ in enumerate(features):
        assert map_.shape[2:] == tuple(side // 4 >> index for side in size)
        assert map_.isfinite().all()


def test_only_one_column_is_held_while_the_next_is_computed(make, images):
    model = make({**SMALL, "num_columns": 5})
    outputs: list[list[weakref.ref]] = []
    alive: list[list[bool]] = []

    def watch(module, inputs, output):
        outputs.append([weakref.ref(map_) for map_ in output])
        gc.collect()
        alive.append([any(map_() is not None for map_ in maps) for maps in outputs])

    for column in model.columns:
        column.register_forward_hook(watch)
    with torch.no_grad():
        model.forward_pyramid(images(1, 3, 32, 32))
    assert alive[-1] == [False, False, False, True, True]


def test_heads(make, images):
    model = make(SMALL)
    image = images(2, 3, 64, 64)
    features = model.forward_pyramid(image)
    logits = model(image)
    assert torch.equal(model.forward_head(features), logits)
    assert torch.equal(model.forward_head(features[-1]), logits)
    pooled = model.forward_head(features, pre_logits=True)
    assert torch.equal(model.get_classifier()(pooled), logits)
    with pytest.raises(InputError, match=r"2, 16, 4, 4.*\[B, 20, h, w\]"):
        model.forward_head(features[:3])
    expected = nn.functional.layer_norm(
        features[3].mean((2, 3)), (20,), model.head.norm.weight, model.head.norm.bias, 1e-6
    )
    torch.testing.assert_close(pooled, expected)


def test_reset_classifier(make, images):
    model = make(SMALL, dtype=torch.float32).double()
    image = images(2, 3, 32, 32)
    pooled = model.forward_head(model.forward_pyramid(image), pre_logits=True)
    model.reset_classifier(300)
    head = model.get_classifier()
    assert model.num_classes == head.out_features == 300
    assert head.weight.dtype == torch.float64
    assert not head.bias.any()
    assert 0.9 < head.weight.std() / (0.001 * 0.02) < 1.1
    torch.testing.assert_close(model(image), pooled @ head.weight.T)
    model.reset_classifier(300, init_scale=1.0)
    assert 0.9 < model.get_classifier().weight.std() / 0.02 < 1.1
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert torch.equal(model(image), pooled)
    with pytest.raises(ConfigError, match="num_classes is -1"):
        model.reset_classifier(-1)


def test_without_classes_the_model_gives_features(images):
    model = RevCol(**{**SMALL, "num_classes": 0}).double()
    image = images(2, 3, 32, 32)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert model(image).shape == (2, model.num_features) == (2, 20)
    assert torch.equal(
        model(image), model.forward_head(model.forward_pyramid(image), pre_logits=True)
    )


def test_bfloat16_agrees_with_float32(make, images):
    model = make(SMALL, dtype=torch.float32)
    image = images(2, 3, 64, 64, dtype=torch.float32)
    expected = model(image)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = model(image)
    half = copy.deepcopy(model).bfloat16()(image.bfloat16())
    assert half.dtype == torch.bfloat16
    for output in (autocast.float(), half.float()):
        assert (output - expected).norm() < 0.1 * expected.norm()


def test_memory_layout_changes_nothing_and_is_channels_last(make, images):
    model = make(SMALL)
    image = images(2, 3, 64, 64)
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    other = channels_last(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(other, model(image), rtol=1e-12, atol=1e-12)
    for map_ in model.forward_pyramid(image):
        assert map_.is_contiguous(memory_format=torch.channels_last)


def test_samples_do_not_see_each_other(make, images):
    model = make(SMALL)
    image = images(3, 3, 64, 64)
    single = torch.cat([model(sample[None]) for sample in image])
    torch.testing.assert_close(model(image), single, rtol=1e-10, atol=1e-10)
    assert model(image[:0]).shape == (0, 7)


def test_nan_stays_in_its_sample(make, images):
    model = make(SMALL)
    image = images(2, 3, 32, 32)
    image[0] = float("nan")
    logits = model(image)
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()


def test_export_keeps_the_outputs(make, images):
    model = make(SMALL, dtype=torch.float32)
    image = images(2, 3, 48, 40, dtype=torch.float32)
    exported = torch.export.export(model, (image,)).module()
    torch.testing.assert_close(exported(image), model(image))


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(2, 4, 64, 64),
        torch.zeros(2, 64, 64, 3),
        torch.zeros(1, 2, 3, 64, 64),
        torch.zeros(2, 3, 31, 64),
        torch.zeros(2, 3, 64, 0),
        torch.zeros(2, 3, 64, 64, dtype=torch.uint8),
        torch.zeros(2, 3, 64, 64, dtype=torch.complex64),
    ],
)
def test_bad_images_are_refused_before_any_work(image):
    model = RevCol(**SMALL)
    model.stem.register_forward_pre_hook(lambda *_: pytest.fail("work began"))
    for call in (model, model.forward_pyramid, model.forward_columns):
        with pytest.raises(InputError) as caught:
            call(image)
        assert str(tuple(image.shape)) in str(caught.value)
        assert "[B, 3, H, W]" in str(caught.value)


def test_images_of_another_kind_are_refused():
    model = RevCol(**SMALL)
    with pytest.raises(InputError, match="list"):
        model([[0.0]])
    with pytest.raises(InputError, match=r"float64.*float32"):
        model(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    with pytest.raises(InputError, match=r"meta.*cpu"):
        model(torch.zeros(1, 3, 32, 32, device="meta"))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("channels", (8, 16, 32)),
        ("channels", (8, 16, 0, 64)),
        ("channels", "8888"),
        ("channels", 8),
        ("layers", (1, 1, 1, 1, 1)),
        ("layers", (1, 1, 1.5, 1)),
        ("num_columns", 0),
        ("num_columns", True),
        ("kernel_size", 4),
        ("kernel_size", -1),
        ("kernel_size", (3, 3)),
        ("num_classes", -1),
        ("num_classes", None),
        ("in_chans", 0),
        ("drop_path_rate", 1.0),
        ("drop_path_rate", -0.1),
        ("drop_path_rate", "0.1"),
        ("layer_scale_init", float("nan")),
        ("alpha_init", float("inf")),
        ("alpha_init", 0.0),
        ("alpha_min", 0.0),
        ("alpha_min", None),
        ("top_down_skip", 1),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ConfigError) as caught:
        RevCol(**{**SMALL, argument: value})
    message = str(caught.value)
    assert argument in message
    assert "expected" in message


def test_unknown_and_missing_arguments_are_named():
    with pytest.raises(ConfigError, match=r"columns.*It takes: channels, layers, num_columns"):
        zoo.load("revcol-t", pretrained=False, columns=4)
    with pytest.raises(TypeError, match="layers"):
        RevCol(channels=(1, 1, 1, 1), num_columns=1)


def test_the_caller_s_lists_stay_as_they_are():
    channels, layers = [8, 12, 16, 20], [1, 1, 1, 1]
    model = RevCol(channels, layers, 2)
    assert (channels, layers) == ([8, 12, 16, 20], [1, 1, 1, 1])
    assert model.channels == (8, 12, 16, 20)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("num_columns", 10**7),
        ("layers", [10**7, 1, 1, 1]),
        ("channels", [10**12, 1, 1, 1]),
        ("num_classes", 10**30),
        ("drop_path_rate", 10**400),
        ("alpha_init", 10**400),
    ],
)
def test_arguments_beyond_any_use_are_refused_at_once(argument, value):
    with pytest.raises(ConfigError, match=argument):
        RevCol(**{**SMALL, argument: value})
