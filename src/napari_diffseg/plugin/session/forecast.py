"""What a run will cost, before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from napari_diffseg.plugin.session.progress import describe_seconds

_BYTES_A_VOXEL: Final = 68.0
_BYTES_A_VOXEL_AND_MEMBER: Final = 1.32
"""What a run takes above its loaded network, a line fitted to benchmarks/results/memory.json, with the viewer's layers:
within a tenth from 1 to 200 members. Images being prepared, maps and layers are in the first."""

LONG_S: Final = 3600.0
"""A run that is expected to take so long is begun only once the user has said so."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take.

    Attributes
    ----------
    seconds : float or None
        Time to the last member; None while this machine's speed is not known.
    bytes : int
        The most host memory above the loaded network.
    """

    seconds: float | None
    bytes: int


def forecast(*, voxels: int, slices: int, members: int, timesteps: int, seconds_each: float | None) -> Forecast:
    """What a run of so many voxels will cost.

    Parameters
    ----------
    voxels : int
        Of one image.
    slices : int
        Of all members together: those that hold brain, as far as they are asked for.
    members : int
        How many masks.
    timesteps : int
        Of each slice of a member.
    seconds_each : float or None
        Of one evaluation of one slice.
    """
    evaluations = slices * timesteps
    return Forecast(
        None if seconds_each is None else evaluations * seconds_each,
        round(voxels * (_BYTES_A_VOXEL + _BYTES_A_VOXEL_AND_MEMBER * members)),
    )


def describe_forecast(cost: Forecast, *, free_bytes: int) -> str:
    """The forecast as a sentence; it warns where memory will not do.

    Parameters
    ----------
    cost : Forecast
        What the run will take.
    free_bytes : int
        What there is.
    """
    memory = _gigabytes(cost.bytes)
    time = "Time unknown before the first run" if cost.seconds is None else f"About {describe_seconds(cost.seconds)}"
    if cost.bytes > free_bytes:
        return f"{time}, {memory} of memory, but {_gigabytes(free_bytes)} are free: choose fewer members."
    return f"{time}, {memory} of memory."


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(count / 1e9, 0.01):.2f} GB"
