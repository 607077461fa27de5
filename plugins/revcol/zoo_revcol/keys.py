"""The names of the network's tensors, ours and the official code's, one for one.

The official code names the last classifier differently in a network with intermediate supervision:
`cls_blocks.3` beside those of the earlier columns, instead of `cls`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_FIELDS: Final = {
    "column": r"0|[1-9]\d{0,3}",
    "level": r"[0-3]",
    "point": r"[0-2]",
    "stage": r"[0-2]",
    "step": r"[01]",
    "block": r"0|[1-9]\d{0,3}",
    "part": r"gamma|(?:dwconv|norm|pwconv1|pwconv2)\.(?:weight|bias)",
    "tensor": r"weight|bias",
}
_OURS: Final = "columns.{column}.levels.{level}"
_OFFICIAL: Final = "subnet{column}.level{level}"
_UP: Final = _OFFICIAL + ".fusion.up.channel_reschedule"
_TOP_DOWN: Final = _OFFICIAL + ".fusion.up2.channel_reschedule"
_NAMES: Final = (
    ("stem.conv.{tensor}", "stem.0.{tensor}"),
    ("stem.norm.{tensor}", "stem.1.{tensor}"),
    (_OURS + ".alpha", "subnet{column}.alpha{level}"),
    (_OURS + ".down.conv.{tensor}", _OFFICIAL + ".fusion.down.0.{tensor}"),
    (_OURS + ".down.norm.{tensor}", _OFFICIAL + ".fusion.down.1.{tensor}"),
    (_OURS + ".up.proj.{tensor}", _UP + ".0.{tensor}"),
    (_OURS + ".up.norm.{tensor}", _UP + ".1.{tensor}"),
    (_OURS + ".top_down.proj.{tensor}", _TOP_DOWN + ".0.{tensor}"),
    (_OURS + ".top_down.norm.{tensor}", _TOP_DOWN + ".1.{tensor}"),
    (_OURS + ".blocks.{block}.{part}", _OFFICIAL + ".blocks.{block}.{part}"),
)
_SINGLE: Final = (
    ("head.norm.{tensor}", "cls.classifier.0.{tensor}"),
    ("head.fc.{tensor}", "cls.classifier.1.{tensor}"),
)
_HEAD: Final = "supervision.heads.{point}"
_DECODER: Final = "supervision.decoders.{point}"
_STAGE: Final = _DECODER + ".stages.{stage}"
_OFFICIAL_DECODER: Final = "decoder_blocks.{point}"
_SUPERVISED: Final = (
    ("head.norm.{tensor}", "cls_blocks.3.classifier.0.{tensor}"),
    ("head.fc.{tensor}", "cls_blocks.3.classifier.1.{tensor}"),
    (_HEAD + ".norm.{tensor}", "cls_blocks.{point}.classifier.0.{tensor}"),
    (_HEAD + ".fc.{tensor}", "cls_blocks.{point}.classifier.1.{tensor}"),
    (_STAGE + ".conv.{tensor}", _OFFICIAL_DECODER + ".proj_layers.{stage}.0.{tensor}"),
    (_STAGE + ".norm.{tensor}", _OFFICIAL_DECODER + ".proj_layers.{stage}.1.{tensor}"),
    (_STAGE + ".block.{part}", _OFFICIAL_DECODER + ".normal_layers.{stage}.0.{part}"),
    (_DECODER + ".output.{step}.{tensor}", _OFFICIAL_DECODER + ".projback.{step}.{tensor}"),
)


def _pattern(template: str) -> re.Pattern[str]:
    """The names that a template stands for, its fields as groups."""
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile(
        "".join(
            f"(?P<{part}>{_FIELDS[part]})" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
    )


_TABLES: Final = {
    supervised: [
        (_pattern(ours), ours, _pattern(official), official)
        for ours, official in _NAMES + (_SUPERVISED if supervised else _SINGLE)
    ]
    for supervised in (False, True)
}


def official_name(name: str, *, supervised: bool = False) -> str | None:
    """Returns the official code's name of one of our tensors, or None for an unknown name.

    Args:
        name: in a `RevCol`.
        supervised: whether the network has intermediate supervision.
    """
    rules = _TABLES[supervised]
    return _renamed(name, ((pattern, official) for pattern, _, _, official in rules))


def our_name(name: str, *, supervised: bool = False) -> str | None:
    """Returns our name of one of the official code's tensors, or None for an unknown name.

    Args:
        name: in the official code.
        supervised: whether the network has intermediate supervision.
    """
    rules = _TABLES[supervised]
    return _renamed(name, ((pattern, ours) for _, ours, pattern, _ in rules))


def _renamed(name: str, rules: Iterable[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(name):
            return template.format_map(match.groupdict())
    return None
