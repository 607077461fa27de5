"""Two processes train as one: each scores a share of a batch, and remembers the whole of it."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from zoo_core.errors import ConfigError
from zoo_core.threads import one_thread
from zoo_tns.training.processes import Processes

COMMON = """
import json, os, signal, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch_geometric.data import TemporalData
from zoo_tns.model import TemporalGNN
from zoo_tns.training import TrainingConfig, train_link_prediction

torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
generator = torch.Generator().manual_seed(0)
count = 150
src = torch.randint(8, (count,), generator=generator)
data = TemporalData(
    src=src,
    dst=8 + (2 * src + torch.randint(3, (count,), generator=generator)) % 16,
    t=torch.arange(count),
    msg=torch.randn(count, 2, generator=generator, dtype=torch.float64),
)


def network(dropout=0.0, **changes):
    torch.manual_seed(rank)  # the processes are to start from the first one's weights all the same
    config = {"node_dim": 4, "time_dim": 4, "hidden": 4, "k": 3, "init_rate": 1.2}
    return TemporalGNN(None, 2, dropout=dropout, **(config | changes)).double()


def run(name, model, batch_size=40, out=None):
    config = TrainingConfig(epochs=2, batch_size=batch_size, lr=1e-2, patience=None)
    outcome = train_link_prediction(model, data, config=config, out=out, progress=False)
    tensors = {**model.state_dict(), **{f"memory/{k}": v for k, v in model.memory_state().items()}}
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"{name}-{rank}")
    history = [{k: v for k, v in each.items() if k != "seconds"} for each in outcome.history]
    with open(folder / f"{name}-{rank}.json", "w") as file:
        json.dump([history, outcome.test, outcome.signal], file)


def plain_runs():
    run("plain", network())
    # The last batch of an epoch has one event, so that one process has none.
    run("odd", network(sampler="recent"), batch_size=last_has_one())
    # Few nodes have more than 12 events: expansion modules go without gradients for some steps.
    run("seldom", network(k=12), batch_size=8)


def last_has_one():
    from zoo_tns.splits import chronological_split

    events = len(chronological_split(data).train.src)
    return next(size for size in range(30, events) if events % size == 1)
"""
PAIR = (
    COMMON
    + """
plain_runs()
run("whole", network(0.3))
out = folder / "run"
model = network(0.3)
forward, calls = model.forward, []


def signalled(*given):
    calls.append(given)
    if rank == 1 and model.training and len(calls) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return forward(*given)


model.forward = signalled
run("stopped", model, out=out)
run("again", network(0.3), out=out)
from contextlib import ExitStack
from zoo_core.errors import SaveError
from zoo_tns.training.locking import locked

with ExitStack() as stack:
    if rank == 0:
        stack.enter_context(locked(folder / "taken"))
    try:
        run("taken", network(), out=folder / "taken")
    except SaveError as error:
        (folder / f"refused-{rank}").write_text(str(error))
import torch.distributed
torch.distributed.destroy_process_group()
"""
)
ALONE = COMMON + "\nplain_runs()\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Where two processes saved what came of each run."""
    folder = tmp_path_factory.mktemp("pair")
    script = folder / "script.py"
    script.write_text(PAIR)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(script), str(folder)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Where this process saved what came of the runs that can be compared."""
    folder = tmp_path_factory.mktemp("alone")
    script = folder / "script.py"
    script.write_text(ALONE)
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(sys, "argv", [str(script), str(folder)])
        runpy.run_path(str(script))
    return folder


def read(folder, name, rank=0):
    outcome = json.loads((folder / f"{name}-{rank}.json").read_text())
    return load_file(folder / f"{name}-{rank}"), outcome


@pytest.mark.parametrize("name", ["plain", "odd", "seldom", "whole", "stopped", "again"])
def test_both_have_the_same_weights_memory_and_records(name, pair):
    (one, first), (other, second) = read(pair, name, 0), read(pair, name, 1)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert first == second


@pytest.mark.parametrize("name", ["plain", "odd", "seldom"])
def test_they_are_those_of_one_process_with_the_same_events(name, pair, alone):
    (ours, (history, test, _)), (theirs, (expected, tested, _)) = (
        read(pair, name),
        read(alone, name),
    )
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], atol=1e-9, rtol=1e-7)
    assert test == pytest.approx(tested, abs=1e-9)
    for one, other in zip(history, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_a_signal_to_one_stops_both_and_they_go_on_to_the_bit(pair):
    assert read(pair, "stopped")[1][1:] == [{}, 15]
    whole, again = read(pair, "whole"), read(pair, "again")
    assert whole[1][:2] == again[1][:2]
    assert all(torch.equal(whole[0][key], again[0][key]) for key in whole[0])
    written = {each.name for each in (pair / "run").iterdir()} - {".lock"}
    assert written == {"checkpoints", "log.jsonl", "run.json"}


def test_both_are_refused_a_folder_that_another_process_holds(pair):
    found = [(pair / f"refused-{rank}").read_text() for rank in (0, 1)]
    assert found[0] == found[1]
    assert "another process trains" in found[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; expected an integer of at least 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE is '999"),
        ({"WORLD_SIZE": "2"}, "RANK, MASTER_ADDR, MASTER_PORT not set: launch with"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "1"}, "MASTER_ADDR not set"),
        ({"RANK": "x"}, "RANK is 'x'"),
        ({"RANK": "2"}, "RANK is 2; expected below WORLD_SIZE, 2"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT is 'x'"),
    ],
)
def test_a_half_set_launcher_is_refused(monkeypatch, variables, message):
    whole = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name in whole:
        monkeypatch.delenv(name, raising=False)
    given = variables if "WORLD_SIZE" in variables else whole | variables
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        Processes.of(None)


def test_shares_make_up_the_batch():
    batch = torch.arange(7)
    for world in (1, 2, 3, 9):
        shares = [Processes(rank, world).share(batch) for rank in range(world)]
        assert torch.cat(shares).equal(batch)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Accelerator:
    """What is asked of one."""

    class distributed_type:
        value = "NO"

    mixed_precision, process_index, num_processes = "no", 0, 1
    device = torch.device("cpu")


def test_accelerators_of_another_kind_are_refused(monkeypatch):
    assert Processes.of(Accelerator()) == Processes(device=torch.device("cpu"))
    monkeypatch.setattr(Accelerator, "mixed_precision", "bf16")
    with pytest.raises(ConfigError, match="precision is 'bf16'"):
        Processes.of(Accelerator())
    monkeypatch.setattr(Accelerator.distributed_type, "value", "FSDP")
    with pytest.raises(ConfigError, match="set to FSDP"):
        Processes.of(Accelerator())
