"""Which rows of the table of messages positions read, and queries that are alike."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_tns.interpolation import fractional_gather, interpolate_rows
from zoo_tns.messages import reads, unique_queries
from zoo_tns.positions import expanded


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(1, 9)), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_the_table_holds_each_event_once_and_rows_lead_to_it(histories, k):
    count = torch.tensor([each[0] for each in histories])
    rate = torch.tensor([each[1] for each in histories]).double()
    positions = expanded(rate, count, k)
    read = reads(positions, k)
    # Label each row of the table by its history and position.
    table = [(history, 1 + n) for history in range(len(count)) for n in range(k)]
    beyond = list(zip(read.history.tolist(), read.position.tolist(), strict=True))
    assert len(set(beyond)) == len(beyond)
    assert all(position > k for _, position in beyond)
    table += beyond
    for rows, wanted in ((read.lower, positions.floor), (read.upper, positions.upper)):
        for history in range(len(count)):
            for s in range(k):
                assert table[rows[history, s]] == (history, int(wanted[history, s]))
    used = {*read.lower.flatten().tolist(), *read.upper.flatten().tolist()}
    assert used >= set(range(len(count) * k, len(table)))


def test_reading_rows_is_interpolating_gathered_messages():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(9, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    lower = torch.randint(9, (3, 4), generator=generator)
    upper = torch.randint(9, (3, 4), generator=generator)
    weight = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    weight[0] = 0
    weight.requires_grad_()
    target = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    found = interpolate_rows(table, lower, upper, weight)
    expected = fractional_gather(table[lower], table[upper], weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    got = torch.autograd.grad((found * target).sum(), (table, weight))
    wanted = torch.autograd.grad((expected * target).sum(), (table, weight))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
    # At whole positions the derivative is the right-hand one, not zero.
    difference = ((table[upper] - table[lower]) * target).sum(2)[0]
    torch.testing.assert_close(got[1][0], difference, rtol=0, atol=1e-13)


def test_whole_positions_are_read_to_the_bit():
    table = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)) * 1e8
    lower = torch.arange(8).view(2, 4)
    read = interpolate_rows(table, lower, lower + 1, torch.zeros(2, 4, dtype=torch.float64))
    assert torch.equal(read, table[:8].view(2, 4, 5))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 3, 10**18])), max_size=12))
def test_queries_alike_are_found(queries):
    nodes = torch.tensor([each[0] for each in queries], dtype=torch.int64)
    times = torch.tensor([each[1] for each in queries], dtype=torch.int64)
    first, kind = unique_queries(nodes, times)
    assert len(first) == len(set(queries))
    for row, query in enumerate(queries):
        representative = int(first[kind[row]])
        assert queries[representative] == query
        assert representative <= row
