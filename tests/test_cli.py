"""The command `zoo`: tables for people, tab-separated text and JSON for programs, no tracebacks."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

import zoo
import zoo_core
from tests.plugin_env import NET, TRANSFORM, Site, site_fixture  # noqa: F401
from zoo_core.cli import main

PLUGIN = """
from zoo_core import Card, Paper, Weights, hookimpl

@hookimpl
def zoo_cards():
    module = "zoo_tiny_pkg.model:Net"
    paper = Paper(title="On Nets", authors=("Ada L.", "Bö"), venue="ICLR", year=2023)
    weights = Weights(tag="v1", source="own://tiny", license="mit", size=8_600_000_000,
                      metrics={"top-1": 90.0}, config={"width": 5}, description="Trained.")
    shared = {"kind": "model", "factory": module, "task": "image-classification"}
    return [
        Card(name="tiny-net", summary="A net", paper=paper, config={"width": 6},
             transform="zoo_tiny_pkg.transform:Transform", weights=[weights],
             aliases=("tiny",), **shared),
        Card(name="bare-net", summary="A bare net", transform="zoo_tiny_pkg.transform:Transform",
             **shared),
        Card(name="text-net", summary="Another", **shared | {"task": "text-classification"}),
    ]

@hookimpl
def zoo_commands(app):
    @app.command("crash")
    def crash(): raise RuntimeError("a bug")

    @app.command("wait")
    def wait():
        import time
        print("waiting", flush=True)
        time.sleep(60)

    @app.command("flood")
    def flood():
        for number in range(100_000): print(number)
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


Zoo = Callable[..., Result]


@pytest.fixture(autouse=True)
def tiny(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"model.py": NET, "transform.py": TRANSFORM}
    site.install("tiny", PLUGIN, files=files)
    monkeypatch.setenv("ZOO_PLUGINS", "tiny")
    site.activate()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Zoo:
    """Runs the command in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        return Result(code or 0, *capsys.readouterr())

    return run


def refused(run: Zoo, *arguments: object) -> str:
    """The one line on stderr of a command that fails."""
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("zoo: ")
    return line


def in_terminal(site: Site, *arguments: str, columns: int = 80) -> str:
    """What the command prints on a terminal, without colours."""
    reader, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from zoo_core.cli import main; main()", *arguments],
        env=site.environment(COLUMNS=str(columns), TERM="xterm", ZOO_PLUGINS="tiny"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    printed = b""
    while True:
        try:
            printed += os.read(reader, 65536)
        except OSError:  # the terminal is closed
            break
    assert process.wait() == 0
    os.close(reader)
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.decode()).replace("\r\n", "\n")


# list, info, plugins


def test_a_list_in_a_pipe_is_tab_separated_text_without_a_heading(run: Zoo) -> None:
    done = run("list")
    assert done == Result(
        0,
        "bare-net\tmodel\t\timage-classification\tA bare net\n"
        "text-net\tmodel\t\ttext-classification\tAnother\n"
        "tiny-net\tmodel\tv1\timage-classification\tA net\n",
        "",
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["bare-net", "text-net", "tiny-net"]),
        (("--task", "text-classification"), ["text-net"]),
        (("--kind", "model", "--pretrained"), ["tiny-net"]),
        (("--no-pretrained", "--plugin", "tiny"), ["bare-net", "text-net"]),
        (("--kind", "sampler"), []),
    ],
)
def test_a_list_is_filtered_and_can_be_json(
    run: Zoo, options: tuple[str, ...], names: list[str]
) -> None:
    plain = run("list", *options).out.splitlines()
    assert [line.split("\t")[0] for line in plain] == names
    found = json.loads(run("list", *options, "--json").out)
    assert [each["name"] for each in found] == names
    keys = {"name", "kind", "task", "plugin", "weights", "summary"}
    assert all(each.keys() == keys for each in found)


def test_a_terminal_gets_a_table_with_a_heading(site: Site) -> None:
    lines = in_terminal(site, "list").splitlines()
    assert any(re.match(r" *name +kind +weights +task +summary", line) for line in lines)
    assert any(re.match(r" *tiny-net +model +v1 +image-classification +A net", it) for it in lines)
    assert "\t" not in "".join(lines)
    assert "Ada L., Bö" in in_terminal(site, "info", "tiny")
    assert re.search(r"tiny +zoo-tiny 1\.0 +active +3 cards", in_terminal(site, "plugins"))


def test_info_reads_a_saved_folder_too(run: Zoo, saved: Path) -> None:
    rows = dict(line.split("\t") for line in run("info", str(saved)).out.splitlines())
    assert rows["tag"] == "saved"
    assert rows["source"].startswith("file://")


def test_info_shows_the_card_and_marks_the_chosen_weights(run: Zoo) -> None:
    done = run("info", "tiny")
    rows = dict(line.split("\t") for line in done.out.splitlines())
    assert (rows["name"], rows["aliases"], rows["config"]) == ("tiny-net", "tiny", "width=5")
    assert rows["paper"] == "On Nets (ICLR 2023)"
    assert rows["authors"] == "Ada L., Bö"
    assert rows["plugin"] == "tiny (zoo-tiny 1.0)"
    assert (rows["tag"], rows["size"], rows["metrics"]) == ("v1", "8.6 GB", "top-1 90")
    assert "config\twidth=6\n" in done.out
    assert "arxiv" not in rows


def test_info_as_json_is_the_card(run: Zoo) -> None:
    found = json.loads(run("info", "tiny/tiny.v1", "--json").out)
    assert (found["name"], found["plugin"], found["chosen_weights"]) == ("tiny-net", "tiny", "v1")
    assert found["weights"][0]["size"] == 8_600_000_000
    assert json.loads(run("info", "bare-net", "--json").out)["chosen_weights"] is None


def test_plugins_are_listed_with_their_cards(run: Zoo) -> None:
    found = {each["name"]: each for each in json.loads(run("plugins", "--json").out)}
    assert found["tiny"]["cards"] == ["tiny-net", "bare-net", "text-net"]
    assert "tiny\tzoo-tiny 1.0\tactive\t3 cards\n" in run("plugins").out


def test_a_blocked_plugin_is_shown_as_such(run: Zoo, site: Site) -> None:
    site.install_cards("spare", "spare-net")
    assert "spare\tzoo-spare 1.0\tblocked\tnot in ZOO_PLUGINS\n" in run("plugins").out


# pull


def test_pull_says_where_the_file_is(run: Zoo, tmp_path: Path) -> None:
    zoo.save(zoo.load("bare-net", pretrained=False), tmp_path / "saved")
    file = tmp_path / "saved" / "model.safetensors"
    assert re.fullmatch(r"file\tsaved/model.safetensors\nsize\t.+ kB\n", run("pull", "./saved").out)
    size = file.stat().st_size
    found = json.loads(run("pull", tmp_path / "saved", "--json").out)
    assert found == {"file": str(file), "size": size, "sha256": None}


def test_the_size_of_shards_is_that_of_all_of_them(run: Zoo, tmp_path: Path) -> None:
    saved = zoo.save(zoo.load("bare-net", pretrained=False), tmp_path / "saved", shard_size=200)
    found = json.loads(run("pull", "./saved", "--json").out)
    assert found["size"] == sum(it.stat().st_size for it in saved.glob("model*"))


# Errors


def test_an_error_of_the_zoo_is_one_line_and_exit_code_2(run: Zoo) -> None:
    said, _, blocked = refused(run, "info", "tiny-nett").partition("Blocked by ZOO_PLUGINS: ")
    assert said == "zoo: unknown name 'tiny-nett'. Did you mean tiny-net or tiny? "
    assert {"nseg", "revcol"} <= set(blocked.removesuffix(".").split(", "))
    assert "tiny-net has no weights 'v2'" in refused(run, "info", "tiny.v2")
    assert "unknown kind 'x'" in refused(run, "list", "--kind", "x")
    assert "no active plugin 'x'" in refused(run, "list", "--plugin", "x")
    assert "bare-net has no weights to fetch" in refused(run, "pull", "bare-net")
    assert "no installed plugin fetches own://tiny" in refused(run, "pull", "tiny")
    assert "no-such-folder does not exist" in refused(run, "pull", "./no-such-folder")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_anywhere_shows_the_traceback(site: Site, place: int) -> None:
    arguments = ["info", "nothing"]
    arguments.insert(place, "--debug")
    done = site.zoo(*arguments, ZOO_PLUGINS="tiny")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "UnknownNameError: unknown name 'nothing'" in done.stderr


def test_a_bug_shows_its_traceback_without_being_asked(site: Site) -> None:
    done = site.zoo("crash")
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: a bug\n")


def test_wrong_usage_is_exit_code_2_with_what_is_wrong(run: Zoo) -> None:
    for arguments, message in (
        (("lisst",), "no such command 'lisst'"),
        (("list", "--knid", "model"), "no such option"),
        (("info",), "missing argument 'name'"),
        (("predict", "tiny"), "missing argument 'images"),
        (("predict", "tiny", "a.png", "--top", "0"), "'--top'"),
    ):
        done = run(*arguments)
        assert (done.code, done.out) == (2, "")
        # Typer frames the message, and wraps it where the frame is narrow.
        text = " ".join(re.sub(r"[╭╮╰╯│─]", " ", done.err).lower().split())
        assert message in text
        assert "traceback" not in done.err.lower()


def test_without_arguments_the_help_is_shown(run: Zoo) -> None:
    bare, asked = run(), run("--help")
    assert "Usage: zoo [OPTIONS] COMMAND" in bare.out
    assert (asked.code, asked.out.strip()) == (0, bare.out.strip())
    for command in ("list", "info", "pull", "predict", "plugins", "crash"):
        assert f" {command} " in asked.out
        assert "Usage: zoo" in run(command, "-h").out


def test_the_version_is_shown(run: Zoo) -> None:
    assert run("--version") == Result(0, f"zoo-core {zoo_core.__version__}\n", "")
    assert zoo.__version__ == zoo_core.__version__


@pytest.mark.parametrize("command", ["list", "flood"])
def test_a_reader_that_has_seen_enough_is_no_error(site: Site, command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from zoo_core.cli import main; main()", command],
        env=site.environment(ZOO_PLUGINS="tiny"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    if command == "flood":
        assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() in (0, 1)


def test_ctrl_c_is_exit_code_130_without_a_traceback(site: Site) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from zoo_core.cli import main; main()"  # a background job inherits SIGINT as ignored
    process = subprocess.Popen(
        [sys.executable, "-c", code, "wait"],
        env=site.environment(ZOO_PLUGINS="tiny"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err.strip()) == (130, "", "")


def test_ctrl_c_while_plugins_are_imported_is_no_different(site: Site) -> None:
    site.install("slow", "raise KeyboardInterrupt")
    done = site.zoo("list")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_command_starts_without_torch(site: Site) -> None:
    code = """
import sys
from zoo_core.cli import main
sys.argv = ["zoo", "list"]
try: main()
except SystemExit: pass
print([name for name in ("torch", "huggingface_hub", "timm", "PIL") if name in sys.modules])
"""
    assert site.python(code).stdout.endswith("[]\n")


# predict


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = zoo.load("bare-net", pretrained=False, num_classes=3)
    labels = ["cat", "dög", "ant"]
    return zoo.save(model, tmp_path / "saved", labels=labels, preprocessing={"size": 2})


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 8), **options: Any) -> Path:
    Image.new(mode, size, 1).save(path, **options)
    return path


def test_the_most_likely_labels_of_images(run: Zoo, saved: Path, tmp_path: Path) -> None:
    images = [picture(tmp_path / name) for name in ("a.png", "b.jpg")]
    rows = [line.split("\t") for line in run("predict", "./saved", *images).out.splitlines()]
    assert [row[0] for row in rows] == [str(images[0])] * 3 + [str(images[1])] * 3
    assert {row[1] for row in rows} == {"cat", "dög", "ant"}
    assert all(re.fullmatch(r"\d+\.\d %", row[2]) for row in rows)
    (found,) = json.loads(run("predict", saved, images[0], "--top", 2, "--json").out)
    assert found["image"] == str(images[0])
    first, second = (each["probability"] for each in found["labels"])
    assert 1 >= first >= second >= 0
    assert [each["label"] for each in found["labels"]] == [rows[0][1], rows[1][1]]


def test_without_labels_their_indices_are_shown(run: Zoo, tmp_path: Path) -> None:
    model = zoo.load("bare-net", pretrained=False)
    zoo.save(model, tmp_path / "saved", preprocessing={"size": 2})
    done = run("predict", "./saved", picture(tmp_path / "a.png"))
    assert {line.split("\t")[1] for line in done.out.splitlines()} == {"0", "1", "2"}


def test_images_of_every_mode_and_shape_are_classified(
    run: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", "tiny,revcol")
    zoo_core.plugins.installed.cache_clear()
    model = zoo.load(
        "revcol-t", pretrained=False, channels=[4, 8, 12, 16], layers=[1, 1, 1, 1],
        num_columns=2, num_classes=3,
    )  # fmt: skip
    preprocessing = {"input_size": [3, 32, 32], "crop_pct": 0.875}
    zoo.save(model, tmp_path / "saved", preprocessing=preprocessing)
    images = [
        picture(tmp_path / f"{mode} {width} {height}.tif".replace(";", ""), mode, (width, height))
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F")
        for width, height in ((1, 1), (1, 300), (300, 1), (33, 17))
    ]
    done = run("predict", "./saved", *images, "--top", 1)
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == len(images)


def test_photographs_are_turned_upright(run: Zoo, saved: Path, tmp_path: Path) -> None:
    upright = Image.new("RGB", (8, 8), "black")
    upright.paste("white", (0, 0, 8, 4))
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    upright.rotate(90).save(tmp_path / "turned.png", exif=exif)
    lines = run("predict", saved, tmp_path / "upright.png", tmp_path / "turned.png").out
    one, other = lines.replace("upright.png", "x").replace("turned.png", "x").split("\n")[::3][:2]
    assert one == other


def test_what_is_no_image_is_refused_before_any_weights_are_loaded(
    run: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = picture(tmp_path / "good.png")
    jpeg = picture(tmp_path / "whole.jpg", size=(64, 64))
    (tmp_path / "cut.jpg").write_bytes(jpeg.read_bytes()[:400])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name, message in (
        ("missing.png", "there is no file missing.png."),
        ("text.png", "text.png is not an image that Pillow can read."),
        ("empty.png", "empty.png is not an image that Pillow can read."),
        ("site", "site is not a file."),
        ("cut.jpg", "cut.jpg is not a readable image: "),
    ):
        assert message in refused(run, "predict", "./nowhere", good, name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert "good.png is not a readable image: Image size" in refused(run, "predict", "./x", good)


def test_what_cannot_classify_images_is_refused(run: Zoo, saved: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    assert refused(run, "predict", "text-net", image) == (
        "zoo: text-net is for text-classification; zoo predict needs image-classification."
    )
    assert "bare-net has no pretrained weights" in refused(run, "predict", "bare-net", image)
    zoo.save(zoo.load("text-net", pretrained=False), tmp_path / "text")
    assert "./text is for text-classification" in refused(run, "predict", "./text", image)
    zoo.save(zoo.load("bare-net", pretrained=False), tmp_path / "unclear")
    assert "states no preprocessing" in refused(run, "predict", "./unclear", image)
    assert "no-such does not exist" in refused(run, "predict", "./no-such", image)
    assert "unknown name 'no-such'" in refused(run, "predict", "no-such", image)
    assert "device 'nonsense'" in refused(run, "predict", saved, image, "--device", "nonsense")


def test_control_characters_from_outside_do_not_reach_the_terminal(
    run: Zoo, tmp_path: Path, site: Site
) -> None:
    model = zoo.load("bare-net", pretrained=False, num_classes=3)
    labels = ["\x1b]0;title\x07", "\x1b[2J", "\ud800"]
    zoo.save(model, tmp_path / "esc", labels=labels, preprocessing={"size": 2})
    good = picture(tmp_path / "good.png")
    out = run("predict", "./esc", good).out
    assert "\\x1b[2J" in out
    assert "\x1b" not in out
    assert "\x1b[2J" not in in_terminal(site, "predict", tmp_path / "esc", good)
    error = refused(run, "info", "./a\nb\x1b[2J")
    assert "./a" not in error.splitlines()[-1] or "\x1b" not in error
    assert len(error.strip().splitlines()) == 1


def test_a_terminal_that_knows_no_umlaut_gets_an_escape(
    site: Site, saved: Path, tmp_path: Path
) -> None:
    good = picture(tmp_path / "good.png")
    done = site.zoo("predict", saved, good, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "d\\xf6g" in done.stdout


def test_a_pipe_in_place_of_a_file_does_not_hang(run: Zoo, saved: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe.png is not a file" in refused(run, "predict", "./saved", "pipe.png")
    index = {"weight_map": {"body.weight": "pipe.safetensors"}}
    (saved / "model.safetensors").unlink()
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    os.mkfifo(saved / "pipe.safetensors")
    config = (saved / "config.json").read_text().replace('rs",', 'rs.index.json",')
    (saved / "config.json").write_text(config)
    with pytest.raises(zoo.ZooError, match="no such regular file"):
        zoo.load(saved)
