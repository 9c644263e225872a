"""What the files of each mask channel are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPORTED: Final = ("mask", "mean", "uncertainty", "probability", "expected")
"""Stems of the maps of a whole ensemble that can be exported, one for each mask channel."""
MAPS: Final = (*EXPORTED, "refined")
"""Stems of those in a run's own folder. Where files are side by side, `refined` is what others call masks, too."""
LABEL_MAP: Final = "label-map"
"""Stem of the one file in which all mask channels are together."""


def channel_tails(labels: Sequence[str]) -> list[str]:
    """What the files of each mask channel have in their name: nothing for a single one; never the same for two.

    Parameters
    ----------
    labels : sequence of str
        Names of the mask channels, such as `whole tumour` and `tumour core`.

    Returns
    -------
    list of str
        One for each, such as `_tumour-core`; `_channel-2` where a name has neither letter nor digit.
    """
    if len(labels) <= 1:
        return [""] * len(labels)
    slugs = [_slug(label) for label in labels]
    tails = [f"_{s}" if s and slugs.count(s) == 1 else f"_{s or 'channel'}-{n}" for n, s in enumerate(slugs, 1)]
    if len(set(tails)) < len(tails):  # a label is called as another one's name with its number
        return [f"_{s or 'channel'}-channel-{n}" for n, s in enumerate(slugs, 1)]
    return tails


def _slug(label: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in label.lower()).split())
