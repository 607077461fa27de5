"""What timm checks of its own models, checked of ours; and what its tools make of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import group_parameters, load_checkpoint
from timm.optim import create_optimizer_v2

import zoo
import zoo_revcol.timm_models
from zoo_core.errors import ConfigError
from zoo_revcol.convert import to_megvii
from zoo_revcol.model import RevCol
from zoo_revcol.plugin import zoo_cards
from zoo_revcol.variants import VARIANTS

FAMILY = sorted(f"revcol_{variant}" for variant in VARIANTS)
NARROW = {"channels": [4, 8, 12, 16], "layer_scale_init": 0.5}
CARDS = {(*card.aliases, card.name)[0]: card for card in zoo_cards()}
TAGGED = [
    (f"revcol_{variant}.{weights.tag}", weights)
    for variant in VARIANTS
    for weights in CARDS[f"revcol-{variant}"].weights
]


@pytest.fixture
def create():
    """Makes a model of the family, narrowed to a few thousand parameters."""

    def build(name: str = "revcol_nano", **arguments):
        torch.manual_seed(0)
        return timm.create_model(name, **{**NARROW, **arguments})

    return build


def test_timm_lists_the_family_and_every_tag():
    assert timm.list_models("revcol*") == FAMILY
    assert set(FAMILY) <= set(dir(zoo_revcol.timm_models))
    with_weights = timm.list_models("revcol*", pretrained=True)
    assert set(with_weights) == {name for name, _ in TAGGED}
    assert "revcol_base.in22k_ft_in1k_384" in with_weights
    assert timm.is_model("revcol_xlarge")
    assert not timm.is_model_pretrained("revcol_xlarge")


@pytest.mark.parametrize(("name", "weights"), TAGGED, ids=[name for name, _ in TAGGED])
def test_configurations_say_what_the_cards_say(name, weights):
    configuration = timm.get_pretrained_cfg(name)
    for key, value in weights.preprocessing.items():
        stated = getattr(configuration, key)
        assert (list(stated) if isinstance(value, list) else stated) == value, key
    if configuration.url:
        assert configuration.url == weights.source
    else:
        repository = configuration.hf_hub_id.split("@")
        path = configuration.hf_hub_filename
        assert weights.source == f"hf://{repository[0]}/{path}@{repository[1]}"
    assert configuration.license == "apache-2.0"
    assert configuration.paper_ids == "arXiv:2212.11696"
    with torch.device("meta"):
        model = timm.create_model(name)
    side = configuration.input_size[1]
    features = model.forward_features(torch.zeros(1, 3, side, side, device="meta"))
    assert features.shape[2:] == configuration.pool_size
    assert f"{configuration.first_conv}.weight" in model.state_dict()
    if configuration.num_classes > 0:
        assert model.state_dict()[f"{configuration.classifier}.weight"].shape == (
            configuration.num_classes,
            model.num_features,
        )
    # Where only the file knows them, the untrained model has as many as ImageNet-1K.
    expected = 1000 if configuration.num_classes < 0 else configuration.num_classes
    assert model.num_classes == expected


def test_classes_of_tags():
    numbers = {
        name: timm.get_pretrained_cfg(name).num_classes
        for name in ("revcol_tiny", "revcol_base.in22k", "revcol_huge.megdata", "revcol_nano")
    }
    assert list(numbers.values()) == [1000, 21841, -1, 10]
    for name in FAMILY:
        card = CARDS[name.replace("_", "-")]
        tag = card.tags[0] if card.tags else None
        assert timm.get_pretrained_cfg(name).tag == tag, "the first tag of a card is the default"


@pytest.mark.parametrize("name", FAMILY)
def test_forward_and_backward(name, create):
    model = create(name, num_classes=42, drop_path_rate=0.0)
    x = torch.randn(2, 3, 64, 64)
    outputs = model(x)
    assert outputs.shape == (2, 42)
    assert outputs.isfinite().all()
    outputs.mean().backward()
    missing = [key for key, it in model.named_parameters() if it.grad is None]
    assert not missing
    assert all(it.grad.isfinite().all() for it in model.parameters())
    assert len(model.columns) == VARIANTS[name.removeprefix("revcol_")].num_columns


def test_full_size_tiny():
    model = timm.create_model("revcol_tiny", drop_path_rate=0.1).eval()
    assert sum(it.numel() for it in model.parameters()) == 30_456_168
    rates = [block.drop_path.rate for level in model.columns[-1].levels for block in level.blocks]
    assert rates == pytest.approx([index / 90 for index in range(10)])
    with torch.no_grad():
        assert model(torch.randn(1, 3, 96, 96)).isfinite().all()
    backbone = timm.create_model("revcol_tiny", features_only=True, out_indices=(0, 2))
    assert sum(it.numel() for it in backbone.parameters()) == 29_942_144
    assert backbone.feature_info.channels() == [64, 256]


@pytest.mark.parametrize("name", ["revcol_nano", "revcol_huge"])
def test_the_head_is_taken_off_and_put_back(name, create):
    model = create(name).eval()
    x = torch.randn(2, 3, 64, 96)
    features = model.forward_features(x)
    assert features.shape == (2, model.num_features, 2, 3)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    assert torch.equal(model(x), model.get_classifier()(pooled))

    model.reset_classifier(0)
    assert torch.equal(model(x), pooled)
    model.reset_classifier(0, "")
    assert torch.equal(model(x), features)
    assert not list(model.head.parameters())
    model.reset_classifier(5, "avg")
    assert model(x).shape == (2, 5)
    assert model.num_classes == model.get_classifier().out_features == 5

    assert create(name, num_classes=0).eval()(x).shape == (2, model.num_features)
    assert create(name, num_classes=0, global_pool="")(x).shape == features.shape


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (33, 63)])
@pytest.mark.parametrize("indices", [(0, 1, 2, 3), (1, 3), (0,), (-1, -3), 2])
def test_features_only(size, indices, create):
    network = create(features_only=True, out_indices=indices).eval()
    expected = [range(4)[index] for index in (range(-indices, 0) if indices == 2 else indices)]
    info = network.feature_info
    x = torch.randn(2, 3, *size)
    maps = network(x)
    assert len(maps) == len(expected)
    assert info.out_indices == tuple(sorted(expected))
    pyramid = network.model.forward_pyramid(x)
    for map_, level, channels, stride in zip(
        maps, sorted(expected), info.channels(), info.reduction(), strict=True
    ):
        assert torch.equal(map_, pyramid[level])
        assert map_.shape == (2, channels, size[0] // stride, size[1] // stride)
    assert "head.fc.weight" not in network.model.state_dict()


def test_features_by_hooks_are_the_same(create):
    x = torch.randn(2, 3, 64, 96)
    getter = create(features_only=True, out_indices=(0, 2)).eval()
    hook = create(features_only=True, out_indices=(0, 2), feature_cls="hook").eval()
    for one, other in zip(getter(x), hook(x), strict=True):
        assert torch.equal(one, other)


def test_intermediates_agree_with_features_only(create):
    model, network = create().eval(), create(features_only=True).eval()
    x = torch.randn(2, 3, 64, 96)
    expected = network(x)
    final, maps = model.forward_intermediates(x)
    assert torch.equal(final, model.forward_features(x))
    last = model.forward_intermediates(x, indices=[-1], intermediates_only=True, output_fmt="NHWC")
    assert torch.equal(last[0].permute(0, 3, 1, 2), final)
    for one, other in zip(maps, expected, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(model.forward_head(final), model(x))
    assert [it.shape for it in model.get_intermediate_layers(x, 2)] == [
        it.shape for it in expected[-2:]
    ]


@pytest.mark.parametrize("enabled", [True, False])
def test_recomputation_is_turned_on_and_off(enabled, create):
    model, plain = create(memory="checkpoint"), create(memory="none")
    model.set_grad_checkpointing(enabled)
    assert model.columns.memory == ("checkpoint" if enabled else "none")
    x = torch.randn(2, 3, 32, 32)
    for each in (model, plain):
        each(x).square().mean().backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_pretrained_weights_are_the_zoo_s():
    x = torch.randn(2, 3, 32, 32)
    for tag in ("digits", "cifar10"):
        model = timm.create_model(f"revcol_nano.{tag}", pretrained=True)
        assert model.training
        assert model.pretrained_cfg["tag"] == model.zoo.weights.tag == tag
        assert torch.equal(model.eval()(x), zoo.load(f"revcol-nano.{tag}")(x))
    data = timm.data.resolve_model_data_config(model)
    assert data["mean"] == (0.5, 0.5, 0.5)
    assert data["crop_mode"] == "squash"
    assert data["input_size"] == (3, 32, 32)
    model = timm.create_model("revcol_nano", pretrained=True, drop_path_rate=0.3, memory="none")
    assert (model.drop_path_rate, model.columns.memory) == (0.3, "none")


def test_pretrained_weights_are_adapted_to_another_head(tmp_path):
    x = torch.randn(2, 3, 64, 64)
    source = zoo.load("revcol-nano.cifar10")
    features = source.forward_features(x)
    name = "revcol_nano.cifar10"

    model = timm.create_model(name, pretrained=True, num_classes=7).eval()
    assert torch.equal(model.forward_features(x), features)
    assert model(x).shape == (2, 7)
    assert torch.equal(
        model.forward_head(features, pre_logits=True), source.forward_head(features, True)
    )
    assert source.zoo.labels()
    assert model.zoo.labels() == (), "the labels were those of the head that is gone"
    zoo.save(model, tmp_path / "seven")
    assert torch.equal(zoo.load(tmp_path / "seven")(x), model(x))

    pooled = timm.create_model(name, pretrained=True, num_classes=0).eval()
    assert torch.equal(pooled(x), source.forward_head(features, True))
    bare = timm.create_model(name, pretrained=True, num_classes=0, global_pool="").eval()
    assert torch.equal(bare(x), features)
    network = timm.create_model(name, pretrained=True, features_only=True, out_indices=(3,)).eval()
    assert torch.equal(network(x)[0], features)


def test_pretrained_weights_are_adapted_to_other_channels():
    name, gray = "revcol_nano.cifar10", torch.randn(2, 1, 32, 32)
    expected = zoo.load("revcol-nano.cifar10")(gray.expand(2, 3, 32, 32))
    model = timm.create_model(name, pretrained=True, in_chans=1).eval()
    assert model.in_chans == 1
    torch.testing.assert_close(model(gray), expected)
    six = timm.create_model(name, pretrained=True, in_chans=6).eval()
    torch.testing.assert_close(six(gray.expand(2, 6, 32, 32)), expected)
    untrained = timm.create_model("revcol_nano", in_chans=2)
    assert untrained(torch.randn(1, 2, 32, 32)).shape == (1, 10)


@pytest.fixture
def supervised(monkeypatch):
    """Lets the zoo give a narrow, supervised network as the weights of `in1k_supervised`."""
    model = RevCol(**{**VARIANTS["tiny"].config(), **NARROW, "intermediate_supervision": True})
    model.zoo = zoo.load("revcol-t", pretrained=False, **NARROW).zoo
    monkeypatch.setattr(zoo_revcol.timm_models, "load", lambda *_, **__: model.eval())
    return model


def test_supervised_weights(supervised):
    name = "revcol_tiny.in1k_supervised"
    x = torch.randn(2, 3, 32, 32)
    output = timm.create_model(name, pretrained=True)(x)
    assert [each.shape for each in output.logits] == [(2, 1000)] * 4
    with pytest.raises(ConfigError, match=r"in_chans is 1.*decoders"):
        timm.create_model(name, pretrained=True, in_chans=1)
    output = timm.create_model(name, pretrained=True, num_classes=3)(x)
    assert [each.shape for each in output.logits] == [(2, 3)] * 4
    assert timm.create_model(name, pretrained=True, num_classes=0)(x).shape == (2, 16)


def test_untrained_models_of_tags_give_way_to_the_number_of_classes(create):
    backbone = "revcol_tiny.ade20k_upernet_in1k_512"
    x = torch.randn(2, 3, 32, 32)
    assert create(backbone)(x).shape == (2, 16, 1, 1)
    assert create(backbone, num_classes=3)(x).shape == (2, 3)
    assert len(create("revcol_tiny.in1k_supervised")(x).logits) == 4
    assert create("revcol_tiny.in1k_supervised", num_classes=0)(x).shape == (2, 16)


@pytest.mark.parametrize("layout", ["timm", "official", "official backbone"])
def test_timm_reads_a_file_of_the_caller_s(layout, create, tmp_path):
    model = create(num_classes=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 10)
    path = tmp_path / "weights.pth"
    tensors = model.state_dict()
    if layout == "official":
        tensors = to_megvii(tensors)
    elif layout == "official backbone":
        tensors = {
            f"backbone.{key}": it for key, it in to_megvii(tensors).items() if "cls" not in key
        }
    torch.save({"state_dict": tensors}, path)
    classes = {"num_classes": 0, "global_pool": ""} if "backbone" in layout else {"num_classes": 3}
    overlay = {"file": str(path), "num_classes": classes["num_classes"]}
    loaded = create(pretrained=True, pretrained_cfg_overlay=overlay, **classes).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.forward_features(x), model.forward_features(x))
    if layout != "official backbone":
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_checkpoints_are_reloaded_strictly(suffix, create, tmp_path):
    torch.manual_seed(1)
    model = timm.create_model("revcol_nano", **NARROW, num_classes=3).eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        save_file(model.state_dict(), path)
    other = create(num_classes=3).eval()
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(other(x), model(x))
    result = load_checkpoint(other, str(path), strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys
    assert torch.equal(other(x), model(x))


def test_groups_of_parameters_are_the_layers(create):
    model = create("revcol_tiny")
    groups = group_parameters(model, model.group_matcher())
    assert sorted(groups) == list(range(sum(model.layers) + model.num_columns + 1))
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert set(groups[0]) == {
        name for name, _ in model.named_parameters() if name.startswith("stem.")
    }
    assert {name.split(".")[0] for name in groups[sum(model.layers) + 4]} == {"head"}


def test_layer_decay_of_timm_s_optimizer(create):
    model = create("revcol_tiny")
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.9)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["lr_scale"], group["weight_decay"])
    assert seen.keys() == set(names.values())
    layer, last = model.group_matcher(), sum(model.layers) + model.num_columns
    for name, (scale, decay) in seen.items():
        assert scale == pytest.approx(0.9 ** (last - layer(name))), name
        assert decay == (0 if name in model.no_weight_decay() else 0.05), name
    assert any(name.endswith("alpha") for name in seen)


def test_bad_requests_are_refused_before_any_work(create, monkeypatch):
    with pytest.raises(RuntimeError, match="tag"):
        timm.create_model("revcol_tiny.in23k")
    monkeypatch.setattr(RevCol, "_levels", lambda *_, **__: pytest.fail("work began"))
    with pytest.raises(ConfigError, match=r"revcol_nano takes no argument 'depth'.*layers"):
        create(depth=3)
    with pytest.raises(ConfigError, match="revcol_xlarge has no pretrained weights"):
        create("revcol_xlarge", pretrained=True)
    with pytest.raises(ConfigError, match="in_chans is 0"):
        create(in_chans=0)


def test_a_pooling_that_does_not_exist_is_refused(create):
    with pytest.raises(ConfigError, match="global_pool is 'max'; expected 'avg' or ''"):
        create(global_pool="max")
    with pytest.raises(ConfigError, match="global_pool is '' and num_classes 10"):
        create(global_pool="")


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_plugin_needs_neither_timm_nor_torchvision():
    _python(
        "import sys; sys.modules['timm'] = sys.modules['torchvision'] = None\n"
        "import zoo_revcol.model, zoo_revcol.plugin, zoo_revcol.pyramid, zoo_revcol.segmentation\n"
        "import torch, zoo\n"
        "zoo.load('revcol-nano')(torch.zeros(1, 3, 32, 32))\n"
    )


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_without_timm_the_registration_says_so(missing):
    _python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from zoo_core.errors import ZooError\n"
        "try:\n    import zoo_revcol.timm_models\n"
        "except ZooError as error:\n"
        "    assert 'timm cannot be imported' in str(error) and '\\n' not in str(error), error\n"
        "else:\n    raise SystemExit('no error')\n"
    )
