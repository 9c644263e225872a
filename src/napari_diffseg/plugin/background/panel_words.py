"""Errors in the words of the panel: the sentence, and the controls that help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from napari_diffseg.errors import DiffsegError

_CONTROLS: Final = {
    "resample": "press 'Resample to'",
    "image": "open the images with 'Files…', and choose each under Case",
    "members": "change Members",
    "timesteps": "change Timesteps",
    "precision": "change Precision under Advanced",
    "device": "change Device under Advanced",
    "slices": "change Scope",
}
"""What the panel has for a setting; other remedies are not named in it."""


def worded(err: DiffsegError) -> str:
    """What an error says, with the controls that help behind it, such as `(press 'Resample to')`."""
    named = [_CONTROLS[remedy.setting] for remedy in err.remedies if remedy.setting in _CONTROLS]
    listed = ", or ".join(dict.fromkeys(named))
    return f"{str(err).removesuffix('.')} ({listed})." if listed else str(err)
