"""The job that brings the images of a case to the grid of one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import StatusMessage

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.grid.frame import Frame


def resample_job(frames: Mapping[str, Frame], reference: str) -> Job:
    """Resample the images that lie on another grid than the reference's; the result is their new frames, by modality.

    Parameters
    ----------
    frames : mapping of str to Frame
        Every image of the case.
    reference : str
        The one that stays as it is; the new frames lie on the screen as its does.
    """

    def job(mailbox: Mailbox, stop: threading.Event) -> dict[str, Frame]:
        from napari_diffseg.imaging.geometry.resampling import resample_image
        from napari_diffseg.imaging.volume import same_grid

        target = frames[reference]
        others = {name: f.volume for name, f in frames.items() if not same_grid(f.volume, target.volume)}
        moved = {}
        for n, (name, volume) in enumerate(others.items(), start=1):
            mailbox.put(StatusMessage(f"Resampling {name} to the voxels of {reference}: {n} of {len(others)}…"))
            moved[name] = replace(target, volume=resample_image(volume, target.volume, reference))
            raise_if(stop)
        return moved

    return job
