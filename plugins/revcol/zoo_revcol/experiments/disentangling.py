"""Low levels keep the image, high levels gather the label, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zoo_core.experiment import Context
from zoo_core.threads import one_thread
from zoo_revcol.cka import centred_gram, cka_of_grams
from zoo_revcol.experiments import cifar
from zoo_revcol.experiments.training import Images, Recipe, fit
from zoo_revcol.model import RevCol
from zoo_revcol.plugin import CIFAR10

_RECIPE = Recipe(epochs=10)
_NUMBER = 500
_IMAGE, _LABEL = "CKA with the image", "CKA with the label"
_NETWORKS = {False: "4 columns", True: "4 columns, supervised"}


def run(context: Context) -> Iterator[dict[str, Any]]:
    """Trains with and without supervision; compares every map with the images and the labels."""
    train, test = (cifar.read(context.data(cifar.FOLDER), part) for part in ("train", "test"))
    # A fixed half of the test images, as many of each class.
    some = Images(test.images[:: len(test) // _NUMBER], test.labels[:: len(test) // _NUMBER])
    cases = [(seed, supervised) for seed in context.seeds for supervised in _NETWORKS]
    with one_thread():
        for seed, supervised in context.progress(cases, "training"):
            torch.manual_seed(seed)
            network = cifar.NETWORKS[_NETWORKS[supervised]]()
            fit(network, train, _RECIPE)
            for row in similarities(network.eval(), some):
                yield {"seed": seed, "supervision": supervised, **row}


def holds(rows: Sequence[dict[str, Any]]) -> tuple[bool, str]:
    """Whether four trends show: three in every run, the fourth in the mean over the seeds."""
    found = {(row["seed"], row["supervision"], row["column"], row["level"]): row for row in rows}
    runs = sorted({(seed, supervised) for seed, supervised, _, _ in found})
    last = max(column for _, _, column, _ in found)

    def value(run: tuple[int, bool], column: int, level: int, measure: str) -> float:
        return found[*run, column, level][measure]

    label_by_column = [value(r, last, 3, _LABEL) > value(r, 0, 3, _LABEL) for r in runs]
    label_by_level = [value(r, last, 3, _LABEL) > value(r, last, 0, _LABEL) for r in runs]
    image_by_level = [value(r, last, 3, _IMAGE) < value(r, last, 0, _IMAGE) for r in runs if r[1]]
    top = {
        supervised: fmean(value(r, last, 3, _IMAGE) for r in runs if r[1] == supervised)
        for supervised in (False, True)
    }
    trends = {
        "label: rises from the first to the last column": label_by_column,
        "label: rises from the lowest to the highest level": label_by_level,
        "image: falls from the lowest to the highest level with supervision": image_by_level,
    }
    told = [f"{name} in {sum(seen)} of {len(seen)} runs" for name, seen in trends.items()]
    told.append(
        f"image: at the last column's top {top[True]:.3f} with supervision, {top[False]:.3f} "
        "without, on average"
    )
    return all(map(all, trends.values())) and top[True] < top[False], "; ".join(told)


@torch.inference_mode()
def similarities(network: RevCol, some: Images) -> Iterator[dict[str, Any]]:
    """Yields for each column and level its maps' similarity to the images and to the labels."""
    maps: list[list[list[Tensor]]] = [
        network.forward_columns(batch) for batch in some.images.split(100)
    ]
    image = centred_gram(some.images)
    label = centred_gram(one_hot(some.labels, len(CIFAR10)))
    for column in range(network.num_columns):
        for level in range(len(network.channels)):
            gram = centred_gram(torch.cat([batch[column][level] for batch in maps]))
            yield {
                "column": column,
                "level": level,
                _IMAGE: cka_of_grams(gram, image),
                _LABEL: cka_of_grams(gram, label),
            }
