"""Writes a run's results where people want them: chosen maps, chosen names, on the source's voxels or another grid."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from napari_diffseg.ensemble.consensus import consensus_of
from napari_diffseg.ensemble.summary import MAJORITY, Measure, Rule, Summary, mean_of
from napari_diffseg.errors import BadRequest, OutputExists, Remedy
from napari_diffseg.imaging.atomic import atomic_write, make_folder, write_json
from napari_diffseg.imaging.geometry.regrid import LINEAR, NEAREST, regrid
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.regions import NNUNET, compose_label_map, masks_of_channels, with_values_of
from napari_diffseg.runs.dicom_seg import SEG_ENDING, Segment, series_of_run, write_segmentation
from napari_diffseg.runs.edited_mask import edited_paths, export_edited
from napari_diffseg.runs.export_plan import other_names, refuse_other_images
from napari_diffseg.runs.label_map import DATASET, LabelWords
from napari_diffseg.runs.layout import DEFAULT_PATTERN, Names, RunFiles, Style
from napari_diffseg.runs.map_words import describe_map
from napari_diffseg.runs.nnunet_file import channels_of, write_nnunet
from napari_diffseg.runs.result_names import LABEL_MAP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    import numpy.typing as npt

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.regions import Region
    from napari_diffseg.runs.dicom_seg import SegChoice
    from napari_diffseg.runs.edited_mask import EditedMask
    from napari_diffseg.runs.record import RunRecord
    from napari_diffseg.runs.stored_run import StoredRun

What = Literal["mask", "label-map", "mean", "uncertainty", "probability", "expected", "members", "npz", "dicom"]
EVERYTHING: Final[tuple[What, ...]] = (
    "mask", "label-map", "mean", "uncertainty", "probability", "expected", "members",
)  # fmt: skip
"""What is exported where nothing else is asked for."""
KINDS: Final[tuple[What, ...]] = (*EVERYTHING, "npz", "dicom")
"""All that can be: `npz` are probabilities for nnU-Net, see `nnunet_file`; `dicom` are a mask and its probability as
segmentations of a series, see `dicom_seg`."""

_IGNORED: Final = b"*_uncertainty.*\n*_run.json\n*.html\n*.png\n*.npz\n*.pkl\n*.dcm\n"
"""What BIDS does not know of an export; bids-validator 3 takes no pattern with two stars that are not at its ends."""
_IGNORED_BEFORE: Final = (
    b"*_uncertainty.*\n*_run.json\n*_report.html\n*_slice*.png\n",
    b"*_uncertainty.*\n*_run.json\n*.html\n*.png\n",
)


@dataclass(frozen=True)
class ExportChoice:
    """What to export, and how.

    Attributes
    ----------
    what : tuple of str
        Of `KINDS`; a map that the run does not have is left out.
    style, pattern :
        How files are named, see `Names`.
    summary : Summary
        How members become a mask, and what the uncertainty is.
    like : Volume or None
        A grid to resample to; None keeps the source's voxels and header.
    overwrite : bool
        Replace files that are there.
    label_values : str or None
        Whose values the label map has, see `with_values_of`; None: the checkpoint's own. `Style.NNUNET` has its own.
    seg : SegChoice or None
        The series to which the segmentations of `dicom` belong.

    Raises
    ------
    BadRequest
        If there is nothing to export, no series is named for `dicom`, there are label values for no label map, or the
        pattern cannot be.
    """

    what: tuple[What, ...] = EVERYTHING
    style: Style = Style.PATTERN
    pattern: str = DEFAULT_PATTERN
    summary: Summary = field(default_factory=Summary)
    like: Volume | None = None
    overwrite: bool = False
    label_values: str | None = None
    seg: SegChoice | None = None

    def __post_init__(self) -> None:
        if "dicom" in self.what and self.seg is None:
            raise BadRequest(
                "A DICOM segmentation belongs to a series: name the folder of the one that the images came from.",
                Remedy("series"),
            )
        unknown = [what for what in self.what if what not in KINDS]
        if unknown or not self.what:
            raise BadRequest(f"Nothing to export: {', '.join(unknown) or 'no map'}: choose of {', '.join(KINDS)}.")
        if self.label_values is not None and self.style is not Style.NNUNET and not {LABEL_MAP, "npz"} & {*self.what}:
            raise BadRequest(
                "Label values are of a label map, which is not among what is exported: add it, or leave them out.",
                Remedy("what", LABEL_MAP),
            )

    def names(self, record: RunRecord) -> Names:
        """What the files of a run with such a record are called.

        Raises
        ------
        BadRequest
            If the pattern does not tell them apart.
        """
        images = [what for what in self.what if what in EVERYTHING]
        is_one = len(record.recipe.labels) == 1 or images in ([], [LABEL_MAP])
        only = is_one and len(images) <= 1 and "members" not in images
        sources = [name for name in record.files.values() if name]
        return Names(record.case, record.recipe.labels, self.style, self.pattern, only, sources)

    def regions(self, record: RunRecord) -> tuple[Region, ...]:
        """A run's mask channels with the values that they get in its label map.

        Raises
        ------
        BadRequest
            If they cannot have the values that are asked for.
        """
        word = NNUNET if self.style is Style.NNUNET and self.label_values is None else self.label_values
        return with_values_of(record.recipe.regions, word)


def export_run(run: StoredRun, folder: Path, choice: ExportChoice, edited: EditedMask | None = None) -> Iterator[Path]:
    """Write a run's results, each file whole or not at all; every path is told when it is written.

    All names are looked at before the first file is written. `run.json` of the run goes beside, byte for byte. In the
    BIDS style each image has a sidecar, and the folder a `dataset_description.json` unless it has one. A label map has
    a table of its labels beside it, or, for nnU-Net, a `dataset.json`.

    Parameters
    ----------
    run : StoredRun
        The run.
    folder : Path
        Made where it is not there.
    choice : ExportChoice
        What, and how.
    edited : EditedMask, optional
        A correction of the mask, to be written beside it.

    Raises
    ------
    BadRequest
        If it is the folder of the run itself, or results of other images have these names there; if the run's regions
        cannot have the label values that are asked for; if `dicom` needs what is not installed or not given.
    BadImage
        If the DICOM series is not that of the run.
    OutputExists
        If a file is there already and overwriting was not asked for; nothing has been written then.
    OutputFailed
        If a place is full or cannot be written to.
    """
    folder = Path(folder)
    if folder.resolve() == run.folder.resolve():
        raise BadRequest(f"{folder} is where the run itself is kept: choose another folder.")
    names = choice.names(run.record)
    refuse_other_images(folder, names, run.record)
    record = folder / names.record
    labels = _labels(run, folder, choice)
    channels = choice.regions(run.record) if "npz" in choice.what else ()
    series = series_of_run(choice.seg, run) if "dicom" in choice.what and choice.seg is not None else None
    if not choice.overwrite:
        others = [] if labels is None else labels.new_files
        refuse_existing([*_paths(run, folder, choice, edited), *others, record])
    summary = choice.summary.of_run(run.started)
    yield from _write_maps(run, folder, choice, summary, labels)
    if edited is not None:
        yield from export_edited(run, folder, choice, edited)
    if "npz" in choice.what:
        yield from _write_nnunet(run, folder / names.case_alone, choice, summary, channels)
    if series is not None:
        for n, segment in enumerate(_segments(run, summary, edited), start=1):
            path = folder / names.beside(segment.what, SEG_ENDING)
            yield write_segmentation(path, segment, series, run, number=n, overwrite=choice.overwrite)
    make_folder(record.parent)
    atomic_write(record, lambda file: _copy(RunFiles(run.folder).record, file), overwrite=choice.overwrite)
    if choice.style is Style.BIDS:
        _describe_dataset(folder)
    yield record


def _paths(run: StoredRun, folder: Path, choice: ExportChoice, edited: EditedMask | None) -> list[Path]:
    """Every file that would be written, but for the record."""
    names = choice.names(run.record)
    stems = [folder / name for what, number in _wanted(run, choice) for name in names.of(what, number=number)]
    endings = (".nii.gz", ".json") if choice.style is Style.BIDS else (".nii.gz",)
    others = [folder / name for name in other_names(names, choice, edited=edited is not None)]
    others += [] if edited is None else edited_paths(run, folder, choice)
    return [*(Path(f"{stem}{ending}") for stem in stems for ending in endings), *others]


def _write_maps(
    run: StoredRun, folder: Path, choice: ExportChoice, summary: Summary, labels: LabelWords | None
) -> Iterator[Path]:
    """Write the images that are wanted, in the BIDS style with their sidecars."""
    names, like = choice.names(run.record), choice.like or run.grid
    for what, number in _wanted(run, choice):
        maps = _maps(run, summary, what, number)
        if what == LABEL_MAP and labels is not None:
            maps = compose_label_map(maps.astype(np.bool_), labels.regions)[None]
        for name, array in zip(names.of(what, number=number), maps, strict=True):
            path = folder / f"{name}.nii.gz"
            make_folder(path.parent)
            order: Literal[0, 1] = NEAREST if array.dtype.kind == "u" else LINEAR
            words = describe_map(what, summary, len(run.members), number=number)
            moved = regrid(array, run.grid, like, order=order)
            write_nifti(path, moved, like, overwrite=choice.overwrite, description=words)
            if choice.style is Style.BIDS:
                sidecar = _sidecar(run, choice, what, number)
                write_json(folder / f"{name}.json", sidecar, overwrite=choice.overwrite)
            yield path
    if labels is not None:
        labels.write(overwrite=choice.overwrite)


def count_files(run: StoredRun, choice: ExportChoice, edited: EditedMask | None = None) -> int:
    """How many paths `export_run` will tell."""
    there = choice.names(run.record)
    maps = sum(1 if what == LABEL_MAP else len(run.labels) for what, _ in _wanted(run, choice))
    masks = 0 if edited is None else len(run.labels)
    return maps + masks + len(other_names(there, choice, edited=edited is not None)) + 1


def probability_of(run: StoredRun, summary: Summary) -> npt.NDArray[np.float32]:
    """The probability to which a mask belongs, (labels, X, Y, Z): the smoothed one by its rule, else the mean.

    Parameters
    ----------
    run : StoredRun
        With at least one whole member.
    summary : Summary
        As `Summary.of_run` gives it.
    """
    votes: npt.NDArray[np.uint16] = np.sum(list(run.members.values()), axis=0, dtype=np.uint16)
    if summary.rule is Rule.PROBABILITY:
        return run.probability(votes, summary)
    return mean_of(votes, len(run.members))


def mask_of(run: StoredRun, summary: Summary) -> npt.NDArray[np.bool_]:
    """The mask that a rule makes of a run's members, (labels, X, Y, Z); `summary` as `Summary.of_run` gives it."""
    votes: npt.NDArray[np.uint16] = np.sum(list(run.members.values()), axis=0, dtype=np.uint16)
    by_probability = summary.rule is Rule.PROBABILITY
    return consensus_of(
        run.members.values(),
        votes=votes,
        count=len(run.members),
        summary=summary,
        regions=run.record.recipe.regions,
        probability=run.probability(votes, summary) if by_probability else None,
    )


def _write_nnunet(
    run: StoredRun, stem: Path, choice: ExportChoice, summary: Summary, regions: tuple[Region, ...]
) -> list[Path]:
    like = choice.like or run.grid
    probability = probability_of(run, summary)
    moved = np.stack([regrid(channel, run.grid, like, order=LINEAR) for channel in probability])
    channels = channels_of(moved, regions)
    return write_nnunet(stem, channels, like, overwrite=choice.overwrite)


def has_label_map(run: StoredRun, choice: ExportChoice) -> bool:
    """Whether a label map is written: where it alone or its values are asked for, or the run has several regions."""
    alone = choice.style is Style.NNUNET or choice.what == (LABEL_MAP,)
    return alone or (LABEL_MAP in choice.what and (len(run.labels) > 1 or choice.label_values is not None))


def _labels(run: StoredRun, folder: Path, choice: ExportChoice) -> LabelWords | None:
    """What goes beside the label map to say what its values mean; None where none is written."""
    if not has_label_map(run, choice):
        return None
    record, regions = run.record, choice.regions(run.record)
    if choice.style is not Style.NNUNET:
        return LabelWords(regions, table=folder / f"{choice.names(record).label_map}.tsv")
    words = LabelWords(regions, dataset=folder / DATASET, modalities=record.recipe.modalities)
    words.check(overwrite=choice.overwrite)
    return words


def _segments(run: StoredRun, summary: Summary, edited: EditedMask | None) -> Iterator[Segment]:
    """What goes into DICOM files, each made when it is written."""
    count = len(run.members)
    yield Segment("mask", describe_map("mask", summary, count), np.asarray(_maps(run, summary, "mask", None), np.uint8))
    words = describe_map("probability" if summary.rule is Rule.PROBABILITY else "mean", summary, count)
    yield Segment("probability", words, probability_of(run, summary))
    if edited is not None:
        masks = masks_of_channels(edited.mask, run.record.recipe.regions)
        yield Segment("edited", edited.record.words, masks.astype(np.uint8), by_hand=True)


def _wanted(run: StoredRun, choice: ExportChoice) -> list[tuple[str, int | None]]:
    """Maps and members to write; the uncertainty of fewer than two members does not exist, nor a map not computed."""
    if choice.style is Style.NNUNET:
        return [(LABEL_MAP, None)]
    there = {
        "mask": True,
        LABEL_MAP: has_label_map(run, choice),
        "mean": True,
        "uncertainty": len(run.members) > 1,
        "probability": bool(choice.summary.of_run(run.started).smoothing_mm),
        "expected": run.expected is not None,
    }
    maps: list[tuple[str, int | None]] = [(what, None) for what, ok in there.items() if ok and what in choice.what]
    return maps + ([("member", k) for k in run.members] if "members" in choice.what else [])


def _maps(run: StoredRun, summary: Summary, what: str, number: int | None) -> npt.NDArray[Any]:
    """(labels, X, Y, Z): uint8 for masks, float32 for maps."""
    if number is not None:
        return run.members[number].astype(np.uint8)
    if what == "expected":
        assert run.expected is not None  # it would not have been chosen
        return run.expected.probability()
    votes: npt.NDArray[np.uint16] = np.sum(list(run.members.values()), axis=0, dtype=np.uint16)
    count = len(run.members)
    match what:
        case "mask" | "label-map":
            return mask_of(run, summary).astype(np.uint8)
        case "mean":
            return mean_of(votes, count)
        case "uncertainty" if summary.measure is not Measure.PROBABILITY:
            return summary.uncertainty(votes, count)
    probability = run.probability(votes, summary)
    return probability if what == "probability" else summary.uncertainty(votes, count, probability)


def _sidecar(run: StoredRun, choice: ExportChoice, what: str, number: int | None) -> dict[str, Any]:
    summary = choice.summary.of_run(run.started)
    smoothed: dict[str, Any] = {"SmoothingInMillimetres": summary.smoothing_mm}
    if summary.refined and run.expected is not None:
        smoothed["OneStepEstimateRefinedBy"] = run.started.refined_by
    rule = {"Rule": summary.rule_word, "Threshold": summary.threshold if summary.rule is Rule.MEAN else MAJORITY}
    measure = {"Measure": summary.measure.value, "Units": summary.measure.unit or "1"}
    more: dict[str, dict[str, Any]] = {
        "mask": {"Type": "Lesion", **rule} | (smoothed if summary.rule is Rule.PROBABILITY else {}),
        LABEL_MAP: rule | (smoothed if summary.rule is Rule.PROBABILITY else {}),
        "uncertainty": measure | (smoothed if summary.measure is Measure.PROBABILITY else {}),
        "probability": smoothed,
        "member": {"Type": "Lesion", "Member": None if number is None else number + 1},
    }
    words = describe_map(what, summary, len(run.members), number=number)
    return {
        "Description": f"{words[0].upper()}{words[1:]}; sampled by a diffusion model",
        "Manual": False,
        "Sources": [name for name in run.record.files.values() if name],
        "SpatialReference": "orig" if choice.like is None else "another image, to which this one was resampled",
        "Members": len(run.members),
        **more.get(what, {}),
    }


def _describe_dataset(folder: Path) -> None:
    """What makes the folder a BIDS derivative; files that are there already are somebody's, and stay."""
    ours = version("napari-diffseg")
    description = {
        "Name": "Lesion segmentations by napari-diffseg",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "napari-diffseg", "Version": ours}],
    }
    with contextlib.suppress(OutputExists):
        write_json(folder / "dataset_description.json", description)
    ignored = folder / ".bidsignore"
    with contextlib.suppress(OutputExists):
        is_old = ignored.is_file() and ignored.read_bytes() in _IGNORED_BEFORE
        atomic_write(ignored, lambda file: file.write(_IGNORED), overwrite=is_old)


def refuse_existing(paths: list[Path]) -> None:
    """Refuse to replace what is there.

    Raises
    ------
    OutputExists
        If any of the paths exists; the text names the first.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputExists(
            f"{there[0].name}{more} exist in {there[0].parent}: choose another folder, or allow overwriting.",
            Remedy("overwrite"),
        )


def _copy(source: Path, out: BinaryIO) -> None:
    with source.open("rb") as file:
        shutil.copyfileobj(file, out)
