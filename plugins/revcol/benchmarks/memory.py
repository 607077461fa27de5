"""Memory of a training step against the number of columns, in every memory mode.

    python plugins/revcol/benchmarks/memory.py --out FOLDER

A fresh process for each point: a step on 16 images of 64 pixels with tiny's columns, float32, one
thread, gradients allocated before. "kept" is what autograd holds after forward, each storage once
and no parameters; "peak" is by how much the process's resident size grows at most during a step.
Linux only. About three minutes; writes memory.json, memory.md and memory.png.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

COLUMNS = (1, 2, 4, 8, 16)
MODES: dict[str, dict[str, Any]] = {
    "none": {"memory": "none"},
    "checkpoint": {"memory": "checkpoint"},
    "reversible, k=1": {"memory": "reversible"},
    "reversible, k=N": {"memory": "reversible", "anchor_every": 9999},
    "reversible, k=N, exact": {"memory": "reversible", "anchor_every": 9999, "exact": True},
}
OFFICIAL = {1: 79, 2: 83, 4: 88, 8: 96, 16: 111}
"""Peak MiB of the official code in the same set-up, measured for the plugin's specification."""
MIB = 2**20


def main() -> None:
    """Measures all points, or with `--point` one, in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("reproduce/revcol-memory"))
    parser.add_argument("--point", nargs=2, metavar=("MODE", "COLUMNS"))
    arguments = parser.parse_args()
    if arguments.point:
        print(json.dumps(measure(arguments.point[0], int(arguments.point[1]))))
        return
    # An allocator that gives memory back, so that the resident size is what is in use.
    environment = {
        **os.environ,
        "MALLOC_TRIM_THRESHOLD_": "0",
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "OMP_NUM_THREADS": "1",
    }
    rows = []
    for mode in MODES:
        for columns in COLUMNS:
            command = [sys.executable, __file__, "--point", mode, str(columns)]
            done = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
            rows.append(json.loads(done.stdout))
            print(rows[-1], file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "memory.json").write_text(json.dumps(rows, indent=2) + "\n")
    (arguments.out / "memory.md").write_text(table(rows))
    draw(rows, arguments.out / "memory.png")
    print(table(rows))


def measure(mode: str, columns: int) -> dict[str, Any]:
    """Returns the figures of one mode and number of columns."""
    import time
    import warnings

    import torch

    from zoo_core.errors import ZooWarning
    from zoo_revcol.experiments.memory import kept_bytes
    from zoo_revcol.experiments.weights import randomise
    from zoo_revcol.model import RevCol
    from zoo_revcol.variants import VARIANTS

    warnings.simplefilter("ignore", ZooWarning)  # of long chains: their errors are not the matter
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tiny = VARIANTS["tiny"]
    model = randomise(RevCol(tiny.channels, tiny.layers, columns, num_classes=10)).train()
    model.columns.remember(**MODES[mode])
    images = torch.randn(16, 3, 64, 64)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    peaks, seconds = [], []
    for _ in range(4):
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, started = _status("VmRSS"), time.process_time()
        model(images).square().mean().backward()
        seconds.append(time.process_time() - started)
        peaks.append(_status("VmHWM") - before)
    return {
        "memory": mode,
        "columns": columns,
        "kept (MiB)": round(kept_bytes(model, images) / MIB, 2),
        # The first step also brings in code and buffers of the libraries.
        "peak (MiB)": round(min(peaks[1:]) / MIB, 1),
        "CPU (s)": round(min(seconds), 3),
    }


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a Markdown table, one line a number of columns."""
    found = {(row["memory"], row["columns"]): row for row in rows}
    lines = [
        "| N | " + " | ".join(MODES) + " | official peak |",
        "|---|" + "---|" * (len(MODES) + 1),
    ]
    for columns in COLUMNS:
        cells = [
            "{kept (MiB)} / {peak (MiB)}, {CPU (s)}".format_map(found[mode, columns])
            for mode in MODES
        ]
        lines.append(f"| {columns} | " + " | ".join(cells) + f" | {OFFICIAL[columns]} |")
    return "kept / peak (MiB), CPU seconds\n\n" + "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draws the peaks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for mode, marker in zip(MODES, "osD^v", strict=True):
        peaks = [row["peak (MiB)"] for row in rows if row["memory"] == mode]
        axes.plot(COLUMNS, peaks, marker=marker, markersize=4, label=mode)
    axes.plot(
        list(OFFICIAL),
        list(OFFICIAL.values()),
        "k--",
        label="official code, from the specification",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(COLUMNS, [str(columns) for columns in COLUMNS])
    axes.set_xlabel("columns")
    axes.set_ylabel("peak memory of a training step (MiB)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file, metadata={"Software": None})


if __name__ == "__main__":
    main()
