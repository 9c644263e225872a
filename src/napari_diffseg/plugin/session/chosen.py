"""What is chosen for the next run of a viewer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.errors import BadCase
from napari_diffseg.events import make_request
from napari_diffseg.plugin.session.plan import make_plan
from napari_diffseg.plugin.session.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.layers import Layer, Shapes

    from napari_diffseg.plugin.session.run_plan import RunPlan
    from napari_diffseg.recipe import Recipe

_SEEDS: Final = 10**6
"""Seeds that are drawn are below this: six digits can be read out and typed."""


@dataclass(eq=False)
class Chosen:
    """The choices that a run is made of; nothing of them reaches a run that has begun.

    Attributes
    ----------
    inputs : dict
        The layer of each modality, as far as chosen.
    left_out : set of str
        Modalities that are to be left out, where the checkpoint can do without.
    values : dict
        Settings that are not left at their defaults.
    keep_seed : bool
        Whether runs have the seed that is set; otherwise each draws a new one.
    scope, drawn : Scope, Shapes or None
        How much of the case; the layer that a box is drawn in.
    checkpoint, overrides : str, dict
        What to run, and what the user says of it against its recipe.
    """

    inputs: dict[str, Layer] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    values: dict[str, object] = field(default_factory=dict)
    keep_seed: bool = True
    scope: Scope = Scope.RANGE
    drawn: Shapes | None = None
    checkpoint: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Chosen:
        """The choices as they are now."""
        return replace(self, inputs=dict(self.inputs), left_out=set(self.left_out), values=dict(self.values))

    def draw_seed(self) -> int:
        """Choose another seed, and tell it."""
        seed = secrets.randbelow(_SEEDS)
        self.values["seed"] = seed
        return seed

    def images(self, recipe: Recipe) -> dict[str, Layer]:
        """The layer of each modality in the recipe's order, without those that are left out.

        Raises
        ------
        BadCase
            If one is not chosen.
        """
        left_out = self.left_out if recipe.may_miss else ()
        wanted = [name for name in recipe.modalities if name not in left_out]
        missing = [name for name in wanted if name not in self.inputs]
        if missing:
            otherwise = ", or leave it out" if recipe.may_miss and len(missing) < len(wanted) else ""
            raise BadCase(f"Choose an image for {', '.join(missing)}{otherwise}.")
        if not wanted:
            raise BadCase("Every image is left out: choose one.")
        return {name: self.inputs[name] for name in wanted}

    @property
    def settings(self) -> dict[str, object]:
        """The settings; a range of slices is none while another scope is chosen, and its line out of sight."""
        return self.values if self.scope is Scope.RANGE else {k: v for k, v in self.values.items() if k != "slices"}

    def plan(self, recipe: Recipe, *, point: Sequence[float] | None, runs_folder: Path) -> RunPlan:
        """The run of what is chosen, with the slice at a point in world coordinates first.

        Raises
        ------
        DiffsegError
            If it cannot be run, with the reason.
        """
        return make_plan(
            self.images(recipe),
            checkpoint=self.checkpoint,
            overrides=self.overrides,
            request=make_request(self.settings),
            recipe=recipe,
            point=point,
            runs_folder=runs_folder,
            scope=self.scope,
            drawn=self.drawn,
        )
