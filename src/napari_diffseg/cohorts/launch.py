"""What one command asked of a cohort, for workers that are started elsewhere."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from napari_diffseg.errors import BadCase
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.atomic import make_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.cohorts.cohort_folder import CohortFolder
    from napari_diffseg.cohorts.cohort_run import CohortRun


class Launch(BaseModel):
    """One command: cases, settings and checkpoint.

    Attributes
    ----------
    id : str
        Of this command alone; attempts name it.
    began : str
        When, in UTC.
    names : tuple of str
        The cases, in the order of the list.
    checkpoint : str
        Path of its file or folder.
    digest : str
        SHA-256 of its weights: a file that has changed since is refused.
    overrides : dict
        What was said of it.
    request : SegmentRequest
        Settings.
    channels, resample, pick :
        How images are read, see `read_case`.
    label_values : str or None
        Whose values label maps have.
    settings : str
        What decides the results, see `CohortRun.settings`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    began: str
    names: tuple[str, ...]
    checkpoint: str
    digest: str
    overrides: dict[str, JsonValue] = {}
    request: SegmentRequest
    channels: tuple[str, ...] | None = None
    resample: str | None = None
    pick: tuple[str, ...] = ()
    label_values: str | None = None
    settings: str

    @classmethod
    def of(cls, run: CohortRun, names: Sequence[str], overrides: Mapping[str, JsonValue]) -> Launch:
        """The command that does `run` with cases of a list."""
        return cls(
            id=uuid4().hex,
            began=datetime.now(UTC).isoformat(timespec="seconds"),
            names=tuple(names),
            checkpoint=os.path.abspath(run.checkpoint.path),
            digest=run.checkpoint.digest,
            overrides=dict(overrides),
            request=run.request,
            channels=None if run.channels is None else tuple(run.channels),
            resample=run.resample,
            pick=tuple(run.pick),
            label_values=run.label_values,
            settings=run.settings,
        )

    def write(self, folder: CohortFolder) -> Path:
        """Write it for workers to read.

        Raises
        ------
        OutputFailed
            If it cannot be written.
        """
        path = _path(folder, self.id)
        make_folder(path.parent)
        write_json(path, self.model_dump(mode="json"))
        return path

    @classmethod
    def read(cls, folder: CohortFolder, launch_id: str) -> Launch:
        """What a command has written.

        Raises
        ------
        BadCase
            If it cannot be read.
        """
        path = _path(folder, launch_id)
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as err:
            raise BadCase(
                f"{path} cannot be read, so this worker does not know what to do: give the command again."
            ) from err


def _path(folder: CohortFolder, launch_id: str) -> Path:
    return folder.state / "launches" / f"{launch_id}.json"
