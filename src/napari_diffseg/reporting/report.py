"""Writes a run's page and pictures beside its exported maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from napari_diffseg.appearance import Convention
from napari_diffseg.errors import BadRequest
from napari_diffseg.extras import check_extra
from napari_diffseg.imaging.atomic import atomic_write, make_folder
from napari_diffseg.reporting.sheet import make_sheet
from napari_diffseg.runs.export import export_run, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.runs.edited_mask import EditedMask
    from napari_diffseg.runs.export import ExportChoice
    from napari_diffseg.runs.stored_run import StoredRun


_LARGEST_ML: Final = 1000


@dataclass(frozen=True)
class ReportChoice:
    """What to make.

    Attributes
    ----------
    page : bool
        One page of HTML with everything in it.
    pictures : bool
        A PNG of every slice on which a member marks something.
    image : Volume or None
        What is shown behind the masks.
    image_name : str
        What it is, for people.
    convention : Convention
        On which side the patient's left is shown.
    truth : Volume or None
        Ground truth, with which Dice is measured.
    smallest_ml : float or None
        Volume from which a connected component is listed as a lesion; None: by the voxel size.

    Raises
    ------
    BadRequest
        If matplotlib is not there, which draws.
    """

    page: bool = True
    pictures: bool = False
    image: Volume | None = None
    image_name: str = ""
    convention: Convention = Convention.RADIOLOGICAL
    truth: Volume | None = None
    smallest_ml: float | None = None

    def __post_init__(self) -> None:
        if self.smallest_ml is not None and not 0 <= self.smallest_ml <= _LARGEST_ML:
            raise BadRequest(f"Lesions of at least {self.smallest_ml} ml: give a volume from 0 to {_LARGEST_ML} ml.")
        if not (self.page or self.pictures):
            raise BadRequest("Nothing to report: ask for the page, or for pictures.")
        check_extra("evaluation")


def export_all(
    run: StoredRun, folder: Path, export: ExportChoice, report: RunReport | None, edited: EditedMask | None = None
) -> Iterator[Path]:
    """Write a run's results as `export_run` does, and then its page and pictures, where they are asked for.

    Raises
    ------
    DiffsegError
        As `export_run` and `RunReport.write` do; whatever is refused is refused before the first file is written.
    """
    if report is not None:
        report.check(folder)
    yield from export_run(run, folder, export, edited)
    if report is not None:
        yield from report.write(folder)


class RunReport:
    """A run's page and pictures, worked out and not yet written.

    Parameters
    ----------
    run : StoredRun
        The run.
    choice : ReportChoice
        What to make.
    export : ExportChoice
        How the files are named, how members become a mask, what the uncertainty is, and whether files are replaced.
    edited : EditedMask, optional
        A correction of the mask: volume, lesions, Dice and outlines are then of it.

    Raises
    ------
    BadRequest
        If the run has no whole member.
    """

    def __init__(
        self, run: StoredRun, choice: ReportChoice, export: ExportChoice, edited: EditedMask | None = None
    ) -> None:
        self._choice, self._overwrite = choice, export.overwrite
        self._names = export.names(run.record)
        self._sheet = make_sheet(
            run,
            summary=export.summary,
            image=choice.image,
            image_name=choice.image_name,
            convention=choice.convention,
            edited=edited,
            truth=choice.truth,
            smallest_ml=choice.smallest_ml,
        )

    @property
    def count(self) -> int:
        """How many paths `write` will tell."""
        return int(self._choice.page) + len(self._pictures)

    def check(self, folder: Path) -> None:
        """Refuse before anything is written.

        Raises
        ------
        OutputExists
            If a file is there, and replacing was not asked for.
        """
        if not self._overwrite:
            names = [*([self._page] if self._choice.page else []), *self._pictures.values()]
            refuse_existing([folder / name for name in names])

    def write(self, folder: Path) -> Iterator[Path]:
        """Write, and tell every path when it is written.

        Raises
        ------
        OutputExists, OutputFailed
            As `atomic_write`.
        """
        from napari_diffseg.reporting.page import make_run_page
        from napari_diffseg.reporting.pictures import slice_picture

        for index, name in self._pictures.items():
            yield self._put(folder / name, slice_picture(self._sheet, self._sheet.view(index)))
        if self._choice.page:
            yield self._put(folder / self._page, make_run_page(self._sheet).encode())

    @property
    def _page(self) -> str:
        return str(self._names.beside("report", ".html"))

    @property
    def _pictures(self) -> dict[int, str]:
        slices = self._sheet.slices if self._choice.pictures else ()
        return {index: str(self._names.beside(f"slice{index:03d}", ".png")) for index in slices}

    def _put(self, path: Path, content: bytes) -> Path:
        make_folder(path.parent)
        atomic_write(path, lambda file: file.write(content), overwrite=self._overwrite)
        return path
