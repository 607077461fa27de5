"""Transformer blocks in columns, beside the same blocks in one column, on small real tasks.

Both get as equal a number of parameters as whole blocks allow, the same data in the same order, the
same steps and the same optimiser with the same settings; neither was tuned.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo_core.errors import InputError
from zoo_core.experiment import Context
from zoo_core.rows import values
from zoo_revcol.digits import Digits, load_split
from zoo_revcol.text import RevColText
from zoo_revcol.token_model import TokenModel
from zoo_revcol.transformer import EXPANSION
from zoo_revcol.vit import RevColViT

COLUMNS, ONE = "columns", "one column"
LAYERS, NUM_COLUMNS = (1, 1, 1), 3
WIDTH, HEADS = 48, 4
DIGITS_EPOCHS, DIGITS_BATCH = 20, 64
TEXT_STEPS, TEXT_BATCH, TEXT_LENGTH = 600, 16, 64
HELD_OUT = "wuthering_heights"
HELD_OUT_CHARACTERS = 1 << 17
SYMBOLS = "\n 'abcdefghijklmnopqrstuvwxyz"
"""What the normalised text is made of: a line is a sentence or clause."""

LEARNING_RATE, WEIGHT_DECAY, WARM_UP, CLIP = 1e-3, 0.05, 0.1, 1.0
ACCURACY_MARGIN, BITS_MARGIN = 1.0, 0.02
"""How much worse than one column still counts as carrying over: points; a share of the bits."""


def arrangements() -> dict[str, dict[str, Any]]:
    """The two models' arguments: columns, and as many parameters in one stack of the same blocks.

    In columns there are linear fusions too, one for each level but the lowest, and from the second
    column on one more for each level but the highest. They are worth some blocks.
    """
    blocks = sum(LAYERS) * NUM_COLUMNS
    fusions = (len(LAYERS) - 1) * (2 * NUM_COLUMNS - 1)
    block_size = 4 + 2 * EXPANSION  # in squares of the width: query, key, value, output; fc1, fc2
    equal = round(blocks + fusions / block_size)
    return {
        COLUMNS: {"layers": LAYERS, "num_columns": NUM_COLUMNS},
        ONE: {"layers": (equal,), "num_columns": 1},
    }


def vit_digits(context: Context) -> Iterator[dict[str, Any]]:
    """Trains both on scikit-learn's digits, 8 x 8 pixels in patches of 2 x 2.

    Yields:
        A row for each model and seed, with the accuracy on the held-out digits.
    """
    train, test = (_tensors(part) for part in load_split())
    steps = DIGITS_EPOCHS * math.ceil(len(train[0]) / DIGITS_BATCH)

    def batches(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(DIGITS_EPOCHS):
            for chosen in torch.randperm(len(train[0]), generator=generator).split(DIGITS_BATCH):
                yield train[0][chosen], train[1][chosen]

    for seed, name, arrangement in _runs(context.seeds):
        torch.manual_seed(seed)
        model = RevColViT(
            img_size=8,
            patch_size=2,
            width=WIDTH,
            heads=HEADS,
            num_classes=10,
            in_chans=1,
            memory="none",
            **arrangement,
        )
        given = context.progress(batches(seed), f"{name}, seed {seed}", steps)
        loss = fit(model, given, steps, cross_entropy)
        with torch.inference_mode():
            right = model.eval()(test[0]).argmax(1) == test[1]
        yield {
            **_described(name, model, seed),
            "accuracy (%)": 100 * right.double().mean().item(),
            "training loss": loss,
        }


def text_columns(context: Context) -> Iterator[dict[str, Any]]:
    """Trains both to predict the next character of novels, and tests on another novel.

    Yields:
        A row for each model and seed, with the bits a character on the start of the held-out novel.
    """
    folder = context.data("gutenberg-novels")
    novels = sorted(path for path in folder.glob("*.txt.gz") if not _is_held_out(path))
    held_out = [path for path in folder.glob("*.txt.gz") if _is_held_out(path)]
    if not novels or not held_out:
        raise InputError(f"{folder} needs {HELD_OUT}.txt.gz and other novels beside it.")
    train = torch.cat([read(path) for path in novels])
    test = read(held_out[0])[: HELD_OUT_CHARACTERS + 1]

    def batches(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        window = torch.arange(TEXT_LENGTH + 1)
        for _ in range(TEXT_STEPS):
            starts = torch.randint(len(train) - TEXT_LENGTH, (TEXT_BATCH, 1), generator=generator)
            text = train[starts + window].long()
            yield text[:, :-1], text[:, 1:]

    for seed, name, arrangement in _runs(context.seeds):
        torch.manual_seed(seed)
        model = RevColText(
            len(SYMBOLS),
            width=WIDTH,
            heads=HEADS,
            max_length=TEXT_LENGTH,
            task="language-modeling",
            memory="none",
            **arrangement,
        )
        given = context.progress(batches(seed), f"{name}, seed {seed}", TEXT_STEPS)
        loss = fit(model, given, TEXT_STEPS, _next_character)
        yield {
            **_described(name, model, seed),
            "bits a character": bits(model, test),
            "training loss": loss,
        }


def digits_hold(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether columns reach the accuracy of one column, but for the margin."""
    columns, one = (np.mean(values(rows, "accuracy (%)", model=name)) for name in (COLUMNS, ONE))
    return bool(columns >= one - ACCURACY_MARGIN), (
        f"{columns:.2f} % in columns, {one:.2f} % in one column (margin {ACCURACY_MARGIN:g} points)"
    )


def text_holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether columns need no more bits a character than one column, but for the margin."""
    columns, one = (
        np.mean(values(rows, "bits a character", model=name)) for name in (COLUMNS, ONE)
    )
    return bool(columns <= one * (1 + BITS_MARGIN)), (
        f"{columns:.3f} bits in columns, {one:.3f} in one column (margin {100 * BITS_MARGIN:g} %)"
    )


def fit(
    model: TokenModel,
    batches: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> float:
    """Trains with AdamW, the rate rising over the first tenth and falling along a cosine.

    Args:
        model: trained in place.
        batches: inputs and targets of each step.
        steps: how many there are.
        loss: of outputs and targets.

    Returns:
        The mean loss over the last tenth of the steps.
    """
    model.train()
    plain = model.no_weight_decay()
    groups = [
        {
            "params": [p for name, p in model.named_parameters() if (name in plain) is spared],
            "weight_decay": 0.0 if spared else WEIGHT_DECAY,
        }
        for spared in (False, True)
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    warm_up = max(1, round(WARM_UP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(
            (step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
        ),
    )
    losses = []
    for inputs, targets in batches:
        optimiser.zero_grad()
        value = loss(model(inputs), targets)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        losses.append(value.item())
    return float(np.mean(losses[-max(1, steps // 10) :]))


@torch.inference_mode()
def bits(model: RevColText, text: Tensor) -> float:
    """Bits a character of a text, read in windows that do not overlap.

    Args:
        model: a language model.
        text: uint8, places in `SYMBOLS`; what does not fill a window is left out.
    """
    model.eval()
    length = model.max_length
    windows = (len(text) - 1) // length
    inputs = text[: windows * length].long().view(windows, length)
    targets = text[1 : windows * length + 1].long().view(windows, length)
    total = sum(
        _next_character(model(given), wanted).item() * len(given)
        for given, wanted in zip(inputs.split(128), targets.split(128), strict=True)
    )
    return total / windows / math.log(2)


def read(path: Path) -> Tensor:
    """Returns a gzipped text as places in `SYMBOLS`, uint8.

    Raises:
        InputError: it holds other symbols.
    """
    text = gzip.decompress(path.read_bytes())
    table = np.full(256, len(SYMBOLS), dtype=np.uint8)
    table[np.frombuffer(SYMBOLS.encode(), dtype=np.uint8)] = np.arange(len(SYMBOLS))
    places = table[np.frombuffer(text, dtype=np.uint8)]
    if (places == len(SYMBOLS)).any():
        raise InputError(f"{path.name} holds other symbols than {SYMBOLS!r}.")
    return torch.from_numpy(places)


def _next_character(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def _runs(seeds: Iterable[int]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for seed in seeds:
        for name, arrangement in arrangements().items():
            yield seed, name, arrangement


def _described(name: str, model: nn.Module, seed: int) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"model": name, "parameters": parameters, "seed": seed}


def _is_held_out(path: Path) -> bool:
    return path.name.startswith(HELD_OUT)


def _tensors(digits: Digits) -> tuple[Tensor, Tensor]:
    """Images [N, 1, 8, 8] in [-1, 1], and labels [N]."""
    pixels = np.stack([np.asarray(image) for image in digits.images])
    return (
        torch.from_numpy(pixels).float().unsqueeze(1) / 127.5 - 1,
        torch.from_numpy(digits.labels).long(),
    )
