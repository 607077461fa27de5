"""Names: what they stand for, which are listed, and what is said of those that are unknown."""

import re

import pytest

import zoo
from tests.plugin_env import Site, site_fixture  # noqa: F401
from zoo_core.errors import UnknownNameError, ZooError
from zoo_core.registry import resolve, search

PLUGIN = """
from zoo_core import Card, Weights, hookimpl

def _card(name, kind, task, tags=(), **more):
    weights = [Weights(tag=tag, source=f"bundled://{name}/{tag}", license="mit") for tag in tags]
    return Card(name=name, kind=kind, factory="m:f", summary="s", task=task,
                weights=weights, **more)

@hookimpl
def zoo_cards():
    return [
        _card("zebra-net", "model", "image-classification", ("in1k", "in22k", "in22k_384"),
              aliases=("zebra",)),
        _card("ant-net", "model", "image-classification"),
        _card("bee-explainer", "explainer", "graph-explanation"),
        _card("cat-sampler", "sampler", "node-classification"),
        _card("dog-forest", "estimator", "tabular-classification", ("iris",)),
    ]
"""


@pytest.fixture(autouse=True)
def animals(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("animals", PLUGIN)
    site.install_cards("plants", "oak-net")
    monkeypatch.setenv("ZOO_PLUGINS", "animals,plants")
    site.activate()


def unknown(name: str) -> str:
    with pytest.raises(UnknownNameError) as caught:
        zoo.info(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_are_listed_in_order() -> None:
    assert zoo.list() == [
        "ant-net", "bee-explainer", "cat-sampler", "dog-forest", "oak-net", "zebra-net",
    ]  # fmt: skip


def test_lists_are_filtered_by_every_field_and_by_all_of_them_together() -> None:
    assert zoo.list(kind="explainer") == ["bee-explainer"]
    assert zoo.list(kind="sampler") == ["cat-sampler"]
    assert zoo.list(task="image-classification") == ["ant-net", "zebra-net"]
    assert zoo.list(plugin="plants") == ["oak-net"]
    assert zoo.list(pretrained=True) == ["dog-forest", "zebra-net"]
    assert zoo.list(pretrained=False) == ["ant-net", "bee-explainer", "cat-sampler", "oak-net"]
    assert zoo.list(kind="model", plugin="animals", pretrained=False) == ["ant-net"]
    assert zoo.list(task="no-such-task") == []


def test_a_filter_takes_only_known_kinds_and_plugins() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind 'models'; expected one of model, exp"):
        zoo.list(kind="models")
    with pytest.raises(
        UnknownNameError, match=r"no active plugin 'animal'; .*animals, plants\. Did you mean anim"
    ):
        zoo.list(plugin="animal")


def test_a_list_is_the_callers_own() -> None:
    zoo.list().clear()
    assert len(zoo.list()) == 6


@pytest.mark.parametrize("name", ["zebra-net", "zebra", "animals/zebra-net", "animals/zebra"])
def test_every_way_to_write_a_name_means_the_same_card_and_its_first_weights(name: str) -> None:
    found = resolve(name)
    assert found.card == zoo.info("zebra-net")
    assert found.full_name == "animals/zebra-net"
    assert found.weights is not None
    assert found.weights.tag == "in1k"
    for tag in ("in1k", "in22k", "in22k_384"):
        tagged = resolve(f"{name}.{tag}")
        assert tagged.card is found.card
        assert tagged.weights is not None
        assert tagged.weights.tag == tag


def test_a_card_without_weights_resolves_to_none() -> None:
    assert resolve("ant-net").weights is None


def test_search_gives_what_the_names_stand_for() -> None:
    assert [(name, found.full_name) for name, found in search(plugin="plants")] == [
        ("oak-net", "plants/oak-net")
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zebra-nett", "unknown name 'zebra-nett'. Did you mean zebra-net or zebra"),
        ("ZEBRA-NET", "unknown name 'ZEBRA-NET'. Did you mean zebra-net"),
        ("Ant_Net", "unknown name 'Ant_Net'. Did you mean ant-net"),
        ("qqq", "unknown name 'qqq'. `zoo list` shows all names."),
        ("", "the name is ''; expected text"),
        ("animals/zebr-net", "Did you mean animals/zebra-net"),
        ("plants/zebra-net", "unknown name 'plants/zebra-net'."),
        ("animal/zebra-net", "no active plugin 'animal'"),
        ("/zebra-net", "/zebra-net does not exist"),
        ("a/b/zebra-net", "no active plugin 'a/b'"),
        ("zebra-net.in2k", "zebra-net has no weights 'in2k'; it has: in1k, in22k, in22k_384. Did"),
        ("zebra-net.", "zebra-net has no weights ''; it has: in1k"),
        ("zebra-net.in1k.x", "zebra-net has no weights 'in1k.x'"),
        ("ant-net.in1k", "ant-net has no weights 'in1k'; it has: none."),
        ("zebra-nett.in1k", "Did you mean zebra-net"),
    ],
)
def test_an_unknown_name_is_told_what_is_near(name: str, message: str) -> None:
    assert message in unknown(name)


def test_suggestions_of_a_plugin_are_its_own() -> None:
    assert "zebra" not in unknown("plants/zebra-nett").replace("plants/zebra-nett", "")


def test_an_unknown_name_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match=re.escape("unknown name 'x'")):
        zoo.info("x")
    assert issubclass(UnknownNameError, ZooError)
