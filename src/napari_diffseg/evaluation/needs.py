"""The extra that the measures and plots of other libraries come in."""

from __future__ import annotations

from importlib.util import find_spec

from napari_diffseg.errors import BadRequest

_LIBRARIES = ("medpy", "surface_distance", "matplotlib")


def check_extra() -> None:
    """Refuse early where a library is missing that the evaluation uses.

    Raises
    ------
    BadRequest
        If the extra `evaluation` is not installed whole.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise BadRequest(
            f"The evaluation needs {', '.join(missing)}, which this environment lacks: "
            "install the extra, pip install 'napari-diffseg[evaluation]'."
        )
