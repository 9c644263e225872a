"""Another computer that is none, for what does not need a real one."""

from dataclasses import dataclass

from napari_diffseg.events import Sampled
from napari_diffseg.remote.computer import Computer


@dataclass(frozen=True)
class AsIfOther(Computer):
    """A process here that is spoken of as another computer, whose engine outlives it; `variables` are set for it."""

    variables: tuple[str, ...] = ()

    def words(self):
        return ["env", *self.variables, *Computer().words()]


def masks(events):
    """The masks (M, H, W) of a run by member and slice."""
    return {(e.member, s): e.mask[:, i] for e in events if isinstance(e, Sampled) for i, s in enumerate(e.slices)}
