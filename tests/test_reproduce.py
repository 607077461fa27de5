"""`reproduce` runs what plugins declare, tells apart what failed, and writes all or nothing."""

from __future__ import annotations

import itertools
import json
import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugin_env import Site, site_fixture  # noqa: F401
from zoo_core import figure
from zoo_core.errors import (
    ConfigError,
    InputError,
    PluginError,
    SaveError,
    UnknownNameError,
    ZooWarning,
)
from zoo_core.experiment import Figure
from zoo_core.plugins import installed
from zoo_core.report import Report
from zoo_core.reproduce import Outcome, refresh_readme, reports, reproduce, select
from zoo_core.rows import Mean

HEAD = """
from zoo_core import hookimpl
from zoo_core.experiment import Experiment, Figure

def of(name, **fields):
    given = {"claim": "A is smaller than B.", "run": f"zoo_toy_pkg.work:{name.replace('-', '_')}",
             "measures": ("loss",), "minutes": 0.5, "seeds": 2}
    return Experiment(name=name, **given | fields)

@hookimpl
def zoo_experiments():
    return [
"""
WORK = """
from zoo_core.rows import values

def growth(context):
    context.note("A note | of mine")
    for size in (1, 10):
        for method, factor in (("A", 1), ("B", 3)):
            for seed in context.progress(context.seeds, method):
                yield {"size": size, "method": method, "seed": seed,
                       "loss": float(size * factor + seed)}

def smaller(rows):
    a, b = (sum(values(rows, "loss", method=method)) for method in "AB")
    return a < b, f"{a:g} against {b:g}"

def larger(rows):
    return not smaller(rows)[0], "it is not"

def needs_data(context):
    text = (context.data("numbers") / "n.txt").read_text()
    return [{"loss": float(text), "where": f"{context.data('numbers')}"}]

def fails(context):
    yield {"loss": 1}
    raise RuntimeError("no\\n luck")

def stops(context):
    yield {"loss": 1}
    yield {"loss": 2}
    raise KeyboardInterrupt

def writes(context):
    (context.out / "own.txt").write_text("mine")
    context.note(f"wrote {context.out / 'own.txt'}")
    return [{"loss": len(context.seeds)}]

def half_characters(context):
    context.note("b\\udcff")
    return [{"loss": 1, "file": "a\\udcff"}]

def exits(context):
    raise SystemExit(3)

def bad_check(rows): return True
def nothing(context): return []
def no_rows(context): return 3
def lists(context): yield [1]
def strange(context): yield {"loss": object()}
def other_columns(context):
    yield {"loss": 1}
    yield {"loss": 1, "more": 2}
def diverges(context):
    for seed in context.seeds:
        yield {"seed": seed, "loss": float("nan") if seed else 1.0}
"""
GROWTH = """of("growth", check="zoo_toy_pkg.work:smaller", paper="figure 1",
    figure=Figure(x="size", y=("loss",), series=("method",), log="xy"))"""
Install = Callable[..., None]


@pytest.fixture(name="install")
def install_fixture(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs the plugin toy with these experiments and moves to an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def install(*experiments: str) -> None:
        code = HEAD + ",\n".join(experiments) + "\n    ]\n"
        site.install("toy", code, files={"work.py": WORK})
        monkeypatch.setenv("ZOO_PLUGINS", "toy")
        site.activate()

    return install


def only(outcomes: list[Outcome]) -> Report:
    (outcome,) = outcomes
    assert outcome.status == "done", outcome.reason
    assert outcome.report
    return outcome.report


def files_below(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, after a look at its signature, its header and its end."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert png[12:16] == b"IHDR"
    assert png[-8:-4] == b"IEND"
    return struct.unpack(">II", png[16:24])


# What is run and written


def test_a_report_holds_the_rows_their_means_and_where_they_come_from(install: Install) -> None:
    install(GROWTH)
    report = only(reproduce("toy"))
    assert (report.verdict, report.because) == ("supported", "24 against 68")
    # Losses of A at size 1 are 1 and 2: mean 1.5, variance (0.25 + 0.25) / 1.
    assert report.summary == [
        {"size": size, "method": method, "loss": Mean(mean, math.sqrt(0.5), 2, 2)}
        for size, method, mean in ((1, "A", 1.5), (1, "B", 3.5), (10, "A", 10.5), (10, "B", 30.5))
    ]
    folder = Path("reproduce/toy/growth")
    assert files_below(folder) == {"report.json", "table.md", "figure.png"}
    found = json.loads((folder / "report.json").read_text())
    assert found["format"] == 1
    assert (found["plugin"], found["version"], found["experiment"]) == ("toy", "1.0", "growth")
    assert (found["claim"], found["paper"]) == ("A is smaller than B.", "figure 1")
    assert found["seeds"] == [0, 1]
    assert len(found["rows"]) == 8
    assert found["rows"][3] == {"size": 1, "method": "B", "seed": 1, "loss": 4.0}
    assert found["summary"][0]["loss"] == {
        "mean": 1.5,
        "std": pytest.approx(0.7071, abs=1e-4),
        "n": 2,
        "of": 2,
    }
    assert found["notes"] == ["A note | of mine"]
    assert found["environment"]["python"].split(".")[:2] == [str(n) for n in sys.version_info[:2]]
    assert found["environment"]["cpus"] >= 1
    assert found["date"].endswith("+00:00")
    assert Report.read(folder / "report.json") == report


def test_the_table_is_markdown_that_shows_every_cell_as_it_is(install: Install) -> None:
    install(GROWTH)
    report = only(reproduce("toy"))
    text = Path("reproduce/toy/growth/table.md").read_text()
    assert text == report.markdown() + "\n"
    lines = text.splitlines()
    assert lines[0] == "A is smaller than B. **Supported: 24 against 68**"
    assert lines[2:7] == [
        "| size | method | loss |",
        "| --- | --- | --- |",
        "| 1 | A | 1.50 ± 0.71 |",
        "| 1 | B | 3.50 ± 0.71 |",
        "| 10 | A | 10.50 ± 0.71 |",
    ]
    assert lines[9].startswith("Mean ± sample standard deviation; 2 seeds; ")
    assert lines[11] == r"- A note \| of mine"


def test_cells_cannot_leave_their_table(install: Install) -> None:
    install(GROWTH)
    report = only(reproduce("toy"))
    rows = ({"a|b": "x | y\n<!-- /reproduce:growth -->", "c_d": "*_em_*", "loss": 1},)
    text = Report(**{**vars(report), "rows": rows}).markdown().splitlines()
    assert text[2] == r"| a\|b | c_d | loss |"
    assert text[4] == r"| x \| y\\n\<!-- /reproduce:growth --\> | \*\_em\_\* | 1 |"


def test_an_experiment_that_does_not_show_its_claim_says_so(install: Install) -> None:
    install('of("growth", check="zoo_toy_pkg.work:larger")', 'of("writes", seeds=0)')
    growth, writes = reproduce("toy")
    assert growth.report
    assert (growth.report.verdict, growth.report.because) == ("not supported", "it is not")
    assert "**Not supported: it is not**" in growth.report.markdown()
    assert writes.report
    assert (writes.report.verdict, writes.report.because) == ("reported", "")
    assert "**Reported.**" in writes.report.markdown()


def test_seeds_are_counted_from_zero_and_another_number_is_told(install: Install) -> None:
    install('of("growth")', 'of("writes", seeds=0)')
    growth, writes = reproduce("toy", seeds=3)
    assert growth.report
    assert growth.report.seeds == (0, 1, 2)
    assert growth.report.notes[-1] == "run with another number of seeds than the default of 2"
    assert writes.report
    assert writes.report.seeds == ()
    assert writes.report.rows == ({"loss": 0},)
    assert len(only(reproduce("toy", "growth")).notes) == 1


def test_a_report_tells_nothing_of_the_machine(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "numbers").mkdir(parents=True)
    (tmp_path / "data" / "numbers" / "n.txt").write_text("2.5")
    monkeypatch.setenv("HOME", str(tmp_path))
    install('of("needs-data", data=("numbers",), seeds=0)', 'of("writes")')
    first, second = reproduce("toy", data=tmp_path / "data", out=tmp_path / "out")
    assert first.report
    assert first.report.rows == ({"loss": 2.5, "where": "DATA/numbers"},)
    assert first.report.data == ("numbers",)
    assert second.report
    assert second.report.notes == ("wrote OUT/writes/artifacts/own.txt",)
    for name in files_below(tmp_path / "out"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text()
    assert (tmp_path / "out" / "writes" / "artifacts" / "own.txt").read_text() == "mine"


def test_a_number_that_is_not_finite_leaves_valid_json_and_a_note(install: Install) -> None:
    install('of("diverges")')
    report = only(reproduce("toy"))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = Path("reproduce/toy/diverges/report.json").read_text()
    assert json.loads(text, parse_constant=refuse)["rows"][1] == {"seed": 1, "loss": None}
    (note,) = report.notes
    assert note.startswith("loss was not finite in the rows 1, counted from 0")
    assert "| 1 (1 of 2) |" in report.markdown()


def test_names_of_files_that_are_no_text_can_be_written(install: Install) -> None:
    install('of("half-characters")')
    only(reproduce("toy"))
    folder = Path("reproduce/toy/half-characters")
    assert Report.read(folder / "report.json").rows[0]["file"] == "a\udcff"
    assert r"| 1 | a\\udcff |" in (folder / "table.md").read_text()


# Figures


def test_the_figure_is_a_png_of_the_numbers(install: Install) -> None:
    install(GROWTH)
    reproduce("toy", seeds=1)
    file = Path("reproduce/toy/growth/figure.png")
    one = file.read_bytes()
    reproduce("toy", seeds=1)
    assert file.read_bytes() == one
    reproduce("toy", seeds=2)
    assert file.read_bytes() != one
    width, height = size_of(one)
    assert width > height > 400


@pytest.mark.parametrize("kind", ["line", "bar"])
def test_a_figure_has_a_panel_a_measure_and_takes_any_text(kind: str) -> None:
    rows: list[Any] = [
        {"x": name, "how": how, "a ($_$)": Mean(value, 0.1, 2, 2), "b": Mean(mean, None, 1, 1)}
        for name, value, mean in (("$\\frac{", 1.0, None), ("two", 2.0, 3.0))
        for how in ("p^$", "_q")
    ]
    one = figure.draw(rows, Figure(x="x", y=("b",), kind=kind), "Costs in $ and $")
    two = figure.draw(rows, Figure(x="x", y=("a ($_$)", "b"), series=("how",), kind=kind), "Two")
    assert size_of(two) == (2 * size_of(one)[0], size_of(one)[1])
    assert one != figure.draw(rows[2:], Figure(x="x", y=("b",), kind=kind), "Costs in $ and $")


@pytest.mark.parametrize(
    "names",
    [
        ["one", "two", "three"],
        [
            "NSEG (PNS)",
            "sufficiency (PS)",
            "necessity (PN)",
            "GNNExplainer",
            "random",
            "every edge",
        ],
        [f"ANameWithoutASpace{number}" for number in range(7)],
    ],
    ids=["short", "in lines", "aslant"],
)
def test_names_below_bars_do_not_overlap(names: list[str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    rows: list[Any] = [{"x": name, "y": Mean(1.0, None, 1, 1)} for name in names]
    canvas = Canvas(figsize=(6.4, 4.2), layout="constrained")
    axes = canvas.subplots()
    figure._panel(axes, rows, Figure(x="x", y=("y",), kind="bar"), "y")
    FigureCanvasAgg(canvas).draw()
    labels = axes.get_xticklabels()
    assert [label.get_text().replace("\n", " ") for label in labels] == names
    boxes = [label.get_window_extent() for label in labels]
    if not any(label.get_rotation() for label in labels):
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    else:  # a line aslant begins right of, and below, the end of the one before
        ends = [(box.x1, box.y1) for box in boxes]
        assert all(one[0] < other[0] - 5 for one, other in itertools.pairwise(ends))


def test_error_bars_are_drawn(install: Install) -> None:
    shape = Figure(x="x", y=("y",))
    bare, wide = (
        figure.draw(
            [{"x": 1, "y": Mean(1.0, std, 2, 2)}, {"x": 2, "y": Mean(2.0, std, 2, 2)}], shape, "T"
        )
        for std in (None, 0.5)
    )
    assert bare != wide


def test_without_matplotlib_the_error_comes_before_the_work(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(GROWTH, 'of("writes")')
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'zoo-core\[reproduce\]'"):
        reproduce("toy")
    assert not Path("reproduce").exists()
    only(reproduce("toy", "writes"))


# What goes wrong


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("fails", "", "RuntimeError: no luck; rows so far: reproduce/toy/fails/partial.json"),
        ("exits", "", "SystemExit: 3"),
        ("absent", "", "zoo_toy_pkg.work:absent cannot be imported"),
        ("growth", "check='zoo_toy_pkg.work:absent'", "zoo_toy_pkg.work:absent cannot be imported"),
        ("growth", "check='zoo_toy_pkg.work:bad_check'", "its check gave True; expected"),
        ("nothing", "", "it gave no rows"),
        ("no-rows", "", "it gave a int; expected rows"),
        ("lists", "", "row 0 is a list; expected a dict"),
        ("strange", "", "row 0: loss is a object; expected text, a number"),
        ("other-columns", "", "row 1 has the columns loss, more; those of row 0 are loss"),
        ("needs-data", "", "the data numbers is needed"),
        ("writes", "figure=Figure(x='size', y=('loss',))", "row 0 lacks the column 'size'"),
    ],
)
def test_what_fails_is_told_by_name_and_the_others_go_on(
    install: Install, name: str, fields: str, reason: str
) -> None:
    install(f'of("{name}", {fields})', 'of("diverges")')
    told: list[Outcome] = []
    bad, good = reproduce("toy", on_outcome=told.append)
    assert told == [bad, good]
    assert (bad.experiment.name, bad.status) == (name, "failed")
    assert bad.reason.startswith(reason)
    assert "\n" not in bad.reason
    assert isinstance(bad.error, (Exception, SystemExit))
    assert good.status == "done"
    assert not (Path("reproduce/toy") / name / "report.json").exists()


def test_a_check_that_cannot_be_imported_is_known_before_the_work(install: Install) -> None:
    install('of("fails", check="zoo_toy_pkg.work:absent")')
    (outcome,) = reproduce("toy")
    assert "absent cannot be imported" in outcome.reason
    assert outcome.report is None


def test_an_interruption_goes_on_and_keeps_the_rows_beside_the_last_report(
    install: Install, site: Site
) -> None:
    install('of("diverges")', 'of("stops")', 'of("writes")')
    folder = Path("reproduce/toy/stops")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("earlier")
    told: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        reproduce("toy", on_outcome=told.append)
    assert [each.status for each in told] == ["done", "interrupted"]
    assert files_below(folder) == {"report.json", "partial.json"}
    assert (folder / "report.json").read_text() == "earlier"
    partial = Report.read(folder / "partial.json")
    assert (partial.verdict, partial.because) == ("incomplete", "interrupted by the user")
    assert partial.rows == ({"loss": 1}, {"loss": 2})
    assert told[1].report == partial
    # The next run that comes to its end leaves nothing of it.
    work = site.path / "zoo_toy_pkg" / "work.py"
    work.write_text(work.read_text().replace("raise KeyboardInterrupt", "return"))
    for name in ("zoo_toy_pkg.work", "zoo_toy_pkg"):
        del sys.modules[name]
    only(reproduce("toy", "stops"))
    assert files_below(folder) == {"report.json", "table.md"}


def test_a_figure_that_is_declared_no_more_is_removed(install: Install) -> None:
    install('of("writes")')
    stale = Path("reproduce/toy/writes/figure.png")
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    only(reproduce("toy"))
    assert not stale.exists()


def test_a_place_that_cannot_be_written_is_known_before_the_work(install: Install) -> None:
    install('of("writes")')
    Path("taken").write_text("")
    with pytest.raises(SaveError, match=r"cannot write to taken/writes: .* --out"):
        reproduce("toy", out="taken")


def test_data_that_are_not_there_skip_unless_asked_for_by_name(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install('of("needs-data", data=("numbers",), seeds=0)', 'of("writes")')
    skipped, done = reproduce("toy")
    assert (skipped.status, done.status) == ("skipped", "done")
    assert "the data numbers is needed: give the folder" in skipped.reason
    assert not Path("reproduce/toy/needs-data").exists()
    with pytest.raises(InputError, match="toy needs-data: the data numbers is needed"):
        reproduce("toy", "needs-data")
    with pytest.raises(InputError, match="there is no folder numbers in"):
        reproduce("toy", "needs-data", data=tmp_path)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"ZOO_DATA is .*none, which is no folder"):
        reproduce("toy", "writes")
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "n.txt").write_text("1")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    assert only(reproduce("toy", "needs-data")).rows[0]["loss"] == 1.0


@pytest.mark.parametrize("seeds", [0, -1, 1.5, True, "3"])
def test_a_bad_number_of_seeds_is_refused(install: Install, seeds: Any) -> None:
    install('of("writes")')
    with pytest.raises(InputError, match="expected a whole number, 1 or more"):
        reproduce("toy", seeds=seeds)


def test_unknown_names_are_refused_with_what_there_is(install: Install, site: Site) -> None:
    install(GROWTH)
    with pytest.raises(UnknownNameError, match=r"no active plugin 'tou'.*Did you mean toy"):
        select("tou")
    with pytest.raises(UnknownNameError, match=r"no experiment 'grow'; it has: growth. Did you"):
        select("toy", "grow")


def test_a_plugin_without_experiments_says_so(install: Install) -> None:
    install()
    with pytest.raises(UnknownNameError, match="plugin toy has no experiments"):
        reproduce("toy")


# The hook


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return None", "zoo_experiments gave a NoneType; expected a list of Experiments"),
        ("return 'text'", "zoo_experiments gave a str"),
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("return [of('a'), of('a')]", "the name 'a' is used by two of its experiments"),
        ("return [of('Bad')]", "name is 'Bad'; expected kebab-case"),
        ("return of('a')", "zoo_experiments gave a Experiment; expected a list"),
    ],
)
def test_a_plugin_with_bad_experiments_is_broken_alone(
    site: Site, body: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("bad", HEAD.replace("return [\n", body + "\n"))
    site.install("good", HEAD + "of('fine')]")
    monkeypatch.setenv("ZOO_PLUGINS", "good,bad")
    site.activate()
    with pytest.warns(ZooWarning, match="plugin bad .* is broken") as reported:
        assert [each.name for each in select("good")[1]] == ["fine"]
    assert len(reported) == 1
    (broken,) = installed().broken
    assert reason in str(broken.error)
    assert broken.experiments == ()


def test_listing_imports_neither_the_work_nor_what_draws(site: Site, install: Install) -> None:
    install(GROWTH)
    code = """
import sys, zoo
from zoo_core.cli import build
zoo.list()
build()
heavy = {"matplotlib", "numpy", "torch", "rich.progress", "zoo_toy_pkg.work", "zoo_core.running"}
print(sorted(heavy & sys.modules.keys()), "zoo_toy_pkg.plugin" in sys.modules)
"""
    done = site.python(code, ZOO_PLUGINS="toy")
    assert done.stdout == "[] True\n", done.stderr


# Reports and READMEs


def test_a_readme_is_written_from_the_reports_and_twice_is_once(install: Install) -> None:
    install(GROWTH, 'of("writes")')
    text = "# T\n<!-- reproduce:{0} -->\nold\n<!-- /reproduce:{0} -->\n"
    file = Path("README.md")
    file.write_text(text.format("growth") + text.format("writes"))
    outcomes = reproduce("toy", update_readme=file)
    found = [each.report for each in outcomes if each.report]
    first = file.read_text()
    for report in found:
        assert f"-->\n\n{report.markdown()}\n\n<!-- /reproduce:{report.experiment} -->" in first
    assert "old" not in first
    refresh_readme(file, reports("toy"))
    assert file.read_text() == first


def test_a_readme_without_markers_is_refused_before_the_work(install: Install) -> None:
    install(GROWTH, 'of("writes")')
    file = Path("README.md")
    file.write_text("<!-- reproduce:growth -->\n<!-- /reproduce:growth -->\n")
    with pytest.raises(InputError, match="has no place for writes"):
        reproduce("toy", update_readme=file)
    assert not Path("reproduce").exists()
    only(reproduce("toy", "growth", update_readme=file))
    assert "| 10 | B |" in file.read_text()


def test_what_failed_leaves_its_table_as_it_was(install: Install) -> None:
    install('of("fails")')
    file = Path("README.md")
    text = "<!-- reproduce:fails -->\nearlier\n<!-- /reproduce:fails -->\n"
    file.write_text(text)
    reproduce("toy", update_readme=file)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "there is no report .*growth/report.json; run the experiment first"),
        ("{", "is not a readable report"),
        ("[]", "is no report of format 1"),
        ({"format": 2}, "is no report of format 1"),
        ({"rows": [{"loss": []}]}, "is no report that can be read"),
        ({"rows": 3}, "is no report that can be read"),
        ({"verdict": "proven"}, "is no report that can be read"),
        ({"claim": 3}, "is no report that can be read"),
        ({"experiment": "other"}, "is of toy other, not growth"),
    ],
)
def test_a_report_that_is_none_is_refused(install: Install, change: Any, message: str) -> None:
    install(GROWTH)
    if change is not None:
        reproduce("toy")
        file = Path("reproduce/toy/growth/report.json")
        given = (
            change if isinstance(change, str) else json.dumps(json.loads(file.read_text()) | change)
        )
        file.write_text(given)
    with pytest.raises(InputError, match=message):
        reports("toy")


def test_an_error_of_the_plugin_boundary_names_what_was_expected(install: Install) -> None:
    install('of("lists")')
    (outcome,) = reproduce("toy")
    assert isinstance(outcome.error, PluginError)
