"""RevCol over text: its equations, padding that does not matter, a future that does not leak."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from zoo_core.errors import ConfigError, InputError
from zoo_revcol.text import RevColText, visibility

spec = importlib.util.spec_from_file_location(
    "zoo_revcol_tests_text_reference", Path(__file__).parent / "token_reference.py"
)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

CLASSIFIER = {
    "vocab_size": 11,
    "width": 8,
    "heads": 2,
    "layers": (1, 2, 1),
    "num_columns": 3,
    "max_length": 9,
    "num_classes": 3,
}
LANGUAGE_MODEL = {**CLASSIFIER, "task": "language-modeling", "num_classes": None}
BOTH = pytest.mark.parametrize("config", [CLASSIFIER, LANGUAGE_MODEL], ids=["classifier", "lm"])
MODES = [
    {"memory": "checkpoint"},
    {"memory": "reversible"},
    {"memory": "reversible", "anchor_every": 3},
    {"memory": "reversible", "anchor_every": 3, "exact": True},
]
RANDOM = {"dropout": 0.2, "drop_path_rate": 0.3, "layer_scale_init": 0.5}
TEXTS = ([4, 7, 1, 1, 9], [3], [2, 10, 0, 5, 6, 8, 1, 3, 4])


def make(config, seed=0, **changes):
    """Random O(1) weights, alphas in +-[0.4, 1]."""
    model = RevColText(**{**config, **changes}).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("alpha"):
                size = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                noise = noise.sign() * (0.4 + 0.6 * size)
            elif parameter.ndim == 1:
                noise = 0.3 * noise + (0.0 if name.endswith("bias") else 1.0)
            elif not name.startswith("stem."):
                noise = noise / parameter[0].numel() ** 0.5
            parameter.copy_(noise)
    return model


def batch_of(texts, side="right", filler=0, length=9):
    """Tokens [B, length], and the padding mask."""
    tokens = torch.full((len(texts), length), filler)
    mask = torch.ones(len(texts), length, dtype=torch.bool)
    for row, text in enumerate(texts):
        places = {
            "right": range(len(text)),
            "left": range(length - len(text), length),
            "between": [0, *range(length - len(text) + 1, length)],
        }[side]
        tokens[row, list(places)] = torch.tensor(text)
        mask[row, list(places)] = False
    return tokens, mask


def logits_of(model, texts, **options):
    """A text's logits where it is no padding."""
    tokens, mask = batch_of(texts, **options)
    logits = model(tokens, mask)
    if model.task == "classification":
        return list(logits)
    return [each[~absent] for each, absent in zip(logits, mask, strict=True)]


def gradients(model, tokens, mask, **mode):
    model.columns.remember(**mode)
    torch.manual_seed(3)
    logits = model(tokens, mask)
    if model.task == "language-modeling" and mask is not None:
        logits = logits[~mask]
    loss = logits.sin().sum()
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


@BOTH
@pytest.mark.parametrize("changes", [{}, {"num_columns": 1}, {"layer_scale_init": 1e-6}])
@pytest.mark.parametrize("masked", [False, True])
def test_the_networks_equation(config, changes, masked):
    model = make(config, **changes).eval()
    p, number = model.state_dict(), {**config, **changes}["num_columns"]
    causal = config is LANGUAGE_MODEL
    expected = [reference.text(torch.tensor(t), p, (1, 2, 1), number, 2, causal) for t in TEXTS]
    if masked:
        found = logits_of(model, TEXTS)
    else:
        found = [model(torch.tensor([text]))[0] for text in TEXTS]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@BOTH
@pytest.mark.parametrize("side", ["right", "left", "between"])
def test_padding_does_not_matter(config, side):
    model = make(config).eval()
    expected = [logits_of(model, [text], length=len(text))[0] for text in TEXTS]
    for filler in (0, 10):
        found = logits_of(model, TEXTS, side=side, filler=filler)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    assert not torch.isnan(model(*batch_of(TEXTS, side=side))).any()


@BOTH
def test_padding_gets_no_gradient(config):
    model = make(config, memory="reversible").train()
    tokens, mask = batch_of(TEXTS[:2], filler=10)
    _, found = gradients(model, tokens, mask, memory="reversible")
    names = [name for name, _ in model.named_parameters()]
    of_tokens = found[names.index("stem.tokens.weight")]
    assert of_tokens[10].abs().max() == 0.0
    assert of_tokens[[1, 3, 4, 7, 9]].abs().amax(1).min() > 1e-6


def test_the_future_does_not_leak():
    model = make(LANGUAGE_MODEL).eval()
    tokens = torch.tensor([TEXTS[2]])
    stem = model.stem(tokens).detach().requires_grad_()
    top = model.columns(stem)[-1]
    for place in range(9):
        (gradient,) = torch.autograd.grad(top[0, place].sum(), stem, retain_graph=True)
        sizes = gradient[0].abs().amax(1)
        assert (sizes[: place + 1] > 1e-6).all()
        assert (sizes[place + 1 :] == 0).all()


@pytest.mark.parametrize("masked", [False, True])
def test_later_tokens_change_nothing(masked):
    model = make(LANGUAGE_MODEL).eval()
    mask = batch_of([TEXTS[2][:8]], side="left")[1] if masked else None
    tokens = torch.tensor([TEXTS[2]])
    expected = model(tokens, mask)
    for place in range(1, 9):
        changed = tokens.clone()
        changed[:, place:] = (changed[:, place:] + 1) % 11
        found = model(changed, mask)
        torch.testing.assert_close(found[:, :place], expected[:, :place], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(found[:, place], expected[:, place])


def test_visibility():
    mask = torch.tensor([[True, False, False, True]])
    assert visibility(mask, causal=False).tolist() == [[[[False, True, True, False]]]]
    assert visibility(mask, causal=True)[0, 0].int().tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 1, 0],
        [0, 1, 1, 1],
    ]


@BOTH
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", [{}, RANDOM], ids=["plain", "random"])
def test_gradients_in_every_memory_mode(config, mode, masked, options):
    model = make(config, **options).train()
    tokens, mask = batch_of(TEXTS)
    mask = mask if masked else None
    expected = gradients(model, tokens, mask, memory="none")
    given = gradients(model, tokens, mask, **mode)
    exact = mode["memory"] == "checkpoint" or mode.get("exact", False)
    tolerance = 1e-12 if exact else 1e-8
    torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance)


@BOTH
@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(config, mode):
    sizes = {"width": 4, "layers": (1, 1), "num_columns": 2, "vocab_size": 3, "max_length": 3}
    model = make(config, **sizes, **mode)
    tokens, mask = batch_of([[2, 1], [0, 1, 2]], length=3)
    # The parameters are perturbed in place, so that the function finds them in the model.
    assert torch.autograd.gradcheck(
        lambda *_: model(tokens, mask), tuple(model.parameters()), fast_mode=True
    )


@BOTH
def test_the_columns_are_inverted(config):
    model = make(config).eval()
    tokens, mask = batch_of(TEXTS)
    with torch.no_grad():
        *earlier, last = model.forward_columns(tokens, mask)
        context = (visibility(mask, causal=config is LANGUAGE_MODEL),)
        stem = model.stem(tokens, mask)
        found = model.columns.invert(last, stem, context=context)
    torch.testing.assert_close(found, earlier, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(model.forward_features(tokens, mask), last[-1])
    assert 0.0 < model.check_reversible(tokens, mask).worst < 1e-8


def test_heads():
    model = make(CLASSIFIER).eval()
    tokens, mask = batch_of(TEXTS)
    features = model.forward_features(tokens, mask)
    expected = model(tokens, mask)
    torch.testing.assert_close(model.forward_head(features, padding_mask=mask), expected)
    assert not torch.allclose(model.forward_head(features), expected)
    pooled = model.forward_head(features, pre_logits=True, padding_mask=mask)
    model.reset_classifier(0)
    torch.testing.assert_close(model(tokens, mask), pooled)
    model.reset_classifier(4)
    assert model(tokens, mask).shape == (3, 4)
    assert RevColText(vocab_size=5, width=8, heads=2).head.fc.out_features == 2
    with pytest.raises(ConfigError, match="outputs are its vocabulary"):
        make(LANGUAGE_MODEL).reset_classifier(4)


def test_both_integer_types():
    model = make(CLASSIFIER).eval()
    tokens, mask = batch_of(TEXTS)
    torch.testing.assert_close(model(tokens.int(), mask), model(tokens, mask))


def test_dropout_reaches_the_stem():
    model = make(CLASSIFIER, dropout=0.5).train()
    dropped = model.stem(batch_of(TEXTS)[0]) == 0
    assert 0.3 < dropped.double().mean() < 0.7
    assert not (model.eval().stem(batch_of(TEXTS)[0]) == 0).any()


def test_what_is_decayed_and_in_which_layer():
    model = make(CLASSIFIER)
    spared = model.no_weight_decay()
    assert "stem.positions.weight" in spared
    assert "columns.1.levels.0.alpha" in spared
    assert "stem.tokens.weight" not in spared
    assert model.group_matcher()("stem.tokens.weight") == 0


@BOTH
def test_it_compiles(config):
    model = make(config, layers=(1, 1), num_columns=2).eval()
    tokens, mask = batch_of(TEXTS)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens, mask), model(tokens, mask))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "classify"}, "task is 'classify'; expected one of classification"),
        ({"task": "language-modeling"}, "num_classes is 3; a language model's outputs"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"max_length": 0}, "max_length is 0"),
        ({"width": 7}, "heads is 2; expected a divisor of the width, 7"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"dropout": 1}, "dropout is 1"),
        ({"layers": [1, 1.5]}, r"layers\[1\] is 1.5"),
        ({"memory": "reversibel"}, "memory is 'reversibel'"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ConfigError, match=message):
        RevColText(**{**CLASSIFIER, **changes})


ZEROS = torch.zeros(2, 4, dtype=torch.int64)
NO_PADDING = torch.zeros(2, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("tokens", "mask", "message"),
    [
        ("text", None, "tokens are a str"),
        (ZEROS[0], None, r"tokens have shape \(4,\)"),
        (ZEROS[:, :0], None, "T from 1 to 9"),
        (torch.zeros(1, 10, dtype=torch.int64), None, r"shape \(1, 10\)"),
        (ZEROS.float(), None, "dtype torch.float32"),
        (ZEROS + 11, None, "tokens go from 11 to 11; the vocabulary from 0 to 10"),
        (ZEROS - 1, None, "tokens go from -1 to -1"),
        (ZEROS.to("meta"), None, "tokens are on meta, the model on cpu"),
        (ZEROS, [[True]], "padding_mask is a list"),
        (ZEROS, NO_PADDING[:1], r"padding_mask has shape \(1, 4\)"),
        (ZEROS, NO_PADDING.int(), "dtype torch.int32; expected bool"),
        (ZEROS, NO_PADDING.to("meta"), "padding_mask is on meta, the model on cpu"),
        (ZEROS, ~NO_PADDING, "padding_mask leaves no token of some text"),
    ],
)
def test_bad_inputs(tokens, mask, message):
    with pytest.raises(InputError, match=message):
        make(CLASSIFIER)(tokens, mask)


def test_no_texts_give_no_logits():
    assert make(CLASSIFIER)(ZEROS[:0], NO_PADDING[:0]).shape == (0, 3)


SMALL = {"vocab_size": 11, "width": 16, "heads": 2, "layers": (1, 1), "num_columns": 2}


def train(model, loss_of, steps=30):
    """The losses of some steps, in float64 from seeded weights."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def classification(**mode):
    """Texts that hold a certain token, and texts that do not."""
    torch.manual_seed(0)
    tokens = torch.randint(1, 10, (32, 9))
    mask = torch.arange(9) >= torch.randint(3, 10, (32, 1))
    labels = torch.arange(32) % 2
    tokens[labels == 1, 1] = 10
    model = RevColText(**SMALL, max_length=9, num_classes=2, **mode).double()
    return train(model, lambda model: cross_entropy(model(tokens, mask), labels))


def prediction(**mode):
    """A sequence in which the next token follows from the last: t -> 3 t + 1 mod 11."""
    tokens = torch.arange(11)[:, None]
    for _ in range(8):
        tokens = torch.cat([tokens, (3 * tokens[:, -1:] + 1) % 11], 1)
    torch.manual_seed(0)
    model = RevColText(**SMALL, max_length=9, task="language-modeling", **mode).double()
    return train(
        model,
        lambda model: cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()),
    )


@pytest.mark.parametrize("task", [classification, prediction])
def test_it_learns_the_same_in_every_memory_mode(task):
    expected = task(memory="none")
    assert expected[-1] < 0.6 * expected[0]
    for mode in MODES:
        assert task(**mode) == pytest.approx(expected, rel=1e-6), mode
