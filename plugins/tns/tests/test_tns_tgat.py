"""TGAT's aggregator: product attention with residual and layer norm, as its authors wrote it."""

from __future__ import annotations

import pytest
import torch
from tns_reference import tgat_layer
from torch import Tensor, nn

from zoo_tns.tgat_attention import TGATAttention

EXACT = {"rtol": 1e-11, "atol": 1e-11}
NODE, EDGE, TIME = 3, 2, 5
WIDTH = NODE + EDGE + TIME


def layer(heads: int = 2, edge: int = EDGE) -> TGATAttention:
    torch.manual_seed(0)
    width = NODE + edge + TIME
    built = TGATAttention(NODE, width, TIME, 7, 4, heads=heads).double().eval()
    nn.init.normal_(built.norm.weight)
    nn.init.normal_(built.norm.bias)
    return built


def inputs(edge: int = EDGE) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(6, NODE, generator=generator, dtype=torch.float64)
    messages = torch.randn(6, 5, NODE + edge + TIME, generator=generator, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 0, 4, 0]).unsqueeze(1)
    now = torch.randn(TIME, generator=generator, dtype=torch.float64)
    return h, messages, mask, now


def official(built: TGATAttention) -> dict[str, Tensor]:
    names = {"query": "w_qs", "key": "w_ks", "value": "w_vs", "out": "fc", "norm": "layer_norm"}
    tensors = {}
    for name, tensor in built.named_parameters():
        first, _, rest = name.partition(".")
        tensors[f"multi_head_target.{names[first]}.{rest}" if first in names else name] = tensor
    return tensors


def by_reference(built: TGATAttention, given: tuple[Tensor, ...]) -> Tensor:
    h, messages, mask, now = given
    tensors = official(built)
    return torch.stack(
        [
            tgat_layer(tensors, own, now, list(of[there]), len(there), built.heads)
            for own, of, there in zip(h, messages, mask, strict=True)
        ]
    )


@pytest.mark.parametrize(("heads", "edge"), [(1, 0), (2, 2), (5, 2), (2, 0)])
def test_outputs_and_gradients(heads: int, edge: int) -> None:
    built, given = layer(heads, edge), inputs(edge)
    given[0].requires_grad_()
    given[1].requires_grad_()
    of = [given[0], given[1], *built.parameters()]
    found, expected = built(*given), by_reference(built, given)
    torch.testing.assert_close(found, expected, **EXACT)
    slopes = torch.randn_like(found)
    pairs = zip(
        torch.autograd.grad(found, of, slopes),
        torch.autograd.grad(expected, of, slopes),
        strict=True,
    )
    for gradient, wanted in pairs:
        torch.testing.assert_close(gradient, wanted, **EXACT)


def test_a_node_without_messages_goes_through_residual_and_norm() -> None:
    built, (h, messages, mask, now) = layer(), inputs()
    found = built(h, messages, mask, now)
    itself = torch.cat([h, h.new_zeros(len(h), EDGE), now.expand(len(h), -1)], dim=1)
    alone = built.merger(built.norm(built.out.bias + itself), h)
    empty = ~mask.any(dim=1)
    torch.testing.assert_close(found[empty], alone[empty], **EXACT)
    other = torch.where(mask.unsqueeze(2), messages, 1e3)
    assert torch.equal(built(h, other, mask, now), found)


def test_dropout_of_weights_and_of_the_output() -> None:
    built, given = layer(), inputs()
    empty = ~given[2].any(dim=1)
    built.train()
    torch.manual_seed(0)
    first, second = built(*given), built(*given)
    # What a node without messages gets from attention is dropped as well: the bias of its output.
    assert not torch.equal(first[empty], second[empty])
    built.out_dropout.p = 0.0
    first, second = built(*given), built(*given)
    assert torch.equal(first[empty], second[empty])
    assert not torch.equal(first[~empty], second[~empty])


def test_the_start_is_that_of_the_official_code() -> None:
    torch.manual_seed(0)
    built = TGATAttention(40, 120, 40, 80, 90)
    for name in ("query", "key", "value"):
        linear = built.get_submodule(name)
        assert linear.bias is None
        assert float(linear.weight.detach().std()) == pytest.approx(
            (2 / (120 + 60)) ** 0.5, rel=0.02
        )
    assert float(built.out.weight.detach().std()) == pytest.approx((2 / 240) ** 0.5, rel=0.02)
    assert built.norm.weight.unique().tolist() == [1.0]
