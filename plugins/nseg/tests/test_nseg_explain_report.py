"""What `zoo explain` writes and prints: the report, masks, pictures, and their folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from nseg_explaining import QUICK, saved, write_collection

from zoo_core.errors import SaveError
from zoo_nseg import explain_data, explain_report, pictures
from zoo_nseg.tu import read_tu


def test_the_report_says_what_it_was_made_with(explain, graph_model, collection):
    found = explain(
        *("--model", graph_model, "--data", collection, "--index", "0"),
        *("--set", "objective=ps", "--set", "n_samples=[1, 3, 1]", "--set", "symmetric=True"),
    )
    report = found.report
    assert report["explainer"] == "nseg/nseg"
    assert report["settings"].items() >= {**QUICK, "objective": "ps", "symmetric": True}.items()
    assert report["settings"]["n_samples"] == [1, 3, 1]
    assert report["settings"]["fallback"] == "error"
    assert report["model"]["name"] == "nseg/nseg-gin-mutag"
    assert report["model"]["config"]["hidden_channels"] == [6, 5]
    assert report["environment"]["zoo-nseg"]
    assert report["environment"]["packages"]["torch"] == torch.__version__
    assert report["files"] == ["masks.safetensors", "report.json"]
    assert str(Path.cwd()) not in json.dumps(report)


def test_what_is_printed_is_what_is_written(explain, graph_model, collection, folder):
    options = ("--model", graph_model, "--data", collection, "--all", "--kind", "joint")
    shown = explain(*options)
    report = shown.report
    assert [entry["index"] for entry in report["instances"]] == [0, 1, 2, 3, 4]
    for entry, row in zip(report["instances"], shown.rows[:5], strict=True):
        assert row == [
            str(entry["index"]),
            str(entry["label"]),
            *(f"{entry[name]:.3f}" for name in ("p_full", "p_suff", "p_nec")),
            f"{entry['pns_lower']:.3f} to {entry['pns_upper']:.3f}",
            f"{entry['edges_kept']} of {entry['edges']}",
            str(entry["nodes_kept"]),
        ]
    assert shown.rows[5][:3] == ["mean", "", f"{report['means']['p_full']:.3f}"]
    assert shown.rows[5][6:] == [
        f"{report['means'][name]:.1f}" for name in ("edges_kept", "nodes_kept")
    ]
    hard, soft = report["fidelity"]["hard"], report["fidelity"]["soft"]
    assert shown.rows[6:] == [
        [label, f"{hard[name]:.3f}", f"{soft[name]:.3f}"]
        for label, name in (
            ("fidelity+", "plus"),
            ("fidelity-", "minus"),
            ("charact", "charact"),
            ("kept by the empty graph", "empty"),
        )
    ]
    as_json = explain(*options, "--json")
    assert json.loads(as_json.printed) == report == as_json.report


def test_the_masks_do_not_share_memory_with_the_matcher():
    """Rows of one tensor, as the matcher gives for several graphs, are saved each by itself."""
    rows = torch.arange(6.0).reshape(6, 1)
    explanations = [{"x_cf": part, "edge_mask": part[:, 0]} for part in rows.split([2, 4])]
    found = explain_report.tensors([7, 8], explanations, shared=False)
    assert set(found) == {"7.x_cf", "7.edge_mask", "8.x_cf", "8.edge_mask"}
    starts = {each.untyped_storage().data_ptr() for each in found.values()}
    assert len(starts) == 4
    assert found["8.x_cf"].untyped_storage().nbytes() == 16


def test_pictures_are_drawn_with_the_truth_of_the_motif(
    explain, node_model, graph_file, monkeypatch
):
    drawn = {}
    real = pictures.save_picture

    def spied(path, explanation, **options):
        drawn[path.name] = options
        real(path, explanation, **options)

    monkeypatch.setattr(pictures, "save_picture", spied)
    found = explain(*("--model", node_model, "--data", graph_file, "--index", "2,5,12", "--figure"))
    assert found.report["files"] == [
        *("masks.safetensors", "report.json", "2.png", "5.png", "12.png")
    ]
    for name in ("2.png", "5.png", "12.png"):
        assert (found.folder / name).read_bytes().startswith(b"\x89PNG")
    graph = explain_data.read(graph_file).graphs[0]
    for name, motif in (("2.png", range(4)), ("5.png", range(4, 8)), ("12.png", ())):
        ends = graph.edge_index.T.tolist()
        expected = [u in motif and v in motif for u, v in ends]
        assert drawn[name]["truth"].tolist() == expected
        assert "atoms" not in drawn[name]


def test_molecules_are_drawn_as_such(explain, folder, monkeypatch):
    write_collection(folder / "data", "Mutagenicity", edge_truth=True)
    model = saved("molecules", 3, conv="gin", in_channels=3, task_level="graph")
    monkeypatch.setattr(explain_data, "ATOMS", {"mutagenicity": ("C", "O", "N")})
    drawn = []
    monkeypatch.setattr(pictures, "save_picture", lambda *given, **options: drawn.append(options))
    explain("--model", model, "--data", "data/Mutagenicity", "--index", "3,0", "--figure")
    assert [each["atoms"] for each in drawn] == ["mutagenicity"] * 2
    first = 1 + 3 + 4 + 5  # of graph 3, which the text files number from 1
    expected = [(first + bond) % 2 == 1 for bond in range(5) for _ in range(2)]
    graph = explain_data.read("data").graphs[3]
    listed = sorted(
        zip([e for b in range(5) for e in ((b, b + 1), (b + 1, b))], expected, strict=True)
    )
    assert [tuple(pair) for pair in graph.edge_index.T.tolist()] == [pair for pair, _ in listed]
    assert drawn[0]["truth"].tolist() == [true for _, true in listed]
    assert drawn[1]["truth"].shape == (4,)
    assert not drawn[1]["truth"].any()  # a graph of the other class has no marks


def test_real_molecules(explain, folder):
    if "ZOO_DATA" not in os.environ:
        pytest.skip("needs nseg-mutag in the folder that ZOO_DATA names")
    data = Path(os.environ["ZOO_DATA"]) / "nseg-mutag"
    model = saved("mutag", 0, conv="gin", in_channels=7, task_level="graph", num_classes=2)
    found = explain("--model", model, "--data", str(data), "--index", "0,187", "--figure")
    assert explain_data.read(str(data)).atoms == "mutag"
    assert [entry["edges"] for entry in found.report["instances"]] == [
        read_tu(data, "MUTAG")[index].num_edges for index in (0, 187)
    ]
    assert {"0.png", "187.png"} <= {path.name for path in found.folder.iterdir()}


class Interrupt(BaseException):
    """As a KeyboardInterrupt, which typer would turn into an exit code."""


class TestFolder:
    """What becomes of the folder that is written."""

    @pytest.fixture
    def options(self, node_model, graph_file):
        return ("--model", node_model, "--data", graph_file, "--index")

    def test_an_empty_one_and_one_of_ours_are_taken(self, options, explain, folder):
        (folder / "o").mkdir()
        explain(*options, "1,3", "--figure", out="o")
        assert sorted(path.name for path in (folder / "o").iterdir()) == [
            *("1.png", "3.png", "masks.safetensors", "report.json")
        ]
        found = explain(*options, "2", out="o")
        assert sorted(path.name for path in (folder / "o").iterdir()) == [
            *("masks.safetensors", "report.json")
        ]
        assert set(found.tensors) == {"2.edge_mask", "edge_index"}
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("report.json", "{}"),
            ("report.json", '{"made_by": "zoo explain", "files": 3}'),
            ("report.json", '{"made_by": "someone", "files": ["report.json"]}'),
            ("report.json", "not JSON"),
            ("report.json", "[" * 100_000),
            ("notes.txt", "mine"),
        ],
    )
    def test_one_of_others_is_left_alone(self, name, content, options, explain, folder):
        (folder / "o").mkdir()
        (folder / "o" / name).write_text(content)
        with pytest.raises(SaveError, match=rf"o holds {name}, which is not of zoo explain"):
            explain(*options, "1", out="o")
        assert (folder / "o" / name).read_text() == content

    def test_a_file_of_the_users_among_ours_is_not_lost(self, options, explain, folder):
        explain(*options, "1", out="o")
        (folder / "o" / "notes.txt").write_text("mine")
        with pytest.raises(SaveError, match=r"o holds notes\.txt"):
            explain(*options, "1", out="o")
        assert (folder / "o" / "notes.txt").read_text() == "mine"

    def test_a_file_or_a_place_below_one(self, options, explain, folder):
        (folder / "file").write_text("mine")
        with pytest.raises(SaveError, match="file exists and is not a folder"):
            explain(*options, "1", out="file")
        with pytest.raises(SaveError, match=r"cannot write .*Name a folder with --out"):
            explain(*options, "1", out="file/below")
        assert (folder / "file").read_text() == "mine"

    def test_a_link_is_followed(self, options, explain, folder):
        (folder / "real").mkdir()
        (folder / "link").symlink_to("real")
        explain(*options, "1", out="link")
        assert (folder / "link").is_symlink()
        assert (folder / "real" / "report.json").is_file()

    @pytest.mark.parametrize("error", [Interrupt, OSError, RuntimeError])
    @pytest.mark.parametrize("where", ["described", "write"])
    def test_an_interrupted_run_leaves_the_last_one(
        self, error, where, options, explain, folder, monkeypatch
    ):
        explain(*options, "1", out="o")
        before = {path.name: path.read_bytes() for path in (folder / "o").iterdir()}

        def fail(*_, **__):
            raise error

        monkeypatch.setattr(explain_report, where, fail)
        with pytest.raises(SaveError if error is OSError else error):
            explain(*options, "2", out="o")
        assert {path.name: path.read_bytes() for path in (folder / "o").iterdir()} == before
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]

    def test_others_may_read_what_is_written(self, options, explain, folder):
        found = explain(*options, "1", out="o")
        (folder / "usual").touch()
        usual = (folder / "usual").stat().st_mode
        assert {path.stat().st_mode for path in found.folder.iterdir()} == {usual}
