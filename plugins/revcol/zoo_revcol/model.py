"""RevCol: a stem, a chain of reversible columns, and a classifier on the last one.

Source: Cai et al., "Reversible Column Networks", ICLR 2023, arXiv 2212.11696.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.errors import ConfigError, InputError, ZooError
from zoo_revcol.head import Head
from zoo_revcol.inputs import check_images, check_maps
from zoo_revcol.layers import layer_id, without_weight_decay
from zoo_revcol.level import Level
from zoo_revcol.reversible import Column, Reversibility, ReversibleColumns
from zoo_revcol.stem import PATCH_SIZE, Stem
from zoo_revcol.supervision import SupervisedOutput, Supervision, supervised_columns
from zoo_revcol.validation import MAX_DEPTH, boolean, four_integers, integer, odd, real

FINE_TUNING_SCALE = 0.001


class RevCol(nn.Module):
    """The image classification network, and a four-level backbone, with timm's methods.

    Args:
        channels: width of the four levels; level l has stride 2 ** (l + 2).
        layers: ConvNeXt blocks in each level of one column.
        num_columns: columns.
        kernel_size: odd side of the blocks' depthwise kernels.
        num_classes: outputs of the classifier; 0 leaves it out (see `reset_classifier`).
        in_chans: channels of the images.
        drop_path_rate: stochastic depth, rising linearly from 0 to this rate over the blocks of a
            column, in [0, 1); every column has the same schedule.
        layer_scale_init: initial value of the blocks' layer scale `gamma`.
        alpha_init: initial value of the shortcuts' scale `alpha`.
        alpha_min: smallest magnitude of `alpha` in use, above 0.
        top_down_skip: whether level 0 also takes the top level of the previous column, as in the
            paper's huge.
        intermediate_supervision: whether three earlier columns have classifiers and decoders too,
            for training; needs a number of columns that 4 divides.
        simple_decoders: which decoders these are, see `Supervision`; None goes by num_classes.
        global_pool: "avg"; or "", for a backbone without any head, with num_classes 0.
        memory: what training keeps of the columns: "none", "checkpoint" or "reversible"; see
            `ReversibleColumns`, also for the next two.
        anchor_every: for "reversible": how many columns make a chain.
        exact: for "reversible": whether to keep what the inverse loses.

    Raises:
        ConfigError: an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        layers: Sequence[int],
        num_columns: int,
        kernel_size: int = 3,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init: float = 1e-6,
        alpha_init: float = 0.5,
        alpha_min: float = 1e-3,
        top_down_skip: bool = False,
        intermediate_supervision: bool = False,
        simple_decoders: bool | None = None,
        global_pool: str = "avg",
        memory: str = "checkpoint",
        anchor_every: int = 1,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.channels = four_integers("channels", channels)
        self.layers = four_integers("layers", layers, MAX_DEPTH)
        self.num_columns = integer("num_columns", num_columns, 1, MAX_DEPTH)
        self.num_classes = integer("num_classes", num_classes, minimum=0)
        self.num_features = self.head_hidden_size = self.channels[-1]
        self.in_chans = integer("in_chans", in_chans, minimum=1)
        self.drop_path_rate = real("drop_path_rate", drop_path_rate, minimum=0.0, below=1.0)
        boolean("top_down_skip", top_down_skip)
        level_options = {
            "kernel_size": odd("kernel_size", kernel_size),
            "layer_scale_init": real("layer_scale_init", layer_scale_init),
            "alpha_init": alpha_init,
            "alpha_min": alpha_min,
        }
        if simple_decoders is not None:
            boolean("simple_decoders", simple_decoders)
        self.supervised_columns: tuple[int, ...] = ()
        if boolean("intermediate_supervision", intermediate_supervision):
            self.supervised_columns = supervised_columns(self.num_columns)
            if not self.num_classes:
                raise ConfigError("intermediate_supervision needs classes; num_classes is 0.")

        self.stem = Stem(self.in_chans, self.channels[0])
        self.columns = ReversibleColumns(
            (
                Column(self._levels(top_down_skip, first=index == 0, **level_options))
                for index in range(self.num_columns)
            ),
            memory,
            anchor_every,
            exact,
        )
        self.head = Head(self.num_features, self.num_classes, global_pool)
        self.supervision = (
            Supervision(self.channels, self.num_classes, self.in_chans, simple_decoders)
            if intermediate_supervision
            else None
        )
        self.apply(_initialise)

    def _levels(self, top_down_skip: bool, first: bool, **options: Any) -> Iterator[Level]:
        """Builds the levels of one column; the first column has no up paths."""
        top = len(self.channels) - 1
        for index, rates in enumerate(_drop_path_schedule(self.drop_path_rate, self.layers)):
            yield Level(
                self.channels[index],
                lower_channels=self.channels[index - 1] if index else None,
                higher_channels=None if first or index == top else self.channels[index + 1],
                top_channels=self.channels[top] if top_down_skip and not (first or index) else None,
                drop_path_rates=rates,
                **options,
            )

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, stride and module of each map of `forward_pyramid`, in timm's words."""
        return [
            {
                "num_chs": channels,
                "reduction": PATCH_SIZE * 2**index,
                "module": f"columns.{self.num_columns - 1}.levels.{index}",
            }
            for index, channels in enumerate(self.channels)
        ]

    def forward(self, x: Tensor) -> Tensor | SupervisedOutput:
        """Classifies images.

        Args:
            x: [B, in_chans, H, W], floating point, H and W at least 32.

        Returns:
            Logits [B, num_classes]; normed features [B, channels[3]] when num_classes is 0. In
            training with intermediate supervision the logits and reconstructions of all heads.

        Raises:
            InputError: images of another rank, channel count, dtype, device, or too small.
        """
        if self.supervision is None or not self.training:
            return self.forward_head(self.forward_features(x))
        *early, last = self._maps(x, keep=(*self.supervised_columns, self.num_columns - 1))
        logits, reconstructions = self.supervision([maps[-1] for maps in early], x.shape[-2:])
        return SupervisedOutput([*logits, self.head(last[-1])], reconstructions)

    def forward_features(self, x: Tensor) -> Tensor:
        """Returns the top map of the last column, [B, channels[3], H / 32, W / 32].

        Sizes are rounded down. Arguments and errors are those of `forward`.
        """
        return self.forward_pyramid(x)[-1]

    def forward_pyramid(self, x: Tensor) -> list[Tensor]:
        """Returns the last column's maps, [B, C_l, H / 2 ** (l + 2), W / 2 ** (l + 2)] each.

        Without autograd one column's maps are alive at a time, and those of the column being
        computed. Arguments and errors are those of `forward`.
        """
        return self._maps(x, keep=None)

    def forward_columns(self, x: Tensor) -> list[list[Tensor]]:
        """Returns the maps of every column, first to last; see `forward_pyramid`."""
        return self._maps(x, keep=range(self.num_columns))

    def forward_head(self, features: Sequence[Tensor] | Tensor, pre_logits: bool = False) -> Tensor:
        """Pools, norms and classifies.

        Args:
            features: the maps of a column, or its top map [B, channels[3], h, w] alone.
            pre_logits: whether to stop before the classifier.

        Returns:
            Logits [B, num_classes], or features [B, channels[3]].

        Raises:
            InputError: a top map of another shape.
        """
        top = features if isinstance(features, Tensor) else features[-1]
        if top.ndim != 4 or top.shape[1] != self.num_features:
            raise InputError(
                f"the top map has shape {tuple(top.shape)}; "
                f"expected [B, {self.num_features}, h, w]."
            )
        return self.head(top, pre_logits)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Returns maps of the last column, as timm's models do.

        Args:
            x: as for `forward`.
            indices: levels 0 to 3, negative ones from the top; a number n means the last n; None
                means all.
            norm: has no effect: a column ends without a norm.
            stop_early: has no effect: every column needs all levels.
            output_fmt: "NCHW" or "NHWC".
            intermediates_only: whether to leave the top map out of the result.

        Returns:
            The maps, in the order of the levels; or the top map and the maps.

        Raises:
            ConfigError: a level or format that does not exist.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ConfigError(f"output_fmt is {output_fmt!r}; expected 'NCHW' or 'NHWC'.")
        levels = self._level_indices(indices)
        pyramid = self.forward_pyramid(x)
        maps = [pyramid[level] for level in levels]
        if output_fmt == "NHWC":
            maps = [each.permute(0, 2, 3, 1) for each in maps]
        return maps if intermediates_only else (pyramid[-1], maps)

    def get_intermediate_layers(self, x: Tensor, n: int | Sequence[int] = 1) -> tuple[Tensor, ...]:
        """Returns the last `n` maps of the last column, or those of the levels listed in `n`."""
        return tuple(self.forward_intermediates(x, indices=n, intermediates_only=True))

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Removes what the maps of `indices` do not need: the head; every level is needed.

        Returns:
            The levels, from 0, that the indices stand for.
        """
        levels = self._level_indices(indices)
        if prune_head:
            self.reset_classifier(0, "")
        return levels

    def invert(
        self, features: Sequence[Tensor], stem: Tensor, column: int = -1
    ) -> list[list[Tensor]]:
        """Rebuilds the maps of all columns before `column`, from that column's maps alone.

        Exact in exact arithmetic. In floating point the error grows with every column, by up to
        a division by alpha a level: at the initial alpha of 0.5, float32 serves about four
        columns and float64 about sixteen; `check_reversible` measures it.

        Args:
            features: the four maps of `column`.
            stem: the stem's output for the same images, `model.stem(x)`.
            column: index of the column the maps are from, counted from the end when negative.

        Returns:
            The maps of columns 0 ... column - 1, in this order; nothing for column 0.

        Raises:
            InputError: maps of other shapes than the column gives, or no such column.
            ZooError: in training mode with drop path, where forward is random.
        """
        if self.training and self.drop_path_rate > 0:
            raise ZooError(
                f"a forward pass with drop path (rate {self.drop_path_rate}) in training mode is "
                "random and cannot be inverted; call eval() on the model first."
            )
        check_maps(features, stem, self.channels)
        return self.columns.invert(features, stem, column)

    @torch.no_grad()
    def check_reversible(self, x: Tensor) -> Reversibility:
        """Measures how well the columns' maps are rebuilt for images `x`; see `forward`."""
        check_images(x, self.in_chans, self.stem.conv.weight)
        return self.columns.check_reversible(self.stem(x))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turns recomputation on or off: the memory mode "checkpoint", or the one set, or "none".

        `model.columns.remember("reversible", anchor_every=4)` sets another mode.
        """
        if not enable:
            self.columns.remember("none")
        elif self.columns.memory == "none":
            self.columns.remember("checkpoint")

    def get_classifier(self) -> nn.Module:
        """Returns the last linear layer, or the identity when num_classes is 0."""
        return self.head.fc

    def reset_classifier(
        self,
        num_classes: int,
        global_pool: str | None = None,
        *,
        init_scale: float = FINE_TUNING_SCALE,
    ) -> None:
        """Replaces the linear classifiers by new ones, for fine-tuning.

        Args:
            num_classes: outputs; with 0 the model gives the pooled, normed features
                [B, channels[3]], ready for a classifier of one's own, and intermediate
                supervision ends.
            global_pool: "avg", or "" for the top map itself, with num_classes 0; None keeps it.
            init_scale: factor on the initial weights, 0.001 in the official fine-tuning, so that
                training starts from nearly even predictions.

        Raises:
            ConfigError: an argument out of its range.
        """
        num_classes = integer("num_classes", num_classes, minimum=0)
        init_scale = real("init_scale", init_scale)
        like = self.stem.norm.weight
        pool = self.head.global_pool if global_pool is None else global_pool
        head = Head(self.num_features, num_classes, pool).to(like.device, like.dtype)
        if self.head.global_pool and pool:
            head.norm = self.head.norm
        self.num_classes, self.head = num_classes, head
        heads = [head]
        if num_classes == 0:
            self.supervision, self.supervised_columns = None, ()
        if self.supervision is not None:
            self.supervision.reset_classifier(num_classes)
            heads += self.supervision.heads
        for each in heads:
            if num_classes:
                _initialise(each.fc)
                with torch.no_grad():
                    each.fc.weight.mul_(init_scale)

    def no_weight_decay(self) -> set[str]:
        """The parameters that new training does not decay: the alphas, and what has one dimension.

        The official optimiser for classification decays the alphas, those for detection and
        segmentation do not.
        """
        return without_weight_decay(self)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Returns the function from a parameter's name to its layer, for layer-wise decay.

        Args:
            coarse: has no effect: there is one grouping.
        """
        return lambda name: layer_id(name, self.layers, self.num_columns)

    def _maps(self, x: Tensor, keep: Sequence[int] | None) -> Any:
        check_images(x, self.in_chans, self.stem.conv.weight)
        return self.columns(self.stem(x), keep)

    def _level_indices(self, indices: int | Sequence[int] | None) -> list[int]:
        """The levels, rising, that timm's notation stands for."""
        number = len(self.channels)
        if indices is None:
            return list(range(number))
        if isinstance(indices, int):
            indices = range(-integer("indices", indices, 1, number), 0)
        if not all(isinstance(index, int) and -number <= index < number for index in indices):
            raise ConfigError(f"indices is {indices!r}; expected levels from {-number} to 3.")
        return sorted({index % number for index in indices})


def _drop_path_schedule(rate: float, layers: Sequence[int]) -> Iterator[list[float]]:
    """Rates rising linearly from 0 to `rate` over a column's blocks, as one list a level."""
    last = max(sum(layers) - 1, 1)
    rates = iter(rate * block / last for block in range(sum(layers)))
    for number in layers:
        yield [next(rates) for _ in range(number)]


def _initialise(module: nn.Module) -> None:
    """Normal weights of standard deviation 0.02 and zero biases, as the official code.

    It cuts the normal distribution at +-2, a hundred standard deviations away: no cut at all, so
    the much slower sampling of a truncated distribution is spared.
    """
    # The meta device has no values, and sampling there makes torch import for seconds.
    if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
