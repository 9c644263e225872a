"""`napari-diffseg status`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.cli.cohort import duration, why
from napari_diffseg.errors import BadCase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.cohorts.cohort_folder import CaseRow

_EACH_S: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[2J"
_LONGEST: Final = 48


def status(folder: Path, *, watch: bool = False) -> int:
    """Show how far the cases of a folder are: the --out of predict with several cases.

    Parameters
    ----------
    folder
        Of the results.
    watch
        Show it anew every two seconds, until nothing waits or goes on any more, or Ctrl-C.
    """
    from napari_diffseg.cohorts.cohort_folder import CohortFolder

    cohort = CohortFolder(folder)
    if not cohort.exists():
        raise BadCase(f"{folder} holds no cohort: name the folder that predict was given for the results of its cases.")
    while True:
        rows = cohort.table()
        text = "\n".join(table_lines(rows)) + "\n"
        sys.stdout.write(f"{_CLEAR if watch and sys.stdout.isatty() else ''}{text}")
        sys.stdout.flush()
        if not watch or not any(row.state.value in ("running", "waiting") for row in rows):
            return 1 if any(row.state.value == "failed" for row in rows) else 0
        time.sleep(_EACH_S)


def table_lines(rows: Sequence[CaseRow]) -> list[str]:
    """A line for each case, those that failed with their sentence, and a summary at the end."""
    from napari_diffseg.cohorts.follow import estimate

    width = min(_LONGEST, max((len(row.name) for row in rows), default=0))
    lines = [_line(row, width) for row in rows]
    counts = {
        state: sum(row.state.value == state for row in rows) for state in ("done", "failed", "running", "waiting")
    }
    left = estimate(rows)
    summary = f"{len(rows)} cases: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    return [*lines, summary + (f"; about {duration(left)} left" if left is not None else "")]


def _line(row: CaseRow, width: int) -> str:
    begin = f"{row.name:{width}}  {row.state.value:8}"
    if row.last is None:
        return begin.rstrip()
    tries = f"attempt {row.attempts}"
    match row.state.value:
        case "done":
            return f"{begin} {duration(row.last.seconds):>10}  {tries}  {row.last.who.shown}"
        case "running":
            return f"{begin} {'':>10}  {tries}  {row.last.who.shown}"
    return f"{begin} {'':>10}  {tries}  {why(row.message, row.last) or 'it was stopped'}"
