"""How a network is trained: the published runs of the paper, and those of nano.

Source: RevCol, appendix on training details; the official code's configurations, which win where
they differ.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from zoo_core.errors import ConfigError, UnknownNameError, suggestion
from zoo_revcol.validation import boolean, integer, positive, real

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
PRECISIONS: Final = ("no", "bf16", "fp16")
_LR_IMAGES = 1024


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run, the network and the data apart.

    Learning rates are those of a step of `lr_images` images and are scaled by what a step really
    has; see `scaled`. The fields of the second half augment single images as timm does, those of
    `rotation`, `shift`, `flip` and `square` whole batches of tensors (see `TensorAugmentation`): a
    recipe has the one or the other, told apart by `tensors`.

    Attributes:
        epochs: over the training images.
        lr: the highest learning rate of AdamW, after warm-up.
        batch_size: images of a step, over all processes.
        lr_images: the images of a step that the learning rates are for.
        warmup_epochs: in which the learning rate rises linearly, step by step.
        warmup_lr: what it rises from.
        min_lr: what it falls to, along half a cosine.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: of AdamW; never on parameters of one dimension.
        decay_alpha: whether the shortcuts' alphas are decayed: the official optimiser for
            classification does, those for detection and segmentation do not.
        layer_decay: factor on the learning rate from one layer to the one before it.
        clip: largest norm of the gradient; None for no limit.
        drop_path: highest rate of stochastic depth.
        layer_scale: what the layer scales of a new network start from; None is the network's own.
        ema: decay of the moving average of the weights, updated every step; None for none.
        supervision: whether earlier columns are supervised, too.
        bce: F, the weight of the first reconstruction, with supervision.
        ce: K_c, which the weights of the earlier classifiers are made of, with supervision.
        label_smoothing: share of the label that goes to all classes alike.
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of cutmix; 0 for none. With both, each serves half of the batches.
        precision: "no" (float32), "bf16" or "fp16", which scales the loss.
        image_size: side of the images, in pixels.
        interpolation: how images are resized.
        mean: of each channel, subtracted from values in [0, 1].
        std: of each channel, divided by.
        crop_pct: of evaluation, see `zoo_revcol.transforms.evaluation`; None is the paper's
            rule: 0.875 and the centre up to 224 pixels, above that the whole image, squashed.
        tensors: whether whole batches are augmented instead of single images.
        auto_augment: timm's word for RandAugment and its kin; None for none.
        color_jitter: of brightness, contrast and saturation. Without effect beside
            `auto_augment`, as in timm and so in the published runs.
        erasing: probability of erasing a rectangle, filled with noise.
        rotation: largest rotation of a batch's images, in degrees.
        shift: largest shift, in pixels.
        flip: whether to mirror at random.
        square: side of the square that is erased; 0 for none.

    Raises:
        ConfigError: a value of the wrong type or out of its range.
    """

    epochs: int
    lr: float
    batch_size: int = _LR_IMAGES
    lr_images: int = _LR_IMAGES
    warmup_epochs: float = 0.0
    warmup_lr: float = 0.0
    min_lr: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.05
    decay_alpha: bool = False
    layer_decay: float = 1.0
    clip: float | None = None
    drop_path: float = 0.0
    layer_scale: float | None = None
    ema: float | None = None
    supervision: bool = False
    bce: float = 3.0
    ce: float = 0.7
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    precision: str = "no"

    image_size: int = 224
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop_pct: float | None = None
    tensors: bool = False
    auto_augment: str | None = None
    color_jitter: float = 0.0
    erasing: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0
    flip: bool = True
    square: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 1_000_000),
            ("batch_size", 1, 1 << 24),
            ("lr_images", 1, 1 << 24),
            ("image_size", 32, 1 << 14),
            ("square", 0, 1 << 14),
        ):
            integer(name, getattr(self, name), low, high)
        positive("lr", self.lr)
        positive("eps", self.eps)
        for name in ("warmup_epochs", "warmup_lr", "min_lr", "weight_decay", "bce", "ce"):
            real(name, getattr(self, name), minimum=0.0)
        for name in ("mixup", "cutmix", "color_jitter", "rotation", "shift"):
            real(name, getattr(self, name), minimum=0.0)
        for name in ("drop_path", "label_smoothing"):
            real(name, getattr(self, name), minimum=0.0, below=1.0)
        for name in ("decay_alpha", "supervision", "tensors", "flip"):
            boolean(name, getattr(self, name))
        if not 0.0 <= real("erasing", self.erasing) <= 1.0:
            raise ConfigError(f"erasing is {self.erasing}; expected a probability.")
        if not 0.0 < positive("layer_decay", self.layer_decay) <= 1.0:
            raise ConfigError(f"layer_decay is {self.layer_decay}; expected at most 1.")
        if self.crop_pct is not None and positive("crop_pct", self.crop_pct) > 1.0:
            raise ConfigError(f"crop_pct is {self.crop_pct}; expected at most 1.")
        if self.clip is not None:
            positive("clip", self.clip)
        if self.layer_scale is not None:
            real("layer_scale", self.layer_scale)
        if self.ema is not None:
            real("ema", self.ema, minimum=0.0, below=1.0)
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}."
            )
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"warmup_epochs is {self.warmup_epochs} of {self.epochs} epochs; expected fewer."
            )
        for name, values, check in (
            ("betas", self.betas, lambda key, it: real(key, it, 0.0, below=1.0)),
            ("mean", self.mean, real),
            ("std", self.std, positive),
        ):
            object.__setattr__(self, name, tuple(check(name, value) for value in values))
        if len(self.betas) != 2:
            raise ConfigError(f"betas is {self.betas!r}; expected two numbers.")

    def scaled(self, images: int) -> tuple[float, float, float]:
        """Returns lr, warmup_lr and min_lr for steps of this many images."""
        factor = images / self.lr_images
        return self.lr * factor, self.warmup_lr * factor, self.min_lr * factor

    def preprocessing(self) -> dict[str, Any]:
        """Returns how images are evaluated, as arguments of `zoo_revcol.transforms.evaluation`."""
        crops = self.crop_pct is None and self.image_size <= 224
        return {
            "input_size": [3, self.image_size, self.image_size],
            "interpolation": self.interpolation,
            "crop_pct": 0.875 if crops else self.crop_pct or 1.0,
            "crop_mode": "center" if crops else "squash",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def changed(self, **changes: Any) -> Recipe:
        """Returns the recipe with some fields changed; None leaves a field as it is.

        Raises:
            ConfigError: no such field, or a value out of its range.
        """
        known = [each.name for each in fields(self)]
        for name in changes:
            if name not in known:
                raise ConfigError(f"a recipe has no field {name!r}.{suggestion(name, known)}")
        return replace(self, **{key: value for key, value in changes.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }


# What all published runs share. Where a configuration leaves the batch size out (22K, huge), it is
# the one that the learning rates are stated for.
_COMMON: dict[str, Any] = {
    "decay_alpha": True,
    "precision": "fp16",
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "erasing": 0.25,
}
_SUPERVISED: dict[str, Any] = _COMMON | {"supervision": True, "mixup": 0.8, "cutmix": 1.0}
_1K: dict[str, Any] = _SUPERVISED | {
    "epochs": 300,
    "lr": 1e-3,
    "warmup_epochs": 20,
    "warmup_lr": 1e-5,
    "weight_decay": 0.05,
    "ema": 0.9999,
}
_22K: dict[str, Any] = _SUPERVISED | {
    "epochs": 90,
    "lr": 1.25e-4,
    "warmup_epochs": 5,
    "warmup_lr": 1e-5,
    "min_lr": 1e-7,
    "weight_decay": 0.1,
    "clip": 10.0,
}
_FINE_TUNING: dict[str, Any] = _COMMON | {
    "epochs": 30,
    "min_lr": 2e-7,
    "weight_decay": 1e-8,
    "clip": 10.0,
}
_BASE_FT: dict[str, Any] = _FINE_TUNING | {"lr": 1e-4, "layer_decay": 0.9, "drop_path": 0.2}
_LARGE_FT: dict[str, Any] = _FINE_TUNING | {"lr": 5e-5, "layer_decay": 0.8, "drop_path": 0.3}
# Small images and few of them: a layer scale of 1e-6 is made for hundreds of epochs of ImageNet.
_NANO: dict[str, Any] = {
    "lr": 2e-3,
    "layer_scale": 0.1,
    "clip": 5.0,
    "image_size": 32,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "crop_pct": 1.0,
    "tensors": True,
    "shift": 4.0,
}

RECIPES: Final[dict[str, Recipe]] = {
    "tiny-1k": Recipe(**_1K, min_lr=1e-6, color_jitter=0.4, drop_path=0.1),
    "small-1k": Recipe(**_1K, min_lr=1e-6, color_jitter=0.4, drop_path=0.3),
    "base-1k": Recipe(**_1K, min_lr=1e-8, clip=5.0, drop_path=0.4),
    "base-22k": Recipe(**_22K, color_jitter=0.4, drop_path=0.3),
    "large-22k": Recipe(**_22K, color_jitter=0.4, drop_path=0.3),
    "xlarge-22k": Recipe(**_22K, drop_path=0.4),
    "base-ft-224": Recipe(**_BASE_FT),
    "base-ft-384": Recipe(**_BASE_FT, image_size=384),
    "large-ft-224": Recipe(**_LARGE_FT),
    "large-ft-384": Recipe(**_LARGE_FT, image_size=384),
    "xlarge-ft-384": Recipe(
        **_FINE_TUNING, lr=2e-5, layer_decay=0.8, drop_path=0.4, image_size=384, ema=0.9999
    ),
    "huge-ft-640": Recipe(
        **_FINE_TUNING
        | {
            "epochs": 20,
            "lr": 4e-5,
            "min_lr": 2e-8,
            "clip": 100.0,
            "layer_decay": 0.8,
            "drop_path": 0.4,
            "image_size": 640,
            "ema": 0.9999,
        }
    ),
    "nano-digits": Recipe(
        **_NANO, epochs=60, warmup_epochs=3, batch_size=64, lr_images=64, rotation=12.0, flip=False
    ),
    "nano-cifar10": Recipe(
        **_NANO,
        epochs=150,
        warmup_epochs=7.5,
        batch_size=100,
        lr_images=100,
        square=10,
        drop_path=0.1,
    ),
}
"""The recipes of the published runs by name (`-ft-` fine-tunes), and nano's."""


def recipe_named(name: str) -> Recipe:
    """Returns a recipe of `RECIPES`.

    Raises:
        UnknownNameError: there is none of this name; suggests the nearest.
    """
    if name not in RECIPES:
        raise UnknownNameError(
            f"there is no recipe {name!r}.{suggestion(name, RECIPES)} The recipes are: "
            f"{', '.join(RECIPES)}."
        )
    return RECIPES[name]
