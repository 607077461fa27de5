"""The names of the network's tensors, ours and the official code's, one for one."""

from __future__ import annotations

import re
from typing import Final

_FIELDS: Final = {
    "column": r"0|[1-9]\d{0,3}",
    "level": r"[0-3]",
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
    ("head.norm.{tensor}", "cls.classifier.0.{tensor}"),
    ("head.fc.{tensor}", "cls.classifier.1.{tensor}"),
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


_TO_OFFICIAL: Final = [(_pattern(ours), official) for ours, official in _NAMES]
_TO_OURS: Final = [(_pattern(official), ours) for ours, official in _NAMES]


def official_name(name: str) -> str | None:
    """Returns the official code's name of one of our tensors, or None for an unknown name."""
    return _renamed(name, _TO_OFFICIAL)


def our_name(name: str) -> str | None:
    """Returns our name of one of the official code's tensors, or None for an unknown name."""
    return _renamed(name, _TO_OURS)


def _renamed(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(name):
            return template.format_map(match.groupdict())
    return None
