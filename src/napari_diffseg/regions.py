"""Regions of a lesion, such as enhancing tumour in tumour core in whole tumour: in label maps, as masks, and nested.

A region is a name and the values of a label map that it is made of. Nothing else is needed: a region whose values are
all among another's lies within that one. numpy only, so that every part of the package can use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_diffseg.errors import BadRequest, Remedy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

LARGEST_VALUE: Final = 32767
"""Of a label map, so that every format and viewer can hold it."""

LabelValue = Annotated[int, Field(ge=1, le=LARGEST_VALUE)]

Number = TypeVar("Number", bound=np.generic)


class Region(BaseModel):
    """A named part of the lesion.

    Attributes
    ----------
    name : str
        For people and file names.
    values : tuple of int
        Values of a label map whose voxels are of this region, increasing; empty: not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, description="What the region is called.")
    values: tuple[LabelValue, ...] = Field((), max_length=255, description="Values of a label map that it is made of.")

    @field_validator("values")
    @classmethod
    def _increasing(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(values)))


def _brats(whole: tuple[int, ...], core: tuple[int, ...], enhancing: int, cavity: int | None = None) -> list[Region]:
    regions = [
        Region(name="whole tumour", values=whole),
        Region(name="tumour core", values=core),
        Region(name="enhancing tumour", values=(enhancing,)),
    ]
    return regions if cavity is None else [*regions, Region(name="resection cavity", values=(cavity,))]


CONVENTIONS: Final = {
    "brats2016": tuple(_brats((1, 2, 3, 4), (1, 3, 4), 4)),
    "brats2021": tuple(_brats((1, 2, 4), (1, 4), 4)),
    "brats2023": tuple(_brats((1, 2, 3), (1, 3), 3)),
    "brats2024": tuple(_brats((1, 2, 3), (1, 3), 3, cavity=4)),
    "decathlon": tuple(_brats((1, 2, 3), (2, 3), 3)),
}
"""Regions by data set, outermost first.

2012 to 2016: 1 necrosis, 2 oedema, 3 non-enhancing, 4 enhancing. 2017 to 2022: 1 necrosis and non-enhancing, 2 oedema,
4 enhancing. From 2023 on 3 is enhancing; from 2024 on (adult glioma after treatment) 4 is the resection cavity.
Medical Segmentation Decathlon: 1 oedema, 2 non-enhancing, 3 enhancing.

References
----------
Menze et al. 2015, doi:10.1109/TMI.2014.2377694; Baid et al. 2021, arXiv:2107.02314; de Verdier et al. 2024,
arXiv:2405.18368; Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9.
"""

_PARTS: Final = {
    "whole": re.compile(r"whole|^wt$", re.IGNORECASE),
    "core": re.compile(r"tumou?r.?core|^tc$", re.IGNORECASE),
    "rest of core": re.compile(r"non.?enhanc|necro|^(?:ncr|net|netc|ncr.?net)$", re.IGNORECASE),
    "enhancing": re.compile(r"enhanc|^(?:et|at)$", re.IGNORECASE),
    "oedema": re.compile(r"o?edema|flair.?hyper|^(?:ed|snfh)$", re.IGNORECASE),
    "cavity": re.compile(r"cavity|^rc$", re.IGNORECASE),
}
"""Words by which data sets call parts of a tumour; the first that fits counts."""

NNUNET: Final = "nnunet"
"""Word for values as nnU-Net wants them: 1, 2, 3 ... without a gap, outer regions first."""

_LAST_YEARS = {2016: "brats2016", 2022: "brats2021", 2023: "brats2023", 2099: "brats2024"}
_FIRST_YEAR = 2012


def convention_named(word: str) -> str:
    """Which of `CONVENTIONS` a word means: its own name, or `brats` with any year since 2012.

    Raises
    ------
    BadRequest
        If it means none; the text names all.
    """
    name = word.strip().lower()
    year = name.removeprefix("brats")
    if name != year and year.isdecimal() and int(year) >= _FIRST_YEAR:
        name = next((known for last, known in _LAST_YEARS.items() if int(year) <= last), name)
    if name not in CONVENTIONS:
        raise BadRequest(
            f"There are no regions called {word}: choose brats with a year from {_FIRST_YEAR} on, such as "
            f"{', '.join(CONVENTIONS)}, or define your own by labels and label_values of the recipe."
        )
    return name


def regions_named(word: str) -> tuple[Region, ...]:
    """The regions of a data set, such as `brats2021` (of any year since 2012) or `decathlon`.

    Raises
    ------
    BadRequest
        As `convention_named`.
    """
    return CONVENTIONS[convention_named(word)]


def brats_convention(values: Collection[int]) -> str | None:
    """Which BraTS convention the labels of a whole data set follow; None where they don't tell.

    Parameters
    ----------
    values : collection of int
        All labels above 0 that occur in the label maps of the data set.

    Raises
    ------
    BadRequest
        If they fit several years, or none.
    """
    occurring = ", ".join(map(str, sorted(values)))
    if beyond := sorted(set(values) - {1, 2, 3, 4}):
        raise BadRequest(
            f"The label maps hold {occurring}, but those of BraTS hold 1 to 4, and no {beyond[0]}: define the regions "
            "by their labels."
        )
    if {3, 4} <= set(values):
        raise BadRequest(
            f"The label maps hold {occurring}, and 3 and 4 together mean different things: up to 2016 enhancing tumour "
            "is 4, from 2024 on it is 3 and 4 is the resection cavity. Say which year: brats2016 or brats2024.",
            Remedy("regions", "brats2016"),
            Remedy("regions", "brats2024"),
        )
    return "brats2021" if 4 in values else "brats2023" if 3 in values else None


def regions_described(labels: Mapping[str, Collection[int]]) -> tuple[Region, ...] | None:
    """The regions of a brain tumour by what a data set calls its labels; None where it does not call them so.

    Parameters
    ----------
    labels : mapping of str to collection of int
        Of each name its values, as in a `dataset.json`: of tissues (edema, non-enhancing tumor, enhancing tumor) or, as
        nnU-Net has them, of whole regions.
    """
    found: dict[str, set[int]] = {}
    for name, values in labels.items():
        part = next((part for part, words in _PARTS.items() if words.search(name)), None)
        if part is not None:
            found.setdefault(part, set()).update(value for value in values if value > 0)
    enhancing = found.get("enhancing", set())
    core = found.get("core", enhancing | found.get("rest of core", set()))
    whole = found.get("whole", core | found.get("oedema", set()))
    if len(enhancing) != 1 or not enhancing < core < whole:
        return None
    cavity = found.get("cavity", set())
    return tuple(_brats(tuple(whole), tuple(core), min(enhancing), cavity=min(cavity, default=None)))


def regions_of(labels: Sequence[str], label_values: Sequence[Sequence[int]] = ()) -> tuple[Region, ...]:
    """Mask channels as regions, in their order: their names, and their values of a label map where these are known."""
    values = label_values or ((),) * len(labels)
    return tuple(Region(name=name, values=tuple(v)) for name, v in zip(labels, values, strict=True))


def problem_with(regions: Sequence[Region]) -> str | None:
    """Why regions cannot go together, as part of a sentence; None where they can."""
    names = [r.name for r in regions]
    if twice := next((n for n in names if names.count(n) > 1), None):
        return f"two regions are called {twice!r}"
    for n, one in enumerate(regions):
        for other in regions[n + 1 :]:
            shared = set(one.values) & set(other.values)
            if shared and one.values == other.values:
                return f"{one.name!r} and {other.name!r} are made of the same labels"
            if shared and not (shared == set(one.values) or shared == set(other.values)):
                return (
                    f"{one.name!r} and {other.name!r} share label {min(shared)}, and neither lies within the other: "
                    "regions either nest or have no label in common"
                )
    return None


def containers(regions: Sequence[Region]) -> tuple[int | None, ...]:
    """For each region the index of the smallest one that it lies within; None for one that lies in no other."""
    found: list[int | None] = []
    for inner in regions:
        outer = [n for n, r in enumerate(regions) if inner.values and set(inner.values) < set(r.values)]
        found.append(min(outer, key=lambda n: len(regions[n].values), default=None))
    return tuple(found)


def nest(values: npt.NDArray[Number], regions: Sequence[Region]) -> npt.NDArray[Number]:
    """The rule of nesting: what belongs to a region belongs to those it lies within.

    Inner regions are added to outer ones, as nnU-Net and the BraTS evaluation paint them; nothing is taken from an
    inner region. Of masks or probabilities of one member this makes means over members nested, too.

    Parameters
    ----------
    values : ndarray, (M, ...), bool or a number
        Mask, or probability, of each region.
    regions : sequence of Region, of length M
        In the order of the first axis.

    Returns
    -------
    ndarray, (M, ...)
        Of the same kind; the very array given where nothing nests.
    """
    within = containers(regions)
    if not any(outer is not None for outer in within):
        return values
    nested = values.copy()
    for n in sorted(range(len(regions)), key=lambda n: len(regions[n].values)):
        outer = within[n]
        if outer is not None:
            np.maximum(nested[outer], nested[n], out=nested[outer])
    return nested


def part_named(name: str) -> str | None:
    """Which part of a brain tumour a region's name means, such as `whole`, `core` or `oedema`; None for another."""
    return next((part for part, words in _PARTS.items() if words.search(name.strip())), None)


def with_values_of(regions: Sequence[Region], word: str | None) -> tuple[Region, ...]:
    """The same regions with the label values that a data set or a program gives them.

    Parameters
    ----------
    regions : sequence of Region
        Such as those of a checkpoint.
    word : str, optional
        `brats` with a year, `decathlon`, or `nnunet` for 1, 2, 3 ..., outer regions first. None: their own values.

    Raises
    ------
    BadRequest
        If there is no such convention, or the regions are not those of a brain tumour that it has values for.
    """
    if word is None:
        return tuple(regions)
    if word.strip().lower() == NNUNET:
        return _counted(regions)
    name = convention_named(word)
    values = _values_by_part(CONVENTIONS[name])
    named = labelled_by(regions, name, setting="label_values")
    parts = {part_named(region.name) for region in regions}
    missing = set(values["whole"]) - {value for region in named for value in region.values}
    if missing or not {"enhancing"} <= parts or not {"core", "rest of core"} & parts:
        raise BadRequest(
            f"A label map of {name} needs whole tumour, tumour core and enhancing tumour, and there is "
            f"{', '.join(region.name for region in regions)}: choose the regions' own values.",
            Remedy("label_values"),
        )
    return named


def labelled_by(regions: Sequence[Region], word: str, *, setting: str) -> tuple[Region, ...]:
    """Some regions, one by one, with the labels that a data set has for them: to read its label maps, not to write one.

    Parameters
    ----------
    regions : sequence of Region
        Whose names say which part of a tumour each is.
    word : str
        `brats` with a year, or `decathlon`.
    setting : str
        What is to be chosen otherwise where that cannot be.

    Raises
    ------
    BadRequest
        If there is no such data set, or it has no labels for one of them.
    """
    name = convention_named(word)
    values = _values_by_part(CONVENTIONS[name])
    named = []
    for region in regions:
        part = part_named(region.name)
        if part is None or part not in values:
            raise BadRequest(
                f"{name} has no label for {region.name!r}: choose another year, or the regions' own values.",
                Remedy(setting),
            )
        named.append(Region(name=region.name, values=values[part]))
    return tuple(named)


def _values_by_part(convention: Sequence[Region]) -> dict[str, tuple[int, ...]]:
    """Values of a convention by part of the tumour, those of what is left of a region without the one within, too."""
    values = {part: set(region.values) for region in convention if (part := part_named(region.name)) is not None}
    values["oedema"] = values["whole"] - values["core"]
    values["rest of core"] = values["core"] - values["enhancing"]
    return {part: tuple(sorted(those)) for part, those in values.items()}


def _counted(regions: Sequence[Region]) -> tuple[Region, ...]:
    """The regions with values 1, 2, 3 ... of their own parts, outer ones first."""
    own = {n: value for value, n in enumerate(outermost_first(regions), start=1)}
    inside = [{m for m, inner in enumerate(regions) if set(inner.values) <= set(outer.values)} for outer in regions]
    return tuple(
        Region(name=region.name, values=tuple({own[m] for m in inside[n] if regions[n].values} | {own[n]}))
        for n, region in enumerate(regions)
    )


def outermost_first(regions: Sequence[Region]) -> list[int]:
    """Indices of regions so that one comes after those that it lies within; else in their order."""
    return sorted(range(len(regions)), key=lambda n: -len(regions[n].values))


def label_names(regions: Sequence[Region]) -> dict[int, str]:
    """What each value of `compose_label_map` means, by value: a region, but for those within it."""
    within = containers(regions)
    names = {}
    for n, value in enumerate(own_values(regions)):
        inner = [region.name for m, region in enumerate(regions) if within[m] == n]
        names[value] = f"{regions[n].name} outside {' and '.join(inner)}" if inner else regions[n].name
    return dict(sorted(names.items()))


def own_values(regions: Sequence[Region]) -> tuple[int, ...]:
    """The value of each region's own part in one label map: what is in none of the regions within it.

    The smallest of its labels that no inner region has; where it has none of its own, or its labels are not known, a
    value that no region uses.
    """
    used = {value for r in regions for value in r.values}
    within = containers(regions)
    chosen: list[int] = []
    for n, region in enumerate(regions):
        inner = {value for m, r in enumerate(regions) if within[m] == n for value in r.values}
        own = sorted(set(region.values) - inner)
        value = own[0] if own else next(v for v in range(1, LARGEST_VALUE + 1) if v not in used)
        used.add(value)
        chosen.append(value)
    return tuple(chosen)


def compose_label_map(masks: npt.NDArray[np.bool_], regions: Sequence[Region]) -> npt.NDArray[np.uint8 | np.uint16]:
    """Masks of regions as one label map: each voxel has the value of the innermost region that holds it.

    Parameters
    ----------
    masks : ndarray, (M, ...), bool
        Of each region; nested or not, see `nest`. Of two regions that exclude each other the later one counts.
    regions : sequence of Region, of length M
        In the order of the first axis.

    Returns
    -------
    ndarray, (...), uint8, or uint16 where a value needs it
        0 where no region is.
    """
    values = own_values(regions)
    kind = np.uint8 if max(values) <= 255 else np.uint16
    labels = np.zeros(masks.shape[1:], kind)
    for n in outermost_first(regions):
        labels[masks[n]] = values[n]
    return labels


def number_channels(masks: npt.NDArray[np.bool_], regions: Sequence[Region]) -> npt.NDArray[np.uint8]:
    """Masks (M, ...) as numbers of their channels (...), from 1: that of the innermost region of a voxel, 0 of none."""
    numbers: npt.NDArray[np.uint8] = np.zeros(masks.shape[1:], np.uint8)
    for n in outermost_first(regions):
        numbers[masks[n]] = n + 1
    return numbers


def masks_of_channels(numbers: npt.NDArray[np.integer], regions: Sequence[Region]) -> npt.NDArray[np.bool_]:
    """Numbers of channels (...), such as somebody painted, as nested masks (M, ...) of the regions."""
    return nest(np.stack([numbers == n for n in range(1, len(regions) + 1)]), regions)


def split_label_map(labels: npt.NDArray[np.integer], regions: Sequence[Region]) -> npt.NDArray[np.bool_]:
    """The mask of each region in a label map, (M, ...), bool; one whose values are not known is all above 0."""
    return np.stack([np.isin(labels, r.values) if r.values else labels > 0 for r in regions])
