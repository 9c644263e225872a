"""report.json, report.csv and report.html, each whole or absent."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from typing import TYPE_CHECKING

from pydantic_core import to_json

from napari_diffseg.errors import OutputExists, Remedy
from napari_diffseg.evaluation.report.report import columns, rows_of
from napari_diffseg.imaging.atomic import atomic_write, make_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_diffseg.evaluation.report.report import Report
    from napari_diffseg.evaluation.report.snapshot import Snapshot

FILES = ("report.json", "report.csv", "report.html")


def check_output(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse before the work what would be refused after it, and make the folder.

    Raises
    ------
    OutputExists
        If a report is there and overwriting was not asked for.
    OutputFailed
        If the folder cannot be made.
    """
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise OutputExists(
            f"{folder} holds {', '.join(there)}: choose another folder, or allow overwriting.", Remedy("overwrite")
        )
    make_folder(folder)


def write_report(report: Report, snapshots: Sequence[Snapshot], folder: Path, *, overwrite: bool = False) -> None:
    """Write the report: everything as JSON, a row a case as CSV, a page to read.

    Parameters
    ----------
    report : Report
        NaN is written as null, and as nothing in the table.
    snapshots : sequence of Snapshot
        One a case, for the page.
    folder : Path
        Is there already, see `check_output`.
    overwrite : bool
        Replace a report that is there.

    Raises
    ------
    OutputExists, OutputFailed
        As `atomic_write`.
    """
    from napari_diffseg.evaluation.report.page import make_page

    page = make_page(report, snapshots).encode()
    table = _table(report).encode()
    write_json(folder / "report.json", json.loads(to_json(report, inf_nan_mode="null")), overwrite=overwrite)
    for name, content in (("report.csv", table), ("report.html", page)):
        _write(folder / name, content, overwrite=overwrite)


def _write(path: Path, content: bytes, *, overwrite: bool) -> None:
    atomic_write(path, lambda file: file.write(content), overwrite=overwrite, size=len(content))


def _table(report: Report) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["case", *columns(report.cases)], restval="", lineterminator="\n")
    writer.writeheader()
    for case, row in rows_of(report.cases).items():
        writer.writerow({"case": case, **{name: value for name, value in row.items() if not math.isnan(value)}})
    return text.getvalue()
