"""What `zoo reproduce revcol` runs; each experiment is a module here, imported when it is run."""

from __future__ import annotations

from typing import Final

from zoo_core.experiment import Experiment, Figure

_HERE = "zoo_revcol.experiments"

EXPERIMENTS: Final = (
    Experiment(
        name="reversibility",
        claim="The last column's maps give back the maps of all columns, up to rounding.",
        paper="section 3.1",
        run=f"{_HERE}.reversibility:run",
        check=f"{_HERE}.reversibility:holds",
        measures=("worst relative error",),
        minutes=0.2,
        seeds=0,
        figure=Figure(
            x="columns", y=("worst relative error",), series=("dtype", "alpha"), log="xy"
        ),
    ),
    Experiment(
        name="gradients",
        claim="Recomputing and rebuilding maps gives the gradients of plain autograd.",
        paper="section 3.1",
        run=f"{_HERE}.gradients:run",
        check=f"{_HERE}.gradients:holds",
        measures=("worst relative difference",),
        minutes=0.5,
        seeds=0,
        figure=Figure(
            x="variant",
            y=("worst relative difference",),
            series=("memory", "dtype"),
            kind="bar",
            log="y",
        ),
        over=("supervision",),
    ),
    Experiment(
        name="same-training",
        claim="Training in less memory follows the same curve as plain training.",
        paper="section 3.1",
        run=f"{_HERE}.same_training:run",
        check=f"{_HERE}.same_training:holds",
        measures=(
            "loss",
            *(f"accuracy of head {head} (%)" for head in (1, 2, 3, 4)),
            "CPU seconds",
        ),
        minutes=4,
        seeds=3,
        data=("cifar10-small",),
        figure=Figure(x="memory", y=("loss", "CPU seconds"), kind="bar"),
    ),
    Experiment(
        name="memory",
        claim="A further column costs training hardly any memory.",
        paper="section 3.1",
        run=f"{_HERE}.memory:run",
        check=f"{_HERE}.memory:holds",
        measures=("kept for backward (MiB)",),
        minutes=1,
        seeds=0,
        figure=Figure(x="columns", y=("kept for backward (MiB)",), series=("memory",), log="xy"),
    ),
    Experiment(
        name="disentangling",
        claim="Low levels keep the image and high levels gather the label, the more so with "
        "intermediate supervision.",
        paper="section 4, similarity of representations (CKA)",
        run=f"{_HERE}.disentangling:run",
        check=f"{_HERE}.disentangling:holds",
        measures=("CKA with the image", "CKA with the label"),
        minutes=7,
        seeds=3,
        data=("cifar10-small",),
        figure=Figure(
            x="level",
            y=("CKA with the image", "CKA with the label"),
            series=("supervision", "column"),
        ),
    ),
    Experiment(
        name="accuracy",
        claim="On few images, too, columns beat one wide column of as many parameters.",
        paper="section 4, ImageNet classification",
        run=f"{_HERE}.accuracy:run",
        check=f"{_HERE}.accuracy:holds",
        measures=("test accuracy (%)", "CPU seconds"),
        minutes=11,
        seeds=3,
        data=("cifar10-small",),
        figure=Figure(x="network", y=("test accuracy (%)",), kind="bar"),
    ),
    Experiment(
        name="nano-digits",
        claim="revcol-nano reads 98 of 100 handwritten digits right.",
        run=f"{_HERE}.nano:digits",
        check=f"{_HERE}.nano:digits_hold",
        measures=("test accuracy (%)", "CPU minutes"),
        minutes=4,
        seeds=3,
    ),
    Experiment(
        name="nano-cifar10",
        claim="Half a million parameters do as well in columns as in a plain ConvNeXt.",
        run=f"{_HERE}.nano:cifar10",
        check=f"{_HERE}.nano:cifar10_holds",
        measures=("test accuracy (%)", "CPU minutes"),
        minutes=40,
        seeds=3,
        data=("cifar10-small",),
        figure=Figure(x="network", y=("test accuracy (%)",), kind="bar"),
    ),
    Experiment(
        name="vit-digits",
        claim="Transformer blocks over patches learn in columns as well as in one column.",
        paper="appendix, RevCol-ViT (sizes not known: ours)",
        run=f"{_HERE}.paradigm:vit_digits",
        check=f"{_HERE}.paradigm:digits_hold",
        measures=("accuracy (%)", "training loss"),
        minutes=2,
        seeds=3,
        figure=Figure(x="model", y=("accuracy (%)",), kind="bar"),
    ),
    Experiment(
        name="text-columns",
        claim="Transformer blocks over text learn in columns as well as in one column.",
        paper="appendix, RevCol-Transformer (another task, sizes ours)",
        run=f"{_HERE}.paradigm:text_columns",
        check=f"{_HERE}.paradigm:text_holds",
        measures=("bits a character", "training loss"),
        minutes=4,
        seeds=3,
        data=("gutenberg-novels",),
        figure=Figure(x="model", y=("bits a character",), kind="bar"),
    ),
)
