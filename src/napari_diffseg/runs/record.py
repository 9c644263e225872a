"""What a run writes of itself: one form, checked whenever it is written or read."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from napari_diffseg.errors import BadCase
from napari_diffseg.recipe import HIGHEST_SMOOTHING_MM, MOST_SMOOTHING_SLICES, RuleName, describe_validation
from napari_diffseg.regions import LabelValue, Region, regions_of
from napari_diffseg.runs.layout import RECORD, RunFiles
from napari_diffseg.runs.parts import Part

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
_LARGEST: Final = 16_000_000
"""Bytes of a record; the longest ones seen have some thousand."""

Setting = str | int | float | bool | None
SliceIndex = Annotated[int, Field(ge=0)]


class RecordedRecipe(BaseModel):
    """The recipe of the run's checkpoint: what is needed of it to show the run; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)

    labels: tuple[str, ...] = Field(min_length=1, max_length=255)
    label_values: tuple[tuple[LabelValue, ...], ...] = ()
    modalities: tuple[str, ...] = ()
    title: str = ""
    trained_on: str = ""
    licence: str = ""

    @property
    def regions(self) -> tuple[Region, ...]:
        """The mask channels as regions; their values are not known where the record has none, or not of each."""
        known = len(self.label_values) == len(self.labels)
        return regions_of([name[:64] or "unnamed" for name in self.labels], self.label_values if known else ())


class RecordedCheckpoint(BaseModel):
    """Which file the weights came from, and what was guessed or said of them against their file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: str = ""
    guesses: tuple[str, ...] = ()
    overrides: dict[str, JsonValue] = {}


class RunRecord(BaseModel):
    """All that a run says of itself: what it was made of, how, and how far it came.

    A record of a newer version may hold more, which is left alone.

    Attributes
    ----------
    format : int
        1, the only one so far.
    status : str
        'running' until the end, and so for ever where a run was cut short.
    owner : str
        Of the process that writes in the folder, so that another one is noticed; empty in records of before.
    case : str
        The case's name.
    checkpoint_digest, recipe, network, inputs, settings :
        What decides the members, see `identity_of`; `inputs` is a digest of each modality.
    checkpoint :
        Which file the weights came from.
    files : dict
        File name of each modality; None for an image that was of no file.
    resampled : dict
        Modalities that were brought to the grid of another one, and of which.
    request : dict
        The settings as they were asked for.
    members : tuple of int
        Numbers of the whole members, from 0.
    members_across : tuple of int
        Those among them that were sampled in slices of the checkpoint's second plane; while a run goes on, those, too,
        that will be.
    plane_across, slices_across :
        What that plane is called, such as coronal, and its slices that were sampled, in source indices; also where
        only the one-step estimate was taken in it.
    refined_by : str
        The modality by whose brightness the one-step estimate is refined, once it has come of all slices; empty where
        it is not.
    seeds, uncertainty, smoothed_by : str
        How noise was drawn and maps were made, in words.
    slice_axis, slices, slices_without_brain :
        What was sampled, in source indices.
    smoothing_mm, smoothing_slices : float
        Gaussian smoothing of the vote map, and how many times as long it is across slices.
    rule : str or None
        How the mask was made; None in records of before, see `own_rule`.
    maps : dict
        What each map holds, in words, by the stem of its name.
    label_map : dict
        What each value of `label-map.nii.gz` means; empty where there is one mask channel.
    device, precision, sampler, timesteps, batch_size :
        How it was sampled; the batch size is that of the last part.
    warnings : tuple of str
        What was said at the beginning.
    versions : dict
        Of Python and the packages that matter.
    began, seconds :
        When, in UTC, and how long all parts took together.
    parts : tuple of Part
        One for each time that the run was begun or taken up again; parts that cannot be read count as none.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal[1] = FORMAT
    status: Literal["running", "complete"]
    owner: str = ""
    case: str
    checkpoint_digest: str = ""
    recipe: RecordedRecipe
    network: dict[str, JsonValue] = {}
    inputs: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    checkpoint: RecordedCheckpoint = RecordedCheckpoint()
    files: dict[str, str | None] = {}
    resampled: dict[str, str] = {}
    request: dict[str, Setting] = {}
    members: tuple[int, ...] = ()
    members_across: tuple[int, ...] = ()
    plane_across: str = ""
    slices_across: tuple[SliceIndex, ...] = ()
    seeds: str = ""
    slice_axis: Literal[0, 1, 2]
    slices: tuple[SliceIndex, ...] = Field(min_length=1)
    slices_without_brain: tuple[int, ...] = ()
    uncertainty: str = ""
    smoothing_mm: float = Field(0.0, ge=0, le=HIGHEST_SMOOTHING_MM)
    smoothing_slices: float = Field(1.0, ge=1, le=MOST_SMOOTHING_SLICES)
    refined_by: str = ""
    smoothed_by: str = ""
    rule: RuleName | None = None
    maps: dict[str, str] = {}
    label_map: dict[str, str] = {}
    device: str = ""
    precision: str = ""
    sampler: str = ""
    timesteps: int | None = Field(None, ge=1, le=10_000)
    batch_size: int | None = None
    warnings: tuple[str, ...] = ()
    versions: dict[str, str | None] = {}
    began: str = ""
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    parts: tuple[Part, ...] = ()

    @field_validator("parts", mode="before")
    @classmethod
    def _readable(cls, parts: object) -> object:
        """Parts only add up times and members: what is damaged of them stops no reading."""
        try:
            return [Part.model_validate(part) for part in parts] if isinstance(parts, list | tuple) else ()
        except ValidationError:
            return ()

    @field_validator("slices")
    @classmethod
    def _increasing(cls, slices: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(slices)):
            raise ValueError("slices must increase")
        return slices

    @property
    def has_smoothed_mean(self) -> bool:
        """Whether the run's files called mean and uncertainty are of the smoothed probability, as they once were."""
        return self.rule is None and self.smoothing_mm > 0

    @property
    def own_rule(self) -> RuleName:
        """The rule by which the run's mask was made."""
        return self.rule or ("probability" if self.has_smoothed_mean else "majority")

    def as_json(self) -> dict[str, Any]:
        """The record as it was given or read, without defaults of this version."""
        return self.model_dump(mode="json", exclude_unset=True)


def read_record(folder: Path) -> RunRecord:
    """The record of a run's folder.

    Raises
    ------
    BadCase
        If there is none, or it cannot be read, or is of another form.
    """
    return read_record_file(RunFiles(folder).record)


def read_record_file(path: Path) -> RunRecord:
    """A record, whatever its file is called: exports have the case's name in theirs.

    Raises
    ------
    BadCase
        If there is none, or it cannot be read, or is of another form.
    """
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LARGEST), parse_constant=_refuse)
        json.dumps(values, ensure_ascii=False).encode()  # halves of characters are no text
        return RunRecord.model_validate(values)
    except FileNotFoundError as err:
        raise BadCase(f"{path.parent} holds no {RECORD}, so no run: choose the folder that a run left.") from err
    except OSError as err:
        raise BadCase(f"{path} cannot be read: {err.strerror}: allow reading it, or choose another run.") from err
    except ValidationError as err:
        raise BadCase(
            f"{path} is not the record of a run that this version reads ({describe_validation(err)}): "
            "choose another run, or a newer version."
        ) from err
    except (ValueError, RecursionError) as err:
        raise BadCase(f"{path} is damaged: choose another run.") from err


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
