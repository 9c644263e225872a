"""Predictions of a batch as masks and probabilities, worked out where they were computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_diffseg.decode import as_shown
from napari_diffseg.segmenting.device.source_planes import SourcePlanes, has_float64
from napari_diffseg.segmenting.pacing import HostCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_diffseg.encode import Conditioning
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.pacing import Mark

    Masks = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


class Decoder:
    """Brings predictions of a run to the source's voxels; nothing is waited for until a result is asked for.

    Gives what `decode_masks` and `decode_probability` do: on a processor to the bit. What a GPU sends to the host is a
    byte a voxel, and the host has nothing to interpolate.

    Parameters
    ----------
    conditioning : Conditioning
        Of the case; says where its voxels are.
    recipe : Recipe
        Says what the numbers mean.
    device : torch.device
        Where predictions are; of one without float64 they are brought to the host first.
    mark : callable or None
        As `marker_of` gives it for the device.
    """

    def __init__(
        self, conditioning: Conditioning, recipe: Recipe, device: torch.device, mark: Callable[[], Mark] | None
    ) -> None:
        self._rim, self._recipe, self._mark = conditioning.rim, recipe, mark
        self._device = device if has_float64(device) else torch.device("cpu")
        self._to_source = SourcePlanes(conditioning.grid, self._device)

    def masks(self, x: torch.Tensor, slices: Sequence[int]) -> Callable[[], Masks]:
        """Final predictions as masks.

        Parameters
        ----------
        x : Tensor, (B, labels, rows, columns)
            In the recipe's mask encoding.
        slices : sequence of int
            The source slice of each of the B rows.

        Returns
        -------
        callable
            Waits for the device, where it has to, and gives the masks (labels, B, U, V), bool, and which predictions
            have finite numbers alone, (B,), bool.
        """
        x, recipe = x.to(self._device, torch.float32), self._recipe
        rows = self._marked(x)
        some = x if len(rows) == len(x) else x[rows]
        labels = [self._to_source(some[:, c], fill=recipe.mask_low) > recipe.threshold for c in range(x.shape[1])]
        copy = HostCopy([torch.stack(labels), torch.isfinite(x).flatten(1).all(dim=1)], self._mark)

        def wait() -> Masks:
            marked, are_finite = copy.arrays()
            masks = np.zeros((len(marked), len(x), *marked.shape[2:]), np.bool_)
            masks[:, rows] = as_shown(marked.copy(), recipe, rim=self._rim, slices=[slices[row] for row in rows])
            return masks, are_finite.copy()

        return wait

    def _marked(self, x: torch.Tensor) -> list[int]:
        """Rows that are not sure to be empty: a value between pixels is no larger than theirs. A GPU is not asked."""
        if self._device.type != "cpu":
            return list(range(len(x)))
        return (x.flatten(1).amax(dim=1) > self._recipe.threshold).nonzero()[:, 0].tolist()

    def probability(self, x0: torch.Tensor, slices: Sequence[int]) -> Callable[[], npt.NDArray[np.float32]]:
        """Expected x_0 (B, labels, rows, columns) as probabilities (labels, B, U, V), float32; else as `masks`."""
        x0, recipe = x0.to(self._device, torch.float32), self._recipe
        values = ((x0 - recipe.mask_low) / (recipe.mask_high - recipe.mask_low)).clamp(0.0, 1.0)
        labels = [self._to_source(values[:, c], fill=0.0) for c in range(x0.shape[1])]
        copy = HostCopy([torch.stack(labels)], self._mark)
        # A copy, as memory that a GPU writes to is pinned, and the result may be kept.
        return lambda: as_shown(copy.arrays()[0].copy(), recipe, rim=self._rim, slices=slices)
