"""Whether a checkpoint is read as it was trained: a few readings of its recipe, tried on a case whose mask is known.

The mask of some slices is made noisy, the network is asked once for the clean one, and what it says is held against the
mask. A network that is shown its images or its mask otherwise than in its training finds less of it. That costs a few
evaluations a reading, where sampling would cost hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.encode import encode
from napari_diffseg.errors import BadCase, BadImage, BadRecipe
from napari_diffseg.recipe import make_recipe
from napari_diffseg.regions import split_label_map
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.segmenting.device.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared

ASPECTS: Final = ("channel order", "mask coding", "normalisation", "directions")
"""What is tried, in this order."""

CLEARLY: Final = 0.02
"""By how much a reading must fit better before it is preferred to the one that is stated."""

HARDLY: Final = 0.3
"""A reading that fits no better than this does not fit."""

_KEPT = (0.3, 0.05, 0.01)
"""What is left of the mask at the noise levels that are tried: much of it, little, hardly any."""
_PASSES = 2


@dataclass(frozen=True, slots=True)
class Tried:
    """A reading of the recipe.

    Attributes
    ----------
    aspect : str
        One of `ASPECTS`, or "as stated".
    changes : mapping of str to any
        Fields of the recipe that differ from those stated.
    agreement : float
        Soft Dice, 0 to 1, of the masks predicted and the reference.
    """

    aspect: str
    changes: Mapping[str, Any]
    agreement: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a self-test is: readings that are done, at most how many there are, and the last."""

    done: int
    total: int
    tried: Tried


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a self-test found.

    Attributes
    ----------
    stated : float
        Agreement of the recipe as it is stated.
    best : Tried
        The reading that is preferred: as stated, unless another fits better by `CLEARLY`.
    tried : tuple of Tried
        All readings, in the order in which they were tried.
    """

    stated: float
    best: Tried
    tried: tuple[Tried, ...] = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether any reading fits."""
        return self.best.agreement > HARDLY

    def as_values(self) -> dict[str, Any]:
        """What was found, for programs: plain values that JSON can hold."""
        return {
            "stated": self.stated,
            "best": self.best.agreement,
            "fits": self.fits,
            "changes": dict(self.best.changes),
            "tried": [{"changes": dict(t.changes), "agreement": t.agreement} for t in self.tried],
        }

    def rows(self) -> list[tuple[str, str]]:
        """What was found, as rows of a name and a sentence: the whole, then each aspect."""
        return [("check", self._found()), *((aspect, self._of(aspect)) for aspect in ASPECTS)]

    def ranking(self, count: int = 5) -> list[tuple[str, float]]:
        """The readings that fit best, each in words with its agreement."""
        ordered = sorted(self.tried, key=lambda t: -t.agreement)
        return [(_words(t.changes), t.agreement) for t in ordered[:count]]

    def _found(self) -> str:
        best = self.best.agreement
        if not self.fits:
            return (
                f"no reading fits the reference, the best by {best:.2f} of 1: the checkpoint may be for other images, "
                "another order of modalities or another lesion"
            )
        if not self.best.changes:
            return f"the recipe as stated fits the reference best, by {self.stated:.2f} of 1"
        return (
            f"another reading fits the reference better: {_words(self.best.changes)} by {best:.2f} of 1, the recipe as "
            f"stated by {self.stated:.2f}"
        )

    def _of(self, aspect: str) -> str:
        best = self.best.agreement
        others = sorted((t for t in self.tried if t.aspect == aspect and t != self.best), key=lambda t: -t.agreement)
        if not others:
            return "nothing else to try"
        near = f"{_words(others[0].changes)} fits by {others[0].agreement:.2f}"
        return f"makes no clear difference: {near}" if others[0].agreement > best - CLEARLY else f"next best: {near}"


def check_checkpoint(
    checkpoint: Checkpoint,
    case: Case,
    *,
    device: str = "auto",
    slices: int = 4,
    aspects: Sequence[str] = ASPECTS,
) -> Generator[Progress, None, Verdict]:
    """Try the readings of a checkpoint's recipe that matter; closing the generator cancels.

    Aspect by aspect the best reading is kept, and the aspects are gone through once more where something changed.

    Parameters
    ----------
    checkpoint : Checkpoint
        Whose recipe may be guessed in part.
    case : Case
        With a reference, and the images that the recipe names.
    device : str
        Where the network is evaluated, as in `SegmentRequest`.
    slices : int
        Slices that are looked at, of those with lesion.
    aspects : sequence of str
        Those of `ASPECTS` that are tried, in this order.

    Yields
    ------
    Progress
        After every reading.

    Returns
    -------
    Verdict

    Raises
    ------
    BadCase
        If the case has no reference, an empty one, or lacks an image.
    BadRequest
        If the device cannot be had.
    """
    bench = _Bench(checkpoint, case, device, slices)
    total = 1 + _PASSES * sum(len(list(_readings(checkpoint, aspect))) for aspect in aspects)
    first = bench.tried("as stated", {})
    if first is None:
        raise BadCase(f"Case {case.id}: its images cannot be normalised as the recipe says: choose another case.")
    best = first
    yield Progress(1, total, first)
    done = 1
    for _ in range(_PASSES):
        before = best
        for aspect in aspects:
            for changes in _readings(checkpoint, aspect):
                done += 1
                found = bench.tried(aspect, {**best.changes, **changes})
                if found is None:
                    continue
                yield Progress(done, total, found)
                if found.agreement > best.agreement + CLEARLY:
                    best = found
        if best is before:
            break
    return Verdict(first.agreement, best, bench.seen())


def _readings(checkpoint: Checkpoint, aspect: str) -> Iterator[dict[str, Any]]:
    """What an aspect of the recipe may be."""
    match aspect:
        case "channel order":
            yield from ({"channel_order": order} for order in _orders(checkpoint))
        case "mask coding":
            yield {"mask_low": 0.0, "mask_high": 1.0}
            yield {"mask_low": -1.0, "mask_high": 1.0}
        case "normalisation":  # with either order: where both are wrong, one alone put right changes nothing
            for order, images in product(_orders(checkpoint), _IMAGES):
                yield {"channel_order": order, **images}
        case _:
            rows, columns, along = checkpoint.recipe.axis_codes
            for pair in ((rows, columns), (columns, rows)):
                for flips in product((False, True), repeat=2):
                    one, two = (_OPPOSITE[c] if flip else c for c, flip in zip(pair, flips, strict=True))
                    yield {"axis_codes": (one, two, along)}


def _orders(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Channel orders that a network may have; beside an anchor network there is one alone."""
    return ("images_first",) if checkpoint.config.anchor else ("images_first", "mask_first")


_IMAGES: Final[tuple[dict[str, Any], ...]] = (
    *(
        {**kind, "value_range": span}
        for kind in (
            {"normalisation": "percentile", "percentile_of": "brain"},
            {"normalisation": "percentile", "percentile_of": "image"},
            {"normalisation": "minmax"},
        )
        for span in ((0.0, 1.0), (-1.0, 1.0))
    ),
    {"normalisation": "zscore", "value_range": (0.0, 1.0)},
    {"normalisation": "none", "value_range": (0.0, 1.0)},
)
"""How images may be normalised."""

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


class _Bench:
    """A case, and a network as every reading shows it."""

    def __init__(self, checkpoint: Checkpoint, case: Case, device: str, slices: int) -> None:
        if case.reference is None:
            raise BadCase(f"Case {case.id}: there is no reference mask beside its images: choose a case that has one.")
        self._checkpoint, self._case = checkpoint, case
        self._device = resolve_device(device)
        self._masks = split_label_map(case.reference.data, checkpoint.recipe.regions)
        self._slices = self._with_lesion(slices)
        self._networks: dict[str, Prepared] = {}
        self._known: dict[str, Tried] = {}

    def seen(self) -> tuple[Tried, ...]:
        """All readings that were tried."""
        return tuple(self._known.values())

    def tried(self, aspect: str, changes: Mapping[str, Any]) -> Tried | None:
        """A reading's agreement, worked out once; None for one that cannot be."""
        stated = self._checkpoint.recipe
        try:
            recipe = make_recipe({**stated.model_dump(), **changes})
        except BadRecipe:
            return None
        key = recipe.model_dump_json()
        if key not in self._known:
            differing = {
                name: getattr(recipe, name) for name in changes if getattr(recipe, name) != getattr(stated, name)
            }
            try:
                self._known[key] = Tried(aspect, differing, self._agreement(recipe))
            except BadImage:
                return None
        return self._known[key]

    def _with_lesion(self, count: int) -> tuple[int, ...]:
        """Source slices with lesion, spread over it."""
        axis = encode(self._case, self._checkpoint.recipe).grid.slice_axis
        lesion = self._masks.any(axis=0)
        area = lesion.sum(axis=tuple(a for a in range(3) if a != axis))
        hit = np.flatnonzero(area > 0.25 * area.max()) if area.any() else area[:0]
        if not hit.size:
            raise BadCase(f"Case {self._case.id}: its reference mask is empty: choose a case with a lesion.")
        picked = hit[np.unique(np.linspace(0, len(hit) - 1, min(count, len(hit))).round().astype(int))]
        return tuple(int(n) for n in picked)

    @torch.inference_mode()
    def _agreement(self, recipe: Recipe) -> float:
        seen = encode(self._case, recipe, choose=lambda _: self._slices)
        image = seen.image.to(self._device)
        masks = [seen.grid.to_model(m.astype(np.float32), slices=seen.sampled) > 0.5 for m in self._masks]
        truth = torch.from_numpy(np.stack(masks, axis=1).astype(np.float32)).to(self._device)
        coded = recipe.mask_low + truth * (recipe.mask_high - recipe.mask_low)
        schedule = recipe.noise_schedule()
        denoiser = ConditionedDenoiser(
            self._network(recipe),
            image,
            schedule,
            prediction=recipe.prediction,
            variance=recipe.variance,
            clip=recipe.clip,
            rescale_timesteps=recipe.rescale_timesteps,
        )
        generator = torch.Generator().manual_seed(0)
        scores = []
        for level in _KEPT:
            index = int(np.abs(schedule.alphas_cumprod - level).argmin())
            kept = float(schedule.alphas_cumprod[index])
            noise = torch.randn(coded.shape, generator=generator).to(self._device)
            x0 = denoiser(kept**0.5 * coded + (1 - kept) ** 0.5 * noise, index).x0
            found = torch.from_numpy(recipe.decode_values(x0.float().cpu().numpy())).to(self._device)
            scores.append(float(2 * (found * truth).sum() / (found + truth).sum().clamp(min=1e-6)))
        return float(np.mean(np.nan_to_num(scores)))

    def _network(self, recipe: Recipe) -> Prepared:
        if recipe.channel_order not in self._networks:
            network = replace(self._checkpoint, recipe=recipe).network()
            made = prepare(network, recipe.size, device=self._device, dtype=torch.float32)
            self._networks[recipe.channel_order] = made
        return self._networks[recipe.channel_order]


def _words(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_told(value)}" for name, value in changes.items()) or "the recipe as stated"


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(_told(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
