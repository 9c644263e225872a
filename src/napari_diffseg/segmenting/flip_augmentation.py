"""Left-right flip test-time augmentation: every second member sees the image flipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Mirroring:
    """Swaps left and right in some rows of a batch; doing it twice changes nothing.

    A network errs differently on a mirror image, so the errors of an ensemble, half of which sees one, cancel in part.
    Whether a member does is decided by its number alone, so members stay the same whatever the batch.

    Attributes
    ----------
    rows : Tensor, (B, 1, 1, 1), bool, or None
        Whether each row of the batch is swapped; None if none is.
    axis : int
        Axis of (B, C, rows, columns) from left to right.

    References
    ----------
    Wang et al. 2019, "Aleatoric uncertainty estimation with test-time augmentation", arXiv:1807.07356.
    """

    rows: torch.Tensor | None
    axis: int

    @classmethod
    def of_members(cls, recipe: Recipe, members: Sequence[int], device: torch.device) -> Self:
        """The mirroring that a recipe asks for.

        Parameters
        ----------
        recipe : Recipe
            Whether, and which axis.
        members : sequence of int
            The member of each row, from 0.
        device : torch.device
            Where the batch is.
        """
        rows = [recipe.mirror and k % 2 == 1 for k in members]
        mask = torch.tensor(rows, device=device)[:, None, None, None] if any(rows) else None
        return cls(mask, recipe.sideways - 2)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Swap left and right; (B, C, rows, columns), the tensor itself where no row is to be swapped."""
        return batch if self.rows is None else torch.where(self.rows, batch.flip(self.axis), batch)
