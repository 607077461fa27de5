"""RevCol-ViT: transformer blocks over patches, in reversible columns.

The paper's appendix has a vision transformer in columns; neither its sizes nor its details are
published. This is our extension of the paper's macro design to it: see `TokenLevel`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo_core.errors import ConfigError
from zoo_revcol.inputs import check_images
from zoo_revcol.reversible import Reversibility
from zoo_revcol.token_model import TokenModel
from zoo_revcol.validation import integer


class PatchStem(nn.Module):
    """Patches of an image as tokens, with learnt positions that stretch to any image size.

    Args:
        img_size: side of the square images that the positions are learnt for.
        patch_size: side of a patch, in pixels.
        in_chans: channels of the images.
        width: channels of a token.
    """

    def __init__(self, img_size: int, patch_size: int, in_chans: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, width, patch_size, stride=patch_size)
        side = img_size // patch_size
        self.positions = nn.Parameter(torch.empty(1, width, side, side))
        if not self.positions.is_meta:
            nn.init.normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, in_chans, H, W] to [B, (H // patch_size) * (W // patch_size), width]."""
        x = self.conv(x)
        return (x + self._positions(x.shape[-2:]).to(x.dtype)).flatten(2).transpose(1, 2)

    def _positions(self, size: torch.Size) -> Tensor:
        if self.positions.shape[-2:] == size:
            return self.positions
        precise = self.positions.to(torch.promote_types(self.positions.dtype, torch.float32))
        return interpolate(precise, size=size, mode="bicubic", antialias=True)


class RevColViT(TokenModel):
    """The image classification network, with timm's methods.

    Args:
        img_size: side of the images that the positions are learnt for; others are taken too.
        patch_size: side of a patch, in pixels.
        width: channels of a token, the same in all levels; a multiple of `heads`.
        heads: attention heads.
        layers: transformer blocks in each level of one column; as many levels as there are numbers.
        num_columns: columns; with one column of one level it is a plain vision transformer.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the images.
        global_pool: "avg"; or "", which classifies each patch by itself.
        dropout: probability of dropping attention weights, and values that a branch gives.
        drop_path_rate: stochastic depth, rising linearly from 0 to this rate over the blocks of a
            column, in [0, 1); every column has the same schedule.
        layer_scale_init: initial value of the blocks' layer scale; None leaves it out.
        alpha_init: initial value of the shortcuts' scale `alpha`.
        alpha_min: smallest magnitude of `alpha` in use, above 0.
        memory: what training keeps of the columns: "none", "checkpoint" or "reversible"; see
            `ReversibleColumns`, also for the next two.
        anchor_every: for "reversible": how many columns make a chain.
        exact: for "reversible": whether to keep what the inverse loses.

    Raises:
        ConfigError: an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 16,
        width: int = 192,
        heads: int = 3,
        layers: Sequence[int] = (1, 1, 1, 1),
        num_columns: int = 3,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        dropout: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale_init: float | None = None,
        alpha_init: float = 0.5,
        alpha_min: float = 1e-3,
        memory: str = "checkpoint",
        anchor_every: int = 1,
        exact: bool = False,
    ) -> None:
        img_size = integer("img_size", img_size, minimum=1)
        patch_size = integer("patch_size", patch_size, minimum=1)
        if patch_size > img_size:
            raise ConfigError(
                f"patch_size is {patch_size}; expected at most the img_size, {img_size}."
            )
        in_chans = integer("in_chans", in_chans, minimum=1)
        width = integer("width", width, minimum=1)
        super().__init__(
            PatchStem(img_size, patch_size, in_chans, width),
            width=width,
            heads=heads,
            layers=layers,
            num_columns=num_columns,
            num_classes=integer("num_classes", num_classes, minimum=0),
            global_pool=global_pool,
            causal=False,
            dropout=dropout,
            drop_path_rate=drop_path_rate,
            layer_scale_init=layer_scale_init,
            alpha_init=alpha_init,
            alpha_min=alpha_min,
            memory=memory,
            anchor_every=anchor_every,
            exact=exact,
        )
        self.img_size, self.patch_size, self.in_chans = img_size, patch_size, in_chans

    def forward(self, x: Tensor) -> Tensor:
        """Classifies images.

        Args:
            x: [B, in_chans, H, W], floating point, H and W at least patch_size; what is left over
                of whole patches at the right and the bottom is not seen.

        Returns:
            Logits [B, num_classes], normed features [B, width] when num_classes is 0; for each
            patch, [B, T, ...], without pooling.

        Raises:
            InputError: images of another rank, channel count, dtype, device, or too small.
        """
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Returns the top map of the last column, [B, T, width], T patches row by row.

        Arguments and errors are those of `forward`.
        """
        return self.columns(self._embed(x))[-1]

    def forward_columns(self, x: Tensor) -> list[list[Tensor]]:
        """Returns the maps of every column, first to last, lowest level first; see `forward`."""
        return self.columns(self._embed(x), keep=range(self.num_columns))

    @torch.no_grad()
    def check_reversible(self, x: Tensor) -> Reversibility:
        """Measures how well the columns' maps are rebuilt for images `x`; see `forward`."""
        return self.columns.check_reversible(self._embed(x))

    def _embed(self, x: Tensor) -> Tensor:
        check_images(x, self.in_chans, self.stem.conv.weight, self.patch_size)
        return self.stem(x)
