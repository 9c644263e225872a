"""What a checkpoint promises: everything that must be known to use a network and is not in its weights."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_diffseg.diffusion.samplers import SamplerName
from napari_diffseg.diffusion.schedule import (
    PredictionName,
    Schedule,
    ScheduleName,
    SpacingName,
    VarianceName,
    make_schedule,
    respaced_timesteps,
)
from napari_diffseg.errors import BadRecipe
from napari_diffseg.imaging.modes import CentreName, FitName, NormalisationName, PercentileOfName
from napari_diffseg.regions import LabelValue, Region, problem_with, regions_of

Modality = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_+-]+$")]
LabelName = Annotated[str, Field(min_length=1, max_length=64)]
AxisCode = Literal["L", "R", "A", "P", "S", "I"]
ChannelOrderName = Literal["images_first", "mask_first"]
RuleName = Literal["majority", "probability"]

HIGHEST_SMOOTHING_MM: Final = 5.0
MOST_SMOOTHING_SLICES: Final = 5.0
HIGHEST_RIM_MM: Final = 10.0
_TOLD: Final = 6
"""Faults of a file that are told at once."""


class Recipe(BaseModel):
    """The promises of a checkpoint, frozen; it travels inside the weights' file.

    Intensities, sizes and directions follow the training data of the network: a transposed or differently normalised
    input gives a plausible, wrong mask, so nothing here has a silent guess.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field("", max_length=200, description="What the checkpoint segments, for people.")
    modalities: tuple[Modality, ...] = Field(min_length=1, max_length=16, description="Input channels, in their order.")
    labels: tuple[LabelName, ...] = Field(("lesion",), min_length=1, max_length=16, description="Mask channels.")
    label_values: tuple[tuple[LabelValue, ...], ...] = Field(
        (),
        max_length=16,
        description="Values of a label map that each mask channel is made of, those of regions within it, too; none: "
        "not known.",
    )
    axis_codes: tuple[AxisCode, AxisCode, AxisCode] = Field(
        ("P", "L", "S"), description="Directions in which rows, columns and slices of the model's pixels increase."
    )
    second_plane: tuple[AxisCode, AxisCode, AxisCode] | None = Field(
        None,
        description="The same of a second plane, such as I,L,A for coronal slices, in which every second member is "
        "sampled where a run has all slices; none: there is no such plane.",
    )
    size: tuple[Annotated[int, Field(ge=8, le=1024)], Annotated[int, Field(ge=8, le=1024)]] = Field(
        (224, 224), description="Rows and columns of the model's pixels."
    )
    spacing_mm: Annotated[float, Field(gt=0.05, lt=20)] | None = Field(
        None, description="In-plane pixel size in mm; none: the volume's own, without resampling."
    )
    fit: FitName = Field(
        "crop",
        description="How a slice becomes `size`: cut or padded ('crop'), or resized ('stretch').",
    )
    centre: CentreName = Field("image", description="What the crop to `size` is centred on.")
    normalisation: NormalisationName = Field("percentile", description="How intensities are brought to scale.")
    percentile: float = Field(99.5, gt=50, le=100, description="Upper percentile of the brain, for 'percentile'.")
    percentile_of: PercentileOfName = Field(
        "brain", description="Of which voxels the percentile is: those that are not 0 ('brain'), or all ('image')."
    )
    value_range: tuple[float, float] = Field(
        (0.0, 1.0), description="What 0 and 1 become after normalisation, the background with them; -1,1 for 2x - 1."
    )
    channel_order: ChannelOrderName = Field(
        "images_first", description="Whether the network takes the images before the noisy mask, or after it."
    )
    mask_low: float = Field(0.0, ge=-10, le=10, description="The network's value for background.")
    mask_high: float = Field(1.0, ge=-10, le=10, description="The network's value for lesion.")
    schedule: ScheduleName = Field("linear", description="Noise schedule.")
    train_timesteps: int = Field(1000, ge=1, le=10_000, description="Timesteps T the network was trained with.")
    beta_range: tuple[float, float] | None = Field(
        None, description="First and last beta; none: 0.0001 and 0.02, which 'linear' scales by 1000 / T."
    )
    betas: tuple[float, ...] | None = Field(
        None, max_length=10_000, description="All T betas, for an 'explicit' schedule."
    )
    zero_terminal_snr: bool = Field(
        False, description="Whether the betas are rescaled so that the last timestep is pure noise (arXiv:2305.08891)."
    )
    timestep_spacing: SpacingName = Field(
        "linspace", description="Which timesteps a shortened chain visits, as diffusers names it."
    )
    timestep_offset: int = Field(0, ge=0, le=1000, description="Added to the timesteps of the spacing 'leading'.")
    prediction: PredictionName = Field("epsilon", description="What the network predicts.")
    variance: VarianceName = Field("learned_range", description="Variance of the ancestral step.")
    clip: tuple[float, float] | None = Field((-1.0, 1.0), description="Range the predicted x_0 is clipped to.")
    epsilon_after_clip: bool = Field(
        True,
        description="Whether DDIM works the noise out again from the clipped x_0, or goes on with the one predicted.",
    )
    rescale_timesteps: bool = Field(False, description="Whether the network is told t * 1000 / T instead of t.")
    sampler: SamplerName = Field("ddpm", description="Sampler used unless another is asked for.")
    timesteps: int = Field(1000, ge=1, le=10_000, description="Steps used unless others are asked for.")
    stop_early: bool = Field(
        False, description="Whether steps of a mask that is decided are left out, unless it is asked for otherwise."
    )
    may_miss: bool = Field(
        False,
        description="Whether it was trained with missing modalities, drawn at random: they are 0 once normalised.",
    )
    mirror: bool = Field(
        False,
        description="Whether every second member is of the left-right flipped image (test-time augmentation, TTA).",
    )
    smoothing_mm: float = Field(
        0.0,
        ge=0,
        le=HIGHEST_SMOOTHING_MM,
        description="Gaussian smoothing of the vote map in mm, for the smoothed probability; 0: off.",
    )
    smoothing_slices: float = Field(
        1.0,
        ge=1,
        le=MOST_SMOOTHING_SLICES,
        description="How many times as long that Gaussian is across slices, each of which is sampled by itself.",
    )
    refine_by: Modality | None = Field(
        None,
        description="Modality in whose brightness lesions show: in each case the one-step estimate is refined by how "
        "bright they are in it, for the smoothed probability; none: it is not.",
    )
    rule: RuleName = Field(
        "majority",
        description="Rule that makes the mask unless another is asked for: the majority of the members, or the "
        "smoothed probability above a half.",
    )
    rim_mm: float = Field(
        0.0,
        ge=0,
        le=HIGHEST_RIM_MM,
        description="Not shown to the network: the brain's outermost voxel and so many mm more; 0: all is shown.",
    )
    trained_on: str = Field("", max_length=2000, description="Training data and procedure, for people.")
    licence: str = Field("", max_length=200, description="Licence of the weights.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mask_low >= self.mask_high:
            raise ValueError(f"mask_low {self.mask_low} must be below mask_high {self.mask_high}")
        if len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities {self.modalities} name one twice")
        if self.label_values and len(self.label_values) != len(self.labels):
            raise ValueError(f"label_values are of {len(self.label_values)} labels, but there are {len(self.labels)}")
        if problem := problem_with(self.regions):
            raise ValueError(f"labels and label_values: {problem}")
        self._check_axes()
        self._check_refinement()
        if self.timesteps > self.train_timesteps:
            raise ValueError(f"timesteps {self.timesteps} exceed the {self.train_timesteps} of training")
        if self.clip is not None and not (self.clip[0] <= self.mask_low and self.mask_high <= self.clip[1]):
            raise ValueError(f"clip {self.clip} cuts the mask's values {self.mask_low} and {self.mask_high}")
        self._check_image()
        self._check_schedule()
        return self

    def _check_axes(self) -> None:
        for name, codes in (("axis_codes", self.axis_codes), ("second_plane", self.second_plane)):
            if codes is None:
                continue
            if {_AXES[code] for code in codes} != {0, 1, 2}:
                raise ValueError(f"{name} {codes} must name three different axes")
            if self.mirror and _sideways(codes) == 2:
                raise ValueError(f"mirror needs left and right within a slice, but {name} are {codes}")
        if self.second_plane is not None and _AXES[self.second_plane[2]] == _AXES[self.axis_codes[2]]:
            raise ValueError(f"second_plane {self.second_plane} has the slices of axis_codes {self.axis_codes}")

    def _check_refinement(self) -> None:
        if self.refine_by is None:
            return
        if self.refine_by not in self.modalities:
            raise ValueError(f"refine_by {self.refine_by} is none of the modalities {self.modalities}")
        if len(self.labels) > 1:
            raise ValueError(f"refine_by {self.refine_by} is for one mask channel, but labels are {self.labels}")
        if self.prediction == "epsilon":
            raise ValueError(f"refine_by {self.refine_by} needs a one-step estimate, which 'epsilon' does not give")

    def _check_image(self) -> None:
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(f"value_range {self.value_range} must rise")
        if self.fit == "stretch" and self.spacing_mm is not None:
            raise ValueError(f"fit 'stretch' leaves no spacing of its own, but spacing_mm is {self.spacing_mm:g}")
        if self.fit == "stretch" and self.centre == "brain":
            raise ValueError("fit 'stretch' shows the whole slice, so centre cannot be 'brain'")

    def _check_schedule(self) -> None:
        if (self.schedule == "explicit") != (self.betas is not None):
            raise ValueError("betas belong to schedule 'explicit', and it needs them")
        if self.betas is not None and len(self.betas) != self.train_timesteps:
            raise ValueError(f"betas are {len(self.betas)}, but train_timesteps is {self.train_timesteps}")
        if self.beta_range is not None:
            if self.schedule in ("cosine", "explicit"):
                raise ValueError(f"beta_range has no meaning for schedule {self.schedule!r}")
            if not 0 < self.beta_range[0] < self.beta_range[1] < 1:
                raise ValueError(f"beta_range {self.beta_range} must rise between 0 and 1")
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise ValueError("zero_terminal_snr leaves no mask to find at the last timestep from prediction 'epsilon'")

    @property
    def regions(self) -> tuple[Region, ...]:
        """What the mask channels are, in their order; see `napari_diffseg.regions` for how they nest."""
        return regions_of(self.labels, self.label_values)

    @property
    def refined_by(self) -> str:
        """As of a run that has all images: `refine_by`, empty where there is none."""
        return self.refine_by or ""

    @property
    def threshold(self) -> float:
        """The value a predicted x_0 must exceed to be lesion: the midpoint of the encoding."""
        return (self.mask_low + self.mask_high) / 2

    @property
    def sideways(self) -> int:
        """Which of rows (0), columns (1) and slices (2) run from one side of the head to the other."""
        return _sideways(self.axis_codes)

    @property
    def across(self) -> Self | None:
        """The recipe of slices in the second plane, a plane of its own; None where there is none."""
        if self.second_plane is None:
            return None
        return self.model_copy(update={"axis_codes": self.second_plane, "second_plane": None})

    @property
    def planes(self) -> tuple[Self, ...]:
        """The recipes of slices in each plane, of one each."""
        own = self if self.second_plane is None else self.model_copy(update={"second_plane": None})
        return (own,) if self.across is None else (own, self.across)

    @property
    def plane(self) -> str:
        """What radiologists call its slices: axial, coronal or sagittal."""
        return ("sagittal", "coronal", "axial")[_AXES[self.axis_codes[2]]]

    def every(self, thickness_mm: float) -> int:
        """One slice in so many is sampled in a second plane: where slices are thinner than pixels, one for each pixel.

        Parameters
        ----------
        thickness_mm : float
            Of the source's slices in that plane.
        """
        return max(1, int((self.spacing_mm or 0.0) / thickness_mm + _TOLERANCE))

    def is_seen_across(self, slices: int, thickness_mm: float) -> bool:
        """Whether so many slices of the first plane, on each other, are enough to see in a second plane.

        They are where they fill a quarter of the network's pixels there. In a slab, or a single slice, a slice across
        is a narrow band, in which the network finds nothing.

        Parameters
        ----------
        slices : int
            How many a volume has in the first plane.
        thickness_mm : float
            Of each.
        """
        if self.second_plane is None:
            return False
        along = _AXES[self.axis_codes[2]]
        pixels = next(n for n, code in zip(self.size, self.second_plane, strict=False) if _AXES[code] == along)
        pixel_mm = thickness_mm if self.spacing_mm is None or self.fit == "stretch" else self.spacing_mm
        return slices * thickness_mm >= pixels * pixel_mm / 4

    @property
    def in_channels(self) -> int:
        """Channels the network takes: the modalities, then the noisy mask."""
        return len(self.modalities) + len(self.labels)

    @property
    def out_channels(self) -> int:
        """Channels the network gives: one a mask channel, twice that where it learns the variance."""
        return len(self.labels) * (2 if self.variance == "learned_range" else 1)

    def noise_schedule(self, timesteps: int | None = None) -> Schedule:
        """The noise schedule, whole, or shortened to so many of its timesteps.

        Raises
        ------
        ScheduleError
            If it cannot be, or has fewer timesteps.
        """
        total = self.train_timesteps
        kept = None
        if timesteps is not None and timesteps != total:
            kept = respaced_timesteps(total, timesteps, spacing=self.timestep_spacing, offset=self.timestep_offset)
        return make_schedule(
            self.schedule,
            total,
            timesteps=kept,
            beta_range=self.beta_range,
            betas=self.betas,
            zero_terminal_snr=self.zero_terminal_snr,
        )

    def decode_values(self, x0: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Predicted x_0 as lesion evidence, 0 at `mask_low` and 1 at `mask_high`, clipped to [0, 1], float32."""
        scaled = (x0 - self.mask_low) / (self.mask_high - self.mask_low)
        return np.asarray(np.clip(scaled, 0.0, 1.0), np.float32)


def _sideways(codes: tuple[AxisCode, AxisCode, AxisCode]) -> int:
    return next(i for i, code in enumerate(codes) if code in "LR")


_TOLERANCE: Final = 1e-3
"""Of thicknesses, which headers round."""
_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}

PAPER = Recipe(
    title="Whole tumour, Wolleb et al. 2022",
    modalities=("t1", "t1ce", "t2", "flair"),
    labels=("whole tumour",),
    percentile=99.0,
)
"""The recipe of the original implementation (arXiv:2112.03145), as far as its text, code and example data tell.

The paper cuts the top and bottom one percent of the intensities. In its example slices 1.4 % of the brain's voxels are
saturated, as the brain's 99th percentile leaves in those slices of other cases (1.2 %; the 99.5th leaves 0.6 %); no
lower cut is to be seen. The default of `Recipe.percentile` stays what files without it were written with.
"""


def make_recipe(values: dict[str, object]) -> Recipe:
    """A recipe from plain values, as read from a file or given as overrides.

    Raises
    ------
    BadRecipe
        If a value is unknown, of the wrong kind, out of bounds or contradicts another; the text names each.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as err:
        raise BadRecipe(f"Recipe: {describe_validation(err)}.") from err


def describe_validation(err: ValidationError) -> str:
    """A pydantic error as one line: each field and what is wrong with it, the first few of many."""
    errors = err.errors(include_url=False, include_context=False)
    parts = []
    for e in errors[:_TOLD]:
        where = ".".join(str(p) for p in e["loc"]) or "values"
        parts.append(f"{where}: {e['msg'].removeprefix('Value error, ')}")
    more = len(errors) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")
