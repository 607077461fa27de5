"""Event files become streams: layouts, exact ids and times, and errors that name the line."""

from __future__ import annotations

import gzip
import os

import pytest
import torch
from torch_geometric.data import TemporalData

from zoo_core.errors import InputError, UnknownNameError, ZooWarning
from zoo_tns.events import (
    check_events,
    compact_nodes,
    edge_features,
    load_dataset,
    load_jodie_csv,
    read_events,
    sorted_events,
)

RAW = """user_id,item_id,timestamp,state_label,comma_separated_list_of_features
0,0,0.0,0,-0.5,1.25
1,0,36.0,1,0.0,2.0
0,2,36.5,0,3.0,4.0
"""
SLIM = "u,i,ts,label\n0,2,0,0\n1,3,36,1\n0,2,77,0\n"


def written(folder, text, name="events.csv"):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "zipped_with_no_suffix.gz"])
def test_the_raw_jodie_layout_gets_an_offset_for_items(tmp_path, name):
    path = written(tmp_path, RAW, name)
    if name == "zipped_with_no_suffix.gz":
        path = path.rename(tmp_path / "events")
    data = load_jodie_csv(path)
    assert data.src.tolist() == [0, 1, 0]
    assert data.dst.tolist() == [2, 2, 4]
    assert data.t.dtype == torch.float64
    assert data.t.tolist() == [0.0, 36.0, 36.5]
    assert data.msg.dtype == torch.float32
    assert data.msg.tolist() == [[-0.5, 1.25], [0.0, 2.0], [3.0, 4.0]]
    assert data.y.tolist() == [0, 1, 0]


def test_the_slim_layout_keeps_its_one_id_space(tmp_path):
    data = load_jodie_csv(written(tmp_path, SLIM))
    assert data.dst.tolist() == [2, 3, 2]
    assert data.t.dtype == data.y.dtype == torch.int64
    assert data.msg.shape == (3, 0)


def test_the_offset_can_be_forced_and_an_unclear_file_is_refused(tmp_path):
    slim = written(tmp_path, SLIM)
    assert load_jodie_csv(slim, bipartite_offset=True).dst.tolist() == [4, 5, 4]
    raw = written(tmp_path, RAW, "raw.csv")
    assert load_jodie_csv(raw, bipartite_offset=False).dst.tolist() == [0, 0, 2]
    shared = written(tmp_path, SLIM.replace("1,3", "1,0"), "shared.csv")
    with pytest.raises(InputError, match=r"bipartite_offset=True \(--bipartite-offset\)"):
        load_jodie_csv(shared)
    assert load_jodie_csv(shared, bipartite_offset=False).dst.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1,0,36.0", "1,x,36.0", r"line 3, field 2: 'x'; expected a number"),
        ("1,0,36.0", "1,0.5,36.0", r"line 3: the destination's id is not an integer: '0.5'"),
        ("1,0,36.0", "-1,0,36.0", r"line 3: the source's id is negative: '-1'"),
        ("1,0,36.0", "1,0,nan", r"line 3: the time is not finite: 'nan'"),
        ("1,0,36.0", "nan,0,36.0", r"line 3: the source's id is not finite"),
        ("0.0,2.0", "0.0", r"line 3: 5 fields; expected 6"),
        ("0.0,2.0", "0.0,inf", r"line 3: a feature is not a finite float32: 'inf'"),
        ("0.0,2.0", "0.0,1e39", r"line 3: a feature is not a finite float32: '1e39'"),
        ("36.0,1,", "36.0,nan,", r"line 3: the label is not finite"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, old, new, message):
    path = written(tmp_path, RAW.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as found:
        load_jodie_csv(path)
    assert str(path) in str(found.value)


def test_lines_are_counted_with_the_blank_ones(tmp_path):
    path = written(tmp_path, RAW.replace("1,0,36.0", "\n\n-1,0,36.0"))
    with pytest.raises(InputError, match="line 5: the source's id is negative"):
        load_jodie_csv(path)


@pytest.mark.parametrize("text", ["", "user_id,item_id,timestamp,state_label\n", "\n\n"])
def test_an_empty_file_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="holds no events"):
        load_jodie_csv(written(tmp_path, text))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_jodie_csv(tmp_path / "none.csv")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(RAW.encode() * 50)[:60])
    with pytest.raises(InputError, match="damaged gzip"):
        load_jodie_csv(cut)
    binary = tmp_path / "binary"
    binary.write_bytes(b"0,1,2,0\n\xff\xfe,2\n")
    with pytest.raises(InputError, match="no text file"):
        load_jodie_csv(binary)
    with pytest.raises(InputError, match="3 columns; expected user, item, time and label"):
        load_jodie_csv(written(tmp_path, "0 1 2\n"))


def test_ids_and_times_beyond_float64_are_exact(tmp_path):
    first, second = 2**53 + 1, 2**53 + 3
    data = read_events(written(tmp_path, f"0 {first} {first}\n1 2 {second}\n"))
    assert data.dst.tolist() == [first, 2]
    assert data.t.tolist() == [first, second]
    with pytest.raises(InputError, match=r"line 2: the time is '99.*'; expected an integer of 64"):
        read_events(written(tmp_path, f"0 1 {first}\n0 1 {10**20 - 1}\n"))


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ";"])
def test_columns_are_found_by_name_or_number(tmp_path, delimiter):
    lines = ["time from to rating", "1.5 7 3 -2", "2.5 3 9 4"]
    path = written(tmp_path, "\n".join(line.replace(" ", delimiter) for line in lines))
    by_name = read_events(
        path, source="from", destination="to", time="time", features=["rating"], label="rating"
    )
    by_number = read_events(path, source=1, destination=2, time=0, features=[3], label=3)
    for data in (by_name, by_number):
        assert data.src.tolist() == [7, 3]
        assert data.dst.tolist() == [3, 9]
        assert data.t.tolist() == [1.5, 2.5]
        assert data.msg.tolist() == [[-2.0], [4.0]]
        assert data.y.tolist() == [-2, 4]
    with pytest.raises(InputError, match=r"no column 'form'\. Did you mean from"):
        read_events(path, source="form")
    with pytest.raises(InputError, match="4 columns, and none with the number 4"):
        read_events(path, time=4)


def test_a_header_can_be_all_digits(tmp_path):
    path = written(tmp_path, "0 1 2\n5 6 7\n")
    assert read_events(path).src.tolist() == [0, 5]
    assert read_events(path, header=True).src.tolist() == [5]


def test_unsorted_events_are_sorted_stably_with_all_that_belongs_to_them(tmp_path):
    path = written(tmp_path, "0 9 5 1\n1 8 3 2\n2 7 5 3\n3 6 3 4\n")
    with pytest.warns(ZooWarning, match="2 events are earlier"):
        data = read_events(path, features=[3], label=3)
    assert data.src.tolist() == [1, 3, 0, 2]
    assert data.dst.tolist() == [8, 6, 9, 7]
    assert data.t.tolist() == [3, 3, 5, 5]
    assert data.msg.flatten().tolist() == data.y.tolist() == [2, 4, 1, 3]


def test_nodes_are_numbered_anew_in_the_order_of_their_ids(tmp_path):
    path = written(tmp_path, "70 30 1\n30 500 2\n")
    plain, mapped = read_events(path), read_events(path, remap=True)
    compact, ids = compact_nodes(plain)
    assert ids.tolist() == [30, 70, 500]
    assert mapped.src.tolist() == compact.src.tolist() == [1, 0]
    assert mapped.dst.tolist() == compact.dst.tolist() == [0, 2]
    assert plain.src.tolist() == [70, 30]


@pytest.mark.parametrize("user", [10**12, 2**63 - 1])
def test_huge_ids_are_refused_with_advice(tmp_path, user):
    path = written(tmp_path, RAW.replace("1,0,36.0", f"{user},0,36.0"))
    with pytest.raises(InputError, match=r"the id \d+ and 3 events; .*remap=True.* --columns"):
        load_jodie_csv(path)
    data = read_events(path, remap=True)
    assert (data.src.tolist(), data.num_nodes) == ([0, 2, 0], 3)


def test_the_columns_of_an_event_are_different_ones(tmp_path):
    path = written(tmp_path, "from to time\n0 1 2\n")
    for columns in ({"destination": 0}, {"time": "to"}, {"source": "time"}):
        with pytest.raises(InputError, match="expected three different ones"):
            read_events(path, **columns)
    assert read_events(path, features=["time"]).msg.tolist() == [[2.0]]


def stream(**changes):
    columns = {
        "src": torch.tensor([0, 1, 2]),
        "dst": torch.tensor([3, 3, 4]),
        "t": torch.tensor([1, 2, 2]),
        "msg": torch.ones(3, 2),
    }
    return TemporalData(**(columns | changes))


def test_a_stream_is_checked():
    good = stream()
    assert check_events(good) is good
    assert edge_features(stream(msg=None)).shape == (3, 0)
    check_events(stream(msg=None))
    short = stream(src=torch.tensor([0, 1, 2], dtype=torch.uint8), msg=None)
    checked = check_events(short)
    assert (checked.src.dtype, checked.src.tolist()) == (torch.int64, [0, 1, 2])
    assert (short.src.dtype, len(checked.t)) == (torch.uint8, 3)
    for changes, message in (
        ({"t": torch.tensor([1, 3, 2])}, "out of order"),
        ({"t": torch.tensor([1.0, float("nan"), 2.0])}, "NaN"),
        ({"src": torch.tensor([0, -1, 2])}, "negative"),
        ({"dst": torch.tensor([0.0, 1.0, 2.0])}, "data.dst"),
        ({"dst": torch.tensor([0, 1])}, "data.dst has length 2"),
        ({"src": None}, "data has no src"),
        ({"msg": torch.ones(2, 2)}, r"shape \[2, 2\]"),
        ({"msg": torch.ones(3, 2).long()}, "floating-point"),
        ({"msg": torch.tensor([[1.0], [float("inf")], [0.0]])}, "not finite"),
    ):
        with pytest.raises(InputError, match=message):
            check_events(stream(**changes))
    with pytest.raises(InputError, match="no events"):
        check_events(good[torch.zeros(3, dtype=torch.bool)])
    with pytest.raises(InputError, match="a dict; expected a TemporalData"):
        check_events({"src": [0]})


def test_sorting_keeps_the_order_of_equal_times():
    data = sorted_events(stream(t=torch.tensor([2, 1, 1])))
    assert data.src.tolist() == [1, 2, 0]


DATA = os.environ.get("ZOO_DATA")
FACTS = {
    "jodie-wikipedia": (157_474, 9_227, 0),
    "collegemsg": (59_835, 1_899, 0),
    "sfhh-conference": (70_261, 403, 0),
    "bitcoin-otc": (35_592, 5_881, 1),
}


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.skipif(not DATA, reason="ZOO_DATA names no folder with the data sets")
def test_the_data_sets_have_what_their_descriptions_say(name):
    data = check_events(load_dataset(name))
    events, nodes, width = FACTS[name]
    assert len(data.src) == events
    assert len(torch.cat([data.src, data.dst]).unique()) == data.num_nodes == nodes
    assert data.msg.shape == (events, width)
    assert data.t.dtype == (torch.float64 if name == "bitcoin-otc" else torch.int64)
    if name == "jodie-wikipedia":
        assert (int(data.t[0]), int(data.t[-1]), int(data.y.sum())) == (0, 2_678_373, 217)
        assert (int(data.src.max()), int(data.dst.min())) == (8_226, 8_227)
    if name == "bitcoin-otc":
        assert data.msg.mean().item() == pytest.approx(1.01, abs=0.005)
        assert (data.msg.min().item(), data.msg.max().item()) == (-10, 10)
        assert data.t[0].item() == 1289241911.72836


def test_an_unknown_data_set_and_a_missing_folder_are_refused(monkeypatch, tmp_path):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    with pytest.raises(UnknownNameError, match="Did you mean collegemsg"):
        load_dataset("colegemsg")
    with pytest.raises(InputError, match="ZOO_DATA"):
        load_dataset("collegemsg")
    with pytest.raises(InputError, match="No such file"):
        load_dataset("collegemsg", tmp_path)
