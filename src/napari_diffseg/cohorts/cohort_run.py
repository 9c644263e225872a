"""One case of a cohort, from its files to results in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.cohorts.find import unreadable
from napari_diffseg.errors import BadRequest
from napari_diffseg.imaging.case import read_case
from napari_diffseg.runs.identity import settings_digest
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from napari_diffseg.events import SamplingEvent, Segmenter, SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.imaging.case_files import CaseFiles
    from napari_diffseg.runs.identity import DescribedCheckpoint


def engine_is_here() -> None:
    """Of an engine in this process: it can be had as long as the process lives."""


@dataclass(frozen=True, eq=False)
class CohortRun:
    """What is done with each case of a cohort: the same settings, results in `out / case`.

    Attributes
    ----------
    segmenter, checkpoint, request :
        What samples, and how.
    out : Path
        Holds a folder for each case.
    channels, resample, pick :
        As `read_case` takes them.
    overwrite : bool
        Whether results that are there may be replaced.
    resume : bool
        Whether finished members that are there are kept, and only the others sampled; a case of which nothing is
        missing is done.
    label_values : str, optional
        Whose values the label map has, see `with_values_of`; by default the checkpoint's own.
    check_engine : callable, optional
        Called after a case failed with its engine, in another process or on another computer: raises where there is
        none to be had any more, so that the other cases are not tried in vain.
    """

    segmenter: Segmenter
    checkpoint: DescribedCheckpoint
    request: SegmentRequest
    out: Path
    channels: Sequence[str] | None = None
    resample: str | None = None
    pick: Sequence[str] = ()
    overwrite: bool = False
    resume: bool = False
    label_values: str | None = None
    check_engine: Callable[[], object] = engine_is_here

    @property
    def settings(self) -> str:
        """What decides the results, but for the images, as one word: the same for the same settings."""
        return f"{settings_digest(self.checkpoint, self.request)} {self.label_values or ''}".rstrip()

    def folder_of(self, files: CaseFiles) -> RunFolder:
        """Read a case; the folder in which its results are, or will be.

        Raises
        ------
        BadImage, BadCase
            If it cannot be read.
        """
        case = self._read(files)
        return RunFolder(self.out / case.id, case, self.checkpoint, self.request, self.label_values)

    def _read(self, files: CaseFiles) -> Case:
        recipe = self.checkpoint.recipe
        try:
            return read_case(
                files.readable(),
                modalities=recipe.modalities,
                may_miss=recipe.may_miss,
                channels=self.channels,
                resample_to=self.resample,
                case_id=files.name,
                pick=self.pick,
            )
        except OSError as err:
            raise unreadable(err) from err

    def is_done(self, folder: RunFolder) -> bool:
        """Whether nothing is left to do for a case.

        Raises
        ------
        BadRequest
            If the run that is there was made with another checkpoint, other images or other settings.
        """
        return self.resume and folder.is_complete()

    def events(self, folder: RunFolder) -> Generator[SamplingEvent]:
        """Sample a case; each event once its results are on disk, see `keep_run`. Closed early, it keeps members."""
        return keep_run(self.segmenter, folder, overwrite=self.overwrite, resume=self.resume)


def check_new(case_id: str, seen: set[str]) -> None:
    """Note that a case of this name is under way; two of one name would share a folder.

    Raises
    ------
    BadRequest
        If there was one.
    """
    if case_id in seen:
        raise BadRequest(f"Two cases are called {case_id}: their results would share a folder; run them one by one.")
    seen.add(case_id)
