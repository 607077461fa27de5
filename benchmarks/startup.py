"""Start-up time: `import zoo; zoo.list()` beside timm's list of models and a bare interpreter.

    python benchmarks/startup.py [--runs N]

Each command runs in fresh processes, one after the other in rounds, so that a busy moment of the
machine falls on all of them; medians and the spread of the ratio are printed. The warm-up round
leaves compiled bytecode, as any first use does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
COMMANDS = {
    "bare": "pass",
    "zoo": "import zoo; zoo.list()",
    "timm": "import timm; timm.list_models()",
}


def main() -> None:
    """Runs the commands in rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="counted rounds, after one warm-up")
    runs = parser.parse_args().runs
    rounds = [{name: seconds(code) for name, code in COMMANDS.items()} for _ in range(runs + 1)][1:]

    medians = {name: statistics.median(each[name] for each in rounds) for name in COMMANDS}
    table = Table("command", "median ms", "min", "max", title=f"start-up, {runs} runs each")
    for name, code in COMMANDS.items():
        times = [1000 * each[name] for each in rounds]
        table.add_row(
            f"python -c '{code}'",
            f"{1000 * medians[name]:.0f}",
            f"{min(times):.0f}",
            f"{max(times):.0f}",
        )
    Console(width=100).print(table)
    ratios = sorted(each["timm"] / each["zoo"] for each in rounds)
    print(f"timm / zoo: {statistics.median(ratios):.1f} (from {ratios[0]:.1f} to {ratios[-1]:.1f})")
    print(f"zoo above a bare interpreter: {1000 * (medians['zoo'] - medians['bare']):.0f} ms")


def seconds(code: str) -> float:
    """Returns the wall time of one fresh process that runs this code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
