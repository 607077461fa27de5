"""What `zoo explain` reads: data sets by name or file, and indices."""

from __future__ import annotations

import pytest
from nseg_explaining import saved, write_collection

from zoo_core.errors import InputError
from zoo_nseg import explain_data
from zoo_nseg.errors import IndexOutOfRangeError


def test_features_of_other_widths_are_no_molecules(folder):
    write_collection(folder / "data", "MUTAG")
    assert explain_data.read("data").atoms is None


def test_synthetic_sets_by_name(explain, folder):
    model = saved("ba", 0, conv="gcn", in_channels=10, task_level="node", num_classes=4)
    found = explain("--model", model, "--data", "ba-shapes", "--index", "300")
    assert found.report["instances"][0]["true_label"] == 1
    assert found.tensors["edge_index"].shape == (2, 4110)
    for name, nodes in (("tree-cycles", 871), ("tree-grid", 1231)):
        assert explain_data.read(name).graphs[0].num_nodes == nodes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", [3]), ("3,7,10-12", [3, 7, 10, 11, 12]), (" 2 , 0-3", [2, 0, 1, 3]), ("4,4-4", [4])],
)
def test_indices_in_the_order_given_each_once(text, expected):
    assert explain_data.chosen(explain_data.parsed(text), 13, "node") == expected


@pytest.mark.parametrize("text", ["", ",", "3,", "-1", "5-3", "1-2-3", "a", "1.5", "٣", "9" * 30])
def test_indices_that_are_none(text):
    with pytest.raises(InputError, match=r"--index has .* expected numbers and ranges"):
        explain_data.parsed(text)


@pytest.mark.parametrize("text", ["5", "2-5", f"0-{10**17}"])
def test_indices_that_are_not_there(text, explain, graph_model, collection, folder):
    with pytest.raises(IndexOutOfRangeError, match=r"expected graphs from 0 to 4"):
        explain("--model", graph_model, "--data", collection, "--index", text)
    assert not (folder / "explanations").exists()
