"""RevCol-ViT: its equations, its gradients in every memory mode, images of any size."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.transformer import TransformerBlock
from zoo_revcol.vit import RevColViT

spec = importlib.util.spec_from_file_location(
    "zoo_revcol_tests_vit_reference", Path(__file__).parent / "token_reference.py"
)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

TINY = {
    "img_size": 8,
    "patch_size": 2,
    "width": 8,
    "heads": 2,
    "layers": (1, 2, 1),
    "num_columns": 3,
    "num_classes": 5,
    "in_chans": 2,
}
MODES = [
    {"memory": "checkpoint"},
    {"memory": "reversible"},
    {"memory": "reversible", "anchor_every": 3},
    {"memory": "reversible", "anchor_every": 3, "exact": True},
]
RANDOM = {"dropout": 0.2, "drop_path_rate": 0.3, "layer_scale_init": 0.5}


def randomised(model, seed=0):
    """Random O(1) weights, alphas in +-[0.4, 1]."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.double().named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("alpha"):
                size = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                noise = noise.sign() * (0.4 + 0.6 * size)
            elif parameter.ndim == 1:
                noise = 0.3 * noise + (0.0 if name.endswith("bias") else 1.0)
            else:
                noise = noise / parameter[0].numel() ** 0.5
            parameter.copy_(noise)
    return model


def make(seed=0, **changes):
    return randomised(RevColViT(**{**TINY, **changes}), seed)


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(model, x, **mode):
    model.columns.remember(**mode)
    torch.manual_seed(3)
    loss = model(x).sin().sum()
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("layer_scale_init", [None, 1e-6])
@pytest.mark.parametrize("causal", [False, True])
def test_the_blocks_equation(causal, layer_scale_init):
    block = randomised(TransformerBlock(8, 2, causal=causal, layer_scale_init=layer_scale_init))
    x = images(3, 6, 8)
    sees = torch.ones(6, 6, dtype=torch.bool).tril() if causal else torch.ones(6, 6).bool()
    p = {f"b.{name}": value for name, value in block.state_dict().items()}
    assert ("b.gamma" in p) == (layer_scale_init is not None)
    expected = reference.block(x, p, "b", 2, sees.expand(3, 6, 6))
    torch.testing.assert_close(block(x), expected, rtol=1e-11, atol=1e-11)


def test_the_block_sees_what_it_is_told_to():
    block = randomised(TransformerBlock(8, 2, causal=True))
    x = images(3, 6, 8)
    sees = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    sees |= torch.eye(6, dtype=torch.bool)
    p = {f"b.{name}": value for name, value in block.state_dict().items()}
    expected = reference.block(x, p, "b", 2, sees)
    torch.testing.assert_close(block(x, sees[:, None]), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "changes",
    [{}, {"num_columns": 1}, {"layers": (3,)}, {"layers": (2, 1), "layer_scale_init": 1e-6}],
)
def test_the_networks_equation(changes):
    config = {**TINY, **changes}
    model, x = make(**changes).eval(), images(2, 2, 8, 8)
    expected = reference.vit(
        x, model.state_dict(), 2, config["layers"], config["num_columns"], config["heads"]
    )
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def test_all_columns_maps():
    model, x = make().eval(), images(2, 2, 8, 8)
    p = model.state_dict()
    sees = torch.ones(2, 16, 16, dtype=torch.bool)
    expected = reference.columns(reference.patches(x, p, 2), p, (1, 2, 1), 3, 2, sees)
    found = model.forward_columns(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.forward_features(x), expected[-1][-1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, RANDOM], ids=["plain", "random"])
def test_gradients_in_every_memory_mode(mode, options):
    model, x = make(**options).train(), images(3, 2, 8, 8)
    expected = gradients(model, x, memory="none")
    given = gradients(model, x, **mode)
    exact = mode["memory"] == "checkpoint" or mode.get("exact", False)
    tolerance = 1e-12 if exact else 1e-8
    torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance)


def test_dropout_and_drop_path_are_random_in_training_only():
    x = images(8, 2, 8, 8)
    for option in ({"dropout": 0.3}, {"drop_path_rate": 0.5}):
        model = make(**option)
        with torch.no_grad():
            assert not torch.equal(model.train()(x), model(x))
            torch.testing.assert_close(model.eval()(x), make().eval()(x))


@pytest.mark.parametrize("mode", [{"memory": "none"}, *MODES])
def test_gradcheck(mode):
    model = make(
        img_size=4, width=4, layers=(1, 1), num_columns=2, num_classes=2, in_chans=1, **mode
    )
    x = images(2, 1, 4, 4).requires_grad_()
    # The parameters are perturbed in place, so that the function finds them in the model.
    assert torch.autograd.gradcheck(
        lambda x, *_: model(x), (x, *model.parameters()), fast_mode=True
    )


def test_the_columns_are_inverted():
    model, x = make().eval(), images(2, 2, 8, 8)
    with torch.no_grad():
        *earlier, last = model.forward_columns(x)
        found = model.columns.invert(last, model.stem(x))
    torch.testing.assert_close(found, earlier, rtol=1e-8, atol=1e-8)
    assert 0.0 < model.check_reversible(x).worst < 1e-8


def test_patches_are_taken_row_by_row_at_any_size():
    model = make().eval()
    x = images(1, 2, 6, 11)
    tokens = model.stem(x)
    assert tokens.shape == (1, 15, 8)
    with torch.no_grad():
        model.stem.positions.zero_()
    moved = x.clone()
    moved[:, :, 2:4, 6:8] += 1.0
    changed = (model.stem(moved) != model.stem(x)).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [5 * 1 + 3]
    assert model(x).shape == (1, 5)


def test_positions_stretch_smoothly():
    model = make(img_size=16)
    ramp = torch.linspace(0.0, 1.0, 8, dtype=torch.float64)
    with torch.no_grad():
        model.stem.positions.copy_(ramp[None, None, :, None].expand_as(model.stem.positions))
        model.stem.conv.weight.zero_()
        model.stem.conv.bias.zero_()
        same = model.stem(images(1, 2, 16, 16)).view(8, 8, 8)
        larger = model.stem(images(1, 2, 64, 20)).view(32, 10, 8)
    torch.testing.assert_close(same[:, 0, 0], ramp, rtol=0, atol=0)
    rows = larger[:, 0, 0]
    torch.testing.assert_close(larger, rows[:, None, None].expand(32, 10, 8))
    # Row r of 32 lies at (r + 0.5) / 4 - 0.5 of 8; off the borders bicubic repeats a ramp exactly.
    expected = ((torch.arange(32, dtype=torch.float64) + 0.5) / 4 - 0.5) / 7
    torch.testing.assert_close(rows[8:24], expected[8:24], rtol=1e-9, atol=1e-9)


def test_half_precision_stretches_positions():
    model = make().to(torch.bfloat16).eval()
    exact = make().eval()
    x = images(1, 2, 12, 12)
    torch.testing.assert_close(
        model.stem(x.bfloat16()).double(), exact.stem(x), rtol=0.05, atol=0.05
    )


def test_timms_methods():
    model, x = make().eval(), images(2, 2, 8, 8)
    features = model.forward_features(x)
    assert features.shape == (2, 16, model.num_features)
    torch.testing.assert_close(model.forward_head(features), model(x))
    pooled = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(model.get_classifier()(pooled), model(x))
    model.reset_classifier(0)
    torch.testing.assert_close(model(x), pooled)
    assert model.num_classes == 0
    model.reset_classifier(7)
    assert model(x).shape == (2, 7)
    torch.testing.assert_close(model.forward_head(features, pre_logits=True), pooled)
    model.reset_classifier(7, "")
    assert model(x).shape == (2, 16, 7)
    with pytest.raises(ConfigError, match="global_pool is 'max'"):
        model.reset_classifier(7, "max")
    with pytest.raises(InputError, match=r"features have shape \(2, 7, 16\)"):
        model.forward_head(torch.zeros(2, 7, 16))


def test_memory_by_timms_switch():
    model = make(memory="reversible", anchor_every=2)
    model.set_grad_checkpointing()
    assert (model.columns.memory, model.columns.anchor_every) == ("reversible", 2)
    model.set_grad_checkpointing(False)
    assert model.columns.memory == "none"
    model.set_grad_checkpointing()
    assert model.columns.memory == "checkpoint"


def test_what_is_decayed_and_in_which_layer():
    model = make(layer_scale_init=1.0)
    spared = model.no_weight_decay()
    for name, parameter in model.named_parameters():
        decayed = name.endswith("weight") and parameter.ndim > 1
        assert (name in spared) is not decayed, name
    layer = model.group_matcher()
    assert layer("stem.positions") == 0
    assert layer("columns.0.levels.0.blocks.0.fc1.weight") == 1
    assert layer("columns.2.levels.1.blocks.1.fc1.weight") == 1 + 2 + 2
    assert layer("columns.2.levels.2.alpha") == 1 + 2
    assert layer("head.fc.weight") == 4 + 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"heads": 3}, "heads is 3; expected a divisor of the width, 8"),
        ({"heads": 0}, "heads is 0"),
        ({"layers": ()}, r"layers is \(\)"),
        ({"layers": 3}, "layers is 3"),
        ({"layers": "11"}, "layers is '11'"),
        ({"layers": (1, 0)}, r"layers\[1\] is 0"),
        ({"num_columns": 0}, "num_columns is 0"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"patch_size": 9}, "patch_size is 9; expected at most the img_size, 8"),
        ({"img_size": 0}, "img_size is 0"),
        ({"in_chans": 0}, "in_chans is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"drop_path_rate": -0.1}, "drop_path_rate is -0.1"),
        ({"layer_scale_init": "1"}, "layer_scale_init is '1'"),
        ({"global_pool": "max"}, "global_pool is 'max'"),
        ({"memory": "no"}, "memory is 'no'"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ConfigError, match=message):
        RevColViT(**{**TINY, **changes})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0]], "images are a list"),
        (torch.zeros(2, 8, 8), r"images have shape \(2, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8), r"expected floating-point images \[B, 2, H, W\]"),
        (torch.zeros(1, 2, 8, 1), "at least 2 pixels"),
        (torch.zeros(1, 2, 8, 8, dtype=torch.int64), "dtype torch.int64"),
        (torch.zeros(1, 2, 8, 8), "images have dtype torch.float32 and the model torch.float64"),
        (torch.zeros(1, 2, 8, 8, device="meta"), "images are on meta, the model on cpu"),
    ],
)
def test_bad_images(x, message):
    with pytest.raises(InputError, match=message):
        make()(x)


def test_it_exports_and_compiles():
    model, x = make(layers=(1, 1), num_columns=2).eval(), images(2, 2, 8, 8)
    expected = model(x)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), expected)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)


def test_drop_path_rises_over_the_blocks_of_a_column():
    model = make(drop_path_rate=0.3)
    for column in model.columns:
        rates = [block.drop_path.rate for level in column.levels for block in level.blocks]
        assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def train(**mode):
    """The losses of some steps on brighter and darker images, in float64 from seeded weights."""
    torch.manual_seed(0)
    model = RevColViT(**{**TINY, "layers": (1, 1), "width": 16, "num_classes": 2}, **mode).double()
    labels = torch.arange(32) % 2
    x = images(32, 2, 8, 8) + labels.view(-1, 1, 1, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = cross_entropy(model(x), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_it_learns_the_same_in_every_memory_mode():
    expected = train(memory="none")
    assert expected[-1] < 0.3 * expected[0]
    for mode in MODES:
        assert train(**mode) == pytest.approx(expected, rel=1e-6), mode
