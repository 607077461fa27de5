"""Registers the models in timm: `import zoo_revcol.timm_models`, then `timm.create_model`.

The names are timm's, `revcol_tiny` to `revcol_huge` and `revcol_nano`, with the tags of the zoo's
weights, such as `revcol_base.in22k_ft_in1k_384`. All that a configuration says comes from the
cards. The zoo fetches, verifies and keeps pretrained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch import nn

from zoo_core.card import Card, HubFile, Weights
from zoo_core.errors import ConfigError
from zoo_core.factories import check_config
from zoo_core.loading import load
from zoo_revcol.convert import backbone_from_megvii, from_megvii
from zoo_revcol.inputs import MIN_IMAGE_SIZE
from zoo_revcol.model import RevCol
from zoo_revcol.official import part_of
from zoo_revcol.plugin import zoo_cards
from zoo_revcol.released import preprocessing
from zoo_revcol.timm_data import timm_data

timm_data()  # says in one line what is wrong with timm, where the import below would not

from timm.models import (  # noqa: E402
    adapt_input_conv,
    build_model_with_cfg,
    generate_default_cfgs,
    get_pretrained_cfg,
    register_model,
    resolve_pretrained_cfg,
)

LEVELS = (0, 1, 2, 3)
_FACTORY = "zoo_revcol.model:RevCol"
NUM_CLASSES = signature(RevCol).parameters["num_classes"].default
_UNKNOWN = -1  # timm's number of classes where only the file knows it
_SOURCE = ("source", "file", "url", "state_dict", "hf_hub_id", "hf_hub_filename")


def _name(card: Card) -> str:
    return (*card.aliases, card.name)[0].replace("-", "_")


_CARDS = {_name(card): card for card in zoo_cards() if card.factory == _FACTORY}


def _configuration(card: Card, weights: Weights | None) -> dict[str, Any]:
    """What timm wants to know of weights, or of a card that has none."""
    prepared = weights.preprocessing if weights else preprocessing(224)
    data = {key: tuple(it) if isinstance(it, list) else it for key, it in prepared.items()}
    channels, *size = data["input_size"]
    configuration = {
        **data,
        "min_input_size": (channels, MIN_IMAGE_SIZE, MIN_IMAGE_SIZE),
        "pool_size": tuple(side // MIN_IMAGE_SIZE for side in size),
        "first_conv": "stem.conv",
        "classifier": "head.fc",
    }
    if card.paper:
        paper = card.paper
        configuration |= {
            "paper_name": paper.title,
            "paper_ids": f"arXiv:{paper.arxiv}",
            "origin_url": paper.code,
        }
    if weights is None:
        return configuration
    if weights.source.startswith("hf://"):
        file = HubFile.parse(weights.source)
        source = {"hf_hub_id": f"{file.repo}@{file.revision}", "hf_hub_filename": file.path}
    else:
        source = {"url": weights.source}
    unstated = NUM_CLASSES if weights.labels else _UNKNOWN
    return {
        **configuration,
        **source,
        "num_classes": weights.config.get("num_classes", unstated),
        "license": weights.license,
        "description": weights.description,
    }


default_cfgs = generate_default_cfgs(
    {
        ".".join((name, *([weights.tag] if weights else []))): _configuration(card, weights)
        for name, card in _CARDS.items()
        for weights in card.weights or (None,)
    }
)


def _create(
    card: Card,
    pretrained: bool,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    cache_dir: str | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Makes a model for `timm.create_model`, whose arguments these are.

    Weights come from the zoo; timm itself reads those of another source that the caller states.
    """
    name = _name(card)
    resolved = resolve_pretrained_cfg(name, pretrained_cfg, pretrained_cfg_overlay)
    weights = next((each for each in card.weights if each.tag == resolved.tag), None)
    from_the_zoo = weights is not None and _same_source(resolved, f"{name}.{weights.tag}")

    if pretrained and not (resolved.has_weights or resolved.state_dict):
        raise ConfigError(f"{name} has no pretrained weights; pass pretrained=False.")

    def build(**arguments: Any) -> RevCol:
        check_config(RevCol, arguments, name)
        if pretrained and weights is not None and from_the_zoo:
            return _pretrained(card, weights, arguments, cache_dir)
        return _untrained(card, weights, arguments)

    return build_model_with_cfg(
        build,
        name,
        pretrained and not from_the_zoo,
        pretrained_cfg=resolved.to_dict(),
        feature_cfg={"out_indices": LEVELS, "feature_cls": "getter"},
        pretrained_filter_fn=_in_our_names,
        **({} if cache_dir is None else {"cache_dir": cache_dir}),
        **kwargs,
    )


def _same_source(resolved: Any, name: str) -> bool:
    registered = get_pretrained_cfg(name)
    return all(getattr(resolved, field) == getattr(registered, field) for field in _SOURCE)


def _in_our_names(state_dict: dict[str, Any], model: RevCol) -> dict[str, Any]:
    """Lets timm read checkpoints of the official code, too."""
    if "stem.conv.weight" in state_dict:
        return state_dict
    classifies = part_of(state_dict) == "classifier"
    return (from_megvii if classifies else backbone_from_megvii)(state_dict)


def _untrained(card: Card, weights: Weights | None, arguments: Mapping[str, Any]) -> RevCol:
    """Builds the model that the weights are for; what was asked for comes first."""
    config = {**card.config, **(weights.config if weights else {}), **arguments}
    dropped = (
        "global_pool" if config.get("num_classes", NUM_CLASSES) else "intermediate_supervision"
    )
    if dropped not in arguments:
        config.pop(dropped, None)
    return RevCol(**config)


def _pretrained(
    card: Card, weights: Weights, arguments: Mapping[str, Any], cache_dir: str | None
) -> RevCol:
    """Loads the weights, then gives the model the head and the input that were asked for."""
    adapted = ("num_classes", "global_pool", "in_chans")
    own = {key: value for key, value in arguments.items() if key not in adapted}
    model: RevCol = load(f"revcol/{card.name}.{weights.tag}", cache_dir=cache_dir, **own)
    num_classes = arguments.get("num_classes", model.num_classes)
    pool = arguments.get("global_pool", "avg" if num_classes else model.head.global_pool)
    in_chans = arguments.get("in_chans", model.in_chans)
    changes = {"num_classes": num_classes, "global_pool": pool, "in_chans": in_chans}
    if changes == {
        "num_classes": model.num_classes,
        "global_pool": model.head.global_pool,
        "in_chans": model.in_chans,
    }:
        return model.train()
    if (num_classes, pool) != (model.num_classes, model.head.global_pool):
        model.reset_classifier(num_classes, pool)
    if in_chans != model.in_chans:
        _change_input(model, in_chans)
    origin = model.zoo
    model.zoo = replace(origin, config={**origin.config, **changes}, weights=None)
    return model.train()


def _change_input(model: RevCol, in_chans: int) -> None:
    """Sums, or repeats, the stem's weights over the image's channels, as timm does."""
    if model.supervision is not None:
        raise ConfigError(
            f"in_chans is {in_chans}, but the decoders of these weights give images of "
            f"{model.in_chans} channels; take the weights without intermediate supervision."
        )
    old = model.stem.conv
    new = nn.Conv2d(in_chans, old.out_channels, old.kernel_size, old.stride)
    with torch.no_grad():
        new.weight.copy_(adapt_input_conv(in_chans, old.weight))
        new.bias.copy_(old.bias)
    model.stem.conv, model.in_chans = new, in_chans


def _entry_point(card: Card) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(card, pretrained, **kwargs)

    create.__name__ = create.__qualname__ = _name(card)
    create.__doc__ = f"{card.summary}."
    return create


for _card in _CARDS.values():
    globals()[_name(_card)] = register_model(_entry_point(_card))
