"""The libraries that only a part of the package needs, by the extra that they come in."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal

from napari_diffseg.errors import BadRequest

ExtraName = Literal["cluster", "consensus", "dicom", "evaluation", "formats", "local", "training"]

LIBRARIES: Final[dict[ExtraName, tuple[str, ...]]] = {
    "cluster": ("submitit",),
    "consensus": ("SimpleITK",),
    "dicom": ("SimpleITK", "highdicom", "pydicom"),
    "evaluation": ("medpy", "surface_distance", "matplotlib"),
    "formats": ("SimpleITK",),
    "local": ("torch", "safetensors"),
    "training": ("torch", "accelerate", "monai", "tensorboard", "tomli_w"),
}
"""What is imported of each extra, by the names of `import`."""


_TITLES: Final[dict[ExtraName, str]] = {"dicom": "DICOM segmentation", "local": "Computing on this computer"}
"""What an extra is for, where its name does not say it."""


def has_extra(extra: ExtraName) -> bool:
    """Whether an extra is installed whole."""
    return not _missing(extra)


def check_extra(extra: ExtraName) -> None:
    """Refuse early where a library of an extra is missing.

    Raises
    ------
    BadRequest
        If the extra is not installed whole.
    """
    missing = _missing(extra)
    if missing:
        raise BadRequest(
            f"{_TITLES.get(extra, extra.capitalize())} needs {', '.join(missing)}, which this environment lacks: "
            f"install the extra, pip install 'napari-diffseg[{extra}]'."
        )


def _missing(extra: ExtraName) -> list[str]:
    return [name for name in LIBRARIES[extra] if find_spec(name) is None]
