"""`zoo demo`: a pretrained network, found by name, at work on images it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

NAME = "revcol-nano.digits"
_COLUMNS, _ROWS = 12, 5


def command(
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("demo"),
) -> None:
    """Classify held-out handwritten digits with revcol-nano, then list the zoo."""
    import numpy as np
    import torch

    import zoo
    from zoo_core.cli import list_, output
    from zoo_core.errors import ZooError
    from zoo_revcol.digits import load_split

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(f"cannot write {out}: {error.strerror}.") from error
    _, test = load_split()
    model = zoo.load(NAME)
    transform, labels = model.zoo.transform(), np.asarray(model.zoo.labels())
    with torch.inference_mode():
        logits = model(torch.stack([transform(image) for image in test.images]))
    probability, answers = (it.numpy() for it in logits.softmax(dim=1).max(dim=1))
    right = answers == test.labels

    rows = [
        (
            label,
            str(of_class.sum()),
            str(right[of_class].sum()),
            f"{100 * right[of_class].mean():.1f}",
        )
        for label, of_class in ((labels[k], test.labels == k) for k in range(len(labels)))
    ]
    rows.append(("all", str(len(right)), str(right.sum()), f"{100 * right.mean():.2f}"))
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"zoo.load({NAME!r}): {size:,} parameters, on digits held out of its training")
    output.table(("digit", "images", "right", "accuracy (%)"), rows)

    picture = out / "digits.png"
    draw(test.images, labels[test.labels], labels[answers], probability, picture)
    print(f"picture: {picture}\n")
    list_.command()


def draw(
    images: list[Image.Image],
    truths: np.ndarray[Any, Any],
    answers: np.ndarray[Any, Any],
    probabilities: np.ndarray[Any, Any],
    path: Path,
) -> None:
    """Writes a picture of images with the network's answers: the wrong ones first, in red.

    Args:
        images: N images.
        truths: N names of what they show.
        answers: N names of what the network sees.
        probabilities: N numbers in [0, 1], how sure it is.
        path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    wrong_first = sorted(range(len(images)), key=lambda i: (truths[i] == answers[i], i))
    figure = Figure(figsize=(_COLUMNS, 1.45 * _ROWS), layout="constrained")
    for axes, i in zip(figure.subplots(_ROWS, _COLUMNS).flat, wrong_first, strict=False):
        axes.imshow(images[i], cmap="gray")
        right = truths[i] == answers[i]
        text = f"{answers[i]}  {100 * probabilities[i]:.0f} %"
        text += "" if right else f"\n(is {truths[i]})"
        axes.set_title(text, fontsize=9, color="black" if right else "crimson")
        axes.set_axis_off()
    figure.suptitle(f"{NAME} on digits held out of its training: answer and certainty")
    figure.savefig(path, dpi=120)
