"""`predict --compute`: what samples, in this process, another one here, or on another computer."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_diffseg.events import Segmenter
    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.runs.identity import DescribedCheckpoint

_AGAIN_S: Final = 10.0
"""How often a sentence that only counts on, such as of what is sent, is said again."""


class Compute(BaseModel):
    """Where runs are computed; the options of the command line are its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compute: str | None = Field(
        None,
        description="Where: user@host, or a name of ~/.ssh/config, by ssh; `process` for another process on this "
        "computer. Default: this process.",
    )
    compute_command: str | None = Field(
        None,
        description="With --compute: what starts napari-diffseg there, such as its full path, or, on a cluster, "
        "'srun --gres=gpu:1 napari-diffseg'. Default: napari-diffseg.",
    )

    def computer(self) -> Computer | None:
        """The computer; None for this process.

        Raises
        ------
        BadRequest
            If the host's name is none, or a command is given without a computer.
        """
        from napari_diffseg.remote.computer import PROGRAM, parse_computer

        if self.compute is None:
            if self.compute_command is not None:
                raise BadRequest("--compute-command would do nothing without --compute: name the computer.")
            return None
        return parse_computer(self.compute, command=self.compute_command or PROGRAM)


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A checkpoint, what samples with it, and a call that raises where it cannot be used any more."""

    checkpoint: DescribedCheckpoint
    segmenter: Segmenter
    check: Callable[[], object]


@contextmanager
def engine(compute: Compute, checkpoint: str, overrides: Mapping[str, Any]) -> Iterator[Engine]:
    """Within, a checkpoint is ready to sample; an engine in another process ends with it.

    Raises
    ------
    BadRequest, BadCheckpoint, BadRecipe
        If the checkpoint cannot be used here, or the computer's name is none.
    EngineFailed
        If the other computer's engine cannot be reached or used.
    """
    from napari_diffseg.checkpoint.resolve import resolve_checkpoint

    computer = compute.computer()
    path = resolve_checkpoint(checkpoint)
    if computer is None:
        from napari_diffseg.checkpoint import load_checkpoint
        from napari_diffseg.cohorts.cohort_run import engine_is_here
        from napari_diffseg.segmenting.segmenter import LocalSegmenter

        loaded = load_checkpoint(path, **overrides)
        segmenter = LocalSegmenter(loaded, preview_interval_s=None)
        try:
            yield Engine(loaded, segmenter, engine_is_here)
        finally:
            segmenter.close()  # whoever calls this from Python keeps the GPU's memory otherwise
        return
    from napari_diffseg.remote.segmenter import RemoteSegmenter

    remote = RemoteSegmenter(computer, path, overrides, preview_interval_s=None, told=_Said())
    try:
        yield Engine(remote.checkpoint(), remote, remote.checkpoint)
    finally:
        remote.close()


class _Said:
    """Writes what goes on to standard error; one sentence with other figures only now and then."""

    def __init__(self) -> None:
        self._begin, self._at = "", 0.0

    def __call__(self, text: str) -> None:
        begin = text.partition(":")[0]
        now = time.monotonic()
        if begin != self._begin or now - self._at >= _AGAIN_S:
            self._begin, self._at = begin, now
            tqdm.write(text, file=sys.stderr)
