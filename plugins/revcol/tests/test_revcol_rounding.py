"""The rounding that an inverse loses is kept bit for bit, in little room."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_revcol.reversible.rounding import decode, encode

INTEGERS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
DTYPES = list(INTEGERS)
LAYOUTS = {
    "contiguous": lambda flat: flat.view(2, 3, 4, 5),
    "channels_last": lambda flat: flat.view(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "expanded": lambda flat: flat[:20].view(1, 1, 4, 5).expand(2, 3, 4, 5),
    "sliced": lambda flat: torch.cat([flat] * 4).view(4, 3, 4, 10)[1::2, :, :, ::2],
    "transposed": lambda flat: flat.view(5, 4, 3, 2).permute(3, 2, 1, 0),
    "offset": lambda flat: torch.cat([flat[:7], flat])[7:].view(2, 3, 4, 5),
}
NUMEL = 120

SPECIAL = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, 3e38, 5e-324, 1e-42, 6e-8]


def bits(tensor):
    return tensor.contiguous().view(INTEGERS[tensor.dtype])


def from_bits(pattern, dtype):
    """A vector whose bits come from `pattern`, any 64-bit integers."""
    integers = torch.tensor(pattern, dtype=torch.int64)
    return integers.to(INTEGERS[dtype]).view(dtype)


def kept_bytes(kept):
    return sum(each.numel() * each.element_size() for each in kept)


def assert_restored(exact, approximate):
    before = bits(exact).clone()
    kept = encode(exact, approximate)
    assert kept_bytes(kept) <= exact.numel() * exact.element_size()
    restored, differs = decode(approximate, kept)
    assert restored.dtype == exact.dtype
    assert torch.equal(bits(restored), before)
    assert torch.equal(bits(exact), before)
    assert differs.dtype == torch.bool
    assert not differs
    return kept


patterns = st.lists(
    st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300), min_size=NUMEL, max_size=NUMEL
)


@settings(max_examples=60, deadline=None)
@given(
    exact=patterns,
    other=patterns,
    near=st.booleans(),
    far=st.sets(st.integers(0, NUMEL - 1), max_size=6),
    dtype=st.sampled_from(DTYPES),
    layouts=st.tuples(st.sampled_from(list(LAYOUTS)), st.sampled_from(list(LAYOUTS))),
)
def test_any_bits_in_any_layout_are_restored(exact, other, near, far, dtype, layouts):
    if near:
        # Most are near, and those at the places drawn are far, which goes to the escape list.
        steps = [
            change % 5 - 2 if place not in far else 1 << 13 for place, change in enumerate(other)
        ]
        other = [min(bit + step, 2**63 - 1) for bit, step in zip(exact, steps, strict=True)]
        other = [max(bit, -(2**63)) for bit in other]
    assert_restored(
        LAYOUTS[layouts[0]](from_bits(exact, dtype)),
        LAYOUTS[layouts[1]](from_bits(other, dtype)),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_against_each_other(dtype):
    values = torch.tensor(SPECIAL, dtype=torch.float64).to(dtype)
    pairs = torch.cartesian_prod(torch.arange(len(values)), torch.arange(len(values)))
    assert_restored(values[pairs[:, 0]], values[pairs[:, 1]])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4000), st.integers(0, 40), st.integers(1, 127), st.data())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_near_maps_take_a_byte_a_value_and_a_few_for_each_far_one(dtype, numel, far, size, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    exact = torch.randn(numel, generator=generator, dtype=dtype)
    steps = torch.randint(-size, size + 1, (numel,), generator=generator)
    near = (bits(exact) + steps).to(INTEGERS[dtype]).view(dtype)
    far = min(far, numel)
    near[torch.randperm(numel, generator=generator)[:far]] = float("nan")
    kept = assert_restored(exact, near)
    # Each far value takes its place and its difference; the checksum is one more number.
    assert kept_bytes(kept) <= numel + far * (4 + exact.element_size()) + 8


def test_sizes_by_hand():
    exact = torch.ones(1000)
    assert kept_bytes(encode(exact, exact.clone())) == 1000 + 8
    near = (bits(exact) + 127).view(torch.float32)
    assert kept_bytes(encode(exact, near)) == 1000 + 8
    two_bytes = (bits(exact) + 1000).view(torch.float32)
    assert kept_bytes(encode(exact, two_bytes)) == 2000 + 8
    few_far = exact.clone()
    few_far[::100] = 100.0
    assert kept_bytes(encode(exact, few_far)) == 1000 + 10 * (4 + 4) + 8
    (whole,) = encode(exact, torch.randn(1000))
    assert whole is exact
    (half,) = encode(exact.half(), torch.randn(1000).half())
    assert half.dtype == torch.float16
    assert kept_bytes(encode(exact.half(), exact.half())) == 1000 + 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,)])
def test_scalars_and_empty_maps(shape, dtype):
    exact = torch.full(shape, 1.5, dtype=dtype)
    kept = encode(exact, exact.clone())
    restored, differs = decode(exact.clone(), kept)
    assert torch.equal(restored, exact)
    assert not differs


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_flipped_bit_is_noticed(dtype):
    exact = torch.randn(50, generator=torch.Generator().manual_seed(0)).to(dtype)
    approximate = (bits(exact) + 3).view(dtype)
    kept = encode(exact, approximate)
    assert len(kept) == 4
    width = 8 * exact.element_size()
    for place in (0, 17, 49):
        for bit in range(width):
            flipped = bits(approximate).clone()
            flipped[place] ^= torch.tensor(
                1 << bit if bit < width - 1 else -(1 << bit), dtype=flipped.dtype
            )
            restored, differs = decode(flipped.view(dtype), kept)
            assert differs
            assert not torch.equal(bits(restored), bits(exact))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_far_values_find_their_places_in_any_layout(layout):
    exact = LAYOUTS[layout](torch.randn(NUMEL, generator=torch.Generator().manual_seed(0)))
    approximate = (bits(exact) + 1).view(torch.float32)
    approximate[0, 1, 2, 3], approximate[1, 2, 0, 4] = 1e9, float("nan")
    assert len(assert_restored(exact, approximate)) == 4


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
def test_the_restored_map_has_the_layout_of_the_exact_one(layout):
    flat = torch.randn(NUMEL, generator=torch.Generator().manual_seed(0))
    exact = LAYOUTS[layout](flat)
    approximate = exact.contiguous() * (1 + 1e-7)
    restored, _ = decode(approximate, encode(exact, approximate))
    assert restored.stride() == exact.stride()
    assert torch.equal(restored, exact)


def test_distance_counts_floats_in_between():
    """One byte reaches 127 neighbours up and 128 down; those across zero are in the list."""
    tiny = torch.tensor([2.0**-149])
    for steps, width in ((127, 1), (128, 2), (-128, 1), (-129, 2)):
        exact = (tiny * (200 + steps)).repeat(100)
        kept = encode(exact, tiny.repeat(100) * 200)
        assert kept[0].element_size() == width
        restored, _ = decode(tiny.repeat(100) * 200, kept)
        assert torch.equal(bits(restored), bits(exact))
    exact = torch.cat([-0.0 * tiny, tiny.repeat(99)])
    kept = encode(exact, torch.cat([0.0 * tiny, tiny.repeat(99)]))
    assert kept[1].tolist() == [0]
    restored, _ = decode(torch.cat([0.0 * tiny, tiny.repeat(99)]), kept)
    assert torch.equal(bits(restored), bits(exact))
