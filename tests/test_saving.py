"""What `zoo.save` and `zoo.push` write, `zoo.load` reads back; nothing else is touched."""

from __future__ import annotations

import copy
import json
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open

import zoo
from tests.conftest import in_one_line
from tests.hub_server import HubServer
from tests.plugin_env import NET, TRANSFORM, Site, site_fixture  # noqa: F401
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    FetchError,
    SaveError,
    UnknownNameError,
    ZooError,
)
from zoo_core.plugins import installed

PLUGIN = """
from zoo_core import Card, Paper, hookimpl

PAPER = Paper(title="On: Nets | #1", authors=("Ada L.",), venue="ICLR", year=2023,
              arxiv="2212.11696")

@hookimpl
def zoo_cards():
    shared = {"summary": "A net", "task": "image-classification", "paper": PAPER}
    module = "zoo_tiny_pkg.model:"
    return [
        Card(name="tiny-net", kind="model", factory=module + "Net", config={"width": 6},
             transform="zoo_tiny_pkg.transform:Transform", **shared),
        Card(name="other-net", kind="model", factory=module + "Net", **shared),
        Card(name="tiny-sampler", kind="sampler", factory=module + "Sampler", **shared),
        Card(name="tiny-forest", kind="estimator", factory=module + "Forest", **shared),
    ]
"""
MORE = """
class Sampler:
    def __init__(self, count: int = 3) -> None:
        self.count = count

    def sample(self, seeds, seed_times, **kwargs):
        return seeds

class Forest:
    def fit(self, X, y=None): return self
    def get_params(self, deep=True): return {}
    def set_params(self, **params): return self
"""
DESCRIBED: dict[str, Any] = {
    "license": "bsd-3-clause",
    "metrics": {"accuracy (%)": 97.25, "a|b": 1},
    "preprocessing": {"size": 2},
    "labels": ["cat", "dög", "ant"],
    "description": "Trained on: #hashes, 'quotes' and \"more\"",
}
INPUT = torch.linspace(-1, 1, 24).reshape(2, 12)


@pytest.fixture(autouse=True)
def tiny(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install(
        "tiny",
        PLUGIN,
        distribution="a-tiny-zoo",
        files={"model.py": NET + MORE, "transform.py": TRANSFORM},
    )
    monkeypatch.setenv("ZOO_PLUGINS", "tiny,revcol")
    site.activate()


def made(name: str = "tiny-net", **config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.load(name, pretrained=False, **config)


def same(one: Any, other: Any) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(value, states[1][name]) for name, value in states[0].items()
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def edited(folder: Path, **changes: Any) -> Path:
    """Changes keys of a folder's config.json; `...` removes one."""
    file = folder / "config.json"
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return folder


def refused(*arguments: Any, **more: Any) -> str:
    with pytest.raises(SaveError) as caught:
        zoo.save(*arguments, **more)
    return in_one_line(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return zoo.save(made(num_classes=3), tmp_path / "saved", **DESCRIBED)


# A round trip


def test_a_saved_model_comes_back_with_identical_outputs(tmp_path: Path) -> None:
    model = made(num_classes=5)
    assert zoo.save(model, tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == {"config.json", "model.safetensors", "README.md"}
    back = zoo.load(tmp_path / "a" / "b")
    assert same(model, back)
    assert torch.equal(model(INPUT), back(INPUT))
    assert not back.training
    assert back.zoo.config == {"width": 6, "num_classes": 5}
    assert back.zoo.name == "tiny/tiny-net"


def test_a_network_of_the_zoo_comes_back_with_identical_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = zoo.load(
        "revcol-t", pretrained=False, channels=[4, 8, 12, 16], layers=[1, 1, 1, 1],
        num_columns=2, num_classes=5,
    )  # fmt: skip
    zoo.save(model, tmp_path / "saved", shard_size=20_000)
    back = zoo.load(tmp_path / "saved")
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(image), back(image))


def test_what_is_said_of_the_weights_survives_and_survives_again(
    saved: Path, tmp_path: Path
) -> None:
    for folder in (saved, zoo.save(zoo.load(saved), tmp_path / "again")):
        back = zoo.load(folder)
        weights = back.zoo.weights
        assert weights.license == "bsd-3-clause"
        assert weights.metrics == DESCRIBED["metrics"]
        assert weights.preprocessing == {"size": 2}
        assert weights.description == DESCRIBED["description"]
        assert back.zoo.labels() == ("cat", "dög", "ant")
        assert back.zoo.transform().size == 2


def test_what_is_said_anew_replaces_only_that(saved: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(saved), tmp_path / "b", labels=("x", "y", "z"), metrics={})
    weights = zoo.load(tmp_path / "b").zoo.weights
    assert (weights.labels, weights.metrics, weights.license) == (
        ("x", "y", "z"),
        {},
        "bsd-3-clause",
    )


def test_dtypes_are_kept(tmp_path: Path) -> None:
    zoo.save(made().to(torch.bfloat16), tmp_path / "saved")
    dtypes = {name: it.dtype for name, it in zoo.load(tmp_path / "saved").state_dict().items()}
    assert dtypes.pop("norm.num_batches_tracked") == torch.int64
    assert set(dtypes.values()) == {torch.bfloat16}


def test_a_sampler_is_its_configuration(tmp_path: Path) -> None:
    zoo.save(zoo.load("tiny-sampler", count=7), tmp_path / "saved")
    assert names(tmp_path / "saved") == {"config.json", "README.md"}
    assert zoo.load(tmp_path / "saved").count == 7


def test_tied_parameters_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    for shard_size in ("5GB", 300):
        zoo.save(made(tied=True), tmp_path / "saved", shard_size=shard_size)
        stored: list[str] = []
        for file in (tmp_path / "saved").glob("*.safetensors"):
            with safe_open(file, framework="pt") as opened:
                stored += opened.keys()
        assert len({"body.weight", "again.weight"} & set(stored)) == 1
        back = zoo.load(tmp_path / "saved")
        assert back.again.weight is back.body.weight
        assert same(back, made(tied=True))


def test_copies_and_pickles_keep_their_origin(saved: Path, tmp_path: Path) -> None:
    back = zoo.load(saved)
    for other in (copy.deepcopy(back), copy.copy(back), pickle.loads(pickle.dumps(back))):  # noqa: S301
        assert other.zoo == back.zoo
        zoo.save(other, tmp_path / "again")
        assert same(zoo.load(tmp_path / "again"), back)


def test_a_compiled_or_parallel_module_is_saved_as_the_module_inside(tmp_path: Path) -> None:
    model = made()
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model)):
        zoo.save(wrapped, tmp_path / "saved")
        assert same(zoo.load(tmp_path / "saved"), model)


# The folder


def test_shards_come_back_and_a_later_single_file_leaves_none_of_them(tmp_path: Path) -> None:
    target = tmp_path / "saved"
    model = made()
    zoo.save(model, target, shard_size=200)
    sharded = names(target)
    assert "model.safetensors.index.json" in sharded
    assert len([name for name in sharded if name.startswith("model-")]) > 1
    assert same(zoo.load(target), model)
    zoo.save(model, target)
    assert names(target) == {"config.json", "model.safetensors", "README.md"}
    zoo.save(model, target, shard_size=200)
    assert names(target) == sharded
    zoo.save(zoo.load("tiny-sampler"), target)
    assert names(target) == {"config.json", "README.md"}


def test_files_that_are_not_the_zoos_stay(tmp_path: Path) -> None:
    own = {"README.md": "mine", "notes.txt": "x", "model_ema.safetensors": "y", "events/1": "z"}
    for name, text in own.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    zoo.save(made(), tmp_path)
    assert {name: (tmp_path / name).read_text() for name in own} == own
    assert same(zoo.load(tmp_path), made())


def test_files_have_the_usual_modes(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    for shard_size in ("5GB", 200):
        zoo.save(made(), tmp_path / "saved", shard_size=shard_size)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "saved").iterdir()}
        assert modes == {stat.S_IMODE(usual.stat().st_mode)}


def test_saving_over_the_folder_it_was_loaded_from_harms_neither(tmp_path: Path) -> None:
    target = zoo.save(made(), tmp_path / "saved")
    loaded = zoo.load(target)  # its tensors are maps of the file
    bystander = zoo.load(target)
    before = copy.deepcopy(bystander.state_dict())
    with torch.no_grad():
        loaded.body.weight.add_(1)
    expected = copy.deepcopy(loaded.state_dict())
    zoo.save(loaded, target)
    for model, state in ((loaded, expected), (bystander, before), (zoo.load(target), expected)):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_training_a_loaded_model_never_changes_the_file(tmp_path: Path) -> None:
    file = zoo.save(made(), tmp_path / "saved") / "model.safetensors"
    content = file.read_bytes()
    model = zoo.load(tmp_path / "saved").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        model(INPUT).square().sum().backward()
        optimizer.step()
    assert not same(model, made())
    assert file.read_bytes() == content


def test_a_home_folder_is_expanded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(site.home))
    zoo.save(made(), "~/saved")
    assert same(zoo.load("~/saved"), made())
    assert (site.home / "saved").is_dir()


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert refused(made(), file) == f"{file} exists and is not a folder."
    assert f"cannot write {file / 'b' / 'c'}: Not a directory." in refused(made(), file / "b" / "c")
    assert "cannot write /proc/zoo/saved" in refused(made(), "/proc/zoo/saved")
    too_long = tmp_path / "new" / ("x" * 300)
    assert "File name too long" in refused(made(), too_long)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "/somewhere")

    monkeypatch.setattr("zoo_core.saving.write_tensors", full)
    assert "cannot write" in refused(made(), tmp_path / "a" / "b")
    assert names(tmp_path) - {"site", "home"} == {"file"}


def test_what_was_there_stays_when_saving_over_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made()
    target = zoo.save(model, tmp_path / "saved")
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    for error in (OSError("full"), KeyboardInterrupt(), RuntimeError("strange tensors")):

        def fail(*_: Any, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("zoo_core.saving.write_tensors", fail)
        with pytest.raises((SaveError, KeyboardInterrupt)):
            zoo.save(made(num_classes=9), target)
        assert {path.name: path.read_bytes() for path in target.iterdir()} == before


# What cannot be saved


def test_an_object_that_zoo_load_did_not_make_needs_its_name(tmp_path: Path) -> None:
    import zoo_tiny_pkg.model

    own = zoo_tiny_pkg.model.Net(width=6, num_classes=2)
    assert "pass name=" in refused(own, tmp_path / "a")
    assert refused(own, tmp_path / "a", name="tiny-net").startswith(
        "this Net is not what tiny/tiny-net makes of its configuration: "
    )
    zoo.save(own, tmp_path / "a", name="tiny-net", config={"num_classes": 2})
    assert same(zoo.load(tmp_path / "a"), own.eval())
    with pytest.raises(UnknownNameError, match="unknown name 'tinny-net'"):
        zoo.save(own, tmp_path / "a", name="tinny-net")
    assert "tiny/tiny-net is a torch.nn.Module; got an object of type dict." in refused(
        {"a": 1}, tmp_path / "b", name="tiny-net"
    )


def test_a_name_given_wins_over_the_origin(tmp_path: Path) -> None:
    zoo.save(made(width=4), tmp_path / "saved", name="other-net")
    assert zoo.load(tmp_path / "saved").zoo.name == "tiny/other-net"


def test_tensors_that_are_not_those_of_the_configuration_are_refused(tmp_path: Path) -> None:
    model = made()
    model.reset_classifier(7)
    message = refused(model, tmp_path / "saved")
    assert "another shape: head.weight ([7, 6] stored, [3, 6] expected)" in message
    assert message.endswith("Pass config= with what has changed since.")
    zoo.save(model, tmp_path / "saved", config={"num_classes": 7})
    assert zoo.load(tmp_path / "saved").zoo.config["num_classes"] == 7
    model.extra = torch.nn.Linear(1, 1)
    assert "unexpected: extra.weight, extra.bias" in refused(
        model, tmp_path / "b", config={"num_classes": 7}
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"widht": 3}}, "takes no argument 'widht'. Did you mean width?"),
        ({"config": {"width": 0}}, "width is 0; expected at least 1"),
        ({"config": {"width": torch.float32}}, "config['width'] is torch.float32, a dtype"),
        ({"config": {"width": float("nan")}}, "config['width'] is nan"),
        ({"config": 5}, "cannot be saved so: config is 5; expected a mapping"),
        ({"license": "MIT"}, "license is 'MIT'"),
        ({"metrics": {"acc": float("nan")}}, "metrics['acc'] is nan"),
        ({"metrics": {"acc": torch.tensor(1.0)}}, "metrics['acc'] is tensor(1.), a Tensor"),
        ({"metrics": {"acc": "high"}}, "metrics['acc'] is 'high'; expected a number"),
        ({"preprocessing": {"mean": {1}}}, "preprocessing['mean'] is {1}, a set"),
        ({"labels": "cat"}, "labels is 'cat'; expected a sequence of names"),
        ({"labels": [1, 2]}, "labels holds 1; expected non-empty strings"),
        ({"labels": 5}, "labels is 5"),
        ({"description": "two\nlines"}, "description is 'two\\nlines'"),
        ({"shard_size": "many"}, "the tensors cannot be written"),
    ],
)
def test_what_is_said_of_the_object_is_checked(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    assert message in refused(made(), tmp_path / "saved", **arguments)
    assert not (tmp_path / "saved").exists()


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    path = zoo.save(made(width=numpy.int64(6)), tmp_path / "saved", metrics={"a": numpy.float32(3)})
    assert zoo.load(path).zoo.config["width"] == 6
    assert zoo.load(path).zoo.weights.metrics == {"a": 3.0}


def test_arguments_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    model = made(width=6)
    for value in ({6}, 6j, numpy.ones(2), torch.ones(2)):
        message = refused(model, tmp_path / "saved", config={"width": value})
        assert f"a {type(value).__name__}; expected a value that JSON has" in message


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    model = made(device="meta")
    assert "body.weight has no values to save: it is on the meta device." in refused(
        model, tmp_path / "saved"
    )
    model = made()
    type(model).get_extra_state = lambda self: {"a": 1}
    assert "_extra_state has no values to save: it is a dict." in refused(model, tmp_path / "saved")


def test_an_estimator_is_told_where_to_go(tmp_path: Path) -> None:
    assert "skops" in refused(zoo.load("tiny-forest"), tmp_path / "saved")


# The model card


def test_the_model_card_is_what_the_hub_reads(saved: Path) -> None:
    card = ModelCard.load(saved / "README.md")
    assert card.data.license == "bsd-3-clause"
    assert card.data.library_name == "zoo-core"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.tags == ["zoo", "tiny", "model", "arxiv:2212.11696"]
    for part in (
        "# tiny-net\n",
        "A net\n",
        DESCRIBED["description"],
        "`pip install zoo-core a-tiny-zoo`",
        "| accuracy (%) | 97.25 |",
        r"| a\|b | 1 |",
        "| `width` | `6` |",
        "Ada L.: On: Nets | #1. ICLR 2023. https://arxiv.org/abs/2212.11696",
    ):
        assert part in card.text


def test_a_model_card_without_anything_said_is_valid_too(tmp_path: Path) -> None:
    zoo.save(made(), tmp_path / "saved")
    data = ModelCard.load(tmp_path / "saved" / "README.md").data
    assert (data.license, data.library_name) == ("other", "zoo-core")


# config.json, which anyone may have written


def test_code_that_a_config_json_names_is_never_imported(saved: Path, site: Site) -> None:
    (site.path / "canary.py").write_text(f"open({str(site.home / 'sung')!r}, 'w').close()\n")
    code = dict.fromkeys(("factory", "converter", "transform", "labels", "source"), "canary:sing")
    described = json.loads((saved / "config.json").read_text())["weights"]
    edited(saved, **code, weights=described | code | {"labels": ["a"], "config": {"canary": 1}})
    back = zoo.load(saved)
    assert back.zoo.labels() == ("a",)
    assert back.zoo.transform().size == 2
    assert back.zoo.weights.converter is None
    edited(saved, weights=described | {"labels": "canary:sing"})
    with pytest.raises(CheckpointError, match="labels is not a list"):
        zoo.load(saved)
    edited(saved, weights={}, config={"width": "canary:sing"})
    with pytest.raises(ZooError):
        zoo.load(saved)
    edited(saved, name="canary:sing")
    with pytest.raises(CheckpointError, match="name"):
        zoo.load(saved)
    assert not (site.home / "sung").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zoo_format": 2}, "has the format 2; this version reads 1. Upgrade zoo-core"),
        ({"zoo_format": 2, "name": ...}, "has the format 2"),
        ({"zoo_format": "1"}, "was not written by zoo.save"),
        ({"zoo_format": ...}, "was not written by zoo.save: it has no zoo_format"),
        ({"name": ...}, "name is missing or not valid; expected plugin/NAME"),
        ({"name": 5}, "name is missing or not valid"),
        ({"name": "tiny-net"}, "name is missing or not valid"),
        ({"name": "tiny/tiny-net\n\x1b[2J"}, "name is missing or not valid"),
        ({"name": "tiny; rm/tiny-net"}, "name is missing or not valid"),
        ({"config": ...}, "config is missing or not valid"),
        ({"config": [1]}, "config is missing or not valid"),
        ({"config": {"width": float("nan")}}, "config['width'] is nan"),
        ({"weights": ...}, "weights is missing or not valid"),
        ({"weights": None}, "weights is missing or not valid"),
        ({"weights": {"license": None}}, "license is None"),
        ({"weights": {"metrics": {"acc": float("nan")}}}, "metrics['acc'] is nan"),
        ({"weights": {"metrics": {"acc": "high"}}}, "metrics['acc'] is 'high'"),
        ({"weights": {"preprocessing": 5}}, "preprocessing is 5"),
        ({"weights": {"labels": [1]}}, "labels holds 1"),
        ({"weights": {"description": "a\nb"}}, "description is"),
        ({"tensors": "../saved/model.safetensors"}, "tensors is missing or not valid"),
        ({"tensors": "/etc/passwd"}, "tensors is missing or not valid"),
        ({"tensors": "pytorch_model.bin"}, "tensors is missing or not valid"),
        ({"tensors": ["model.safetensors"]}, "tensors is missing or not valid"),
        ({"tensors": {}}, "tensors is missing or not valid"),
    ],
)
def test_a_config_json_that_is_not_valid_is_refused(
    saved: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        zoo.load(edited(saved, **changes))
    text = in_one_line(caught.value)
    assert message in text
    assert "\x1b" not in text


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", "null", "[" * 100_000, "\x00", '{"a": 1}'])
def test_a_config_json_that_is_something_else_is_refused(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        zoo.load(saved)


def test_a_config_json_of_other_bytes_is_refused(saved: Path) -> None:
    (saved / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        zoo.load(saved)


def test_a_plugin_that_is_not_installed_is_named_with_what_to_install(saved: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        zoo.load(edited(saved, name="fancy/fancy-net"))
    message = in_one_line(caught.value)
    assert "was saved from fancy/fancy-net" in message
    assert message.endswith("`pip install -U zoo-fancy`.")
    with pytest.raises(UnknownNameError, match=r"unknown name 'tiny/new-net'.*install -U zoo-tiny"):
        zoo.load(edited(saved, name="tiny/new-net"))


def test_a_blocked_plugin_is_said_to_be_blocked(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_PLUGINS", "")
    installed.cache_clear()
    with pytest.raises(UnknownNameError, match=r"Blocked by ZOO_PLUGINS: .*tiny"):
        zoo.load(saved)


def test_preprocessing_that_does_not_suit_the_transform_is_an_error(saved: Path) -> None:
    back = zoo.load(edited(saved, weights={"preprocessing": {"nonsense": 1}}))
    with pytest.raises(ConfigError, match=r"the preprocessing of tiny/tiny-net: .*nonsense"):
        back.zoo.transform()


# Publishing


@pytest.fixture
def push(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def push(obj: Any, repo: str = "tester/net", **more: Any) -> str:
        return zoo.push(obj, repo, **{"token": hub.token} | more)

    return push


def content(hub: HubServer, branch: str = "main") -> dict[str, bytes]:
    repo = hub.repos["tester/net"]
    files = repo.commits[repo.branches[branch]]
    return {path: b"".join(blob.chunks(0, blob.size)) for path, blob in files.items()}


def test_what_is_pushed_is_what_is_saved_and_loads_back(
    push: Any, hub: HubServer, tmp_path: Path
) -> None:
    model = made()
    assert push(model, **DESCRIBED) == f"{hub.url}/tester/net"
    local = {
        path.name: path.read_bytes()
        for path in zoo.save(model, tmp_path / "s", **DESCRIBED).iterdir()
    }
    online = content(hub)
    assert online.keys() == local.keys() | {".gitattributes"}
    for name in ("config.json", "model.safetensors"):
        assert online[name] == local[name]
    assert b'zoo.load("hf-hub:tester/net")' in online["README.md"]
    assert b"OWNER" not in online["README.md"]
    back = zoo.load("hf-hub:tester/net")
    assert same(back, model)
    assert back.zoo.labels() == ("cat", "dög", "ant")
    assert same(zoo.load("hf-hub:tester/net", local_files_only=True), model)


def test_a_name_without_owner_is_the_users_own(push: Any, hub: HubServer) -> None:
    assert push(made(), "net") == f"{hub.url}/tester/net"


def test_every_revision_loads(push: Any, hub: HubServer) -> None:
    first, second = made(), made(width=9)
    push(first)
    commit = hub.repos["tester/net"].branches["main"]
    push(second)
    push(made(num_classes=8), revision="wide")
    assert same(zoo.load("hf-hub:tester/net"), second)
    assert same(zoo.load(f"hf-hub:tester/net@{commit}"), first)
    assert zoo.load("hf-hub:tester/net@wide").head.out_features == 8
    assert zoo.load("hf-hub:tester/net", revision="wide").head.out_features == 8


def test_a_second_push_keeps_the_readme_and_what_is_the_users_and_removes_stale_shards(
    push: Any, hub: HubServer
) -> None:
    push(made(), shard_size=200)
    assert "model.safetensors.index.json" in content(hub)
    own = {
        "README.md": b"---\nlicense: mit\n---\nmine\n",
        "model_ema.safetensors": b"x",
        "a/b": b"y",
    }
    hub.add_files("tester/net", own)
    push(made(width=5))
    online = content(hub)
    zoos = {"config.json", "model.safetensors", ".gitattributes"}
    assert online.keys() == own.keys() | zoos
    assert {name: online[name] for name in own} == own
    assert same(zoo.load("hf-hub:tester/net"), made(width=5))


def test_pushing_the_same_again_changes_nothing(push: Any, hub: HubServer) -> None:
    push(made())
    before = hub.repos["tester/net"].branches["main"]
    push(made())
    assert hub.repos["tester/net"].branches["main"] == before
    assert same(zoo.load("hf-hub:tester/net"), made())


def test_a_private_repository_needs_the_token(push: Any, hub: HubServer) -> None:
    push(made(), private=True)
    assert hub.repos["tester/net"].token == hub.token
    with pytest.raises(FetchError, match="or it is private"):
        zoo.load("hf-hub:tester/net")
    assert same(zoo.load("hf-hub:tester/net", token=hub.token), made())


@pytest.mark.parametrize("token", [None, False, "hf_wrong"])
def test_without_the_right_token_nothing_is_published(
    push: Any, hub: HubServer, token: Any
) -> None:
    with pytest.raises(SaveError) as caught:
        push(made(), token=token)
    message = in_one_line(caught.value)
    assert message.startswith("tester/net cannot be pushed: the Hub answered 401. Log in with")
    assert not hub.repos


def test_what_goes_wrong_at_the_hub_is_said_in_one_line(
    push: Any, hub: HubServer, naps: list[float]
) -> None:
    for path in ("/api/repos/create", "/preupload/", "/commit/", "/lfs/objects/batch"):
        hub.fail(None, path_contains=path, status=500)
        with pytest.raises(SaveError, match=r"tester/net cannot be pushed: .*500") as caught:
            push(made())
        in_one_line(caught.value)
        hub.heal()
    with pytest.raises(SaveError, match="a/b/c cannot be pushed: Repo id must"):
        push(made(), "a/b/c")
    hub.close()
    with pytest.raises(SaveError, match="cannot be pushed: "):
        push(made())


def test_what_cannot_be_saved_creates_no_repository(push: Any, hub: HubServer) -> None:
    with pytest.raises(SaveError, match="license"):
        push(made(), license="MIT")
    with pytest.raises(TypeError, match="colour"):
        push(made(), colour="red")
    assert not hub.requests


def test_what_was_said_of_another_head_is_not_said_of_this_one(tmp_path: Path) -> None:
    first = zoo.save(made(num_classes=3), tmp_path / "first", **DESCRIBED)
    model = zoo.load(first)
    assert zoo.load(zoo.save(model, tmp_path / "same")).zoo.labels() == ("cat", "dög", "ant")
    with pytest.warns(zoo.ZooWarning):
        model = zoo.load(first, num_classes=5)
    del model.zoo
    path = zoo.save(model, tmp_path / "other", name="tiny-net", config={"num_classes": 5})
    assert zoo.load(path).zoo.labels() == ()


def test_another_config_drops_labels_metrics_and_description(tmp_path: Path) -> None:
    model = zoo.load(zoo.save(made(num_classes=3), tmp_path / "first", **DESCRIBED))
    model.head = torch.nn.Linear(model.head.in_features, 2)
    weights = zoo.load(zoo.save(model, tmp_path / "x", config={"num_classes": 2})).zoo.weights
    assert (weights.labels, weights.metrics, weights.description) == ((), {}, "")
    assert weights.license == "bsd-3-clause"
    named = zoo.save(model, tmp_path / "y", config={"num_classes": 2}, labels=["a", "b"])
    assert zoo.load(named).zoo.labels() == ("a", "b")


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_an_overwrite_that_fails_leaves_the_earlier_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    folder = zoo.save(made(num_classes=3), tmp_path / "x")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == failing:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        zoo.save(made(num_classes=5), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_wrapper_in_a_wrapper_is_taken_off(tmp_path: Path) -> None:
    model = made()
    wrapped = torch.nn.DataParallel(torch.compile(model))
    assert same(zoo.load(zoo.save(wrapped, tmp_path / "x")), model)


@pytest.mark.parametrize("size", [0, -1, True, None, [], "five"])
def test_a_shard_size_that_is_none_is_refused(tmp_path: Path, size: Any) -> None:
    refused(made(), tmp_path / "x", shard_size=size)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("path", [None, 5, "", "a\0b", "x" * 5000, "~nobody-of-this-name/x"])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(zoo.ZooError, match="no usable path"):
        zoo.save(made(), path)
