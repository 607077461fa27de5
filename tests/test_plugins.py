"""A broken plugin is named once and hurts nothing else; the others do what they say."""

import json
import re
import warnings

import pytest
import typer
from typer.testing import CliRunner

import zoo
from tests.plugin_env import Site, site_fixture  # noqa: F401
from zoo_core.card import Weights
from zoo_core.errors import AmbiguousNameError, PluginError, UnknownNameError, ZooWarning
from zoo_core.plugins import installed

HEAD = "from zoo_core import Card, Paper, Weights, hookimpl\n"
CARDS = HEAD + "@hookimpl\ndef zoo_cards():\n    "
ONE = "Card(name='bad-net', kind='model', factory='m:f', summary='s', task='t')"
BROKEN = {
    "raises": ("raise RuntimeError('no\\n  luck')", "RuntimeError: no luck"),
    "syntax": ("def (:", "SyntaxError: invalid syntax"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "lacks a module": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "has no hooks": ("import json", "has no hooks; mark its functions with @hookimpl"),
    "has a bad card": (CARDS + "return [Card(name='Bad Net')]", "TypeError"),
    "has an invalid card": (
        CARDS + "return [Card(name='Bad', kind='model', factory='m:f', summary='s', task='t')]",
        "CardError: card 'Bad': name is 'Bad'; expected kebab-case",
    ),
    "fails late": (CARDS + f"yield {ONE}; raise KeyError('x')", "KeyError: 'x'"),
    "returns None": (CARDS + "pass", "zoo_cards gave a NoneType; expected a list of Cards"),
    "returns one card": (CARDS + f"return {ONE}", "zoo_cards gave a Card; expected a list"),
    "returns names": (CARDS + "return ['bad-net']", "zoo_cards gave a str"),
    "returns a string": (CARDS + "return 'bad-net'", "zoo_cards gave a str"),
    "repeats a name": (CARDS + f"return [{ONE}, {ONE}]", "'bad-net' is used by two of its cards"),
    "has a wrong signature": (
        HEAD + "@hookimpl\ndef zoo_cards(registry): return []",
        "PluginValidationError",
    ),
    "has an unknown hook": (
        CARDS + f"return [{ONE}]\n@hookimpl\ndef zoo_models(): return []",
        "unknown hook 'zoo_models'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_once_and_hurts_nothing(site: Site, case: str) -> None:
    code, reason = BROKEN[case]
    site.install("bad", code, distribution="stranger-bad")
    site.install_cards("good", "good-net")
    site.activate()
    with pytest.warns(ZooWarning) as reported:
        assert "good-net" in zoo.list()
    (message,) = (str(each.message) for each in reported)
    assert message.startswith("plugin bad (stranger-bad 1.0) is broken: ")
    assert reason in message
    assert "\n" not in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "bad-net" not in zoo.list()
        assert zoo.info("good/good-net").summary == "A net"
    (bad,) = installed().broken
    assert (bad.name, bad.cards, bad.status) == ("bad", (), "broken")
    assert bad.error is not None
    assert reason in bad.error
    # Nothing of it is left behind in pluggy.
    assert installed().manager.get_plugin("bad") is None
    hooks = ("zoo_cards", "zoo_commands", "zoo_fetch")
    callers = [getattr(installed().manager.hook, hook).get_hookimpls() for hook in hooks]
    assert "bad" not in {each.plugin_name for caller in callers for each in caller}
    # What it would have had is not found, and the message says why.
    with pytest.raises(UnknownNameError, match=re.escape(f"failed to load: bad ({bad.error})")):
        zoo.info("bad-net")
    with pytest.raises(UnknownNameError, match="no active plugin 'bad'"):
        zoo.info("bad/bad-net")


def test_a_keyboard_interrupt_in_a_plugin_is_not_swallowed(site: Site) -> None:
    site.install("bad", "raise KeyboardInterrupt")
    site.activate()
    with pytest.raises(KeyboardInterrupt):
        zoo.list()


def test_a_generator_of_cards_will_do(site: Site) -> None:
    site.install("gen", CARDS + f"yield {ONE}")
    site.activate()
    assert zoo.list(plugin="gen") == ["bad-net"]


def test_a_plugin_may_have_no_cards_at_all(site: Site) -> None:
    site.install("bare", HEAD + "@hookimpl\ndef zoo_commands(app): pass")
    site.install("none", CARDS + "return []")
    site.activate()
    assert not installed().broken
    assert zoo.list(plugin="bare") == zoo.list(plugin="none") == []


def test_a_module_that_is_not_installed_breaks_only_its_plugin(site: Site) -> None:
    (site.path / "zoo_lost-1.0.dist-info").mkdir()
    lost = site.path / "zoo_lost-1.0.dist-info"
    (lost / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-lost\nVersion: 1.0\n")
    (lost / "entry_points.txt").write_text("[zoo]\nlost = zoo_lost.plugin\n")
    site.activate()
    with pytest.warns(ZooWarning, match=r"lost \(zoo-lost 1.0\).*No module named 'zoo_lost'"):
        zoo.list()


def test_a_distribution_without_metadata_is_unknown_by_name_but_works(site: Site) -> None:
    site.install_cards("bare", "net-a")
    (site.path / "zoo_bare-1.0.dist-info" / "METADATA").unlink()
    site.install_cards("good", "net-b")
    site.activate()
    assert {"net-a", "net-b"} <= set(zoo.list())
    assert {each.distribution for each in installed().active} >= {"unknown", "zoo-good"}
    found = site.python("import importlib_metadata, zoo; print(zoo.list(plugin='bare'))")
    assert found.stdout.strip() == "['net-a']" or "No module named" in found.stderr


def test_of_two_distributions_with_one_plugin_name_the_second_is_broken(site: Site) -> None:
    site.install("twin", CARDS + f"return [{ONE}]", distribution="alpha", module="alpha_pkg")
    site.install("twin", CARDS + "return []", distribution="beta", module="beta_pkg")
    site.activate()
    with pytest.warns(ZooWarning, match=r"twin \(beta 1.0\).*the name is taken by alpha"):
        assert zoo.list(plugin="twin") == ["bad-net"]
    both = [each for each in installed().all if each.name == "twin"]
    assert [(each.distribution, each.status) for each in both] == [
        ("alpha", "active"),
        ("beta", "broken"),
    ]


@pytest.mark.parametrize("name", ["my plug", "_under", "a/b"])
def test_a_name_that_config_json_could_not_hold_is_refused(site: Site, name: str) -> None:
    module = site.install_cards("first", "net-a")
    info = site.path / "zoo_first-1.0.dist-info" / "entry_points.txt"
    info.write_text(f"[zoo]\n{name} = {module}.plugin\n")
    site.activate()
    with pytest.warns(ZooWarning, match="its name may hold letters"):
        assert "net-a" not in zoo.list()


def test_one_module_under_two_plugin_names_works_once(site: Site) -> None:
    module = site.install_cards("first", "net-a")
    info = site.path / "zoo_first-1.0.dist-info" / "entry_points.txt"
    info.write_text(f"[zoo]\nfirst = {module}.plugin\nsecond = {module}.plugin\n")
    site.activate()
    with pytest.warns(ZooWarning, match="second .* is plugin first already"):
        assert "net-a" in zoo.list()
    assert zoo.info("first/net-a").name == "net-a"


def test_a_name_that_two_plugins_claim_is_ambiguous_until_the_plugin_is_named(site: Site) -> None:
    body = """return [Card(name='net', kind='model', factory='m:f', summary='of {0}', task='t',
        aliases=('net-{1}',), weights=[Weights(tag='v1', source='bundled://{0}', license='mit')])]
"""
    site.install("one", CARDS + body.format("one", "x"))
    site.install("two", CARDS + body.format("two", "y"))
    site.install("three", CARDS + f"return [{ONE.replace('bad-net', 'net-x')}]")
    site.activate()
    with pytest.raises(AmbiguousNameError) as caught:
        zoo.info("net")
    assert str(caught.value) == "'net' is claimed by 2 plugins; write one/net or two/net."
    with pytest.raises(AmbiguousNameError, match=r"write one/net\.v1 or two/net\.v1\."):
        zoo.info("net.v1")
    with pytest.raises(AmbiguousNameError, match=r"'net-x' .* write one/net or three/net-x\."):
        zoo.info("net-x")
    for name in ("one/net", "one/net.v1", "one/net-x", "one/net-x.v1"):
        assert zoo.info(name).summary == "of one"
    assert zoo.info("net-y.v1").summary == "of two"
    assert zoo.info("three/net-x").summary == "s"
    with pytest.raises(UnknownNameError, match="unknown name 'three/net'"):
        zoo.info("three/net")
    assert {"one/net", "two/net", "three/net-x"} <= set(zoo.list())


def test_only_the_plugins_in_zoo_plugins_are_imported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plugin in ("one", "two", "three"):
        site.install_cards(plugin, f"net-{plugin}")
    site.install("bad", "raise RuntimeError")
    monkeypatch.setenv("ZOO_PLUGINS", " one , two,")
    site.activate()
    assert zoo.list() == ["net-one", "net-two"]
    blocked = {each.name for each in installed().blocked}
    assert blocked >= {"three", "bad"}
    with pytest.raises(UnknownNameError, match=r"Blocked by ZOO_PLUGINS: .*three"):
        zoo.info("net-three")
    with pytest.raises(UnknownNameError, match=r"Blocked by ZOO_PLUGINS: .*three"):
        zoo.info("three/net-three")


def test_an_empty_zoo_plugins_blocks_them_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", "raise RuntimeError")
    monkeypatch.setenv("ZOO_PLUGINS", "")
    site.activate()
    assert zoo.list() == []
    assert not installed().active
    with pytest.raises(UnknownNameError, match="installed: none"):
        zoo.list(plugin="bad")


def test_a_name_in_zoo_plugins_that_is_not_installed_is_reported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install_cards("one", "net-one")
    monkeypatch.setenv("ZOO_PLUGINS", "one,tow")
    site.activate()
    with pytest.warns(ZooWarning, match="ZOO_PLUGINS names what is not installed: tow"):
        assert zoo.list() == ["net-one"]


def test_strict_plugins_raise(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("bad", "raise RuntimeError('boom')")
    monkeypatch.setenv("ZOO_PLUGINS_STRICT", "1")
    site.activate()
    for _ in range(2):  # and raise again: a failure is not remembered as success
        with pytest.raises(PluginError, match=r"plugin bad \(zoo-bad 1.0\).*RuntimeError: boom"):
            zoo.list()


def test_listing_imports_nothing_heavy_and_of_a_plugin_only_plugin_py(site: Site) -> None:
    module = site.install_cards("one", "net-one")
    code = """
import sys, zoo
names = zoo.list(); card = zoo.info("net-one"); zoo.list(kind="model")
heavy = ("torch", "timm", "huggingface_hub", "typer", "rich", "safetensors", "numpy", "PIL")
print([name for name in heavy if name in sys.modules])
print(sorted(name for name in sys.modules if name.startswith(("zoo_one", "zoo_revcol"))))
"""
    done = site.python(code, ZOO_PLUGINS="one,revcol")
    assert (done.returncode, done.stderr) == (0, "")
    heavy, ours = done.stdout.splitlines()
    assert heavy == "[]"
    assert f"'{module}', '{module}.plugin'" in ours
    assert "model" not in ours


def test_a_broken_plugin_is_one_line_for_a_user_and_shown_by_zoo_plugins(site: Site) -> None:
    site.install("bad", "raise RuntimeError('boom')")
    site.install_cards("good", "good-net")
    done = site.python("import zoo; zoo.list(); zoo.list(); zoo.info('good-net')")
    assert (done.returncode, done.stderr.count("is broken")) == (0, 1)
    done = site.zoo("plugins")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "bad\tzoo-bad 1.0\tbroken\tRuntimeError: boom" in lines
    assert "good\tzoo-good 1.0\tactive\t1 card" in lines
    warning = "zoo: plugin bad (zoo-bad 1.0) is broken: RuntimeError: boom.\n"
    assert done.stderr == warning
    done = site.zoo("plugins", "--json", ZOO_PLUGINS="bad")
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert found["bad"]["error"] == "RuntimeError: boom"
    assert (found["good"]["status"], found["good"]["cards"]) == ("blocked", [])
    done = site.zoo("list", ZOO_PLUGINS_STRICT="1")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", warning)


def test_a_factory_that_cannot_be_imported_fails_only_when_loaded(site: Site) -> None:
    module = site.install_cards("one", "net-one")
    model = site.path / module / "model.py"
    site.activate()
    cases = {
        "import not_there": "No module named 'not_there'",
        "Nett = 5": "has no attribute 'Net'",
        "raise SystemExit(3)": "SystemExit: 3",
    }
    for code, reason in cases.items():
        model.write_text(code)
        assert zoo.info("net-one").factory == f"{module}.model:Net"
        with pytest.raises(PluginError, match=reason) as caught:
            zoo.load("net-one", pretrained=False)
        assert f"{module}.model:Net cannot be imported" in str(caught.value)
        site.forget()


FETCH = HEAD + "@hookimpl{0}\ndef zoo_fetch(weights, local_files_only):\n    {1}"
WEIGHTS = Weights(tag="v1", source="own://x", license="mit")


def test_the_first_plugin_with_a_file_wins(site: Site) -> None:
    for name in ("first", "second"):
        (site.path / name).write_text("x")
    answer = f"return {str(site.path)!r} + '/{{}}'"
    site.install("a", FETCH.format("", answer.format("second")))
    site.install("b", FETCH.format("(tryfirst=True)", answer.format("first")))
    site.install("c", FETCH.format("", "return None"))
    site.activate()
    assert installed().fetch(WEIGHTS, False) == site.path / "first"


def test_a_fetch_hook_is_told_the_weights_and_whether_the_network_is_off(site: Site) -> None:
    log = site.path / "log"
    code = f"open({str(log)!r}, 'a').write(f'{{weights.source}} {{local_files_only}};')"
    site.install("a", FETCH.format("", code))
    site.activate()
    assert installed().fetch(WEIGHTS, False) is None
    assert installed().fetch(WEIGHTS, True) is None
    assert log.read_text() == "own://x False;own://x True;"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("return '/not/there'", "it gave /not/there, which is not a file"),
        ("return '/'", "it gave /, which is not a file"),
        ("return 5", "TypeError"),
    ],
)
def test_a_fetch_hook_that_fails_is_named(site: Site, code: str, reason: str) -> None:
    site.install("mirror", FETCH.format("", code))
    site.activate()
    with pytest.raises(PluginError) as caught:
        installed().fetch(WEIGHTS, False)
    assert str(caught.value).startswith("plugin mirror failed on own://x: ")
    assert reason in str(caught.value)


COMMANDS = HEAD + "@hookimpl\ndef zoo_commands(app):\n    {}"
HELLO = "app.command('{0}')(lambda: print('{0} from a plugin'))"


def test_plugins_add_commands_and_groups_and_one_that_fails_is_left_out(site: Site) -> None:
    site.install("hello", COMMANDS.format(HELLO.format("hello")))
    group = "import typer; sub = typer.Typer(); sub.command('x')(lambda: print('x of sub')); "
    group += "sub.command('y')(lambda: None); app.add_typer(sub, name='sub')"
    site.install("group", COMMANDS.format(group))
    site.install("fails", COMMANDS.format(HELLO.format("half") + "; raise RuntimeError('boom')"))
    site.install("exits", COMMANDS.format("import sys; sys.exit(1)"))
    untyped = "\n    def f(x: int | str): pass\n    app.command('untyped')(f)"
    site.install("untyped", COMMANDS.format(untyped))
    site.install("taken", COMMANDS.format(HELLO.format("list")))
    site.install("late", COMMANDS.format(HELLO.format("hello")))
    site.activate()
    app = typer.Typer()
    app.command("list")(lambda: print("the zoo's own"))
    with pytest.warns(ZooWarning) as reported:
        installed().add_commands(app)
    messages = {str(each.message).split()[4]: str(each.message) for each in reported}
    assert set(messages) == {"fails", "exits", "untyped", "taken", "late"}
    assert messages["fails"] == "the commands of plugin fails are broken: RuntimeError: boom."
    assert "there is a command 'list' already" in messages["taken"]
    assert "there is a command 'hello' already" in messages["late"]
    run = CliRunner().invoke
    assert run(app, ["hello"]).output == "hello from a plugin\n"
    assert run(app, ["list"]).output == "the zoo's own\n"
    assert run(app, ["sub", "x"]).output == "x of sub\n"
    assert run(app, ["half"]).exit_code == 2


def test_broken_commands_raise_when_plugins_are_strict(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("fails", COMMANDS.format("raise RuntimeError('boom')"))
    monkeypatch.setenv("ZOO_PLUGINS_STRICT", "1")
    site.activate()
    with pytest.raises(PluginError, match="commands of plugin fails are broken"):
        installed().add_commands(typer.Typer())


def test_the_command_runs_what_plugins_add(site: Site) -> None:
    site.install("hello", COMMANDS.format(HELLO.format("hello")))
    site.install("fails", COMMANDS.format("raise RuntimeError('boom')"))
    done = site.zoo("hello")
    assert (done.returncode, done.stdout) == (0, "hello from a plugin\n")
    assert done.stderr == "zoo: the commands of plugin fails are broken: RuntimeError: boom.\n"
