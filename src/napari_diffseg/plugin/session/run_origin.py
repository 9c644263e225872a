"""Where the images and the checkpoint of a kept run lie on this machine, so that the run can be opened again.

`run.json` travels with exported results and names no folder. This file stays where the run is kept, is hidden, and is
never exported.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_diffseg.errors import OutputFailed

if TYPE_CHECKING:
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.session.run_plan import RunPlan

logger = logging.getLogger(__name__)

NAME = ".origin.json"
_LARGEST = 1_000_000


class ImageOrigin(BaseModel):
    """An image of the run: its file, and the digest of what was read from it."""

    model_config = ConfigDict(frozen=True)

    path: Path
    content: str


class RunOrigin(BaseModel):
    """Where a run comes from.

    Attributes
    ----------
    images : dict of str to ImageOrigin
        By modality; one that came from no file is not among them.
    checkpoint : str
        A path, or `demo`; empty where it is not known.
    overrides : dict
        What the user said of the checkpoint against its recipe.
    """

    model_config = ConfigDict(frozen=True)

    images: dict[str, ImageOrigin] = {}
    checkpoint: str = ""
    overrides: dict[str, Any] = {}


def write_origin(plan: RunPlan) -> None:
    """Write it into the run's folder, which must exist; a run goes on without it, and the log says so."""
    from napari_diffseg.checkpoint.resolve import DEMO
    from napari_diffseg.imaging.atomic import write_json

    images = {
        name: ImageOrigin(path=volume.path.absolute(), content=content_digest(volume))
        for name, volume in plan.case.volumes.items()
        if volume.path is not None
    }
    path = Path(plan.checkpoint)
    is_file = plan.checkpoint != DEMO and path.is_file()
    checkpoint = str(path.absolute()) if is_file else plan.checkpoint
    origin = RunOrigin(images=images, checkpoint=checkpoint, overrides=dict(plan.overrides))
    try:
        write_json(plan.folder / NAME, origin.model_dump(mode="json"), overwrite=True)
    except OutputFailed as err:
        logger.warning("The run cannot be opened again with its images: %s", err)


def read_origin(folder: Path) -> RunOrigin:
    """What is known of a run's origin; nothing, where the file is absent or damaged."""
    try:
        with (folder / NAME).open("rb") as file:
            return RunOrigin.model_validate(json.loads(file.read(_LARGEST)))
    except (OSError, ValueError, RecursionError, ValidationError) as err:
        logger.info("%s says nothing of its images: %s", folder, err)
        return RunOrigin()


def content_digest(volume: Volume) -> str:
    """A digest of array and affine: of a 4-D file, another one for each channel."""
    return replace(volume, path=None, file_digest=None).digest
