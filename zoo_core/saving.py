"""`save` and `push`: an object as a folder, or a repository of the Hub, that `load` reads back.

Three files: `model.safetensors` (or shards with an index) holds the tensors, `config.json` names
the card and the factory's arguments, `README.md` is the model card that the Hub shows.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo_core import estimators, folder, model_card
from zoo_core.cache import user_path
from zoo_core.card import Card, json_mapping
from zoo_core.checkpoint import TENSOR_FILES, TensorInfo, tensors_file, write_tensors
from zoo_core.errors import CardError, ConfigError, SaveError, WeightsMismatchError, enumeration
from zoo_core.factories import check_config, import_string
from zoo_core.interfaces import Estimator
from zoo_core.origin import Origin
from zoo_core.registry import resolve
from zoo_core.retries import first_line

README = "README.md"
_SHARDS = "model-*-of-*.safetensors"


def save(
    obj: Any,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    license: str | None = None,
    metrics: Mapping[str, float] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    description: str | None = None,
    shard_size: str | int = "5GB",
    skops: bool = False,
) -> Path:
    """Writes an object to a folder that `zoo.load` reads back, and returns the folder.

    What was said of the weights that `zoo.load` gave (license, metrics, labels, ...) is said of
    these, too, unless it is given anew; with another `config`, metrics, labels and description
    are left out. After training, give the metrics that you measured.

    The files are written beside the folder and moved into it when they are complete. Files that
    are not the zoo's stay as they are, and so does a README.md that is already there.

    Args:
        obj: a `torch.nn.Module`, with its tensors; an estimator, with what it learnt, by its
            `get_state`; or an explainer or a sampler, which is its configuration.
        path: the folder.
        name: the card it is of; needed only if it was not made by `zoo.load`.
        config: arguments of the factory that it was built with, over those `zoo.load` used.
        license: the SPDX identifier of the weights' licence, in lower case.
        metrics: what was measured, such as `{"test accuracy (%)": 98.1}`.
        preprocessing: keyword arguments of the card's `transform`.
        labels: the names of the outputs.
        description: one line on how the weights came to be.
        shard_size: the size above which a module's tensors are split into files.
        skops: let skops write what JSON and arrays cannot hold of an estimator, or the whole of
            one without `get_state`. Who loads it may have to name types that they trust.

    Raises:
        SaveError: it has no card, is not of a kind that can be saved, does not fit its
            configuration, or the folder cannot be written.
    """
    described = {
        "license": license,
        "metrics": metrics,
        "preprocessing": preprocessing,
        "labels": labels,
        "description": description,
    }
    if isinstance(labels, str):
        raise SaveError(f"labels is {labels!r}; expected a sequence of names.")
    sized = isinstance(shard_size, int) and not isinstance(shard_size, bool) and shard_size > 0
    if not (sized or isinstance(shard_size, str)):
        raise SaveError(f"shard_size is {shard_size!r}; expected bytes, or text such as '5GB'.")
    if not isinstance(skops, bool):
        raise SaveError(f"skops is {skops!r}; expected True or False.")
    obj = _unwrapped(obj)
    origin = _origin(obj, name, config, described, skops)
    _check_saveable(obj, origin, skops)
    target = user_path(path, "the folder")
    if target.exists() and not target.is_dir():
        raise SaveError(f"{target} exists and is not a folder.")
    made = [folder for folder in (target, *target.parents) if not folder.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".zoo-", dir=target) as scratch:
            _write(obj, origin, Path(scratch), shard_size, skops)
            _move_in(Path(scratch), target)
    except BaseException as error:
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()
        if isinstance(error, OSError):
            raise SaveError(f"cannot write {target}: {error.strerror or error}.") from error
        raise
    return target


def push(
    obj: Any,
    repo: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    message: str = "Upload with zoo.push",
    **description: Any,
) -> str:
    """Uploads an object to the Hub, creating the repository if need be, and returns its URL.

    `zoo.load("hf-hub:owner/name")` reads it back. A README.md that the repository has is kept.

    Args:
        obj: as for `save`.
        repo: "owner/name".
        private: whether a new repository is private; None is the owner's default.
        token: with write access; None uses the one stored by `hf auth login` or in HF_TOKEN.
        revision: the branch; None is the default one.
        message: of the commit.
        **description: the other arguments of `save`.

    Raises:
        SaveError: as `save`; or the Hub refused, or cannot be reached.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(prefix="zoo-push-") as scratch:
        written = save(obj, Path(scratch) / "upload", **description)
        api = HfApi(token=token)
        try:
            repo_id = api.create_repo(repo, private=private, exist_ok=True).repo_id
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            kept = api.file_exists(repo_id, README, revision=revision)
            readme = (written / README).read_text(encoding="utf-8")
            readme = readme.replace(model_card.PLACEHOLDER, f"hf-hub:{repo_id}")
            (written / README).write_text(readme, encoding="utf-8")
            api.upload_folder(
                repo_id=repo_id,
                folder_path=written,
                revision=revision,
                commit_message=message,
                ignore_patterns=[README] if kept else None,
                delete_patterns=[*TENSOR_FILES, _SHARDS],
            )
        except Exception as error:
            raise SaveError(f"{repo} cannot be pushed: {_refusal(error)}") from error
    return f"{api.endpoint}/{repo_id}"


def _refusal(error: Exception) -> str:
    """Why the Hub did not take an upload, and what to do about it, in one line."""
    from huggingface_hub.errors import HfHubHTTPError

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HfHubHTTPError) and status in (401, 403):
        return (
            f"the Hub answered {status}. Log in with `hf auth login`, or pass token= with a token "
            "that may write there."
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if reason.endswith(".") else f"{reason}."


def _unwrapped(obj: Any) -> Any:
    """The module inside `torch.compile`'s and the data parallel wrappers, if it is in one."""
    if "torch" in sys.modules:
        from torch.nn import DataParallel
        from torch.nn.parallel import DistributedDataParallel

        while True:
            if hasattr(obj, "_orig_mod"):
                obj = obj._orig_mod
            elif isinstance(obj, (DataParallel, DistributedDataParallel)):
                obj = obj.module
            else:
                break
    return obj


def _origin(
    obj: Any,
    name: str | None,
    config: Mapping[str, Any] | None,
    described: dict[str, Any],
    skops: bool,
) -> Origin:
    """Where the object comes from, with what the caller says of it."""
    origin = getattr(obj, "zoo", None)
    if name is not None:
        found = resolve(name)
        if not isinstance(origin, Origin) or origin.card != found.card:
            origin = Origin(found.full_name, found.card, dict(found.card.config), None)
    if not isinstance(origin, Origin):
        raise SaveError(
            f"this {type(obj).__name__} was not made by zoo.load, so its card is not known: pass "
            "name= (and config= with the factory's arguments)."
        )
    try:
        given = json_mapping({} if config is None else config, "config")
        known = origin.weights
        if known is not None and any(origin.config.get(key) != given[key] for key in given):
            known = replace(known, labels=(), metrics={}, description="")
        weights = folder.updated(known, described)
        factory, current = import_string(origin.card.factory), origin.config
        if origin.card.kind == "estimator" and isinstance(obj, Estimator):
            current = estimators.configuration(obj, factory, current, skops=skops)
        merged = json_mapping({**current, **given}, "config")
        check_config(factory, merged, origin.name)
    except (CardError, ConfigError, TypeError) as error:
        raise SaveError(f"this {type(obj).__name__} cannot be saved so: {error}") from error
    return replace(origin, config=merged, weights=weights)


def _check_saveable(obj: Any, origin: Origin, skops: bool) -> None:
    """Checks that what is written will load: the tensors are those that the configuration makes."""
    if _has_tensors(origin.card):
        import torch

        from zoo_core import lean

        if not isinstance(obj, torch.nn.Module):
            raise SaveError(
                f"{origin.name} is a torch.nn.Module; got an object of type {type(obj).__name__}."
            )
        infos = {}
        for name, tensor in obj.state_dict().items():
            if not isinstance(tensor, torch.Tensor) or tensor.is_meta:
                raise SaveError(f"{name} has no values to save: it is {_held(tensor)}.")
            infos[name] = TensorInfo.of(tensor)
        try:
            skeleton = lean.build(import_string(origin.card.factory), origin.config)
            lean.check_fit(skeleton, infos, "the object's tensors")
            lean.assign(skeleton, obj.state_dict().items())
            if empty := lean.left_on_meta(skeleton):
                raise WeightsMismatchError(f"tensors outside its state dict: {enumeration(empty)}.")
        except (WeightsMismatchError, ConfigError) as error:
            raise SaveError(
                f"this {type(obj).__name__} is not what {origin.name} makes of its configuration: "
                f"{error} Pass config= with what has changed since."
            ) from error
    elif origin.card.kind == "estimator":
        factory = import_string(origin.card.factory)
        estimators.check_made(obj, factory, origin.config, origin.name, skops=skops)


def _held(value: Any) -> str:
    return "on the meta device" if getattr(value, "is_meta", False) else f"a {type(value).__name__}"


def _has_tensors(card: Card) -> bool:
    return card.kind == "model"


def _write(obj: Any, origin: Origin, scratch: Path, shard_size: str | int, skops: bool) -> None:
    if _has_tensors(origin.card):
        try:
            write_tensors(obj.state_dict(), scratch, shard_size)
        except OSError:
            raise
        except Exception as error:  # a tensor of a kind that safetensors does not know
            reason = first_line(error)
            raise SaveError(f"the tensors cannot be written: {reason}.") from error
    elif origin.card.kind == "estimator":
        estimators.write(obj, scratch / TENSOR_FILES[0], skops=skops)
    tensors = tensors_file(scratch)
    content = folder.describe(origin, tensors.name if tensors else None)
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    (scratch / folder.CONFIG).write_text(text, encoding="utf-8")
    plugin = resolve(origin.name).plugin
    text = model_card.text(origin, plugin.distribution)
    (scratch / README).write_text(text, encoding="utf-8")


def _move_in(scratch: Path, target: Path) -> None:
    """Puts the finished files in place of earlier ones, or, if that fails, leaves those."""
    fresh = list(scratch.iterdir())
    if (target / README).exists():
        fresh.remove(scratch / README)
    replaced = {*(path.name for path in fresh), *TENSOR_FILES}
    replaced |= {path.name for path in target.glob(_SHARDS)}
    previous = scratch / "previous"
    previous.mkdir()
    try:
        for name in sorted(replaced):
            if os.path.lexists(target / name):
                (target / name).rename(previous / name)
        for path in fresh:
            path.rename(target / path.name)
    except BaseException:
        for path in fresh:
            if not os.path.lexists(path):
                (target / path.name).unlink()
        for path in previous.iterdir():
            path.rename(target / path.name)
        raise
