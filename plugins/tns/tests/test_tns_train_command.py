"""`zoo tns-train` trains what the function does, and refuses before any work."""

from __future__ import annotations

import gzip
import json
import os
import signal

import pytest
import torch
import typer
from typer.testing import CliRunner

import zoo
from zoo_core.errors import ZooError
from zoo_tns import train_command
from zoo_tns.events import load_jodie_csv
from zoo_tns.model import TemporalGNN
from zoo_tns.training import Outcome, TrainingConfig, train_link_prediction
from zoo_tns.training.locking import locked

SMALL = ("hidden=4", "node_dim=4", "time_dim=4", "k=3")
QUICK = ("--epochs", "2", "--batch-size", "40", "--lr", "0.01")


@pytest.fixture
def events(tmp_path):
    generator = torch.Generator().manual_seed(0)
    lines = ["user_id,item_id,timestamp,state_label,comma_separated_list_of_features"]
    for event in range(200):
        user = int(torch.randint(8, (), generator=generator))
        item = (2 * user + int(torch.randint(3, (), generator=generator))) % 16
        lines.append(f"{user},{item},{event}.0,0,{user / 10},{event % 3}")
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def run(*arguments):
    app = typer.Typer()
    app.command()(train_command.command)
    given = {str(each).partition("=")[0] for each in arguments}
    small = [each for each in SMALL if each.partition("=")[0] not in given]
    settings = [word for each in small for word in ("--set", each)]
    return CliRunner().invoke(app, [*map(str, arguments), *settings])


def test_it_trains_as_the_function_does(events, tmp_path):
    out = tmp_path / "run"
    done = run("tns-tgn", "--data", events, "--out", out, *QUICK, "--seed", 3, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    data = load_jodie_csv(events)
    torch.manual_seed(3)
    model = zoo.load(
        "tns-tgn", pretrained=False, num_nodes=24, edge_dim=2, hidden=4, node_dim=4, time_dim=4, k=3
    )
    config = TrainingConfig(epochs=2, batch_size=40, lr=0.01, seed=3)
    expected = train_link_prediction(model, data, config=config, progress=False)
    assert told["test"] == expected.test
    assert told["new_node_test"] == expected.new_node_test
    assert [each["loss"] for each in told["history"]] == [each["loss"] for each in expected.history]
    loaded = zoo.load(out)
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_it_prints_a_table_and_goes_on_with_what_is_there(events, tmp_path):
    words = ("tgn-recent", "--data", events, "--out", tmp_path / "run", *QUICK)
    first, again = run(*words), run(*words)
    assert first.exit_code == again.exit_code == 0
    assert first.stdout == again.stdout
    rows = dict(line.split("\t") for line in first.stdout.splitlines())
    assert rows["best epoch"] in ("1 of 2", "2 of 2")
    assert 0 <= float(rows["test AP (%)"]) <= 100
    refused = run(*words, "--no-resume")
    assert "already holds a training" in str(refused.exception)


def test_every_setting_reaches_the_training(events, tmp_path, monkeypatch):
    seen = []

    def stopped(model, data, *, config, out, resume):
        seen.append((config, out, resume, model.sampler))
        return Outcome((), 0, 0.0, {}, {}, signal.SIGINT)

    monkeypatch.setattr("zoo_tns.training.trainer.train_link_prediction", stopped)
    words = ("tns-mean", "--data", events, "--out", tmp_path, *QUICK, "--alpha", 2, "--no-resume")
    others = ("--order", "shuffled", "--seed", 7, "--checkpoint-every", 9, "--patience")
    for patience in (0, 3):
        assert run(*words, *others, patience).exit_code == 128 + signal.SIGINT
        config = TrainingConfig(
            2, 40, 0.01, 2.0, patience or None, "shuffled", 7, checkpoint_every=9
        )
        assert seen.pop() == (config, tmp_path, False, "tns")


def test_a_table_of_other_columns_is_read(tmp_path):
    path = tmp_path / "events.txt"
    lines = [f"{e} {100 + e * e % 7} {200 + e * e % 11} {e % 5}" for e in range(200)]
    path.write_text("\n".join(["time from to weight", *lines]))
    words = ("tns-mean", "--data", path, "--epochs", 1, "--batch-size", 50)
    done = run(*words, "--out", tmp_path / "run", "--columns", "from,to,time,weight")
    assert done.exit_code == 0, done.output
    settings = zoo.load(tmp_path / "run").settings
    assert (settings.num_nodes, settings.edge_dim) == (4 + 6, 1)
    by_number = run(*words, "--out", tmp_path / "other", "--columns", "1, 2, 0, 3")
    assert by_number.stdout == done.stdout


def test_an_interrupted_training_says_how_to_go_on(events, tmp_path, monkeypatch):
    plain, calls = TemporalGNN.forward, []

    def signalled(self, *given):
        calls.append(given)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *given)

    monkeypatch.setattr(TemporalGNN, "forward", signalled)
    words = ("tns-tgn", "--data", events, "--out", tmp_path / "run", *QUICK)
    stopped = run(*words)
    assert stopped.exit_code == 128 + signal.SIGTERM
    assert "stopped in epoch 1; the same command goes on" in stopped.stderr
    done, whole = run(*words), run(*words[: -len(QUICK) - 1], tmp_path / "whole", *QUICK)
    assert done.exit_code == whole.exit_code == 0
    assert done.stdout == whole.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tns",), "no temporal graph network"),
        (("tns-tgm",), "Did you mean"),
        (("tns-tgn", "--lr", "-1"), "lr is -1.0"),
        (("tns-tgn", "--set", "hidden"), "expected key=value"),
        (("tns-tgn", "--set", "edge_dim=3"), "the data decide that"),
        (("tns-tgn", "--set", "k=4", "--set", "k=5"), "gives k twice"),
        (("tns-tgn", "--set", "pretrained=True"), "no argument of a model"),
        (("tns-tgn", "--set", "hiden=3"), "hiden"),
        (("tns-tgn", "--set", "gate=shut"), "gate is 'shut'"),
        (("tns-tgn", "--order", "shuffled"), "needs events in order"),
        (("tns-tgn", "--columns", "0,1"), "expected SOURCE,DESTINATION,TIME"),
        (("tns-tgn", "--columns", "a,b,c"), "no column 'a'"),
        (("tns-tgn", "--columns", "0,0,0"), "expected three different ones"),
        (("tns-tgn", "--columns", f"0,1,{'9' * 5000}"), "no column '999"),
        (("tns-tgn", "--columns", "0,1,2", "--bipartite-offset"), "leave it out"),
        (("tns-tgn", "--data", "collegemsg", "--no-bipartite-offset"), "leave it out"),
        (("tns-tgn", "--data", "collegemsgg"), "Did you mean collegemsg?"),
        (("tns-tgn", "--data", ""), "--data is ''"),
        (("tns-tgn", "--set", f"k={'9' * 23}"), "expected an integer of 32 bits"),
        (("tns-tgn", "--set", "k=201"), "there are 200 events"),
        (("tns-tgn", "--epochs", "9" * 23), "epochs is 9999"),
        (("tns-tgn", "--data", "missing.csv"), "No such file"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_written(events, tmp_path, words, message):
    out = tmp_path / "run"
    data = () if "--data" in words else ("--data", events)
    done = run(*words, *data, "--out", out)
    assert isinstance(done.exception, ZooError), done.output
    assert message in str(done.exception)
    assert not out.exists()


def test_sizes_that_nothing_can_hold_are_refused(events, tmp_path, monkeypatch):
    def full(*names, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nmore")

    monkeypatch.setattr("zoo_core.loading.load", full)
    done = run("tns-tgn", "--data", events, "--out", tmp_path / "run")
    assert isinstance(done.exception, ZooError)
    assert "these settings: DefaultCPUAllocator: can't allocate memory." in str(done.exception)


@pytest.mark.parametrize("out", ["", "file", "model"])
def test_a_folder_that_is_none_is_refused_before_data_are_read(tmp_path, out):
    (tmp_path / "file").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    done = run("tns-tgn", "--data", tmp_path / "absent", "--out", out and tmp_path / out)
    assert isinstance(done.exception, ZooError)
    assert "absent" not in str(done.exception)


def test_a_folder_that_is_taken_is_refused_before_data_are_read(events, tmp_path):
    out = tmp_path / "run"
    with locked(out):
        done = run("tns-tgn", "--data", tmp_path / "absent", "--out", out)
        assert "another process trains" in str(done.exception)
    assert run("tns-tgn", "--data", events, "--out", out, *QUICK).exit_code == 0
    done = run("tns-tgn", "--data", tmp_path / "absent", "--out", out, "--no-resume")
    assert "already holds a training" in str(done.exception)


def test_items_are_counted_apart_as_told(events, tmp_path):
    for option, nodes in (("--bipartite-offset", 24), ("--no-bipartite-offset", 16)):
        out = tmp_path / option
        assert run("tgn-recent", "--data", events, "--out", out, *QUICK, option).exit_code == 0
        assert zoo.load(out).settings.num_nodes == nodes


def test_a_stray_rank_is_no_process_of_several(events, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    done = run("tgn-recent", "--data", events, "--out", tmp_path / "run", *QUICK)
    assert done.exit_code == 0
    assert "test AP (%)" in done.stdout


def test_a_half_set_launcher_is_refused(events, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "two")
    done = run("tgn-recent", "--data", events, "--out", tmp_path / "run")
    assert "the variable WORLD_SIZE is 'two'" in str(done.exception)
    assert not (tmp_path / "run").exists()
