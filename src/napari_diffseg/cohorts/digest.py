"""One number for all results of a case, to see whether two runs came to the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from napari_diffseg.runs.layout import ENDING, MEMBERS

if TYPE_CHECKING:
    from pathlib import Path


def result_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of the masks, maps and members of a run, whatever its record says of time and place.

    Parameters
    ----------
    folder : Path
        Of the run.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    sums = hashlib.sha256()
    for path in sorted((*folder.glob(f"*{ENDING}"), *(folder / MEMBERS).glob(f"*{ENDING}"))):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        sums.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return sums.hexdigest()
