"""`zoo reproduce`: tables on stdout, what became of each run on stderr, honest exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.plugin_env import Site, site_fixture  # noqa: F401
from zoo_core.cli import main

PLUGIN = """
from zoo_core import hookimpl
from zoo_core.experiment import Experiment

def of(name, **fields):
    given = {"claim": f"{name} holds.", "run": f"zoo_toy_pkg.work:{name}",
             "measures": ("loss",), "minutes": 0.5, "seeds": 2}
    return Experiment(name=name, **given | fields)

@hookimpl
def zoo_experiments():
    return [of("good", check="zoo_toy_pkg.work:check"), of("data", data=("far", "away")),
            of("bad"), of("stop")][SOME]
"""
WORK = """
def good(context):
    for seed in context.progress(context.seeds, "seeds [b]"):
        yield {"method": "m", "seed": seed, "loss": 1 + seed}

def check(rows): return False, f"{len(rows)} rows"
def data(context): return [{"loss": 1}]
def bad(context): raise ValueError("broken")
def stop(context):
    yield {"loss": 1}
    raise KeyboardInterrupt
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


Zoo = Callable[..., Result]


@pytest.fixture(name="run")
def run_fixture(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Zoo:
    """Runs the command with all, or some, experiments of a plugin."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("warnings.showwarning", None)
    monkeypatch.setenv("ZOO_PLUGINS", "toy")

    def run(*arguments: object, some: str = ":") -> Result:
        if not (site.path / "zoo_toy_pkg").exists():
            site.install("toy", PLUGIN.replace("SOME", some), files={"work.py": WORK})
            site.activate()
        monkeypatch.setattr(sys, "argv", ["zoo", "reproduce", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        return Result(code or 0, *capsys.readouterr())

    return run


def test_experiments_are_listed_without_running(run: Zoo) -> None:
    done = run("toy", "--list")
    assert done.code == 0
    assert done.out.splitlines()[:2] == [
        "good\t0.5\t2\t\tgood holds.",
        "data\t0.5\t2\tfar away\tdata holds.",
    ]
    found = json.loads(run("toy", "data", "--list", "--json").out)
    assert found == [
        {
            "name": "data",
            "claim": "data holds.",
            "paper": None,
            "minutes": 0.5,
            "seeds": 2,
            "data": ["far", "away"],
        }
    ]
    assert list(Path().iterdir()) == []


def test_a_table_and_its_verdict_go_to_stdout_and_a_claim_that_does_not_hold_is_no_failure(
    run: Zoo,
) -> None:
    done = run("toy", "good", "--out", "here")
    assert done == Result(
        0,
        "good: good holds.\nm\t1.50 ± 0.71\nNot supported: 2 rows\n",
        "zoo: good: written to here/good\n",
    )
    assert Path("here/good/report.json").exists()


@pytest.mark.parametrize("width", [200, 20])
def test_a_terminal_shows_every_number_whole_however_narrow_it_is(
    run: Zoo, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", run("toy", "good").out).splitlines()
    assert any(line.split() == ["method", "loss"] for line in lines)
    assert any(line.split() == ["m", "1.50", "±", "0.71"] for line in lines)


def test_all_are_run_and_what_failed_or_was_skipped_is_told(run: Zoo) -> None:
    done = run("toy", some=":3")
    assert done.code == 1
    assert done.err.splitlines() == [
        "zoo: good: written to reproduce/toy/good",
        "zoo: data skipped: the data far is needed: give the folder that holds far/ with "
        "--data DIR or the variable ZOO_DATA.",
        "zoo: bad failed: ValueError: broken",
    ]
    assert done.out.count("\n") == 3


def test_a_skipped_experiment_beside_one_that_ran_is_no_failure_but_alone_it_is_an_error(
    run: Zoo, tmp_path: Path
) -> None:
    assert run("toy", some=":2").code == 0
    assert run("toy", "data").code == 2
    (tmp_path / "far").mkdir()
    assert "no folder away in" in run("toy", "data", "--data", tmp_path).err
    (tmp_path / "away").mkdir()
    assert run("toy", "data", "--data", tmp_path).code == 0


def test_that_nothing_could_be_run_is_a_failure(run: Zoo) -> None:
    done = run("toy", some="1:2")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("zoo: data skipped: ")


def test_a_traceback_is_shown_on_request(run: Zoo) -> None:
    assert "Traceback" not in run("toy", "bad").err
    done = run("toy", "bad", "--debug")
    assert done.code == 1
    assert 'raise ValueError("broken")' in done.err


def test_an_interruption_says_where_the_rows_are(run: Zoo) -> None:
    done = run("toy", "stop")
    assert done == Result(
        130,
        "",
        "zoo: stop: interrupted by the user; rows so far: reproduce/toy/stop/partial.json\n",
    )


def test_json_is_the_reports_alone(run: Zoo) -> None:
    done = run("toy", "good", "--json", "--seeds", 1)
    (found,) = json.loads(done.out)
    assert found == json.loads(Path("reproduce/toy/good/report.json").read_text())
    assert found["seeds"] == [0]


def test_a_readme_is_refreshed_with_or_without_running(run: Zoo) -> None:
    text = "A\n<!-- reproduce:good -->\n<!-- /reproduce:good -->\nB\n"
    Path("README.md").write_text(text)
    assert "has no place for data" in run("toy", "--readme", "README.md").err
    assert "there is no report" in run("toy", "good", "--from-reports").err
    assert run("toy", "good", "--readme", "README.md").code == 0
    fresh = Path("README.md").read_text()
    assert "| m | 1.50 ± 0.71 |" in fresh
    Path("README.md").write_text(text)
    done = run("toy", "good", "--readme", "README.md", "--from-reports")
    assert done == Result(0, "good: good holds.\nm\t1.50 ± 0.71\nNot supported: 2 rows\n", "")
    assert Path("README.md").read_text() == fresh


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tox",), "no active plugin 'tox'; installed: toy. Did you mean toy?"),
        (("toy", "goood"), "has no experiment 'goood'; it has: good, data, bad, stop. Did you"),
        (("toy", "--data", "none"), "data is none, which is no folder"),
        (("toy", "--readme", "none.md"), "none.md is no README that can be read"),
        (("toy", "good", "--from-reports", "--seeds", "2"), "leave out --data and --seeds"),
        (("toy", "--seeds", "0"), "--seeds"),
    ],
)
def test_a_bad_order_is_refused_before_any_work(
    run: Zoo, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert list(Path().iterdir()) == []
