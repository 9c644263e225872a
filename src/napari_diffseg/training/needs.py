"""The extra that training's libraries come in."""

from __future__ import annotations

from importlib.util import find_spec

from napari_diffseg.errors import BadRequest

_LIBRARIES = ("accelerate", "monai", "tensorboard", "tomli_w")


def check_extra() -> None:
    """Refuse early where a library is missing that training uses.

    Raises
    ------
    BadRequest
        If the extra `training` is not installed whole.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise BadRequest(
            f"Training needs {', '.join(missing)}, which this environment lacks: "
            "install the extra, pip install 'napari-diffseg[training]'."
        )
