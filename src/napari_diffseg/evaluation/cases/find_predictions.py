"""Which cases a folder has predictions of: folders as `predict` leaves them, masks side by side, a BIDS derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles
from napari_diffseg.imaging.names.naming import REFERENCE, case_stem, is_image_name, modality_of, shown_name
from napari_diffseg.runs.layout import ExportedName, RunFiles, find_bids_runs, parse_exported
from napari_diffseg.runs.result_names import LABEL_MAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


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
        return {folder.resolve().name: PredictionFiles(RunFiles(folder))}
    found = {path.name: PredictionFiles(RunFiles(path)) for path in inside if path.is_dir() and _is_case(path)}
    found = found or _bids_cases(folder)
    found = found or _flat_cases(folder, [p for p in inside if is_image_name(p.name) and not p.is_dir()])
    if not found:
        raise BadCase(
            f"Folder {shown_name(folder)} holds no predictions (CASE/mask.nii.gz, CASE.nii.gz, "
            "sub-CASE/anat/*_desc-diffseg_mask.nii.gz): "
            "give the folder that runs were written to, or one of masks."
        )
    return found


def _is_case(folder: Path) -> bool:
    files = RunFiles(folder)
    return files.record.is_file() or bool(files.masks())


def _bids_cases(folder: Path) -> dict[str, PredictionFiles]:
    """Subjects, or their sessions, in a data set, or one of them; two of one name keep those that BIDS gave them."""
    named = {entities: PredictionFiles(run) for entities, run in find_bids_runs(folder).items()}
    told = {entities: _case_of(files) or entities for entities, files in named.items()}
    names = [*told.values(), *(entities for entities, case in told.items() if case != entities)]
    return {case if names.count(case) == 1 else entities: named[entities] for entities, case in told.items()}


def _case_of(files: PredictionFiles) -> str:
    """The case's name as its record states it; empty where none can be read."""
    try:
        record = files.record()
    except BadCase:
        return ""
    return "" if record is None else record.case


def _flat_cases(folder: Path, images: Sequence[Path]) -> dict[str, PredictionFiles]:
    """Masks that lie side by side; an export of several channels is one case."""
    found: dict[str, PredictionFiles] = {}
    first: dict[str, Path] = {}
    for path, files in _flat_masks(folder, images):
        case_id = case_stem(path.name if files.run is None else files.run.prefix) or path.name
        if found.setdefault(case_id, files) != files:
            both = f"{shown_name(first[case_id])} and {shown_name(path)}"
            raise BadCase(f"Case {case_id}: {both} could each be its mask: leave one.")
        first.setdefault(case_id, path)
    return found


def _flat_masks(folder: Path, images: Sequence[Path]) -> Iterator[tuple[Path, PredictionFiles]]:
    names = {path.name for path in images}
    for path in images:
        export = parse_exported(path.name)
        if export is not None and export.what != "mask" and not _is_alone(export, folder):
            continue
        if export is not None and export.what == "mask" and _is_whole_name(export, folder, names):
            yield path, PredictionFiles(RunFiles(folder, export.prefix))
        elif modality_of(path.name) in (None, REFERENCE):
            yield path, PredictionFiles(alone=path)


def _is_alone(export: ExportedName, folder: Path) -> bool:
    """Whether it is a label map without the masks that it was made of."""
    return export.what == LABEL_MAP and not RunFiles(folder, export.prefix).masks()


def _is_whole_name(export: ExportedName, folder: Path, names: set[str]) -> bool:
    """Whether what follows `mask` is a channel, as in case_mask_core, and no number of a case, as in tumour_mask_01."""
    files = RunFiles(folder, export.prefix)
    return not export.tail or files.map("mean", export.tail).name in names or files.record.is_file()
