"""Which member each plane of a layer of members holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari.layers import Layer

MEMBERS_KEY: Final = "napari_diffseg_members"
"""Metadata key of such a layer: of each plane the member's number from 0, or None while the member is not whole."""


def note_members(layer: Layer, members: Sequence[int], whole: Collection[int]) -> None:
    """Let a layer say which members its planes hold.

    Parameters
    ----------
    layer : Layer
        Of members, (planes, 3 display axes).
    members : sequence of int
        Number from 0 of each plane's member; those beyond the layer's planes are left out.
    whole : collection of int
        Those of them that are final on all slices.
    """
    layer.metadata[MEMBERS_KEY] = tuple(k if k in whole else None for k in members[: len(layer.data)])


def whole_planes(planes: int, metadata: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The planes that hold a whole member, each with the member's number from 0.

    Where the metadata do not speak of so many planes, the layer is somebody else's, or was changed: then every plane is
    a member, in their order.
    """
    members = metadata.get(MEMBERS_KEY, ())
    if len(members) != planes:
        return [(plane, plane) for plane in range(planes)]
    return [(plane, k) for plane, k in enumerate(members) if k is not None]
