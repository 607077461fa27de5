"""scikit-learn's handwritten digits as images, split once and for all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from zoo_core.errors import ZooError

TEST_SHARE = 0.2
SPLIT_SEED = 0


class Digits(NamedTuple):
    """Images, 8 x 8 pixels of mode "L", bright strokes on black, and what they show, 0 to 9."""

    images: list[Image.Image]
    labels: np.ndarray


def load_split() -> tuple[Digits, Digits]:
    """Returns the 1,437 digits for training and the 360 held out, stratified by class.

    Raises:
        ZooError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ZooError(
            f"the digits come with scikit-learn, which is missing ({error}): "
            'pip install "zoo-revcol[demo]".'
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    # The set's greys go from 0 to 16.
    greys = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=labels
    )
    return tuple(
        Digits([Image.fromarray(greys[i]) for i in part], labels[part]) for part in (train, test)
    )
