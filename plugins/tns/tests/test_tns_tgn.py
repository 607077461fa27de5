"""TGN's aggregator is torch's multi-head attention with a MergeLayer, however it is computed."""

from __future__ import annotations

import pytest
import torch
from tns_reference import tgn_layer
from torch import Tensor, nn

from zoo_tns.temporal_attention import TemporalAttention
from zoo_tns.time_encoding import TimeEncoder

EXACT = {"rtol": 1e-11, "atol": 1e-11}
NODE, MESSAGE, TIME = 4, 9, 6


def layer(heads: int = 2, message: int = MESSAGE, seed: int = 0) -> TemporalAttention:
    torch.manual_seed(seed)
    built = TemporalAttention(NODE, message, TIME, 7, 3, heads=heads).double().eval()
    for bias in (built.query.bias, built.value.bias, built.out.bias):
        nn.init.normal_(bias)
    return built


def inputs(message: int = MESSAGE) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(6, NODE, generator=generator, dtype=torch.float64)
    messages = torch.randn(6, 5, message, generator=generator, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 0, 4, 0]).unsqueeze(1)
    now = torch.randn(TIME, generator=generator, dtype=torch.float64)
    return h, messages, mask, now


def official(built: TemporalAttention, key_bias: float = 0.0) -> dict[str, Tensor]:
    """The layer's tensors as torch.nn.MultiheadAttention and the MergeLayer have them."""
    attention = "multi_head_target."
    weights = {
        f"{attention}q_proj_weight": built.query.weight,
        f"{attention}k_proj_weight": built.key.weight,
        f"{attention}v_proj_weight": built.value.weight,
    }
    if built.key.in_features == built.query.in_features:
        weights = {f"{attention}in_proj_weight": torch.cat([*weights.values()])}
    biases = [built.query.bias, torch.full_like(built.query.bias, key_bias), built.value.bias]
    return {
        **weights,
        f"{attention}in_proj_bias": torch.cat(biases),
        f"{attention}out_proj.weight": built.out.weight,
        f"{attention}out_proj.bias": built.out.bias,
        **{f"merger.{name}": it for name, it in built.merger.named_parameters()},
    }


def by_reference(tensors: dict[str, Tensor], heads: int, given: tuple[Tensor, ...]) -> Tensor:
    h, messages, mask, now = given
    return torch.stack(
        [
            tgn_layer(tensors, own, now, list(of[there]), len(there), heads)
            for own, of, there in zip(h, messages, mask, strict=True)
        ]
    )


@pytest.mark.parametrize("message", [MESSAGE, NODE + TIME])
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_outputs_and_gradients(heads: int, message: int) -> None:
    built, given = layer(heads, message), inputs(message)
    given[0].requires_grad_()
    given[1].requires_grad_()
    of = [given[0], given[1], *built.parameters()]
    found, expected = built(*given), by_reference(official(built), heads, given)
    torch.testing.assert_close(found, expected, **EXACT)
    slopes = torch.randn_like(found)
    pairs = zip(
        torch.autograd.grad(found, of, slopes),
        torch.autograd.grad(expected, of, slopes),
        strict=True,
    )
    for gradient, wanted in pairs:
        torch.testing.assert_close(gradient, wanted, **EXACT)


def test_a_bias_of_the_keys_would_change_nothing() -> None:
    built, given = layer(), inputs()
    expected = by_reference(official(built, key_bias=3.7), 2, given)
    torch.testing.assert_close(built(*given), expected, **EXACT)


def test_all_of_a_batch_in_one_call_of_the_official_module() -> None:
    built, (h, messages, mask, now) = layer(), inputs()
    attention = nn.MultiheadAttention(
        NODE + TIME, 2, kdim=MESSAGE, vdim=MESSAGE, dtype=torch.float64
    )
    state = {
        name.removeprefix("multi_head_target."): it
        for name, it in official(built).items()
        if name.startswith("multi_head_target.")
    }
    attention.load_state_dict(state)
    padded = ~mask
    empty = padded.all(dim=1)
    padded[empty, 0] = False
    query = torch.cat([h, now.expand(len(h), -1)], dim=1).unsqueeze(0)
    keys = messages.transpose(0, 1)
    attended = attention(query, keys, keys, key_padding_mask=padded)[0].squeeze(0)
    attended = attended.masked_fill(empty.unsqueeze(1), 0)
    torch.testing.assert_close(built(h, messages, mask, now), built.merger(attended, h), **EXACT)


def test_padding_has_no_effect_and_is_not_written_to() -> None:
    built, (h, messages, mask, now) = layer(), inputs()
    found = built(h, messages, mask, now)
    other, kept = torch.where(mask.unsqueeze(2), messages, 1e3), mask.clone()
    assert torch.equal(built(h, other, mask, now), found)
    assert torch.equal(mask, kept)
    order = torch.tensor([2, 0, 4, 1, 3])
    torch.testing.assert_close(built(h, messages[:, order], mask[:, order], now), found, **EXACT)


def test_dropout_zeroes_weights_of_messages_after_the_softmax() -> None:
    # As in torch's module, the bias of the values goes with the weight of the message it is in.
    built, given = layer(), inputs()
    h, messages, mask, _ = given
    built.dropout.p = 0.5
    whole = built(*given)
    built.train()
    torch.manual_seed(0)
    found = torch.stack([built(*given) for _ in range(200)])
    empty = ~mask.any(dim=1)
    assert torch.equal(found[0][empty], whole[empty])
    assert not torch.equal(found[0][~empty], found[1][~empty])
    single = int((mask.sum(dim=1) == 1).nonzero())
    value = built.value(messages[single, 0]).view(2, -1)
    possible = []
    for first in (0.0, 2.0):
        for second in (0.0, 2.0):
            heads = torch.tensor([[first], [second]]).double()
            attended = built.out((heads * value).flatten())
            possible.append(built.merger(attended, h[single]))
    distances = (found[:, single, None] - torch.stack(possible)).detach().abs().amax(dim=2)
    assert float(distances.min(dim=1).values.max()) < 1e-10
    assert distances.argmin(dim=1).unique().tolist() == [0, 1, 2, 3]


def test_the_time_encoding_at_first() -> None:
    encoder = TimeEncoder(10).double()
    expected = torch.tensor([10.0 ** -(9 * k / 9) for k in range(10)], dtype=torch.float64)
    torch.testing.assert_close(encoder.weight.detach(), expected, rtol=1e-7, atol=0)
    elapsed = torch.tensor([0.0, 1.0, 86400.0, 2.6e6], dtype=torch.float64)
    torch.testing.assert_close(
        encoder(elapsed), (elapsed[:, None] * encoder.weight + encoder.bias).cos()
    )
    assert torch.equal(encoder.now(), encoder(torch.zeros(1, dtype=torch.float64))[0])


def test_the_start_is_that_of_the_official_modules() -> None:
    torch.manual_seed(0)
    built = TemporalAttention(60, 150, 40, 80, 90)
    assert not bool(torch.cat([built.query.bias, built.value.bias, built.out.bias]).any())
    widths = {"query": (100, 100), "key": (100, 150), "value": (100, 150)}
    for name, (fan_out, fan_in) in widths.items():
        weight = built.get_submodule(name).weight.detach()
        limit = (6 / (fan_in + fan_out)) ** 0.5
        assert 0.98 * limit < float(weight.abs().max()) <= limit
        assert float(weight.std()) == pytest.approx(limit / 3**0.5, rel=0.03)
    for fc in (built.merger.fc1, built.merger.fc2):
        expected = (2 / (fc.in_features + fc.out_features)) ** 0.5
        assert float(fc.weight.detach().std()) == pytest.approx(expected, rel=0.05)
