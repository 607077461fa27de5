"""`zoo.load`, from a name to a network that answers; official files by the Hub's own protocol."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from tests.hub_server import HubServer
from zoo_core import loading, plugins
from zoo_core.card import Card, HubFile, Weights
from zoo_core.checkpoint import converter
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    DigestError,
    FetchError,
    InputError,
    PluginError,
    SaveError,
    UnknownNameError,
    WeightsMismatchError,
    ZooError,
    ZooWarning,
)
from zoo_core.plugins import Plugin, Plugins

THIS = __name__


class Net(nn.Module):
    """A linear classifier over `features` inputs, with what the tests need of a real network."""

    def __init__(self, features: int = 4, num_classes: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features is {features}; expected at least 1")
        self.body = nn.Linear(features, features)
        self.head = nn.Linear(features, num_classes)
        self.register_buffer("table", torch.full((features,), scale), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x * self.table))

    def reset_classifier(self, num_classes: int) -> None:
        self.head = nn.Linear(self.body.out_features, num_classes)


class Headless(nn.Linear):
    """A network that cannot change its number of classes."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(4, num_classes)


class Sampler:
    """Not a network: a sampler with a configuration."""

    def __init__(self, size: int = 3) -> None:
        self.size = size

    def sample(self, seeds: Any, seed_times: Any) -> Any:
        return seeds


@converter(version=1, config=lambda infos: {"num_classes": infos["head.bias"].shape[0]})
def convert(content: Any) -> dict[str, torch.Tensor]:
    return dict(content["model"])


def unmarked(content: Any) -> dict[str, torch.Tensor]:
    return dict(content["model"])


def not_a_model() -> object:
    return object()


def card(name: str = "net", factory: str = "Net", kind: str = "model", **fields: Any) -> Card:
    return Card(
        name=name,
        kind=kind,
        factory=f"{THIS}:{factory}",
        summary="for tests",
        task="image-classification",
        **fields,
    )


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a test say which cards one plugin, `mine`, has; its factories are in this file."""

    def make(*cards: Card) -> None:
        real = plugins.installed()
        mine = Plugins((Plugin("mine", "zoo-mine", "1", cards), *real.all), real.manager)
        for module in ("zoo_core.loading", "zoo_core.registry"):
            monkeypatch.setattr(f"{module}.installed", lambda: mine)

    monkeypatch.setitem(sys.modules, THIS, sys.modules[__name__])
    return make


@pytest.fixture
def saved(tmp_path: Path, register: Any) -> Path:
    """A saved `Net` with random weights."""
    register(card())
    torch.manual_seed(0)
    return zoo.save(
        Net(),
        tmp_path / "net",
        name="net",
        labels=["a", "b", "c"],
        metrics={"accuracy": 0.9},
        description="Made by a test.",
    )


def weights(path: Path, **fields: Any) -> Weights:
    return Weights(tag="t", source=f"test://{path}", license="mit", **fields)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `test://PATH` sources be files, as a plugin's zoo_fetch would."""

    def fetch(self: Plugins, weights: Weights, local_files_only: bool) -> Path | None:
        scheme, _, path = weights.source.partition("://")
        return Path(path) if scheme == "test" else None

    monkeypatch.setattr(Plugins, "fetch", fetch)


def test_a_loaded_model_is_in_eval_mode_and_remembers_its_origin(saved: Path) -> None:
    model = zoo.load(saved)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.zoo.name == "mine/net"
    assert model.zoo.labels() == ("a", "b", "c")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert twin.zoo == model.zoo
        assert torch.equal(twin.head.weight, model.head.weight)


def test_computed_buffers_are_those_of_the_configuration(saved: Path) -> None:
    assert zoo.load(saved, scale=2.0).table.tolist() == [2.0] * 4


def test_a_path_in_any_form_is_a_folder(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved.parent)
    monkeypatch.setenv("HOME", str(saved.parent))
    for name in (saved, str(saved), "./net", "~/net", Path("net")):
        assert zoo.load(name).zoo.name == "mine/net"
    Path("other").mkdir()
    with pytest.raises(UnknownNameError, match=r"write \./other"):
        zoo.load("other")


@pytest.mark.parametrize(
    "name", ["hf-hub:", "hf-hub:x", "hf-hub:a/b/c", "hf-hub:../x", "hf-hub:a/b c"]
)
def test_what_names_no_repository_says_what_would(name: str) -> None:
    with pytest.raises(UnknownNameError, match="write hf-hub:owner/repo"):
        zoo.load(name)


def test_a_bad_value_is_an_error_before_anything_is_fetched(
    register: Any, served: None, tmp_path: Path
) -> None:
    absent = weights(tmp_path / "absent.safetensors")
    register(card(weights=(absent,)))
    with pytest.raises(ConfigError, match="features is 0"):
        zoo.load("net", features=0, cache_dir=tmp_path / "cache")
    with pytest.raises(ConfigError, match="negative dimension"):
        zoo.load("net", num_classes=-1, cache_dir=tmp_path / "cache")
    with pytest.raises(FetchError, match="absent"):
        zoo.load("net", features=4, cache_dir=tmp_path / "cache")


def test_an_unknown_keyword_is_an_error_that_lists_the_factorys_own(saved: Path) -> None:
    with pytest.raises(ConfigError, match=r"feature'.*Did you mean features.*num_classes, scale"):
        zoo.load(saved, feature=3)


def test_a_value_that_the_factory_refuses_is_an_error(register: Any) -> None:
    register(card())
    with pytest.raises(ConfigError, match="features is 0"):
        zoo.load("net", pretrained=False, features=0)


def test_the_users_configuration_wins_over_the_weights_and_those_over_the_cards(
    register: Any,
) -> None:
    register(card(config={"features": 5, "num_classes": 7}))
    assert zoo.load("net", pretrained=False).head.weight.shape == (7, 5)
    assert zoo.load("net", pretrained=False, num_classes=2).head.weight.shape == (2, 5)


def test_a_factory_cannot_change_the_card_through_its_arguments(register: Any) -> None:
    mine = card(factory="Net", config={"features": 4})
    register(mine)
    model = zoo.load("net", pretrained=False)
    model.zoo.config["features"] = 99
    assert mine.config == {"features": 4}


def test_another_shape_is_an_error_that_lists_the_tensors(saved: Path) -> None:
    with pytest.raises(WeightsMismatchError, match=r"body\.weight \(\[4, 4\] stored, \[5, 5\]"):
        zoo.load(saved, features=5)


def test_other_num_classes_give_a_new_head_over_loaded_features(saved: Path) -> None:
    whole = zoo.load(saved)
    with pytest.warns(ZooWarning, match=r"initial values: head\.weight, head\.bias"):
        model = zoo.load(saved, num_classes=9)
    assert model.head.weight.shape == (9, 4)
    assert not model.head.weight.is_meta
    assert torch.equal(model.body.weight, whole.body.weight)
    assert model.zoo.config["num_classes"] == 9
    assert model.zoo.labels() == ()
    assert (model.zoo.weights.metrics, model.zoo.weights.description) == ({}, "")
    assert not model.training


def test_the_weights_own_num_classes_keep_their_head(
    saved: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert torch.equal(zoo.load(saved, num_classes=3).head.weight, zoo.load(saved).head.weight)
    assert not [each for each in recwarn if issubclass(each.category, ZooWarning)]


def test_a_model_without_reset_classifier_says_so(register: Any, tmp_path: Path) -> None:
    register(card(factory="Headless"))
    folder = zoo.save(Headless(), tmp_path / "x", name="net")
    with pytest.raises(WeightsMismatchError, match="no reset_classifier"):
        zoo.load(folder, num_classes=5)


def test_a_model_without_weights_is_a_warning_unless_asked_for(register: Any) -> None:
    register(card())
    with pytest.warns(ZooWarning, match="randomly initialised"):
        zoo.load("net")
    assert zoo.load("net", pretrained=False).zoo.weights is None


def test_what_is_not_a_model_loads_without_weights_or_warning(register: Any) -> None:
    register(card(kind="sampler", factory="Sampler", config={"size": 5}))
    sampler = zoo.load("net", size=6)
    assert sampler.size == 6
    assert sampler.zoo.card.kind == "sampler"


def test_a_factory_of_another_kind_is_the_plugins_error(register: Any) -> None:
    register(card(factory="not_a_model"))
    with pytest.raises(PluginError, match="made a object, which is not a model"):
        zoo.load("net", pretrained=False)


def test_dtype_and_device_are_applied(saved: Path) -> None:
    model = zoo.load(saved, dtype=torch.bfloat16, device="cpu")
    assert {it.dtype for it in (*model.parameters(), *model.buffers())} == {torch.bfloat16}
    reference = zoo.load(saved)
    assert torch.equal(model.head.weight, reference.head.weight.bfloat16())
    assert zoo.load(saved, dtype=torch.float32).head.weight.dtype == torch.float32
    assert zoo.load("net", pretrained=False, device="meta").head.weight.is_meta


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "nowhere"}, "'nowhere' cannot be used"),
        ({"device": "meta"}, "holds no weights"),
        ({"dtype": torch.int8}, "expected a floating one"),
        ({"dtype": "float16"}, "expected a floating one"),
    ],
)
def test_a_bad_target_is_an_error_before_any_work(
    saved: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        zoo.load(saved, **options)


def test_training_a_loaded_model_does_not_write_to_its_file(saved: Path) -> None:
    before = (saved / "model.safetensors").read_bytes()
    model = zoo.load(saved)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.randn(2, 4)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model.head.weight, zoo.load(saved).head.weight)
    assert (saved / "model.safetensors").read_bytes() == before


def test_a_foreign_file_is_converted_and_what_only_it_knows_is_used(
    register: Any, served: None, tmp_path: Path
) -> None:
    source = Net(num_classes=11)
    torch.save({"model": source.state_dict(), "epoch": 3}, tmp_path / "x.pth")
    register(card(weights=(weights(tmp_path / "x.pth", converter=f"{THIS}:convert"),)))
    for _ in range(2):  # converted, then mapped
        model = zoo.load("net", cache_dir=tmp_path / "cache")
        assert torch.equal(model.head.weight, source.head.weight)
    assert model.zoo.config["num_classes"] == 11
    with pytest.warns(ZooWarning, match="initial values"):
        assert zoo.load("net", cache_dir=tmp_path / "cache", num_classes=2).head.out_features == 2


def test_a_foreign_file_without_or_with_an_unmarked_converter_is_an_error(
    register: Any, served: None, tmp_path: Path
) -> None:
    torch.save({"model": Net().state_dict()}, tmp_path / "x.pth")
    register(card(weights=(weights(tmp_path / "x.pth"),)))
    with pytest.raises(CheckpointError, match="states no converter"):
        zoo.load("net", cache_dir=tmp_path / "cache")
    register(card(weights=(weights(tmp_path / "x.pth", converter=f"{THIS}:unmarked"),)))
    with pytest.raises(PluginError, match="not marked"):
        zoo.load("net", cache_dir=tmp_path / "cache")
    register(card(weights=(weights(tmp_path / "x.pth", converter="no_such_module:f"),)))
    with pytest.raises(PluginError, match="cannot be imported"):
        zoo.load("net", cache_dir=tmp_path / "cache")


def test_a_digest_other_than_the_cards_is_an_error(
    register: Any, served: None, tmp_path: Path
) -> None:
    folder = tmp_path / "x"
    register(card())
    zoo.save(Net(), folder, name="net")
    file = folder / "model.safetensors"
    register(card(weights=(weights(file, sha256="0" * 64),)))
    with pytest.raises(DigestError, match="the card states 0000"):
        zoo.load("net", cache_dir=tmp_path / "cache")
    assert file.exists()  # it is the plugin's, not the cache's


def test_a_revision_is_refused_where_it_has_no_meaning(register: Any, tmp_path: Path) -> None:
    register(card(weights=(weights(tmp_path / "x"),)))
    with pytest.raises(ConfigError, match="has no meaning"):
        zoo.load("net", revision="main")


def test_several_threads_can_load_at_once(saved: Path) -> None:
    models: list[Any] = []
    threads = [threading.Thread(target=lambda: models.append(zoo.load(saved))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reference = zoo.load(saved).state_dict()
    assert len(models) == 8
    for model in models:
        assert all(torch.equal(value, reference[key]) for key, value in model.state_dict().items())


OFFICIAL = """
import sys, torch, zoo
model = zoo.load(sys.argv[1])
with torch.inference_mode():
    logits = model(torch.linspace(-2, 2, 3 * 64 * 64).reshape(1, 3, 64, 64))
print(model.zoo.weights.tag, tuple(logits.shape), f"{logits.double().sum().item():.6f}")
"""


def test_an_official_checkpoint_is_found_by_name_fetched_verified_and_loaded(
    tmp_path: Path,
) -> None:
    """A true-size RevCol-T in the authors' format, at the revision that the card pins."""
    from zoo_revcol.convert import to_megvii

    torch.manual_seed(0)
    source = zoo.load("revcol-t", pretrained=False)
    for name, parameter in source.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
    path = tmp_path / "official.pth"
    torch.save({"model": to_megvii(source.state_dict()), "config": HubFile("a", "b")}, path)
    file = HubFile.parse(zoo.info("revcol-t").weights[0].source)
    with HubServer() as hub:
        hub.add_file(file.repo, file.path, path)
        hub.pin(file.repo, file.revision)
        environment = hub.environment(tmp_path / "home") | {"ZOO_CACHE": str(tmp_path / "cache")}

        def run() -> str:
            return subprocess.run(
                [sys.executable, "-c", OFFICIAL, "revcol-t"],
                env={**os.environ, **environment},
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()

        first = run()
        requests = len(hub.requests)
        second = run()
        assert len(hub.requests) == requests  # from the cache, without a word to the server
        assert hub.count("GET", "official") + hub.count("GET", "revcol_tiny_1k") == 1
    with torch.inference_mode():
        logits = source(torch.linspace(-2, 2, 3 * 64 * 64).reshape(1, 3, 64, 64))
    assert first == second == f"in1k (1, 1000) {logits.double().sum().item():.6f}"


def test_pull_fetches_and_verifies_without_loading(
    register: Any, served: None, tmp_path: Path
) -> None:
    register(card())
    folder = zoo.save(Net(), tmp_path / "x", name="net")
    register(card(weights=(weights(folder / "model.safetensors"),)))
    first = loading.pull("net", cache_dir=tmp_path / "cache")
    assert first.path == folder / "model.safetensors"
    assert len(first.sha256) == 64
    register(card())
    with pytest.raises(UnknownNameError, match="no weights to fetch"):
        loading.pull("net")


class Derived(nn.Linear):
    """A network with an unsaved buffer that is computed from a parameter."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("total", self.weight.detach().sum(0), persistent=False)


def test_what_could_not_be_loaded_is_not_saved(register: Any, tmp_path: Path) -> None:
    register(card(factory="Derived"))
    with pytest.raises(SaveError, match="outside its state dict: total"):
        zoo.save(Derived(), tmp_path / "x", name="net")
    assert not (tmp_path / "x").exists()


class Waves(nn.Module):
    """A network with complex parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.waves = nn.Parameter(torch.ones(3, dtype=torch.complex64))
        self.real = nn.Parameter(torch.ones(3))


def test_complex_tensors_keep_their_imaginary_part(register: Any, tmp_path: Path) -> None:
    register(card(factory="Waves"))
    folder = zoo.save(Waves(), tmp_path / "x", name="net")
    for model in (
        zoo.load(folder, dtype=torch.float16),
        zoo.load("net", pretrained=False, dtype=torch.float16),
    ):
        assert (model.waves.dtype, model.real.dtype) == (torch.complex64, torch.float16)


def test_a_model_loaded_in_inference_mode_can_be_trained(saved: Path) -> None:
    with torch.inference_mode():
        model = zoo.load(saved)
        with pytest.warns(ZooWarning):
            other = zoo.load(saved, num_classes=2)
    for each in (model, other):
        each(torch.ones(1, 4)).sum().backward()
        assert each.head.weight.grad is not None


@pytest.mark.parametrize("name", [None, 5, b"x", [], ""])
def test_what_is_no_name_is_an_error(name: Any) -> None:
    for verb in (zoo.load, zoo.info):
        with pytest.raises(UnknownNameError, match="the name is"):
            verb(name)


@pytest.mark.parametrize(
    "name", ["x" * 5000, "./" + "x" * 5000, "~nobody-of-this-name/x", "./a\0b"]
)
def test_a_name_that_no_file_can_have_is_an_error(name: str) -> None:
    for verb in (zoo.load, zoo.info):
        with pytest.raises(ZooError) as caught:
            verb(name)
        assert "\0" not in str(caught.value)


def test_options_of_the_wrong_type_are_errors(saved: Path) -> None:
    for options in ({"pretrained": "no"}, {"pretrained": None}, {"revision": "main"}):
        with pytest.raises(ConfigError):
            zoo.load(saved, **options)
    for cache_dir in (5, "", "~nobody-of-this-name/x"):
        with pytest.raises(InputError, match="cache_dir is"):
            zoo.load(saved, cache_dir=cache_dir)


def test_a_mirror_serves_a_whole_repository(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def fetch(self: Plugins, weights: Weights, local_files_only: bool) -> Path | None:
        asked.append(weights.source)
        return saved / HubFile.parse(weights.source).path

    monkeypatch.setattr(Plugins, "fetch", fetch)
    assert zoo.load("hf-hub:a/b@v1", cache_dir=tmp_path / "cache").zoo.name == "mine/net"
    assert asked == ["hf://a/b/config.json@v1", "hf://a/b/model.safetensors@v1"]
