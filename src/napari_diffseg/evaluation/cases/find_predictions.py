"""Which cases a folder has predictions of: folders as `predict` leaves them, masks side by side, a BIDS derivative."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.prediction_files import BidsFiles, PredictionFiles
from napari_diffseg.imaging.naming import REFERENCE, case_stem, is_image_name, modality_of, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ENDING = ".nii.gz"
_EXPORTED = re.compile(
    r"(?P<prefix>.+_)(?P<what>mask|mean|uncertainty|expected|member)(?P<tail>(?:_[^_]+)?(?:-\d+)?)\.nii\.gz"
)
_BIDS = re.compile(r"(?P<entities>sub-[^_]+(?:_ses-[^_]+)?)_(?:label-[^_]*_)?desc-diffseg_dseg\.nii\.gz")


def find_predictions(folder: Path) -> dict[str, PredictionFiles]:
    """The cases in a folder, by name.

    They are its subfolders that `predict` wrote; or the folder itself, if it is one case; or else the masks in it, one
    a case: `<case>.nii.gz` as other programs leave them, `<case>_mask.nii.gz` with its maps and members as `export`
    does, or by any other name under which truth is found; or what `export` wrote as a BIDS derivative, each case
    by the name that its run.json tells.

    Raises
    ------
    BadCase
        If the folder cannot be read or holds no case, or several masks of one.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as err:
        raise BadCase(f"Folder {shown_name(folder)} cannot be read: {err.strerror}: choose another.") from err
    if _is_case(folder):
        return {folder.resolve().name: PredictionFiles(folder)}
    found = {path.name: PredictionFiles(path) for path in inside if path.is_dir() and _is_case(path)}
    found = found or _bids_cases(folder)
    found = found or _flat_cases(folder, [p for p in inside if is_image_name(p.name) and not p.is_dir()])
    if not found:
        raise BadCase(
            f"Folder {shown_name(folder)} holds no predictions (CASE/mask.nii.gz, CASE.nii.gz, "
            "sub-CASE/anat/*_desc-diffseg_dseg.nii.gz): "
            "give the folder that napari-diffseg predict wrote with --out, or one of masks."
        )
    return found


def _is_case(folder: Path) -> bool:
    return (folder / "run.json").is_file() or any(folder.glob(f"mask*{_ENDING}"))


def _bids_cases(folder: Path) -> dict[str, PredictionFiles]:
    """Subjects, or their sessions, in a data set, or one of them; two of one name keep those that BIDS gave them."""
    anat = ("", "anat/", "ses-*/anat/", "sub-*/anat/", "sub-*/ses-*/anat/")
    masks = sorted(path for place in anat for path in folder.glob(f"{place}sub-*{_ENDING}"))
    named = {
        found["entities"]: BidsFiles(path.parent, prefix=f"{found['entities']}_")
        for path in masks
        if (found := _BIDS.fullmatch(path.name))
    }
    told = {entities: str(files.record().get("case") or entities) for entities, files in named.items()}
    names = [*told.values(), *(entities for entities, case in told.items() if case != entities)]
    return {case if names.count(case) == 1 else entities: named[entities] for entities, case in told.items()}


def _flat_cases(folder: Path, images: Sequence[Path]) -> dict[str, PredictionFiles]:
    """Masks that lie side by side; an export of several channels is one case."""
    found: dict[str, PredictionFiles] = {}
    first: dict[str, Path] = {}
    for path, files in _flat_masks(folder, images):
        case_id = case_stem(files.prefix or path.name) or path.name
        if found.setdefault(case_id, files) != files:
            both = f"{shown_name(first[case_id])} and {shown_name(path)}"
            raise BadCase(f"Case {case_id}: {both} could each be its mask: leave one.")
        first.setdefault(case_id, path)
    return found


def _flat_masks(folder: Path, images: Sequence[Path]) -> Iterator[tuple[Path, PredictionFiles]]:
    names = {path.name for path in images}
    for path in images:
        export = _EXPORTED.fullmatch(path.name)
        if export is not None and export["what"] != "mask":
            continue
        if export is not None and _is_whole_name(export, folder, names):
            yield path, PredictionFiles(folder, prefix=export["prefix"])
        elif modality_of(path.name) in (None, REFERENCE):
            yield path, PredictionFiles(folder, alone=path)


def _is_whole_name(export: re.Match[str], folder: Path, names: set[str]) -> bool:
    """Whether what follows `mask` is a channel, as in case_mask_core, and no number of a case, as in tumour_mask_01."""
    prefix, tail = export["prefix"], export["tail"]
    return not tail or f"{prefix}mean{tail}{_ENDING}" in names or (folder / f"{prefix}run.json").is_file()
