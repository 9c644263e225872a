"""Where several runs would be written to: no file twice, and none over the results of other images."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase, BadRequest, Remedy
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.runs.dicom_seg import SEG_ENDING
from napari_diffseg.runs.identity import are_of_other_images
from napari_diffseg.runs.layout import DEFAULT_PATTERN, RunFiles, Style, whole_members
from napari_diffseg.runs.nnunet_file import ENDINGS
from napari_diffseg.runs.record import read_record, read_record_file
from napari_diffseg.runs.result_names import EXPORTED, LABEL_MAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_diffseg.runs.export import ExportChoice
    from napari_diffseg.runs.layout import Names
    from napari_diffseg.runs.record import RunRecord

_NAMED: Final = 3
"""Collisions that are told; of eight runs with one name there are many."""


def refuse_collisions(runs: Sequence[Path], out: Path, choice: ExportChoice) -> None:
    """Refuse before the first file is written what would put one result over another.

    Two names that differ in capitals alone are one: they are on many disks.

    Parameters
    ----------
    runs : sequence of Path
        Folders of runs; one that cannot be read is left to who exports it.
    out : Path
        Where all are to go.
    choice : ExportChoice
        What, and how it is named.

    Raises
    ------
    BadRequest
        If two runs, or two mask channels of one, would have a file in common, with their cases; or if results of other
        images have that name already.
    """
    takers: dict[str, list[str]] = defaultdict(list)
    first: dict[str, PurePosixPath] = {}
    for run in runs:
        try:
            record = read_record(run)
        except BadCase:
            continue
        names = choice.names(record)
        refuse_other_images(out, names, record)
        for target in _targets(run, record, names, choice):
            first.setdefault(key := str(target).casefold(), target)
            takers[key].append(f"{shown_name(record.case)} ({run})")
    shared = {key: those for key, those in takers.items() if len(those) > 1}
    if shared:
        raise _collision(shared, first, choice)


def refuse_other_images(out: Path, names: Names, record: RunRecord) -> None:
    """Refuse to write over the export of another case, whether files may be replaced or not.

    Raises
    ------
    BadRequest
        If there is one under these names.
    """
    try:
        there = read_record_file(out / names.record)
    except BadCase:
        return
    if are_of_other_images(record, there):
        raise BadRequest(
            f"{out / names.record} is of other images (case {shown_name(there.case)}), which {shown_name(record.case)} "
            "would replace: export it into another folder, or delete what is there.",
            Remedy("out"),
        )


def other_names(names: Names, choice: ExportChoice, *, edited: bool = False) -> list[PurePosixPath]:
    """The files that are no images of ours, relative to the folder.

    Those for nnU-Net are called as the case is, whatever the pattern: it finds cases by that.
    """
    found = [PurePosixPath(f"{names.case_alone}{ending}") for ending in ENDINGS if "npz" in choice.what]
    if "dicom" in choice.what:
        found += [names.beside(what, SEG_ENDING) for what in ("mask", "probability")]
        found += [names.beside("edited", SEG_ENDING)] if edited else []
    return found


def _targets(run: Path, record: RunRecord, names: Names, choice: ExportChoice) -> Iterator[PurePosixPath]:
    """Names of all files that may be written of a run, of the pictures one for all."""
    yield names.record
    yield names.beside("report", ".html")
    yield names.beside("slice", ".png")
    yield from other_names(names, choice)
    for what in (LABEL_MAP,) if choice.style is Style.NNUNET else (LABEL_MAP, *EXPORTED):
        if choice.style is Style.NNUNET or what in choice.what:
            yield from names.of(what)
    for number in (
        whole_members(RunFiles(run), record.recipe.labels)
        if "members" in choice.what and choice.style is not Style.NNUNET
        else ()
    ):
        yield from names.of("member", number=number)


def _collision(shared: dict[str, list[str]], first: dict[str, PurePosixPath], choice: ExportChoice) -> BadRequest:
    by_takers: dict[tuple[str, ...], str] = {}
    for key, those in shared.items():
        by_takers.setdefault(tuple(dict.fromkeys(those)), str(first[key]))
    told = [f"{' and '.join(those[:_NAMED])} would both be {name}" for those, name in by_takers.items()]
    more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    remedies = [Remedy("out")]
    if choice.style is Style.BIDS:
        remedies.append(Remedy("names", "pattern"))
    elif "{case}" not in choice.pattern:
        remedies.insert(0, Remedy("pattern", DEFAULT_PATTERN))
    return BadRequest(
        f"Two results would have one name: {'; '.join(told[:_NAMED])}{more}. Nothing was written: export into several "
        "folders, or choose names that tell them apart.",
        *remedies,
    )
