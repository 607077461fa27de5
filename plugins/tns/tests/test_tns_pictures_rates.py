"""Pictures of rates: lines and points of nodes, the bars of a histogram and their shares."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zoo_core.errors import InputError
from zoo_tns.graph import TemporalGraph
from zoo_tns.index import TemporalIndex
from zoo_tns.model import TemporalGNN
from zoo_tns.rate_pictures import draw_rate_histogram, draw_rates

SHORT = "history too short (N ≤ k), r = 1"
DAY = 86400


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def legend(ax):
    return [each.get_text() for each in ax.get_legend().get_texts()]


def line(ax, label):
    """The (x, y) of a line and its colour."""
    (found,) = [each for each in ax.lines if each.get_label() == label]
    return list(zip(*map(list, found.get_data()), strict=True)), found.get_color()


def points(ax, gid):
    return sorted(tuple(place) for each in artists(ax, gid) for place in each.get_offsets())


def bars(ax, gid):
    """The share within each bar's bounds."""
    return {
        (bar.get_x(), bar.get_x() + bar.get_width()): round(bar.get_height(), 12)
        for bar in artists(ax, gid)
        if bar.get_height()
    }


def small_model(**changes):
    """A model of 4 nodes and 40 events, whose rates differ."""
    rng = np.random.default_rng(0)
    src = rng.integers(0, 2, 40)
    torch.manual_seed(0)
    given = {
        "edge_dim": 0,
        "node_dim": 4,
        "time_dim": 4,
        "hidden": 4,
        "k": 3,
        "aggr": "mean",
        "memory": False,
        "sigma": 0.5,
        "init_rate": 2.0,
        "neighbor_time": "query",
        **changes,
    }
    index = TemporalIndex(src, rng.integers(2, 4, 40), np.arange(40) * 7)
    return TemporalGNN(**given).bind(TemporalGraph(index))


def test_each_node_is_a_line_of_its_rates_in_order_of_time():
    ax = draw_rates(
        torch.tensor([2.0, 1.0, 1.5, 1.25]),
        torch.tensor([7, 7, 3, 7]),
        torch.tensor([5 * DAY, 2 * DAY, 3 * DAY, 9 * DAY]),
    )
    (seven, blue), (three, other) = line(ax, "node 7"), line(ax, "node 3")
    assert seven == [(0, 1.0), (3, 2.0), (7, 1.25)]
    assert three == [(1, 1.5)]
    assert blue != other
    assert ax.get_xlabel() == "days since the first query (t = 172800 s)"
    assert ax.get_ylabel() == "expansion rate r"
    assert line(ax, "most recent, r = 1")[0] == [(0, 1), (1, 1)]


def test_open_closed_and_bound_rates_have_points_of_their_own():
    count, k = [3, 7, 9, 11, 11], 3
    # The upper bounds are 1, 3, 4, 5 and 5.
    ax = draw_rates([1.0, 3.0, 1.0, 2.0, 5.0], [0] * 5, [0, 1, 2, 3, 4], count=count, k=k)
    assert points(ax, "closed") == [(0, 1), (2, 1)]
    assert points(ax, "bound") == [(1, 3), (4, 5)]
    assert points(ax, "open") == [(3, 2)]
    (closed,), (opened,) = artists(ax, "closed"), artists(ax, "open")
    assert closed.get_facecolor()[0].tolist() == [1, 1, 1, 1]
    assert opened.get_facecolor()[0].tolist() == opened.get_edgecolor()[0].tolist()
    assert legend(ax)[2:] == ["open", "closed, r = 1", "at the upper bound"]


def test_without_counts_no_rate_is_known_to_be_bound():
    ax = draw_rates([3.0, 5.0], [0, 0], [0, 1])
    assert points(ax, "open") == [(0, 3), (1, 5)]
    assert legend(ax) == ["most recent, r = 1", "node 0", "open"]


def test_of_many_nodes_those_with_most_queries_are_drawn():
    nodes = [9, 8, 8, 7, 7, 7, 6, 5]
    ax = draw_rates([1.5] * 8, nodes, range(100, 108), most=3)
    assert legend(ax)[1:4] == ["node 7", "node 8", "node 5"]
    assert len(artists(ax, "rate")) == 3
    assert ax.get_title() == "3 of 5 nodes, those with most queries"
    # What is not drawn does not count for the axis.
    assert ax.get_xlabel() == "seconds since the first query (t = 101 s)"


def test_unix_times_keep_their_seconds():
    ax = draw_rates([1.5, 2.0], [0, 0], [1082040961, 1082040962])
    assert line(ax, "node 0")[0] == [(0, 1.5), (1, 2.0)]
    assert "(t = 1082040961 s)" in ax.get_xlabel()


def test_times_of_no_unit_are_shown_as_they_are():
    ax = draw_rates([1.5, 2.0], [0, 0], [500, 900000], unit="time")
    assert line(ax, "node 0")[0] == [(0, 1.5), (899500, 2.0)]
    assert ax.get_xlabel() == "time since 500"


def test_only_far_apart_rates_are_on_a_logarithmic_axis():
    near, far = (draw_rates([1.0, top], [0, 0], [0, 1]) for top in (9.0, 11.0))
    assert (near.get_yscale(), far.get_yscale()) == ("linear", "log")
    same = draw_rates([1.0, 1.000001], [0, 0], [0, 1])
    assert same.get_ylim()[1] >= 1.01


def test_bars_are_shares_of_all_queries_by_kind():
    # The upper bounds are 1, 3, 4, 5 and 5.
    ax = draw_rate_histogram(
        [1.0, 3.0, 1.0, 2.0, 5.0], count=torch.tensor([3, 7, 9, 11, 11]), k=3, bins=4
    )
    assert bars(ax, "short") == {(1, 2): 0.2}
    assert bars(ax, "closed") == {(1, 2): 0.2}
    assert bars(ax, "open") == {(2, 3): 0.2}
    assert bars(ax, "bound") == {(3, 4): 0.2, (4, 5): 0.2}
    assert legend(ax) == [
        "mean, r = 2.4",
        f"{SHORT}: 20.0 %",
        "closed, r = 1: 20.0 %",
        "open: 20.0 %",
        "at the upper bound: 40.0 %",
    ]
    assert line(ax, "mean, r = 2.4")[0][0][0] == pytest.approx(2.4)
    assert ax.get_title() == "5 queries"


def test_bars_of_different_kinds_lie_upon_each_other():
    ax = draw_rate_histogram([1.0, 1.0, 1.1, 3.0], bins=2)
    (closed, *_), (opened, *_) = artists(ax, "closed"), artists(ax, "open")
    assert (closed.get_y(), closed.get_height()) == (0, 0.5)
    assert (opened.get_y(), opened.get_height()) == (0.5, 0.25)
    assert ax.get_ylim()[1] > 0.75


def test_all_bars_together_are_all_queries_whatever_the_range():
    rng = np.random.default_rng(0)
    for scale in (0.0, 1e-7, 0.1, 3.0, 400.0):
        rate = 1 + scale * rng.exponential(size=1000).clip(0, 5)
        ax = draw_rate_histogram(rate)
        total = sum(sum(bars(ax, kind).values()) for kind in ("closed", "open"))
        assert total == pytest.approx(1)
        assert ax.get_xlim()[0] == 1
        assert ax.get_xscale() == ("log" if scale >= 3 else "linear")


def test_small_shares_are_not_rounded_to_none_or_all():
    ax = draw_rate_histogram([1.0, *[2.0] * 1999])
    assert legend(ax)[1:] == ["closed, r = 1: < 0.1 %", "open: > 99.9 %"]
    assert legend(draw_rate_histogram([1.0]))[1:] == ["closed, r = 1: 100.0 %", "open: 0.0 %"]


def test_a_rate_hardly_above_1_is_open_as_at_the_start_of_training():
    rate = torch.tensor([1.0, 1 + 1e-9, 1.00001, 1.0], dtype=torch.float64)
    assert legend(draw_rate_histogram(rate))[1:] == ["closed, r = 1: 50.0 %", "open: 50.0 %"]


def test_the_bound_is_found_in_float32_too():
    count = torch.arange(31, 200)
    rate = ((count.double() - 1) / 19).float()
    ax = draw_rate_histogram(rate, count=count, k=20)
    assert legend(ax)[-1] == "at the upper bound: 100.0 %"


def test_a_layer_is_chosen_and_the_last_one_by_default():
    table = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    for layer, expected in ((0, [1, 1]), (1, [2, 4]), (-1, [2, 4])):
        ax = draw_rates(table, [0, 0], [0, 1], layer=layer)
        assert [y for _, y in line(ax, "node 0")[0]] == expected
    assert ax.get_title() == "layer 2 of 2"
    assert draw_rate_histogram(table, layer=0).get_title() == "layer 1 of 2; 2 queries"


def test_a_models_rates_are_those_it_gives_with_its_bounds():
    model = small_model(init_rate=4.0, sigma=2.0)
    nodes, times = torch.tensor([0, 0, 1, 1, 0, 1]), torch.tensor([20, 200, 100, 270, 90, 15])
    rate = model.rates(nodes, times)
    count = model.graph.index.count(nodes, times)
    ax = draw_rates(model, nodes, times)
    expected = sorted(zip(times.tolist(), rate[:, 0].tolist(), nodes.tolist(), strict=True))
    for node in (0, 1):
        found = line(ax, f"node {node}")[0]
        assert [y for _, y in found] == [y for _, y, its in expected if its == node]
    told = draw_rate_histogram(rate, count=count, k=3)
    assert legend(draw_rate_histogram(model, nodes, times)) == legend(told)
    assert len(legend(told)) > len(legend(draw_rate_histogram(rate)))


def test_a_fixed_rate_has_no_bound_to_be_at():
    model = small_model(sampler="expanded", rate=5.0)
    ax = draw_rate_histogram(model, [0, 1, 0], [0, 90, 200])
    assert legend(ax) == ["mean, r = 5", "closed, r = 1: 0.0 %", "open: 100.0 %"]


@pytest.mark.parametrize(
    ("rates", "options", "said"),
    [
        ([], {}, r"rates have shape \[0, 1\]; expected \[B\] or \[B, layers\]"),
        (torch.ones(0, 2), {}, r"rates have shape \[0, 2\]"),
        (torch.ones(2, 2, 2), {}, r"rates have shape \[2, 2, 2\]"),
        ([0.5, 1.0], {}, "rates have 0.5; expected at least 1"),
        ([float("nan")], {}, "rates has values that are not finite"),
        (["fast"], {}, "rates is a list that holds no plain numbers"),
        ([1.0], {"layer": 1}, "layer is 1; expected one of 1"),
        ([1.0], {"layer": -2}, "layer is -2"),
        ([1.0], {"layer": True}, "layer is True"),
        ([1.0], {"count": [1]}, "give both or neither"),
        ([1.0], {"k": 3}, "give both or neither"),
        ([1.0], {"k": 0, "count": [1]}, "k is 0"),
        ([1.0], {"k": 2, "count": [1, 2]}, r"count has shape \[2\]; expected \[1\]"),
        ([2.0], {"k": 3, "count": [4]}, r"rates exceed \(N - 1\) / \(k - 1\)"),
        ([1.0], {"bins": 0}, "bins is 0"),
        (SimpleNamespace(rates=lambda nodes, times: nodes), {}, "nodes and times are needed"),
    ],
)
def test_refuses_rates_that_are_none(rates, options, said):
    with pytest.raises(InputError, match=said):
        draw_rate_histogram(rates, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (([1.0], [0, 1], [0, 1]), {}, r"rates have shape \[1, 1\]; expected .* 2 queries"),
        (([1.0], [0], [0, 1]), {}, r"times has shape \[2\]; expected \[1\]"),
        (([1.0], [[0]], [0]), {}, r"nodes has shape \[1, 1\]; expected \[B\]"),
        (([1.0], [0], [float("inf")]), {}, "times has values that are not finite"),
        (([1.0], [0], [0]), {"most": 8}, "most is 8; expected at most 7"),
        (([1.0], [0], [0]), {"most": 0}, "most is 0"),
        (([1.0], [0], [0]), {"unit": "years"}, "unit is 'years'"),
    ],
)
def test_refuses_queries_that_do_not_fit(arguments, options, said):
    with pytest.raises(InputError, match=said):
        draw_rates(*arguments, **options)
