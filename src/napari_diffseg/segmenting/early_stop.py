"""Rows of a batch whose mask is final before the last step, and slices on which no lesion is expected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from napari_diffseg.diffusion.step import Step
    from napari_diffseg.recipe import Recipe

EMPTY_BELOW: Final = 0.02
"""Where the prediction of a slice is below this probability everywhere, its mask is empty."""
STAYS_FOR: Final = 5
"""A mask that stays the same for one part in so many of the chain, and for two steps at least, is final."""
STAYS_FROM: Final = 0.3
"""But not within this share of the chain: early on a lesion that is still unlikely has no mask."""
FAINT_ABOVE: Final = 0.3
"""Nor where no pixel is marked yet, but one is above this probability: a lesion may still come."""
_LEAST_STAY: Final = 2


class EarlyStop:
    """Decides, row by row, which masks of a batch need no further steps.

    A row is a slice of a member. Its mask is empty, and it ends, at the first step whose prediction (the expected clean
    mask, given the noisy one) is below `EMPTY_BELOW` everywhere. As what is expected of later steps is what this one
    predicts, the mean over many members loses less than that bound at any voxel. A row ends, too, where no pixel of its
    mask has changed for a fifth of the chain, beyond its first 30 %, with what is predicted then as its mask. Both look
    at the row alone, so a member is the same mask in any batch, order or resume. A network that predicts epsilon has no
    early prediction worth the name (it is divided by the little signal there is), so only the second rule applies.

    Parameters
    ----------
    recipe : Recipe
        What the numbers of a mask mean.
    steps : int
        Length of the chain.
    rows : int
        Of the batch.
    every : int
        Rows that are decided leave the batch after each so many steps: on a GPU a look at them waits for it.
    """

    def __init__(self, recipe: Recipe, *, steps: int, rows: int, every: int = 1) -> None:
        self._low, self._middle = recipe.mask_low, _value(recipe, 0.5)
        self._hardly_any, self._faint = _hardly_any(recipe), _value(recipe, FAINT_ABOVE)
        self._expects = expects_early(recipe)
        self._steps, self._every = steps, every
        self._stay = max(_LEAST_STAY, steps // STAYS_FOR)
        self._seen = 0
        self._places = torch.arange(rows)
        self._whole: Step | None = None
        self._done = self._empty = torch.zeros(rows, dtype=torch.bool)
        self._mask = self._same = self._done
        self.left_empty = 0
        """Rows that have left the batch because they are empty."""

    def see(self, step: Step) -> Step:
        """Take in one more step of the rows that are left.

        Parameters
        ----------
        step : Step
            Of these rows.

        Returns
        -------
        Step
            Of all rows of the batch: those that were decided before, as they were decided.
        """
        self._seen += 1
        if self._whole is None:
            self._begin(step)
        assert self._whole is not None
        empty, final = self._decide(step.x0)
        x, x0 = (_frozen(self._done, old[self._places], new) for old, new in _pairs(self._whole, step))
        x = _frozen(final & ~self._done, x0, x)
        x, x0 = (_frozen(empty & ~self._done, torch.full_like(x0, self._low), values) for values in (x, x0))
        self._empty = self._empty | (empty & ~self._done)
        self._done = self._done | empty | final
        whole_x, whole_x0 = (
            old.index_copy(0, self._places, new) for old, new in ((self._whole.x, x), (self._whole.x0, x0))
        )
        self._whole = replace(step, x=whole_x, x0=whole_x0)
        return self._whole

    def narrow(self) -> torch.Tensor | None:
        """The rows to go on with, as places (B',), int64, among those that are left; None is all of them."""
        if self._seen == self._steps or not (self._seen == 1 or self._seen % self._every == 0):
            return None
        left = (~self._done).nonzero()[:, 0]
        if len(left) == len(self._places):
            return None
        self.left_empty += int(self._empty.sum())
        self._places, self._done, self._empty = self._places[left], self._done[left], self._empty[left]
        self._mask, self._same = self._mask[left], self._same[left]
        return left

    def _begin(self, step: Step) -> None:
        self._whole = step
        self._places = self._places.to(step.x.device)
        self._done, self._empty = self._done.to(step.x.device), self._empty.to(step.x.device)

    def _decide(self, x0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which rows are empty, and which are final, by this prediction, (B',) each."""
        never = torch.zeros_like(self._done)
        empty = _is_below(x0, self._hardly_any) if self._expects else never
        before, self._mask = self._mask, (x0 > self._middle).flatten(1)
        if self._seen == 1:
            self._same = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
            return empty, never
        may_come = _is_below(x0, self._middle) & ~_is_below(x0, self._faint)
        stayed = (self._mask == before).all(dim=1) & ~may_come
        self._same = torch.where(stayed, self._same + 1, torch.zeros_like(self._same))
        return empty, self._same >= self._stay if self._seen > STAYS_FROM * self._steps else never


def _pairs(whole: Step, step: Step) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    return (whole.x, step.x), (whole.x0, step.x0)


def _frozen(done: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The new values of rows that go on, the old ones of those that are done."""
    return torch.where(done[:, None, None, None], old, new)


def _is_below(x0: torch.Tensor, bound: float) -> torch.Tensor:
    """Which rows are below a value everywhere, (B,), bool."""
    return x0.flatten(1).amax(dim=1) < bound


def _hardly_any(recipe: Recipe) -> float:
    return _value(recipe, EMPTY_BELOW)


def _value(recipe: Recipe, probability: float) -> float:
    """What a probability is in a recipe's masks."""
    return recipe.mask_low + probability * (recipe.mask_high - recipe.mask_low)


def expects_early(recipe: Recipe) -> bool:
    """Whether the first predictions of a chain say something; those of epsilon, divided by little signal, do not."""
    return recipe.prediction != "epsilon"
