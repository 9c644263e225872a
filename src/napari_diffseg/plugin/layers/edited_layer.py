"""The layer of a mask that was corrected by hand; the plugin does not write to it any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.runs.edited_mask import EditedMask, EditRecord

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_diffseg.plugin.grid.frame import Frame

Mask = npt.NDArray[np.uint8]


@dataclass(eq=False)
class EditedLayer:
    """A correction of a run's mask.

    Attributes
    ----------
    number : int
        Its place among the run's corrections, from 1.
    layer : Layer
        What is painted in; napari's history of it holds nothing but strokes of its own.
    frame : Frame
        How its grid lies on the screen.
    began_from : str
        The mask that it began as, such as `majority of the members (5 members)`.
    base : ndarray, (X, Y, Z), uint8
        That mask, as label numbers.
    """

    number: int
    layer: Layer
    frame: Frame
    began_from: str
    base: Mask

    @property
    def name(self) -> str:
        """What it is called in a list of masks."""
        return "edited" if self.number == 1 else f"edited {self.number}"

    @property
    def mask(self) -> Mask:
        """A copy of what it is now, label numbers (X, Y, Z)."""
        return np.array(self.frame.to_source(np.asarray(self.layer.data)), np.uint8)

    def snapshot(self) -> EditedMask:
        """The correction as it is now, with its record, for another thread."""
        from napari import __version__

        mask = self.mask
        record = EditRecord(
            began_from=self.began_from,
            made_with=f"napari {__version__}",
            changed=datetime.now(UTC).isoformat(timespec="seconds"),
            voxels_added=int(np.count_nonzero((mask > 0) & (self.base == 0))),
            voxels_removed=int(np.count_nonzero((mask == 0) & (self.base > 0))),
        )
        return EditedMask(self.number, mask, self.base, record)
