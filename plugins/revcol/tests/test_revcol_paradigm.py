"""Reversible columns over anyone's modules: levels made of them, and a context that levels see."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from zoo_core.errors import ConfigError, InputError, ZooError
from zoo_revcol.reversible import Column, ModuleLevel, ReversibleColumns, ReversibleLevel

MODES = [
    {"memory": "checkpoint"},
    {"memory": "reversible"},
    {"memory": "reversible", "anchor_every": 3},
    {"memory": "reversible", "anchor_every": 3, "exact": True},
]


class Mixer(nn.Module):
    """A user's module: a perceptron over all the maps that a level may see."""

    def __init__(self, width: int, inputs: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(inputs * width, 2 * width), nn.Tanh(), nn.Linear(2 * width, width)
        )

    def forward(self, stem, lower, higher):
        return self.inner(torch.cat([stem, *lower, *higher], -1))


class Masked(nn.Module):
    """A user's module that a context reaches: a mask, and a shift."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, stem, lower, higher, keep, shift):
        x = sum(lower, stem) + sum(higher, torch.zeros_like(stem))
        return torch.where(keep, torch.tanh(self.linear(x)), 0.0) + shift * x


def mixers(width=3, levels=3, number=4, **options):
    torch.manual_seed(0)
    return ReversibleColumns(
        (
            [
                ModuleLevel(
                    Mixer(width, 1 + level + (levels - 1 - level if column else 0)), (width,)
                )
                for level in range(levels)
            ]
            for column in range(number)
        ),
        **options,
    ).double()


def masked(width=3, levels=2, number=4, **options):
    torch.manual_seed(0)
    return ReversibleColumns(
        ([ModuleLevel(Masked(width), (width,)) for _ in range(levels)] for _ in range(number)),
        **options,
    ).double()


def context_of(stem):
    generator = torch.Generator().manual_seed(1)
    keep = torch.rand(stem.shape, generator=generator) < 0.6
    return keep, torch.randn(stem.shape, generator=generator, dtype=stem.dtype)


def gradients(columns, stem, context=(), keep=None):
    stem = stem.clone().requires_grad_()
    maps = columns(stem, keep, context)
    flat = maps if keep is None else [each for column in maps for each in column]
    loss = sum(((index + 1) * each.sin()).sum() for index, each in enumerate(flat))
    inputs = [stem, *columns.parameters()]
    return [each.clone() for each in torch.autograd.grad(loss, inputs)]


def test_the_equation_with_a_users_modules():
    columns = mixers()
    stem = torch.randn(2, 3, dtype=torch.float64)
    with torch.no_grad():
        found = columns(stem, keep=range(4))
        previous = None
        for column, maps in zip(columns, found, strict=True):
            expected = []
            for index, level in enumerate(column.levels):
                higher = [] if previous is None else previous[index + 1 :]
                first, last = level.module.inner[0], level.module.inner[2]
                x = torch.cat([stem, *expected, *higher], 1)
                x = torch.tanh(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
                if previous is not None:
                    x = x + 0.5 * previous[index]
                expected.append(x)
            for ours, theirs in zip(maps, expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
            previous = expected


@pytest.mark.parametrize("mode", MODES)
def test_a_users_modules_have_the_same_gradients_in_every_memory_mode(mode):
    stem = torch.randn(2, 3, dtype=torch.float64)
    expected = gradients(mixers(memory="none"), stem, keep=(1, 3))
    given = gradients(mixers(**mode), stem, keep=(1, 3))
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck_with_a_users_modules(mode):
    columns = mixers(width=2, levels=2, number=3, **mode)
    stem = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    # The parameters are perturbed in place, so that the function finds them in the columns.
    assert torch.autograd.gradcheck(
        lambda stem, *_: tuple(columns(stem)), (stem, *columns.parameters()), fast_mode=True
    )


@pytest.mark.parametrize("mode", MODES)
def test_gradients_with_a_context(mode):
    stem = torch.randn(5, 3, dtype=torch.float64)
    context = context_of(stem)
    expected = gradients(masked(memory="none"), stem, context)
    given = gradients(masked(**mode), stem, context)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-11)
    other = gradients(masked(memory="none"), stem, (~context[0], context[1]))
    assert not torch.allclose(expected[0], other[0])


def test_the_context_under_the_compiler():
    stem = torch.randn(5, 3, dtype=torch.float64)
    context = context_of(stem)
    expected = gradients(masked(memory="none"), stem, context)
    compiled = torch.compile(masked(memory="checkpoint"), backend="eager", fullgraph=True)
    torch.testing.assert_close(gradients(compiled, stem, context), expected)


def test_columns_with_a_context_are_inverted():
    columns = masked()
    stem = torch.randn(5, 3, dtype=torch.float64)
    context = context_of(stem)
    with torch.no_grad():
        *earlier, last = columns(stem, range(4), context)
        found = columns.invert(last, stem, context=context)
        torch.testing.assert_close(found, earlier, rtol=1e-10, atol=1e-10)
        wrong = columns.invert(last, stem, context=(~context[0], context[1]))
    assert not torch.allclose(wrong[0][0], earlier[0][0])


@pytest.mark.parametrize("mode", [MODES[0], MODES[3]])
def test_reversibility_with_a_context(mode):
    columns = masked(**mode)
    stem = torch.randn(5, 3, dtype=torch.float64)
    found = columns.check_reversible(stem, context_of(stem))
    assert found.worst == 0.0 if mode.get("exact") else 0.0 < found.worst < 1e-9


def test_a_context_that_needs_gradients_is_refused():
    columns = masked()
    stem = torch.randn(5, 3, dtype=torch.float64)
    keep, shift = context_of(stem)
    with pytest.raises(InputError, match="context needs gradients"):
        columns(stem, context=(keep, shift.requires_grad_()))


@pytest.mark.parametrize("mode", MODES)
def test_a_context_changed_before_backward_is_noticed(mode):
    columns = masked(**mode)
    stem = torch.randn(5, 3, dtype=torch.float64)
    keep, shift = context_of(stem)
    loss = columns(stem, context=(keep, shift))[-1].sum()
    keep.logical_not_()
    with pytest.raises(ZooError, match="context of a ModuleLevel was changed in place"):
        loss.backward()


def test_a_level_without_a_module_is_refused():
    with pytest.raises(ConfigError, match=r"module is a function; expected a torch\.nn\.Module"):
        ModuleLevel(lambda stem, lower, higher: stem, (3,))
    with pytest.raises(ConfigError, match="alpha_min"):
        ModuleLevel(nn.Identity(), (3,), alpha_init=0.1, alpha_min=0.2)


def saved_bytes(columns, stem):
    """What autograd keeps of a forward pass, each storage once, parameters left out."""
    own = {each.untyped_storage().data_ptr() for each in columns.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        maps = columns(stem)
    gc.collect()
    del maps
    return sum(size for size, _ in kept.values())


def test_a_users_modules_have_the_same_memory_behaviour():
    stem = torch.randn(64, 16, dtype=torch.float64, requires_grad=True)
    one_map = stem.numel() * stem.element_size()
    grown = {}
    for name, mode in [
        ("none", {"memory": "none"}),
        ("checkpoint", {"memory": "checkpoint"}),
        ("reversible", {"memory": "reversible", "anchor_every": 99}),
    ]:
        few, many = (
            saved_bytes(mixers(width=16, levels=3, number=number, **mode), stem)
            for number in (4, 8)
        )
        grown[name] = (many - few) / one_map / 4
    # Per column, in maps: its three maps and more; its three maps; but for alphas nothing.
    assert grown["none"] > 6
    assert 2.9 < grown["checkpoint"] < 3.2
    assert grown["reversible"] < 0.1


def test_the_example_of_the_readme(tmp_path):
    # example: begin
    from functools import partial

    from timm.models.resnet import BasicBlock

    from zoo_revcol.reversible import ModuleLevel, ReversibleColumns

    class MyLevel(nn.Module):
        """Two ResNet blocks on the sum of what a level sees; any PyTorch code will do."""

        def __init__(self, channels):
            super().__init__()
            norm = partial(nn.GroupNorm, 4)
            self.blocks = nn.Sequential(
                *(BasicBlock(channels, channels, norm_layer=norm) for _ in range(2))
            )

        def forward(self, stem, lower, higher):
            x = lower[-1] if lower else stem
            return self.blocks(x + higher[0] if higher else x)

    columns = ReversibleColumns(
        ([ModuleLevel(MyLevel(16), (1, 16, 1, 1)) for _ in range(3)] for _ in range(4)),
        memory="reversible",
        anchor_every=4,
    )
    # example: end
    torch.manual_seed(0)
    columns.double()
    stem = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    *earlier, last = columns(stem, keep=range(4))
    torch.testing.assert_close(columns.invert(last, stem), earlier, rtol=1e-8, atol=1e-8)
    given = gradients(columns, stem)
    columns.remember("none")
    torch.testing.assert_close(given, gradients(columns, stem), rtol=1e-8, atol=1e-8)


def test_levels_of_ones_own_need_no_adapter():
    class Own(ReversibleLevel):
        def __init__(self):
            super().__init__((1,))
            self.weight = nn.Parameter(torch.tensor([2.0]))

        def transform(self, stem, lower, higher):
            return self.weight * stem

    columns = ReversibleColumns([Column([Own(), Own()]), [Own(), Own()]])
    maps = columns(torch.ones(3, 1))
    torch.testing.assert_close(maps, [torch.full((3, 1), 3.0)] * 2)


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_users_modules_learn(mode):
    columns = mixers(width=4, levels=2, number=3, **mode).float()
    head = nn.Linear(4, 1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=generator)
    y = x[:, :1] * x[:, 1:2]
    optimiser = torch.optim.Adam([*columns.parameters(), *head.parameters()], lr=1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (head(columns(x)[-1]) - y).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
