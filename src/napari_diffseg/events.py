"""The settings of one run, the events it yields, and the protocol every engine follows.

Everything here is numpy on the host and picklable: the napari panel, the command line, a remote engine and a test's
`list()` read the same iterator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from napari_diffseg.diffusion.samplers import SamplerName
from napari_diffseg.errors import BadRequest
from napari_diffseg.recipe import RuleName, describe_validation
from napari_diffseg.regions import regions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.regions import Region

    Window = tuple[tuple[int, int], tuple[int, int]]
    """Half-open ranges of the source's two axes other than the slices', in their order."""
    Focus = Callable[[], int | None]
    """The source slice that is looked at now; None while none is."""

PrecisionName = Literal["auto", "fp32", "bf16"]
StopEarlyName = Literal["auto", "on", "off"]
SecondPlaneName = Literal["auto", "on", "off"]
THICKEST_MM: Final = 2.5
"""Slices of the first plane that are thicker are too few to see a slice across them."""
_TOLERANCE_MM: Final = 1e-3
"""Of thicknesses, which an affine holds as products of rounded numbers."""


def _check_device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,2})?", text):
        raise ValueError(f"{text!r} is no device: choose auto, cpu, cuda, cuda:0 or mps")
    return text


def _check_slices(text: str | None) -> str | None:
    if text is not None:
        parse_slices(text)
    return text


def parse_slices(text: str) -> slice:
    """`"A:B"`, with either end optional, as a slice; raises ValueError on anything else."""
    try:
        first, last = (int(part) if part.strip() else None for part in text.split(":"))
    except ValueError:
        raise ValueError(f"{text!r} is not a range A:B of slice indices, such as 60:90") from None
    return slice(first, last)


def _check_window(text: str | None) -> str | None:
    if text is not None:
        parse_window(text)
    return text


def parse_window(text: str) -> tuple[slice, slice]:
    """`"A:B,C:D"`, with any end optional, as two slices; raises ValueError on anything else."""
    ranges = text.split(",")
    if len(ranges) != 2:
        raise ValueError(f"{text!r} is not a window A:B,C:D of two index ranges, such as 60:120,40:100")
    first, second = map(parse_slices, ranges)
    return first, second


class SegmentRequest(BaseModel):
    """All settings of one run, frozen. Declared here once; the panel and the command line are built from the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(5, ge=1, le=1000, title="Members", description="How many masks to sample.")
    sampler: SamplerName | None = Field(None, title="Sampler", description="Default: the checkpoint's own.")
    timesteps: int | None = Field(
        None,
        ge=1,
        le=10_000,
        title="Timesteps",
        description="Denoising steps for each mask; few steps leave out lesions that few readers would mark. "
        "Default: the checkpoint's own.",
    )
    eta: float = Field(
        0.0, ge=0, le=1, title="Eta", description="Noise that DDIM adds at each step: 0 none, 1 as much as DDPM."
    )
    seed: int = Field(0, ge=0, lt=2**53, title="Seed", description="Same seed, same masks.")
    first_member: int = Field(
        0,
        ge=0,
        le=100_000,
        title="First member",
        description="Number of the first mask, counted from 0 (files count from 1); earlier ones are skipped.",
    )
    device: Annotated[str, AfterValidator(_check_device)] = Field(
        "auto", title="Device", description="auto, cpu, cuda, cuda:1 or mps."
    )
    precision: PrecisionName = Field(
        "auto",
        title="Precision",
        description="Number format of the network; auto: bf16 where the device supports it, else fp32.",
    )
    stop_early: StopEarlyName = Field(
        "auto",
        title="Stop early",
        description="Whether to leave out steps of a mask that is decided: on a slice where no lesion is expected, and "
        "where it no longer changes. Auto: as the checkpoint says.",
    )
    second_plane: SecondPlaneName = Field(
        "auto",
        title="Second plane",
        description="Whether every second member is sampled in slices of a second plane, where the checkpoint has one. "
        "Auto: where a run has all slices of a volume, if they are thin and many; on: however few are asked for.",
    )
    slices: Annotated[str | None, AfterValidator(_check_slices)] = Field(
        None,
        title="Slices",
        description="Slices A to B-1 along the slice axis, as A:B, in the image's own indices. Default: all.",
    )
    window: Annotated[str | None, AfterValidator(_check_window)] = Field(
        None,
        title="Window",
        description="Part A:B,C:D of each slice, in the image's own indices; masks are empty outside. Default: all.",
    )
    focus: int | None = Field(
        None,
        ge=0,
        title="Focus",
        description="Slice to sample first, then its neighbours. Default: one member after another.",
    )
    batch_size: int | None = Field(
        None, ge=1, le=4096, title="Batch size", description="Slices evaluated at once. Default: as memory allows."
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        title="Threads",
        description="Processor threads. Default: one for each core; beside the viewer one fewer, if three or more.",
    )
    reproducible: bool = Field(
        False, title="Reproducible", description="The same bytes every time: one slice at a time, one thread; slower."
    )

    def slice_indices(self, count: int) -> tuple[int, ...]:
        """The source slice indices asked for, increasing, of a volume with `count` slices.

        Raises
        ------
        BadRequest
            If the range holds no slice of the volume.
        """
        chosen = tuple(range(count)[parse_slices(self.slices)]) if self.slices is not None else tuple(range(count))
        if not chosen:
            raise BadRequest(
                f"Slices {self.slices} hold none of the volume's {count} slices: give a range within 0:{count}."
            )
        return chosen

    def window_in(self, plane: tuple[int, int]) -> Window | None:
        """The window asked for in slices of so many source voxels along their two axes; None where all is.

        Raises
        ------
        BadRequest
            If the window holds no voxel of the slices.
        """
        if self.window is None:
            return None
        ranges = [range(n)[chosen] for n, chosen in zip(plane, parse_window(self.window), strict=True)]
        if not all(ranges):
            raise BadRequest(
                f"Window {self.window} holds nothing of slices of {plane[0]} x {plane[1]} voxels: "
                f"give ranges within 0:{plane[0]},0:{plane[1]}."
            )
        (first, second) = ((chosen.start, chosen.stop) for chosen in ranges)
        return first, second

    def samples_second_plane(self, recipe: Recipe, *, slices: int, thickness_mm: float) -> bool:
        """Whether every second member is sampled in slices of a recipe's second plane.

        Where that is left to the checkpoint they are if the run has all slices of a volume, these are thin, and there
        are enough to see something across them (`Recipe.is_seen_across`).

        Parameters
        ----------
        recipe : Recipe
            Of the checkpoint.
        slices : int
            How many the volume has in the recipe's first plane.
        thickness_mm : float
            Of these slices.
        """
        if recipe.second_plane is None or self.second_plane == "off":
            return False
        if self.second_plane == "on":
            return True
        is_all = len(self.slice_indices(slices)) == slices
        is_thin = thickness_mm <= THICKEST_MM + _TOLERANCE_MM
        return is_all and is_thin and recipe.is_seen_across(slices, thickness_mm)

    @property
    def member_numbers(self) -> tuple[int, ...]:
        """The numbers of the members to sample, counted from 0."""
        return tuple(range(self.first_member, self.first_member + self.members))


def make_request(values: dict[str, object]) -> SegmentRequest:
    """A request from plain values, as a form or a file gives them.

    Raises
    ------
    BadRequest
        If a value is unknown or out of bounds; the text names each.
    """
    try:
        return SegmentRequest.model_validate(values)
    except ValidationError as err:
        raise BadRequest(f"Settings: {describe_validation(err)}.") from err


@dataclass(frozen=True, slots=True)
class Started:
    """A run begins; the request is resolved: nothing in here is 'auto' any more.

    `slices` are the source slice indices that were asked for, `sampled` those of them that hold brain and will be
    sampled (the others are zero in every member). Every mask is zero outside the `window`, where there is one.
    `evaluations` counts network evaluations of one slice by one member. `spacing_mm` is the source's voxel size,
    `smoothing_mm` the checkpoint's Gaussian smoothing of the vote map, `smoothing_slices` how many times as long it is
    across slices, `rule` the one that makes its masks, `label_values` what its mask channels are in a label map.
    `compiled` says whether the network is one that was compiled ahead. `members_across` are the members that are
    sampled in slices of the checkpoint's second plane, each of which comes as a whole; `plane_across` is what that
    plane is called, such as coronal, and `slices_across` are its slices that are sampled, in source indices; also where
    only the one-step estimate is taken in it. `refined_by` is the modality whose brightness the one-step estimate is
    refined by, empty where it is not.
    `versions` are those of Python and packages where another process computes; none: those of this one.
    """

    run_id: str
    case_id: str
    device: str
    precision: str
    sampler: str
    timesteps: int
    members: tuple[int, ...]
    slices: tuple[int, ...]
    sampled: tuple[int, ...]
    slice_axis: int
    source_shape: tuple[int, int, int]
    labels: tuple[str, ...]
    evaluations: int
    warnings: tuple[str, ...] = ()
    window: Window | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    smoothing_mm: float = 0.0
    smoothing_slices: float = 1.0
    rule: RuleName = "majority"
    label_values: tuple[tuple[int, ...], ...] = ()
    compiled: bool = False
    members_across: tuple[int, ...] = ()
    plane_across: str = ""
    slices_across: tuple[int, ...] = ()
    refined_by: str = ""
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """What the mask channels are, in their order, and how they nest."""
        return regions_of(self.labels, self.label_values)


@dataclass(frozen=True, slots=True)
class Preview:
    """One slice while it is denoised, on the source's in-plane voxels (U, V), float32.

    `mask` is the predicted x_0 of the first mask channel scaled to [0, 1]; `sample` the noisy x_t, unscaled.
    """

    member: int
    slice_index: int
    mask: npt.NDArray[np.float32]
    sample: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stepped:
    """One denoising step of one batch is done. `done` of the `Started.evaluations` are behind us.

    `across` are member and slice that the batch begins with, where its slices are of the second plane: they have no
    preview. `estimated` is, while the one-step estimate is taken in both planes, how many slices it has behind it.
    """

    run_id: str
    step: int
    steps: int
    timestep: int
    done: int
    preview: Preview | None = None
    across: tuple[int, int] | None = None
    estimated: int | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """A member is final on some slices.

    `mask` is bool (labels, S, U, V): S along `slices`, U and V the source's other two axes in their order.
    """

    run_id: str
    member: int
    slices: tuple[int, ...]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Expected:
    """The mean that many members would have on some slices, as the run's first member's first evaluation predicts it.

    Before the first step a mask is pure noise, so the clean mask that a network expects there is the posterior mean:
    a probability a voxel, from one evaluation. Where every second member is mirrored, it is the mean of two: of the
    image, and, on slices where that expects any lesion, of its mirror image. Where members are sampled in two planes,
    it is the mean of one evaluation in each, of all slices. It comes where the checkpoint predicts x_0
    or v; one that predicts epsilon has no such answer.

    `probability` is float32 (labels, S, U, V) in [0, 1]: S along `slices`, U and V the source's other two axes.
    """

    run_id: str
    slices: tuple[int, ...]
    probability: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Finished:
    """All members of the request are final on all its slices.

    `unneeded` counts evaluations, of those that were announced, that were left out because a mask was decided early;
    `unneeded_empty` those among them on slices where no lesion was expected: the others are of masks that no
    longer changed.
    """

    run_id: str
    members: tuple[int, ...]
    seconds: float
    batch_size: int
    unneeded: int = 0
    unneeded_empty: int = 0

    def describe_left_out(self, evaluations: int) -> str:
        """How many of so many evaluations were left out, and why, as a sentence; empty where none were."""
        if not self.unneeded or not evaluations:
            return ""
        others = self.unneeded - self.unneeded_empty
        reasons = {"no lesion was expected": self.unneeded_empty, "masks no longer changed": others}
        shares = {why: f"{count / evaluations:.0%}" for why, count in reasons.items() if count}
        share = f"{self.unneeded / evaluations:.0%} of the steps were left out"
        if len(shares) == 1:
            return f"{share}, where {next(iter(shares))}."
        return f"{share}: {', '.join(f'{part} where {why}' for why, part in shares.items())}."


@dataclass(frozen=True, slots=True)
class Refined:
    """The one-step estimate of some slices, refined by how bright an image is; see `Started.refined_by`.

    It comes once the estimate has come of all slices that are sampled. `probability` and `slices` are as of `Expected`.
    """

    run_id: str
    slices: tuple[int, ...]
    probability: npt.NDArray[np.float32]


Found = Expected | Refined | Sampled
"""What a run has found."""
SamplingEvent = Started | Stepped | Found | Finished


def name_members(members: Sequence[int]) -> str:
    """Members by their numbers as people count them, from 1: `Member 2`, `Members 2, 4 and 6`."""
    *first, last = [str(k + 1) for k in members]
    return f"Members {', '.join(first)} and {last}" if first else f"Member {last}"


class Segmenter(Protocol):
    """Whatever turns a case and a request into events. Closing the iterator cancels the run within one step."""

    def segment(self, case: Case, request: SegmentRequest, *, focus: Focus | None = None) -> Iterator[SamplingEvent]:
        """Sample the ensemble; yields Started, then Stepped, Expected, Refined and Sampled as they come, then Finished.

        `focus` is asked between batches: the rest of the run goes outwards from the slice it tells. The masks are the
        same in any order.

        Raises
        ------
        DiffsegError
            Whatever goes wrong, from the iterator, as one sentence.
        """
        ...
