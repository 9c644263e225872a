"""Settings that a run has no use for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_diffseg.diffusion.samplers import SamplerName
    from napari_diffseg.events import SegmentRequest


def describe_idle(
    request: SegmentRequest, *, sampler: SamplerName, slices: int, has_second_plane: bool = False
) -> tuple[str, ...]:
    """A sentence for each setting that was given and changes nothing.

    Parameters
    ----------
    request : SegmentRequest
        The settings as they were asked for.
    sampler : SamplerName
        The one that is used.
    slices : int
        How many the volume has.
    has_second_plane : bool
        Whether the checkpoint has one.
    """
    told = []
    if request.eta > 0 and sampler != "ddim":
        told.append(f"Eta {request.eta:g} changes nothing: it is of the sampler ddim, and this run's is {sampler}.")
    if request.focus is not None and request.focus >= slices:
        told.append(
            f"Focus {request.focus} is none of the volume's slices, 0 to {slices - 1}: the run begins at the nearest."
        )
    if request.second_plane == "on" and not has_second_plane:
        told.append("Second plane on changes nothing: the checkpoint has none.")
    return tuple(told)
