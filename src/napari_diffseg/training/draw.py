"""Phantoms as cases to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadRequest
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.regions import split_label_map
from napari_diffseg.synthesis.phantom import Phantom, PhantomSettings, make_phantom
from napari_diffseg.training.source import LabelledCase, Marked, Slices, encode_slices, joined
from napari_diffseg.training.split import Split

if TYPE_CHECKING:
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.synthesis.settings import PhantomFamily, PhantomKind

_SHAPE, _SPACING_MM = (120, 120, 39), (2.0, 2.0, 4.0)
_THIN_SHAPE, _THIN_SPACING_MM = (120, 120, 78), (2.0, 2.0, 2.0)
"""Where slices are cut across these as well."""
_KINDS: tuple[PhantomKind, ...] = ("glioma", "glioma", "glioma", "lowgrade")
_CONTRASTS = (0.15, 0.3, 0.5, 0.8)
_SLICES = 10
_EMPTY_SHARE = 0.2
_SCALP_STREAM, _FAINT_STREAM, _LOOKALIKE_STREAM = 7, 8, 9
LABELS: Final = frozenset({1, 2, 4})
"""Of a phantom's label maps: those of BraTS 2021."""


@dataclass(frozen=True, slots=True)
class PhantomSource:
    """Synthetic brains, drawn by seed: each named by its own, which is all that decides it.

    Of each up to ten slices in each plane of the recipe are trained on, most of them with lesion; four readers drew
    masks.

    Parameters
    ----------
    recipe : Recipe
        Modalities, size, spacing and normalisation: the slices are encoded as those of a real case are.
    phantoms, held_out : int
        How many to train on, and how many more to hold out.
    seed : int
        Of the first; phantom k has the seed `seed + k`.
    families : tuple of {"grown", "mixture"}
        Of the phantoms, in turn.
    held_out_family : {"grown", "mixture"} or None
        Of those that are held out; None: as of the others.
    scalp_share : float
        Share of the phantoms whose skull is not stripped, 0 to 1.
    faint_share, lookalike_share : float
        Share of those whose oedema hardly shows in its outer third, and of those with much that looks like a lesion and
        is none, 0 to 1.
    """

    recipe: Recipe
    phantoms: int
    held_out: int
    seed: int
    families: tuple[PhantomFamily, ...] = ("grown",)
    held_out_family: PhantomFamily | None = None
    scalp_share: float = 0.0
    faint_share: float = 0.0
    lookalike_share: float = 0.0

    def split(self) -> Split:
        """The first ones are trained on, the rest is held out."""
        names = [str(self.seed + k) for k in range(self.phantoms + self.held_out)]
        return Split(tuple(names[: self.phantoms]), tuple(names[self.phantoms :]))

    def describe(self, split: Split) -> str:
        """What the cases are, for the model card."""
        drawn = "" if self.families == ("grown",) else f", {' and '.join(self.families)}"
        return f"{len(split.train)} synthetic brains (seeds from {self.seed} on{drawn}), no patient data"

    def check(self, case_id: str) -> None:
        """Refuse labels that phantoms do not have.

        Raises
        ------
        BadRequest
            If there are such in the recipe.
        """
        if strange := sorted({v for r in self.recipe.regions for v in r.values} - LABELS):
            raise BadRequest(
                f"The recipe's labels are made of label {strange[0]}, but phantoms have the labels 1, 2 and 4: "
                "choose the regions brats2021, or others that are made of these."
            )

    def label_names(self) -> dict[str, list[int]]:
        """As BraTS called them until 2022."""
        return {"necrosis and non-enhancing": [1], "oedema": [2], "enhancing": [4]}

    def marked(self, case_id: str) -> Marked:
        """All that phantoms can have; not of every one each."""
        return Marked(frozenset(LABELS), frozenset())

    def stamp(self, case_id: str) -> str:
        """How it is drawn; all else is decided by its seed."""
        settings = self._settings(int(case_id))
        told = {
            settings.family: settings.family != "grown",
            "faint": settings.faint,
            "look-alikes": settings.lookalikes,
            "scalp": settings.scalp,
        }
        return ", ".join(["phantom", *(word for word, is_so in told.items() if is_so)])

    def read(self, case_id: str) -> LabelledCase:
        """Draw a phantom."""
        phantom = make_phantom(self._settings(int(case_id)))
        readers = [split_label_map(labels, self.recipe.regions) for labels in phantom.reader_labels]
        return LabelledCase(phantom_case(phantom, case_id), np.stack(readers))

    def slices(self, case_id: str) -> Slices:
        """Draw a phantom and keep up to ten of its slices in each plane, one in five without lesion."""
        labelled, rng = self.read(case_id), np.random.default_rng(int(case_id))
        kept = []
        for recipe in self.recipe.planes:
            every = encode_slices(labelled, recipe)
            chosen = _choose(np.asarray(every.masks.any(axis=(1, 2, 3, 4))), rng)
            kept.append(Slices(every.images[chosen], every.masks[chosen]))
        return joined(kept)

    def _settings(self, seed: int) -> PhantomSettings:
        """Kinds in turn, and contrasts, and families: a block of each has all of the one before."""
        block = len(_KINDS) * len(_CONTRASTS)
        is_held_out = seed >= self.seed + self.phantoms
        family = self.families[seed // block % len(self.families)]
        return PhantomSettings(
            kind=_KINDS[seed % len(_KINDS)],
            family=self.held_out_family or family if is_held_out else family,
            seed=seed,
            shape=_SHAPE if self.recipe.second_plane is None else _THIN_SHAPE,
            spacing_mm=_SPACING_MM if self.recipe.second_plane is None else _THIN_SPACING_MM,
            readers=4,
            randomise=_CONTRASTS[seed // len(_KINDS) % len(_CONTRASTS)],
            artefacts=0.6,
            faint=float(_is_drawn(seed, _FAINT_STREAM, self.faint_share)),
            lookalikes=float(_is_drawn(seed, _LOOKALIKE_STREAM, self.lookalike_share)),
            scalp=_is_drawn(seed, _SCALP_STREAM, self.scalp_share),
        )


def _is_drawn(seed: int, stream: int, share: float) -> bool:
    """Whether a phantom is one of a share of them, which each stream chooses by itself."""
    return bool(np.random.default_rng((seed, stream)).random() < share)


def phantom_case(phantom: Phantom, case_id: str) -> Case:
    """A phantom as a case, its consensus of whole-lesion labels the reference."""
    volumes: dict[str, Volume] = {
        name: Volume(data, phantom.affine, None, None, ()) for name, data in phantom.volumes.items()
    }
    reference = Volume((phantom.seg > 0).astype(np.uint8), phantom.affine, None, None, ())
    return Case(case_id, volumes, reference)


def _choose(has_lesion: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Up to ten slices, one in five of them without lesion."""
    with_lesion, without = np.flatnonzero(has_lesion), np.flatnonzero(~has_lesion)
    empty = min(len(without), round(_SLICES * _EMPTY_SHARE))
    full = min(len(with_lesion), _SLICES - empty)
    return np.concatenate([rng.choice(with_lesion, full, replace=False), rng.choice(without, empty, replace=False)])
