"""The cases that several paths hold, each with a name of its own, and the paths that hold none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, DiffsegError
from napari_diffseg.imaging.case_files import CaseFiles, find_case_sources, told_apart
from napari_diffseg.imaging.names.naming import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class FoundCases:
    """Cases that are to be segmented, before any image is read.

    Attributes
    ----------
    cases : tuple of CaseFiles
        No two of one name, where their folders tell them apart.
    refused : tuple of (Path, DiffsegError)
        Paths in which there is no case, and why.
    renamed : tuple of (str, str)
        Names that several cases had, and what each is called now, in the order of the cases.
    """

    cases: tuple[CaseFiles, ...]
    refused: tuple[tuple[Path, DiffsegError], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


def find_cases(
    paths: Sequence[Path],
    *,
    modalities: Sequence[str] = MODALITIES,
    channels: Sequence[str] | None = None,
    pick: Sequence[str] = (),
    named: Sequence[CaseFiles] = (),
) -> FoundCases:
    """The cases of several paths; a path that holds none costs no other.

    Parameters
    ----------
    paths : sequence of Path
        Files, and folders of one case or of several.
    modalities, channels, pick :
        As `find_case_sources` takes them.
    named : sequence of CaseFiles
        Cases that are known already; they come first.
    """
    found = list(named)
    refused: list[tuple[Path, DiffsegError]] = []
    for path in paths:
        try:
            found += find_case_sources(path, modalities=modalities, channels=channels, pick=pick)
        except DiffsegError as err:
            refused.append((path, err))
        except OSError as err:
            refused.append((path, unreadable(err)))
    apart = told_apart(found)
    renamed = tuple((old.name, new.name) for old, new in zip(found, apart, strict=True) if old.name != new.name)
    return FoundCases(tuple(apart), tuple(refused), renamed)


def unreadable(err: OSError) -> BadCase:
    """What is said of a place that the system does not let us read."""
    return BadCase(f"It cannot be looked at: {err.strerror}: allow reading it, or choose another.")
