"""The cases of a cohort, in a list that only grows, so that every worker sees the same order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_diffseg.errors import BadCase, OutputExists, Remedy
from napari_diffseg.imaging.atomic import make_folder, write_json
from napari_diffseg.imaging.case_files import CaseFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PART: Final = "cases.{:03d}.json"


class ListedCase(BaseModel):
    """Where a case lies: `CaseFiles` as it stands in a file, with absolute paths.

    Attributes
    ----------
    name : str
        What it is called; its results lie in a folder of that name.
    source : str or dict of str to str
        A path, or paths by modality.
    folder : str
        That its files lie in.
    refused : str
        Why it cannot be read, where that is known already.
    remedies : list of (str, str)
        Setting and value that would help.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    source: str | dict[str, str]
    folder: str
    refused: str = ""
    remedies: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, case: CaseFiles) -> ListedCase:
        """A case as it was found."""
        source = case.source
        refused = case.refused
        return cls(
            name=case.name,
            source=_absolute(source) if isinstance(source, Path) else {m: _absolute(p) for m, p in source.items()},
            folder=_absolute(case.folder),
            refused="" if refused is None else str(refused),
            remedies=() if refused is None else tuple((r.setting, r.value) for r in refused.remedies),
        )

    def files(self) -> CaseFiles:
        """The case as it was found."""
        source = Path(self.source) if isinstance(self.source, str) else {m: Path(p) for m, p in self.source.items()}
        refused = BadCase(self.refused, *(Remedy(*pair) for pair in self.remedies)) if self.refused else None
        return CaseFiles(self.name, source, Path(self.folder), refused)


class _Part(BaseModel):
    """Some cases of the list; each part is a file that is written once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cases: tuple[ListedCase, ...]


class CaseList:
    """The cases of a cohort, in a folder that all workers share.

    Parameters
    ----------
    folder : Path
        Made when the first case is added.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> dict[str, ListedCase]:
        """The cases by name, in the order in which they were added; of one that was found again, its last place.

        Raises
        ------
        BadCase
            If a part of the list cannot be read.
        """
        cases: dict[str, ListedCase] = {}
        for part in self._parts():
            cases.update({case.name: case for case in part.cases})
        return cases

    def add(self, cases: Iterable[CaseFiles]) -> list[ListedCase]:
        """Put cases on the list unless they are on it; it holds them, in its order, whoever else adds some now.

        Raises
        ------
        BadCase
            If a part of the list cannot be read.
        OutputFailed
            If it cannot be written.
        """
        asked = {case.name: case for case in map(ListedCase.of, cases)}
        while new := self._unlisted(asked):
            make_folder(self._folder)
            number = len(self._parts()) + 1
            part = _Part(cases=tuple(new))
            try:
                write_json(self._folder / _PART.format(number), part.model_dump(mode="json"))
            except OutputExists:
                continue  # another worker has added some; what is missing then is looked at again
        return [case for name, case in self.read().items() if name in asked]

    def _unlisted(self, asked: dict[str, ListedCase]) -> Sequence[ListedCase]:
        there = self.read()
        return [case for name, case in asked.items() if there.get(name) != case]

    def _parts(self) -> list[_Part]:
        parts: list[_Part] = []
        while (path := self._folder / _PART.format(len(parts) + 1)).exists():
            try:
                parts.append(_Part.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError) as err:
                raise BadCase(
                    f"{path} cannot be read: it lists cases of this cohort. Remove the folder {self._folder.name} "
                    "that it lies in, and start again: results that are there are kept."
                ) from err
        return parts


def _absolute(path: Path) -> str:
    return os.path.abspath(path)
