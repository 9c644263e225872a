"""A folder of cases: which there are, what is known of each, and how one of them is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase, DiffsegError
from napari_diffseg.imaging.case_files import find_case_images, modality_said_for, told_apart
from napari_diffseg.imaging.names.naming import REFERENCE, modality_of, shown_name
from napari_diffseg.plugin.background.job import Stopped
from napari_diffseg.plugin.background.mailbox import LayerReady, StatusMessage
from napari_diffseg.plugin.session.reopening import run_of_case
from napari_diffseg.runs.layout import RECORD

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_diffseg.evaluation.cases.find_truth import TruthFolder
    from napari_diffseg.imaging.case_files import CaseFiles
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.grid.layer_data import LayerData
    from napari_diffseg.plugin.session.reopening import ReopenedRun
    from napari_diffseg.plugin.session.run_store import RunStore

_EVERY: Final = 50
"""Of so many folders or cases one is told of."""


@dataclass(frozen=True, eq=False)
class FolderCase:
    """A case of a folder.

    Attributes
    ----------
    files : CaseFiles
        Where it lies.
    reference : tuple of Path
        Masks that people drew of it; None until they have been looked for.
    run : Path or None
        Folder of its last run, where there is one.
    is_edited : bool
        Whether a mask of that run was corrected by hand.
    """

    files: CaseFiles
    reference: tuple[Path, ...] | None = None
    run: Path | None = None
    is_edited: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.files.name

    @property
    def words(self) -> str:
        """What is known of it, such as `corrected, reference`."""
        state = "corrected" if self.is_edited else "run" if self.run is not None else ""
        return ", ".join(word for word in (state, "reference" if self.reference else "") if word)

    @property
    def sentence(self) -> str:
        """The same as a sentence, such as `There is a run and a reference.`; empty where nothing is known."""
        run = "a run with a corrected mask" if self.is_edited else "a run" if self.run is not None else ""
        there = " and ".join(word for word in (run, "a reference" if self.reference else "") if word)
        return f"There is {there}." if there else ""


@dataclass(eq=False)
class CaseFolder:
    """The cases of a folder, by name, the second before the tenth.

    Attributes
    ----------
    path : Path
        The folder.
    cases : list of FolderCase
        What is known of each case, which grows.
    truth : TruthFolder
        Finds the reference masks.
    results : Path
        Where results of the whole folder go, or would: beside it, until somebody chooses another place.
    """

    path: Path
    cases: list[FolderCase]
    truth: TruthFolder = field(init=False)
    results: Path = field(init=False)

    def __post_init__(self) -> None:
        from napari_diffseg.evaluation.cases.find_truth import TruthFolder

        self.truth = TruthFolder(self.path)
        self.results = self.path.parent / f"{self.path.name}_diffseg"

    @classmethod
    def of(cls, path: Path, found: Sequence[CaseFiles]) -> CaseFolder:
        """The folder of cases that were found in it, each with a name of its own where that can be."""
        return cls(path, [FolderCase(files) for files in sorted(told_apart(found), key=_natural)])

    def reference_of(self, case: FolderCase) -> tuple[Path, ...]:
        """The masks that people drew of a case; none where there is none, or it is not clear which."""
        if case.reference is not None:
            return case.reference
        if not isinstance(case.files.source, Path) and REFERENCE in case.files.source:
            return (case.files.source[REFERENCE],)
        try:
            return self.truth.of(case.name)
        except BadCase:
            return ()


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case of a folder whose layers have been brought.

    Attributes
    ----------
    case : FolderCase
        Which.
    images : dict of str to Layer
        By modality; of several that may be one modality none is here.
    layers : tuple of Layer
        All that were brought: images and masks.
    run : ReopenedRun or None
        Its last run, where there is one.
    note : str
        Why that is not shown, as a sentence.
    """

    case: FolderCase
    images: dict[str, Layer]
    layers: tuple[Layer, ...]
    run: ReopenedRun | None
    note: str = ""


def _natural(files: CaseFiles) -> list[tuple[bool, int, str]]:
    """Numbers in names count as numbers."""
    parts = re.findall(r"\d+|\D+", files.name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def images_of(files: CaseFiles) -> list[tuple[Path, str | None]]:
    """The files of a case with what each shows, masks ("seg") among them.

    Raises
    ------
    BadCase
        If it cannot be read.
    """
    source = files.readable()
    if not isinstance(source, Path):
        return [(path, modality) for modality, path in source.items()]
    return [*find_case_images(source)] if source.is_dir() else [(source, modality_said_for(source))]


def watched(mailbox: Mailbox, stop: threading.Event) -> Callable[[Path], None]:
    """What is called for each folder that is looked at: it tells how far the search is, and ends it when asked to."""
    seen = 0

    def on_folder(_path: Path) -> None:
        nonlocal seen
        seen += 1
        if stop.is_set():
            raise Stopped
        if seen % _EVERY == 0:
            mailbox.put(StatusMessage(f"Looking for cases: {seen} folders so far…"))

    return on_folder


def open_job(folder: CaseFolder, case: FolderCase, *, checkpoint: str) -> Job:
    """Read a case of a folder, its reference and its last run; the result is an `OpenedCase`."""

    def job(mailbox: Mailbox, stop: threading.Event) -> OpenedCase:
        from napari_diffseg.plugin.files.reader import read_case_layers

        def check_stop() -> None:
            if stop.is_set():
                raise Stopped

        mailbox.put(StatusMessage(f"Reading the images of {shown_name(case.name)}…"))
        files = images_of(case.files)
        masks = {path for path, modality in files if modality == REFERENCE}
        files += [(path, REFERENCE) for path in folder.reference_of(case) if path not in masks]
        read = read_case_layers(files)
        check_stop()
        by_modality = _by_modality(read, files)
        run, note = _run_of(case, by_modality, checkpoint, check_stop)
        made = _bring(read, mailbox)
        layers = {id(data): layer for data, layer in zip(read, made, strict=True)}
        images = {name: layers[id(data)] for name, data in by_modality.items()}
        return OpenedCase(case, images, tuple(made), run, note)

    return job


def _by_modality(read: Sequence[LayerData], files: Sequence[tuple[Path, str | None]]) -> dict[str, LayerData]:
    """The one image of each modality."""
    from napari_diffseg.plugin.session.reopening import volume_of

    said = dict(files)
    found: dict[str, list[LayerData]] = {}
    for data in read:
        path = volume_of(data).path
        modality = (None if path is None else said.get(path)) or modality_of(data[1]["name"])
        if data[2] == "image" and modality not in (None, REFERENCE):
            found.setdefault(str(modality), []).append(data)
    return {name: images[0] for name, images in found.items() if len(images) == 1}


def _run_of(
    case: FolderCase, images: dict[str, LayerData], checkpoint: str, check_stop: Callable[[], None]
) -> tuple[ReopenedRun | None, str]:
    """The last run of a case, or why it is not shown."""
    if case.run is None:
        return None, ""
    try:
        run = run_of_case(case.run, images, checkpoint=checkpoint, check_stop=check_stop)
    except DiffsegError as err:
        return None, f"Its run cannot be shown: {err}"
    return run, "" if run is not None else f"The run in {case.run} is of other images: it is not shown."


def _bring(read: Sequence[LayerData], mailbox: Mailbox) -> list[Layer]:
    from napari.layers import Layer

    made = [Layer.create(*data) for data in read]
    for layer in made:
        mailbox.put(LayerReady(layer))
    return made


def find_runs_of(folder: CaseFolder, store: RunStore, *, results: Path) -> list[FolderCase]:
    """The cases of a folder with their runs.

    Parameters
    ----------
    folder : CaseFolder
        The cases.
    store : RunStore
        The kept runs of this machine.
    results : Path
        Where runs of the whole folder are.
    """
    kept = _kept_by_image(store)
    return [with_run(case, kept, results) for case in folder.cases]


def find_references_of(folder: CaseFolder, cases: Sequence[FolderCase], *, stop: threading.Event) -> list[FolderCase]:
    """The cases of a folder with their references, which takes a while where there are thousands; `stop` ends it."""
    found = []
    for case in cases:
        if stop.is_set():
            raise Stopped
        found.append(replace(case, reference=folder.reference_of(case)))
    return found


def with_run(case: FolderCase, kept: dict[Path, Path], results: Path) -> FolderCase:
    """A case with its newest run: that in the results of the whole folder, or a kept one."""
    from napari_diffseg.runs.edited_mask import has_edited

    source = case.files.source
    places = [source] if isinstance(source, Path) else list(source.values())
    runs = [kept[place] for place in places if place in kept]
    of_all = results / case.name
    if (of_all / RECORD).is_file():
        runs.append(of_all)
    run = max(runs, key=lambda path: (path / RECORD).stat().st_mtime, default=None)
    return replace(case, run=run, is_edited=run is not None and has_edited(run))


def _kept_by_image(store: RunStore) -> dict[Path, Path]:
    """The newest kept run of each image, and of each folder of images."""
    from napari_diffseg.plugin.session.run_origin import read_origin

    found: dict[Path, Path] = {}
    for kept in reversed(store.newest(store.keep or _MOST)):
        for image in read_origin(kept.folder).images.values():
            found[image.path] = found[image.path.parent] = kept.folder
    return found


_MOST: Final = 1000
"""Kept runs that are looked at where all are kept."""
