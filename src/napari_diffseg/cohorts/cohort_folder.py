"""The folder of a cohort: results by case, and beside them what is known of each case."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.cohorts.attempts import Attempts, key_of
from napari_diffseg.cohorts.case_list import CaseList
from napari_diffseg.cohorts.standing import Standing, are_unchanged, judge, reason
from napari_diffseg.imaging.atomic import atomic_write, make_folder
from napari_diffseg.runs.layout import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_diffseg.cohorts.attempts import Attempt
    from napari_diffseg.cohorts.case_list import ListedCase
    from napari_diffseg.imaging.case_files import CaseFiles

STATE: Final = ".cohort"
TABLE: Final = "cohort.csv"
_COLUMNS: Final = ("case", "state", "attempts", "members", "seconds", "where", "began", "message", "inputs", "result")


@dataclass(frozen=True, slots=True)
class CaseRow:
    """What is known of a case.

    Attributes
    ----------
    name : str
        The case.
    state : Standing
        Whether it waits, is worked on, is done or failed.
    attempts : int
        How many there were.
    last : Attempt or None
        The last of them.
    message : str
        Why it failed or waits again, one sentence.
    """

    name: str
    state: Standing
    attempts: int
    last: Attempt | None
    message: str


class CohortFolder:
    """Many cases whose results go into one folder.

    ```
    OUT/CASE/...                         results, as of a single run
    OUT/.cohort/cases.001.json ...       the list of cases; a part is written once
    OUT/.cohort/attempts/CASE.001.json   the first attempt at a case: who, when, how it ended, digests
    OUT/.cohort/replace/CASE             the case's results are to be replaced
    OUT/cohort.csv                       the table, written at the end
    ```

    Parameters
    ----------
    out : Path
        Made when the first case is added.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        self.state = self.out / STATE
        self.attempts = Attempts(self.state / "attempts")
        self._list = CaseList(self.state)

    def exists(self) -> bool:
        """Whether there is a cohort in the folder."""
        return self.state.is_dir()

    def add(self, cases: Iterable[CaseFiles]) -> list[str]:
        """List cases, unless they are on the list; their names in its order.

        Raises
        ------
        BadCase
            If the list cannot be read.
        OutputFailed
            If it cannot be written.
        """
        return [case.name for case in self._list.add(cases)]

    def cases(self) -> dict[str, ListedCase]:
        """The cases by name.

        Raises
        ------
        BadCase
            If the list cannot be read.
        """
        return self._list.read()

    def result_folder(self, name: str) -> Path:
        """Where a case's results are or will be."""
        return self.out / name

    def replace(self, names: Iterable[str]) -> None:
        """Mark cases whose results are to be replaced, whoever takes them; but for those that are worked on now.

        Raises
        ------
        OutputFailed
            If the marks cannot be written.
        """
        tried = self.attempts.of_all()
        for name in names:
            attempts = tried.get(key_of(name), [])
            if not (attempts and self.attempts.is_running(attempts[-1])):
                make_folder(self._mark(name).parent)
                atomic_write(self._mark(name), lambda file: None, overwrite=True)

    def is_to_replace(self, name: str) -> bool:
        """Whether the case's results are to be replaced."""
        return self._mark(name).exists()

    def has_replaced(self, name: str) -> None:
        """Note that the results of before are gone."""
        self._mark(name).unlink(missing_ok=True)

    def standing(
        self, case: ListedCase, attempts: Sequence[Attempt], *, members: int, settings: str, launch: str
    ) -> Standing:
        """How a case stands for a command.

        One that was done counts as waiting where it was done with other files, settings or fewer members, or its
        results are gone: whoever takes it finds out what is to be done.

        Parameters
        ----------
        case : ListedCase
            The case.
        attempts : sequence of Attempt
            At it, first to last.
        members : int
            How many are asked for.
        settings : str
            Digest of what decides their results.
        launch : str
            The command.
        """
        standing = judge(attempts, launch=launch, is_running=self.attempts.is_running)
        if standing is not Standing.DONE:
            return standing
        last = attempts[-1]
        same = last.settings == settings and last.members >= members and last.source == case.source
        if same and not self.is_to_replace(case.name) and are_unchanged(last.sources) and self._has_results(case.name):
            return Standing.DONE
        return Standing.WAITING

    def table(self) -> list[CaseRow]:
        """What is known of each case, in the order of the list.

        Raises
        ------
        BadCase, OutputFailed
            If list or attempts cannot be read.
        """
        tried = self.attempts.of_all()
        return [self._row(name, tried.get(key_of(name), [])) for name in self.cases()]

    def write_table(self) -> Path:
        """Write the table as CSV beside the results; returns its path.

        Raises
        ------
        BadCase, OutputFailed
            If list or attempts cannot be read, or the table not be written.
        """
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(_COLUMNS)
        rows.writerows(map(_cells, self.table()))
        content = text.getvalue().encode()
        path = self.out / TABLE
        atomic_write(path, lambda file: file.write(content), overwrite=True, size=len(content))
        return path

    def _row(self, name: str, attempts: list[Attempt]) -> CaseRow:
        last = attempts[-1] if attempts else None
        launch = last.launch if last is not None else ""
        state = judge(attempts, launch=launch, is_running=self.attempts.is_running)
        if state is Standing.DONE and not self._has_results(name):
            state = Standing.WAITING
        message = reason(attempts) if state in (Standing.FAILED, Standing.WAITING) else ""
        return CaseRow(name, state, len(attempts), last, message)

    def _has_results(self, name: str) -> bool:
        return (self.result_folder(name) / RECORD).is_file()

    def _mark(self, name: str) -> Path:
        return self.state / "replace" / key_of(name)


def _cells(row: CaseRow) -> tuple[object, ...]:
    last = row.last
    if last is None:
        return (row.name, row.state.value, 0, "", "", "", "", "", "", "")
    inputs = " ".join(f"{modality}={digest}" for modality, digest in last.inputs.items())
    return (
        row.name, row.state.value, row.attempts, last.members, last.seconds, last.who.shown, last.began, row.message,
        inputs, last.result,
    )  # fmt: skip
