"""Cards are validated when made, own what they hold, and are plain JSON."""

import dataclasses
import json
from typing import Any

import numpy
import pytest

from zoo_core.card import Card, HubFile, Paper, Weights, to_dict
from zoo_core.errors import CardError, ZooError

PAPER: dict[str, Any] = {"title": "On Nets", "authors": ("Ada L.",), "venue": "ICLR", "year": 2023}
WEIGHTS: dict[str, Any] = {"tag": "in1k", "source": "hf://ada/net/a.pth@main", "license": "mit"}
CARD: dict[str, Any] = {
    "name": "net-t",
    "kind": "model",
    "factory": "zoo_net.model:Net",
    "summary": "A net",
    "task": "image-classification",
}


class Lines:
    """Something whose repr has several lines, as a tensor's has."""

    def __repr__(self) -> str:
        return "[[1,\n  2]]" * 100


def refused(make: Any, valid: dict[str, Any], **wrong: Any) -> str:
    """The message with which a changed argument is refused: one line that names it."""
    with pytest.raises(CardError) as caught:
        make(**valid | wrong)
    message = str(caught.value)
    (name,) = wrong
    assert name in message
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", ""),
        ("title", 5),
        ("title", "two\nlines"),
        ("authors", "Ada L."),
        ("authors", ()),
        ("authors", ("",)),
        ("authors", (5,)),
        ("authors", None),
        ("venue", ""),
        ("venue", None),
        ("year", "2023"),
        ("year", 23),
        ("year", True),
        ("year", 2023.0),
        ("arxiv", "https://arxiv.org/abs/2212.11696"),
        ("arxiv", 2212.11696),
        ("code", "http://github.com/x/y"),
        ("code", "https://"),
        ("code", "github.com/x/y"),
        ("code", 5),
    ],
)
def test_a_paper_refuses(name: str, value: object) -> None:
    refused(Paper, PAPER, **{name: value})


@pytest.mark.parametrize("arxiv", ["2212.11696", "2212.11696v2", "cs/0701001", "math.GT/0309136"])
def test_a_paper_takes_every_form_of_arxiv_identifier(arxiv: str) -> None:
    assert Paper(**PAPER, arxiv=arxiv).arxiv == arxiv


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tag", "In1K"),
        ("tag", "a.b"),
        ("tag", ""),
        ("tag", None),
        ("tag", Lines()),
        ("source", "ada/net/a.pth"),
        ("source", "://a"),
        ("source", "hf:// "),
        ("source", None),
        ("source", "http://example.org/a.pth"),
        ("source", "https://"),
        ("source", "https:///a.pth"),
        ("source", "hf://ada/net"),
        ("source", "hf://ada/net/"),
        ("source", "hf://ada/net/a.pth@"),
        ("source", "hf://ada/net/../a.pth"),
        ("source", "hf://ada/../a.pth"),
        ("source", "hf://ada/net/a//b.pth"),
        ("source", "hf://ada/net/a\\b.pth"),
        ("source", "hf://ada/net/a.pth@v1 or so"),
        ("source", "hf://ada/net/a.pth\n"),
        ("license", "Apache-2.0"),
        ("license", ""),
        ("license", None),
        ("sha256", "ab"),
        ("sha256", "A" * 64),
        ("size", 0),
        ("size", -5),
        ("size", True),
        ("size", 1.5),
        ("size", "8 GB"),
        ("converter", "zoo_net.convert"),
        ("converter", "zoo_net.convert:from.megvii"),
        ("converter", "os; x:y"),
        ("config", None),
        ("config", [("a", 1)]),
        ("metrics", {"acc": "good"}),
        ("metrics", {"acc": True}),
        ("metrics", {"acc": float("nan")}),
        ("metrics", {"acc": float("inf")}),
        ("preprocessing", {"mean": {1, 2}}),
        ("labels", "cat"),
        ("labels", ("cat", "")),
        ("labels", ("cat", 5)),
        ("labels", 5),
        ("description", "two\nlines"),
        ("description", None),
    ],
)
def test_weights_refuse(name: str, value: object) -> None:
    refused(Weights, WEIGHTS, **{name: value})


@pytest.mark.parametrize(
    "source",
    [
        "hf://ada/net/a.pth",
        "hf://ada/net/sub folder/a.pth@refs/pr/3",
        "https://example.org/a.pth?x=1",
        "bundled://net/model.safetensors",
        "s3+own://bucket/key",
    ],
)
def test_weights_take_every_kind_of_source(source: str) -> None:
    assert Weights(**WEIGHTS | {"source": source}).source == source


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "Net_T"),
        ("name", "net--t"),
        ("name", "net.t"),
        ("name", "plugin/net"),
        ("name", ""),
        ("name", None),
        ("kind", "network"),
        ("kind", ["model"]),
        ("kind", None),
        ("factory", "zoo_net.model"),
        ("factory", "zoo_net/model:Net"),
        ("factory", len),
        ("transform", "zoo_net"),
        ("summary", ""),
        ("summary", "  "),
        ("summary", "two\nlines"),
        ("summary", 5),
        ("task", ""),
        ("task", None),
        ("paper", {"title": "On Nets"}),
        ("config", "width=3"),
        ("config", {5: 1}),
        ("config", {"width": Lines()}),
        ("config", {"layers": [1, {"deep": {3: 4}}]}),
        ("weights", Weights(**WEIGHTS)),
        ("weights", [WEIGHTS]),
        ("weights", None),
        ("weights", [Weights(**WEIGHTS), Weights(**WEIGHTS)]),
        ("aliases", "net-tiny"),
        ("aliases", ("Net Tiny",)),
        ("aliases", ("net-t",)),
        ("aliases", ("a", "a")),
    ],
)
def test_a_card_refuses(name: str, value: object) -> None:
    refused(Card, CARD, **{name: value})


def test_messages_say_whose_what_was_given_and_what_is_expected() -> None:
    message = refused(Card, CARD, kind="network")
    assert message == (
        "card 'net-t': kind is 'network'; expected one of model, explainer, sampler, estimator."
    )
    message = refused(Weights, WEIGHTS, license="MIT")
    assert message == (
        "weights 'in1k': license is 'MIT'; expected an SPDX identifier in lower case."
    )


def test_a_value_that_is_not_json_is_named_by_its_place() -> None:
    message = refused(Card, CARD, config={"layers": [1, {"rate": 1j}]})
    assert "config['layers'][1]['rate'] is 1j, a complex" in message


def test_an_unknown_or_missing_field_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        Card(**CARD, colour="red")
    with pytest.raises(TypeError, match="summary"):
        Card(**{key: value for key, value in CARD.items() if key != "summary"})


def test_cards_are_frozen() -> None:
    for made, field in (
        (Card(**CARD), "name"),
        (Weights(**WEIGHTS), "tag"),
        (Paper(**PAPER), "year"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field, "other")


def test_a_card_owns_its_configuration() -> None:
    given: dict[str, Any] = {"layers": [1, 2], "deep": {"rate": 0.5}}
    weights = Weights(**WEIGHTS, config=given, preprocessing=given)
    card = Card(**CARD, config=given, weights=[weights])
    given["layers"].append(3)
    given["deep"]["rate"] = 1.0
    given["more"] = True
    for held in (card.config, weights.config, weights.preprocessing):
        assert held == {"layers": [1, 2], "deep": {"rate": 0.5}}
    to_dict(card)["config"]["layers"].append(4)
    assert card.config["layers"] == [1, 2]


def test_sequences_become_tuples_and_tuples_in_a_configuration_lists() -> None:
    card = Card(**CARD, aliases=["net-tiny"], config={"layers": (1, (2, 3))})
    assert card.aliases == ("net-tiny",)
    assert card.config == {"layers": [1, [2, 3]]}
    rate = Card(**CARD, config={"rate": numpy.float64(0.5)}).config["rate"]
    assert (rate, type(rate)) == (0.5, float)
    assert Paper(**PAPER | {"authors": (name for name in ["A", "B"])}).authors == ("A", "B")


def test_a_card_as_a_dictionary_survives_json_and_makes_the_same_card() -> None:
    weights = Weights(
        **WEIGHTS, metrics={"acc": 90.5, "n": 3}, labels=["cat", "dög"], config={"k": (1, None)}
    )
    card = Card(**CARD, paper=Paper(**PAPER), weights=(weights,), config={"a": [True, "x"]})
    plain = to_dict(card)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == [field.name for field in dataclasses.fields(Card)]
    back = plain | {
        "paper": Paper(**plain["paper"]),
        "weights": [Weights(**each) for each in plain["weights"]],
    }
    assert Card(**back) == card


def test_the_first_weights_are_the_default_and_tags_keep_their_order() -> None:
    sets = [Weights(**WEIGHTS | {"tag": tag}) for tag in ("z", "a")]
    assert Card(**CARD, weights=sets).tags == ("z", "a")


def test_a_file_of_the_hub_reads_back_as_written() -> None:
    file = HubFile.parse("hf://ada/net/deep/a.pth@v1")
    assert (file.repo, file.path, file.revision) == ("ada/net", "deep/a.pth", "v1")
    assert HubFile.parse(str(file)) == file
    assert str(HubFile.parse("hf://ada/net/a.pth")) == "hf://ada/net/a.pth@main"


def test_a_card_error_is_a_zoo_error_and_a_value_error() -> None:
    assert issubclass(CardError, ZooError)
    assert issubclass(CardError, ValueError)
