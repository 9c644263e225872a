"""Every error a user can meet: one sentence each, saying what is wrong, where, and what to do.

None derives from `RuntimeError`: a napari generator worker drops those without a word, and nearly all of torch's own
errors are `RuntimeError`s, so the two must never be confused.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a user can change so that it works, for a front end to name in its own way.

    Attributes
    ----------
    setting : str
        Name of the setting as Python has it, such as `overwrite`, `channels` or `resample`.
    value : str
        A value that would do, such as `flair,t1`; empty where the setting is a switch, or the user chooses.
    """

    setting: str
    value: str = ""


class DiffsegError(Exception):
    """Base of all errors that are meant to be read by a user; its text is complete without a traceback.

    The text says what is wrong, where, and what to do, and names neither options nor buttons: command line and panel
    add theirs, from the remedies.

    Parameters
    ----------
    text : str
        One sentence or two.
    *remedies : Remedy
        Settings that would help, most likely first.
    """

    def __init__(self, text: str = "", *remedies: Remedy) -> None:
        super().__init__(text, *remedies)  # all in `args`, so that it crosses a pickle
        self.remedies = remedies

    def __str__(self) -> str:
        return str(self.args[0])


class BadImage(DiffsegError):
    """An image file or array that cannot be used: truncated, damaged, of a wrong kind, empty."""


class BadCase(DiffsegError):
    """A set of files that is not one case: a modality missing, given twice, or not recognised."""


class GridMismatch(BadCase):
    """Images that must share one voxel grid and do not."""


class BadCheckpoint(DiffsegError):
    """A checkpoint file that cannot be used: damaged, unsafe, of another architecture, with NaN weights."""


class BadRecipe(DiffsegError):
    """A recipe, or an override of one, that contradicts itself or its network."""


class BadRequest(DiffsegError):
    """Settings of a run that cannot be honoured."""


class ScheduleError(BadRequest):
    """A noise schedule or a choice of timesteps that cannot be."""


class OutputExists(DiffsegError):
    """The output is there already and overwriting was not asked for."""


class OutputFailed(DiffsegError):
    """The output could not be written: no space, no permission, no such folder. What was there before is intact."""


class RunFailed(DiffsegError):
    """The sampler stopped: out of memory, device lost, numbers not finite."""


class EngineFailed(DiffsegError):
    """An engine in another process cannot be reached, cannot be used, or has ended; finished members are kept."""
