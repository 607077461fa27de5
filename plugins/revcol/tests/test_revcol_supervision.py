"""Heads and decoders sit where the paper puts them and compute what the official code does."""

from __future__ import annotations

import pytest
import torch

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.convert import config_of, from_megvii_supervised
from zoo_revcol.decoder import Decoder, SimDecoder
from zoo_revcol.model import RevCol
from zoo_revcol.supervision import Supervision, supervised_columns
from zoo_revcol.variants import VARIANTS

CHANNELS = [4, 6, 8, 10]
SMALL = {"channels": CHANNELS, "layers": [1, 1, 2, 1], "num_columns": 8}
# Variant -> classes -> parameters with intermediate supervision, as counted on the official code.
PARAMETERS = {
    "tiny": {1000: 33_063_984, 21841: 79_494_852},
    "small": {1000: 63_176_240, 21841: 109_607_108},
    "base": {1000: 141_694_960, 21841: 193_772_980},
    "large": {1000: 280_372_272, 21841: 371_077_188},
    "xlarge": {1000: 851_958_576, 21841: 1_005_203_844},
    "huge": {1000: 2_199_107_704, 21841: 2_433_000_700},
}


@pytest.fixture
def supervised(reference):
    """Builds a network with random official weights; returns both."""

    def build(num_classes=5, **changes):
        config = {**SMALL, **changes}
        shapes = reference.shapes(**config, num_classes=num_classes, supervised=True)
        weights = reference.random_weights(shapes)
        model = RevCol(**config_of(weights, supervised=True)).double()
        model.load_state_dict(from_megvii_supervised(weights))
        return model, weights

    return build


@pytest.mark.parametrize(
    ("number", "indices"),
    [(4, (0, 1, 2)), (8, (1, 3, 5)), (12, (2, 5, 8)), (16, (3, 7, 11)), (20, (4, 9, 14))],
)
def test_the_columns_a_quarter_half_and_three_quarters_through(number, indices):
    assert supervised_columns(number) == indices


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 6, 9, -4])
def test_other_numbers_of_columns_are_refused(number):
    with pytest.raises(ConfigError, match=rf"num_columns is {number}; .* multiple of 4"):
        supervised_columns(number)


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (45, 70), (96, 33)])
@pytest.mark.parametrize("num_classes", [5, 1001], ids=["decoders", "simple decoders"])
def test_training_gives_what_the_equations_say(num_classes, size, supervised, reference, images):
    model, weights = supervised(num_classes)
    image = images(2, 3, *size)
    columns = reference.columns(weights, image)
    logits, reconstructions = model.train()(image)
    assert len(logits) == 4
    assert len(reconstructions) == 3
    for j, column in enumerate((1, 3, 5, 7)):
        top = columns[column][3]
        expected = reference.logits(weights, top, f"cls_blocks.{j}")
        torch.testing.assert_close(logits[j], expected, rtol=1e-9, atol=1e-9)
        if j < 3:
            expected = reference.reconstruction(weights, j, top, size)
            assert reconstructions[j].shape == image.shape
            torch.testing.assert_close(reconstructions[j], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("in_chans", [1, 4])
@pytest.mark.parametrize("num_classes", [5, 1001], ids=["decoders", "simple decoders"])
def test_images_of_other_channels_are_reconstructed(in_chans, num_classes, make, images):
    config = {**SMALL, "in_chans": in_chans, "num_classes": num_classes}
    model = make({**config, "intermediate_supervision": True})
    image = images(1, in_chans, 64, 64)
    for each in model.train()(image).reconstructions:
        assert each.shape == image.shape


def test_evaluation_gives_the_last_logits_alone(supervised, images):
    model, _ = supervised()
    image = images(2, 3, 64, 64)
    torch.testing.assert_close(model.eval()(image), model.train()(image).logits[-1])


@pytest.mark.parametrize(
    "memory", [{}, {"memory": "reversible"}, {"memory": "reversible", "anchor_every": 4}]
)
def test_every_memory_mode_has_the_same_gradients(memory, supervised, images):
    image = images(2, 3, 64, 64).requires_grad_()

    def gradients(**options):
        model, _ = supervised(num_columns=4)
        model.columns.remember(**options)
        logits, reconstructions = model.train()(image)
        total = sum(each.square().mean() for each in [*logits, *reconstructions])
        names = [name for name, _ in model.named_parameters()]
        found = torch.autograd.grad(total, [image, *model.parameters()], materialize_grads=True)
        return dict(zip(["image", *names], found, strict=True))

    expected = gradients(memory="none")
    for name, value in gradients(**({"memory": "checkpoint"} | memory)).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-10, msg=name)


def test_every_parameter_learns(supervised, images):
    model, _ = supervised(num_columns=4)
    logits, reconstructions = model.train()(images(2, 3, 64, 64))
    sum(each.square().sum() for each in [*logits, *reconstructions]).backward()
    still = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert still == [f"columns.0.levels.{level}.alpha" for level in range(4)]


@pytest.mark.parametrize("variant", PARAMETERS)
def test_published_sizes(variant):
    config = VARIANTS[variant].config()
    for num_classes, number in PARAMETERS[variant].items():
        with torch.device("meta"):
            model = RevCol(**config, num_classes=num_classes, intermediate_supervision=True)
        assert sum(parameter.numel() for parameter in model.parameters()) == number


def test_initial_values():
    torch.manual_seed(0)
    wide = {"channels": [32, 48, 64, 128], "layers": [1, 1, 1, 1], "num_columns": 4}
    model = RevCol(**wide, num_classes=50, intermediate_supervision=True)
    for name, parameter in model.supervision.named_parameters():
        if name.endswith("gamma"):
            assert parameter.eq(1e-6).all(), name
        elif name.endswith("bias"):
            assert parameter.eq(0).all(), name
        elif parameter.ndim == 1:
            assert parameter.eq(1).all(), name
        else:
            error = 4 * 0.02 / (2 * parameter.numel()) ** 0.5
            assert parameter.std().item() == pytest.approx(0.02, abs=error), name


@pytest.mark.parametrize("simple", [False, True])
def test_the_kind_of_decoder_can_be_chosen(simple):
    kind = SimDecoder if simple else Decoder
    for num_classes in (5, 1001):
        supervision = Supervision(CHANNELS, num_classes, simple_decoders=simple)
        assert [type(each) for each in supervision.decoders] == [kind] * 3


def test_the_kind_of_decoder_follows_the_number_of_classes():
    for num_classes, kind in ((1, Decoder), (1000, Decoder), (1001, SimDecoder)):
        assert isinstance(Supervision(CHANNELS, num_classes).decoders[0], kind)


def test_new_classifiers_leave_norms_and_decoders(make, images):
    model = make(
        {**SMALL, "num_classes": 5, "intermediate_supervision": True}, dtype=torch.bfloat16
    )
    kept = {
        name: value for name, value in model.supervision.named_parameters() if ".fc." not in name
    }
    model.reset_classifier(1200, init_scale=1.0)
    new = dict(model.supervision.named_parameters())
    assert all(new[name] is value for name, value in kept.items())
    for j in range(3):
        weight = new[f"heads.{j}.fc.weight"]
        assert (weight.shape, weight.dtype) == ((1200, 10), torch.bfloat16)
        assert weight.float().std().item() == pytest.approx(0.02, rel=0.1)
        assert not new[f"heads.{j}.fc.bias"].any()
    logits, reconstructions = model.train()(images(2, 3, 64, 64, dtype=torch.bfloat16))
    assert [each.shape for each in logits] == [(2, 1200)] * 4
    assert [each.shape for each in reconstructions] == [(2, 3, 64, 64)] * 3


def test_no_classes_end_the_supervision(make, images):
    model = make({**SMALL, "num_classes": 5, "intermediate_supervision": True})
    model.reset_classifier(0)
    assert not any(name.startswith("supervision") for name in model.state_dict())
    assert model.train()(images(2, 3, 64, 64)).shape == (2, 10)
    with pytest.raises(ConfigError, match="num_classes is 0"):
        RevCol(**SMALL, num_classes=0, intermediate_supervision=True)
    with pytest.raises(ConfigError, match="num_classes is 0"):
        Supervision(CHANNELS, 0)
    with pytest.raises(ConfigError, match="num_classes is 0"):
        Supervision(CHANNELS, 5).reset_classifier(0)


def test_a_network_without_supervisable_columns_is_refused():
    with pytest.raises(ConfigError, match="multiple of 4"):
        RevCol(CHANNELS, [1, 1, 1, 1], 6, intermediate_supervision=True)


def test_another_number_of_maps_is_refused(images):
    with pytest.raises(InputError, match="got 2 maps; expected those of 3 columns"):
        Supervision(CHANNELS, 5).double()([images(1, 10, 2, 2)] * 2, (64, 64))
