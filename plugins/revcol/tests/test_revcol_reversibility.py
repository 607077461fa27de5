"""Columns are invertible: the paper's claim of losslessness, and its numerical limit."""

from __future__ import annotations

import pytest
import torch

from zoo_core.errors import InputError, ZooError

CONFIG = {
    "channels": (16, 32, 64, 128),
    "layers": (1, 1, 1, 1),
    "num_columns": 4,
    "num_classes": 10,
}


def worst_error(rebuilt, original):
    return max(
        float((ours - theirs).abs().max() / theirs.abs().max())
        for column, expected in zip(rebuilt, original, strict=True)
        for ours, theirs in zip(column, expected, strict=True)
    )


def rebuilt_and_original(model, image, column=-1):
    with torch.no_grad():
        columns = model.forward_columns(image)
        return model.invert(columns[column], model.stem(image), column), columns[:column]


def set_alphas(model, value):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("alpha"):
                parameter.fill_(value)


@pytest.mark.parametrize("top_down_skip", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (45, 99)])
def test_all_columns_are_rebuilt_from_the_last(size, top_down_skip, make, images):
    model = make({**CONFIG, "top_down_skip": top_down_skip})
    rebuilt, original = rebuilt_and_original(model, images(2, 3, *size))
    assert len(rebuilt) == 3
    assert worst_error(rebuilt, original) < 1e-9


@pytest.mark.parametrize("column", [0, 1, 2, 3, -2])
def test_any_column_serves(column, make, images):
    model = make(CONFIG)
    rebuilt, original = rebuilt_and_original(model, images(2, 3, 64, 64), column)
    assert len(rebuilt) == column % 4
    assert not rebuilt or worst_error(rebuilt, original) < 1e-9


def test_four_columns_in_float32(make, images):
    model = make(CONFIG, dtype=torch.float32)
    image = images(2, 3, 64, 64, dtype=torch.float32)
    assert worst_error(*rebuilt_and_original(model, image)) < 5e-3


def test_sixteen_columns_in_float32_when_alpha_is_one(make, images):
    model = make({**CONFIG, "num_columns": 16}, dtype=torch.float32)
    set_alphas(model, 1.0)
    image = images(2, 3, 64, 64, dtype=torch.float32)
    assert worst_error(*rebuilt_and_original(model, image)) < 1e-4


def test_one_column_in_float32_at_the_initial_alpha(make, images):
    model = make({**CONFIG, "num_columns": 2}, dtype=torch.float32)
    set_alphas(model, 0.5)
    image = images(2, 3, 64, 64, dtype=torch.float32)
    assert worst_error(*rebuilt_and_original(model, image)) < 1e-5


def test_the_variants_pattern_is_reversible(narrow, make, images):
    model = make(narrow("huge", num_columns=3))
    assert worst_error(*rebuilt_and_original(model, images(1, 3, 64, 64))) < 1e-9


def test_rebuilt_maps_lead_to_the_same_prediction(make, images):
    model = make(CONFIG, dtype=torch.float32)
    image = images(2, 3, 64, 64, dtype=torch.float32)
    with torch.no_grad():
        stem, columns = model.stem(image), model.forward_columns(image)
        (features,) = model.invert(columns[1], stem, 1)
        for column in list(model.columns)[1:]:
            features = column(stem, features)
        logits = model.forward_head(features)
        expected = model(image)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_bounded_alphas_still_invert(make, images):
    model = make({**CONFIG, "num_columns": 2})
    set_alphas(model, 0.0)
    assert worst_error(*rebuilt_and_original(model, images(1, 3, 32, 32))) < 1e-3


def test_inversion_is_refused_where_forward_is_random(make, images):
    model = make({**CONFIG, "drop_path_rate": 0.1}).train()
    image = images(1, 3, 32, 32)
    with pytest.raises(ZooError, match="eval"):
        model.invert(model.forward_pyramid(image), model.stem(image))


def test_inversion_refuses_what_does_not_fit(make, images):
    model = make(CONFIG)
    image = images(1, 3, 64, 64)
    features, stem = model.forward_pyramid(image), model.stem(image)
    with pytest.raises(InputError, match="4 columns"):
        model.invert(features, stem, 4)
    with pytest.raises(InputError, match="16, 16"):
        model.invert(features[:3], stem)
    with pytest.raises(InputError, match="128, 2, 2"):
        model.invert(features, images(1, 16, 8, 8))
    with pytest.raises(InputError, match=r"expected \[B, C, h, w\]"):
        model.invert(features, stem[0])
