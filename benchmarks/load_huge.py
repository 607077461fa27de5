"""Memory and time of `zoo.load("revcol-h")`, beside torch.load and load_state_dict.

    python benchmarks/load_huge.py [--name revcol-t]

Writes a random checkpoint of the true size in the authors' format (for revcol-h 8.6 GB, and as
much again for its conversion and the cache's copy: 30 GB of free disk), serves it on loopback as
the Hub's repository at the pinned revision, and measures fresh processes:

    first     zoo.load with the file in the Hub's cache: verify, convert, map (download not counted)
    second    zoo.load once more
    plain     the network at random, torch.load(weights_only=True) of the file, load_state_dict

Each then runs one 64-pixel image through the network, so that every weight has been read; both are
reported. Memory is the peak resident size (VmHWM of Linux), as it is and over the size of the
weights; what the imports alone take is printed too. Everything is cleaned up.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

GIB = 1 << 30

MEASURE = """
import json, sys, time
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
import torch
import zoo, zoo_revcol.model, zoo_core.loading, zoo_core.lean, zoo_core.foreign
mode, name, path = sys.argv[1:]
# One small pass first: what torch sets up at its first convolution is not the loader's.
small = zoo_revcol.model.RevCol([4, 8, 12, 16], [1, 1, 1, 1], 2, top_down_skip=True)
with torch.inference_mode():
    small.eval()(torch.ones(1, 3, 64, 64))
imports = peak()
started, built = time.perf_counter(), 0.0
if mode == "plain":
    from zoo_revcol.convert import from_megvii
    model = zoo.load(name, pretrained=False)
    built = time.perf_counter() - started
    model.load_state_dict(from_megvii(torch.load(path, map_location="cpu", weights_only=True)))
else:
    model = zoo.load(name)
seconds, loaded = time.perf_counter() - started, peak()
started = time.perf_counter()
with torch.inference_mode():
    checksum = model(torch.ones(1, 3, 64, 64)).double().sum().item()
print(json.dumps({"imports": imports, "seconds": seconds, "built": built, "peak": loaded,
    "forward": time.perf_counter() - started, "peak_used": peak(), "checksum": checksum}))
"""

FETCH = """
import sys, zoo_core.hub as hub, zoo_core.cache as cache, zoo
card = zoo.info(sys.argv[1])
from huggingface_hub import hf_hub_download
from zoo_core.card import HubFile
file = HubFile.parse(card.weights[0].source)
hf_hub_download(file.repo, file.path, revision=file.revision)
"""

WRITE = """
import sys, torch, zoo
from zoo_revcol.convert import to_megvii
torch.manual_seed(0)
model = zoo.load(sys.argv[1], pretrained=False)
torch.save({"model": to_megvii(model.state_dict())}, sys.argv[2])
print(sum(tensor.nbytes for tensor in model.state_dict().values()))
"""


def main() -> None:
    """Writes, serves, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="revcol-h")
    parser.add_argument("--dir", type=Path, help="where to work; the default is the system's")
    arguments = parser.parse_args()
    from tests.hub_server import HubServer
    from zoo_core.card import HubFile
    from zoo_core.locating import info

    file = HubFile.parse(info(arguments.name).weights[0].source)
    with tempfile.TemporaryDirectory(prefix="zoo-bench-", dir=arguments.dir) as scratch:
        folder = Path(scratch)
        official = folder / "official.pth"
        size = int(python(WRITE, arguments.name, str(official)))
        if shutil.disk_usage(folder).free < 2.2 * size:
            raise SystemExit(f"needs {2.2 * size / GIB:.0f} GiB more of free disk in {folder}")
        with HubServer() as server:
            server.add_file(file.repo, file.path, official)
            server.pin(file.repo, file.revision)
            environment = server.environment(folder / "home")
            environment = {**os.environ, **environment, "ZOO_CACHE": str(folder / "cache")}
            python(FETCH, arguments.name, environment=environment)
            results = {
                mode: json.loads(
                    python(MEASURE, mode, arguments.name, str(official), environment=environment)
                )
                for mode in ("first", "second", "plain")
            }
    report(arguments.name, size, results)


def python(code: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Runs code in a fresh interpreter and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def report(name: str, size: int, results: dict[str, dict[str, Any]]) -> None:
    """Prints the table and the two ratios."""
    table = Table(
        "", "load s", "peak GiB", "peak / weights", "+ one image s", "peak GiB", "peak / weights",
        title=f"{name}: weights of {size / GIB:.2f} GiB",
    )  # fmt: skip
    for mode, result in results.items():
        table.add_row(
            mode,
            f"{result['seconds']:.2f}",
            f"{result['peak'] / GIB:.2f}",
            f"{result['peak'] / size:.2f}",
            f"{result['forward']:.2f}",
            f"{result['peak_used'] / GIB:.2f}",
            f"{result['peak_used'] / size:.2f}",
        )
    Console(width=100).print(table)
    first, second, plain = (results[mode] for mode in ("first", "second", "plain"))
    print(f"before loading: {first['imports'] / GIB:.2f} GiB")
    for what, spared in (("", 0.0), (", building it at random not counted", plain["built"])):
        load = plain["seconds"] - spared
        use = (load + plain["forward"]) / (second["seconds"] + second["forward"])
        ratio = load / second["seconds"]
        print(f"plain / second{what}: {ratio:.1f} to load, {use:.1f} to load and use once")
    same = first["checksum"] == second["checksum"] == plain["checksum"]
    print(f"the three networks answer alike: {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
