"""Pictures of receptive fields: which events are drawn, how strongly, whose they are, how far."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from zoo_core.errors import InputError
from zoo_tns.index import TemporalIndex
from zoo_tns.receptive_field import draw_receptive_field

TIMES = [0, 10, 30, 60, 100, 150]
"""Of the events of node 0; as of t = 160 their ages are 160, 150, 130, 100, 60 and 10."""
INDEX = TemporalIndex([0] * 6, [1, 2, 1, 3, 1, 2], TIMES)
HOUR = 3600


def artists(ax, gid):
    return [each for each in ax.get_children() if each.get_gid() == gid]


def drawn(ax, gid):
    (artist,) = artists(ax, gid)
    return artist


def picture(time=160, **options):
    """That of node 0, in seconds."""
    return draw_receptive_field(INDEX, 0, time, unit="seconds", **options)


def ticks(ax):
    """The ages of the events of the history in view and their colours."""
    lines = drawn(ax, "history")
    colours = map(to_hex, lines.get_colors())
    return {
        segment[0, 0].item(): colour
        for segment, colour in zip(lines.get_segments(), colours, strict=True)
    }


def row(ax, number, what="events"):
    """The opacity, or with "face" the colour, of the events of a row by age."""
    for points in artists(ax, "events"):
        if points.get_offsets()[0, 1] == number:
            ages, faces = points.get_offsets()[:, 0].tolist(), points.get_facecolors()
            shown = faces[:, 3] if what == "events" else map(to_hex, faces)
            return dict(zip(ages, shown, strict=True))
    return {}


def spans(ax, gid):
    """The (from, to) of level lines, in order of age."""
    return [
        tuple(sorted(segment[:, 0].tolist()))
        for lines in artists(ax, gid)
        for segment in lines.get_segments()
    ]


def labels(ax):
    """Those of the rows, the history's first."""
    return [each.get_text().split("\n") for each in ax.get_yticklabels()]


def legend(ax):
    texts, handles = ax.get_legend().get_texts(), ax.get_legend().legend_handles
    return {
        text.get_text(): to_hex(handle.get_color())
        for text, handle in zip(texts, handles, strict=True)
    }


def kernel(count, k, rate, ages):
    """The weight of each event by Eq. 9 and 10 as they stand."""
    positions = [1 + s * rate for s in range(k) if 1 + s * rate <= count]
    total = {
        age: sum(max(0.0, 1 - abs(n - o)) for n in positions) for o, age in enumerate(ages, start=1)
    }
    return {age: weight for age, weight in total.items() if weight}


def test_the_rows_are_the_history_the_most_recent_and_each_rate():
    ax = picture(k=3, rate=[2, 2.25])
    assert labels(ax) == [
        ["history", "6 events"],
        ["most recent, r = 1", "3 positions, reach 100 s"],
        ["r = 2", "3 positions, reach 150 s"],
        ["r = 2.25", "3 positions, reach 160 s"],
    ]
    assert row(ax, 1) == {10: 1, 60: 1, 100: 1}
    assert row(ax, 2) == {10: 1, 100: 1, 150: 1}
    # Positions 1, 3.25 and 5.5.
    assert row(ax, 3) == {10: 1, 100: 0.75, 130: 0.25, 150: 0.5, 160: 0.5}
    assert spans(ax, "reach") == [(10, 100), (10, 150), (10, 160)]
    assert spans(ax, "pair") == [(100, 130), (150, 160)]


@pytest.mark.parametrize("rate", [1.0, 1.2, 2.7, 3.0, 7.9])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 5, 23])
def test_opacities_are_the_weights_of_the_interpolation(rate, k, count):
    times = np.cumsum(np.arange(1, count + 1)) - 1
    index = TemporalIndex([0] * count, [1] * count, times)
    now = int(times[-1]) + 1
    expected = kernel(count, k, rate, (now - times[::-1]).tolist())
    ax = draw_receptive_field(index, 0, now, k=k, rate=rate, unit="seconds")
    assert row(ax, 1 if rate == 1 else 2) == pytest.approx(expected)
    assert spans(ax, "reach")[-1] == (1, max(expected))


def test_the_newest_event_is_at_the_right_and_the_query_at_0():
    ax = picture(k=2)
    left, right = ax.get_xlim()
    assert left > 60 > 0 > right
    assert drawn(ax, "query").get_xdata()[0] == 0
    assert ax.get_xlabel() == "seconds before the query"
    assert ax.get_title() == "node 0 at t = 160 s"


def test_a_long_silence_before_the_query_is_out_of_view():
    ax = picture(time=1150, k=3)
    left, right = ax.get_xlim()
    assert left > 1090 > 1000 > right > 990
    assert row(ax, 1) == {1000: 1, 1050: 1, 1090: 1}
    assert not artists(ax, "query")
    short = picture(time=200, k=6)
    assert short.get_xlim()[1] < 0
    assert drawn(short, "query").get_xdata()[0] == 0


def test_only_what_is_near_is_in_view_unless_the_whole_history_is_wanted():
    near = picture(k=2)
    assert list(ticks(near)) == [10, 60]
    assert labels(near)[0] == ["history", "2 of 6 events"]
    assert set(legend(near)) == {"node 1 (1)", "node 2 (1)"}
    whole = picture(k=2, whole=True)
    assert list(ticks(whole)) == [10, 60, 100, 130, 150, 160]
    assert labels(whole)[0] == ["history", "6 events"]
    assert whole.get_xlim()[0] > 160


def test_only_events_before_the_query_are_shown():
    ax = picture(100, k=5, whole=True)
    assert list(ticks(ax)) == [40, 70, 90, 100]
    assert labels(ax)[1][1] == "4 of 5 positions, reach 100 s"


def test_a_rate_beyond_the_history_is_truncated_or_clipped():
    ax = picture(k=3, rate=4)
    assert row(ax, 2) == {10: 1, 150: 1}
    assert labels(ax)[2] == ["r = 4", "2 of 3 positions, reach 150 s"]
    ax = picture(k=3, rate=4, short="clip")
    assert row(ax, 2) == {10: 1, 100: 0.5, 130: 0.5, 160: 1}


def test_partners_have_colours_that_the_legend_names():
    ax = picture(k=3, rate=2.25)
    named = legend(ax)
    assert set(named) == {"node 1 (3)", "node 2 (2)", "node 3 (1)"}
    assert len(set(named.values())) == 3
    one, two, three = (named[f"node {n} ({4 - n})"] for n in (1, 2, 3))
    colours = {10: two, 60: one, 100: three, 130: one, 150: two, 160: one}
    assert ticks(ax) == colours
    assert row(ax, 2, "face") == {age: colours[age] for age in (10, 100, 130, 150, 160)}
    assert ax.get_legend().get_title().get_text() == "partner (events shown)"


def test_of_many_partners_those_read_most_are_named():
    partners = [*range(1, 10), 20, 20]
    index = TemporalIndex([0] * 11, partners, range(11))
    named = legend(draw_receptive_field(index, 0, 11, k=3, rate=4, whole=True))
    # Events 20, 20 and 9 are read at r = 1; 20, 7 and 3 at r = 4.
    assert list(named) == [
        "node 20 (2)",
        "node 3 (1)",
        "node 7 (1)",
        "node 9 (1)",
        "node 1 (1)",
        "node 2 (1)",
        "4 others (4)",
    ]
    assert len(set(named.values())) == 7
    seven = TemporalIndex([0] * 7, range(1, 8), range(7))
    assert len(legend(draw_receptive_field(seven, 0, 7, k=7))) == 7
    assert "node 7 (1)" in legend(draw_receptive_field(seven, 0, 7, k=7))


def test_an_event_read_with_little_weight_keeps_a_border():
    ax = picture(k=2, rate=1.01)
    points = artists(ax, "events")[1]
    faint = points.get_facecolors()[:, 3].argmin()
    assert points.get_facecolors()[faint, 3] == pytest.approx(0.01)
    assert points.get_edgecolors()[faint, 3] > 0.1


def test_the_unit_suits_what_is_in_view():
    index = TemporalIndex([0] * 4, [1] * 4, [0, 70 * HOUR, 79 * HOUR, 79.5 * HOUR])
    ax = draw_receptive_field(index, 0, 80 * HOUR, k=2)
    assert ax.get_xlabel() == "minutes before the query"
    assert row(ax, 1) == {30: 1, 60: 1}
    ax = draw_receptive_field(index, 0, 80 * HOUR, k=2, rate=2)
    assert ax.get_xlabel() == "hours before the query"
    assert row(ax, 2) == {0.5: 1, 10: 1}
    assert [label[1] for label in labels(ax)[1:]] == [
        "2 positions, reach 60 min",
        "2 positions, reach 10 h",
    ]
    assert draw_receptive_field(index, 0, 80 * HOUR, k=3, rate=1.5).get_xlabel().startswith("days")
    raw = draw_receptive_field(index, 0, 80 * HOUR, k=2, unit="time")
    assert raw.get_xlabel() == "time before the query"
    assert raw.get_title() == "node 0 at t = 288000"
    assert labels(raw)[1][1] == "2 positions, reach 3600"


def test_unix_times_keep_their_seconds_and_fractions():
    start = 1_600_000_000
    index = TemporalIndex([0, 0], [1, 2], [start, start + 1])
    ax = draw_receptive_field(index, 0, start + 2, k=2)
    assert list(ticks(ax)) == [1, 2]
    index = TemporalIndex([0, 0], [1, 2], [start + 0.25, start + 0.5])
    ax = draw_receptive_field(index, 0, start + 0.75, k=2)
    assert list(ticks(ax)) == [0.25, 0.5]
    assert ax.get_title() == "node 0 at t = 1600000000.75 s"


def test_a_logarithmic_axis_shows_all_that_is_in_view():
    ax = picture(k=3, rate=2, log=True)
    assert ax.get_xscale() == "log"
    left, right = ax.get_xlim()
    assert left > 150 > 10 > right > 0
    ax.figure.draw_without_rendering()
    written = [each.get_text() for each in ax.get_xticklabels() if each.get_text()]
    assert {"10", "100"} <= set(written)


@pytest.mark.parametrize("log", [False, True])
def test_a_node_without_history_is_said_to_have_none(log):
    ax = picture(0, k=3, rate=2, log=log)
    assert [each.get_text() for each in ax.texts] == ["no event before the query"]
    assert labels(ax) == [
        ["history", "0 events"],
        ["most recent, r = 1", "0 of 3 positions"],
        ["r = 2", "0 of 3 positions"],
    ]
    assert not artists(ax, "events")
    assert ax.get_legend() is None
    ax.figure.draw_without_rendering()


def test_equal_rates_are_one_row_and_1_is_the_most_recent():
    ax = picture(k=3, rate=[1.0, 2.0, 2, 1])
    assert [label[0] for label in labels(ax)] == ["history", "most recent, r = 1", "r = 2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"node": 0.5}, "node is 0.5; expected an integer"),
        ({"node": True}, "node is True"),
        ({"node": 99}, "99"),
        ({"node": -1}, "-1"),
        ({"time": math.nan}, "time is nan; expected a finite number"),
        ({"time": "now"}, "time is 'now'"),
        ({"k": 0}, "k is 0"),
        ({"k": 2.0}, "k is 2.0"),
        ({"rate": 0.5}, "rate has values below 1"),
        ({"rate": math.inf}, "rate has values that are not finite"),
        ({"rate": [[2.0]]}, r"rate has shape \[1, 1\]"),
        ({"rate": "fast"}, "rate is a str that holds no plain numbers"),
        ({"short": "pad"}, "short is 'pad'"),
        ({"unit": "years"}, "unit is 'years'"),
    ],
)
def test_refuses_what_is_no_query(changes, said):
    given = {"node": 0, "time": 160, "k": 3, **changes}
    with pytest.raises(InputError, match=said):
        draw_receptive_field(INDEX, **given)


def test_on_the_wikipedia_stream_a_rate_reads_every_fifth_edit_of_a_user():
    if "ZOO_DATA" not in os.environ:
        pytest.skip("needs jodie-wikipedia in $ZOO_DATA")
    path = Path(os.environ["ZOO_DATA"]) / "jodie-wikipedia" / "wikipedia.csv.gz"
    user, page, time = np.loadtxt(
        path, delimiter=",", skiprows=1, usecols=(0, 1, 2), max_rows=20000, dtype=np.int64
    ).T
    node, now = int(np.bincount(user).argmax()), int(time[-1])
    mine = (user == node) & (time < now)
    ages, pages = (now - time[mine])[::-1], page[mine][::-1]
    index = TemporalIndex(user, page, time)
    ax = draw_receptive_field(index, node, now, k=10, rate=5, unit="seconds")
    assert row(ax, 2) == dict.fromkeys(ages[:46:5].tolist(), 1)
    assert labels(ax)[2] == ["r = 5", f"10 positions, reach {ages[45]} s"]
    named = [text.split()[1] for text in legend(ax) if text.startswith("node")]
    read = {*pages[:10].tolist(), *pages[:46:5].tolist()}
    assert {int(each) for each in named[: len(read)]} <= read
    assert len(named) > 1
