"""A checkpoint made ready to sample, kept between runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.segmenting.segmenter import LocalSegmenter


@dataclass(frozen=True, eq=False)
class Engine:
    """A loaded checkpoint, what samples with it, and its description, row by row."""

    checkpoint: Checkpoint
    segmenter: LocalSegmenter
    rows: tuple[tuple[str, str], ...]
    unload: Callable[[], None]
    """Frees what the segmenter holds on the device."""
    calibrate: Callable[[SegmentRequest], float] | None = None
    """Measures the seconds that one evaluation of one slice takes; None where that is not known beforehand."""


class EngineCache:
    """Loads checkpoints for the worker thread and keeps the last one, until its file or its overrides change."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._engine: Engine | None = None

    def __call__(self, text: str, overrides: Mapping[str, Any]) -> Engine:
        """The engine of a checkpoint's path, or of `demo`. Imports PyTorch, which takes seconds the first time.

        Raises
        ------
        BadCheckpoint, BadRecipe
            If it cannot be used; the text says why.
        """
        from napari_diffseg.checkpoint import describe, load_checkpoint, resolve_checkpoint
        from napari_diffseg.segmenting.segmenter import LocalSegmenter

        path = resolve_checkpoint(text)
        key = _fingerprint(path, overrides)
        if self._engine is None or key is None or key != self._key:
            self._engine = None  # the old network goes before the new one comes
            checkpoint = load_checkpoint(path, **overrides)
            segmenter = LocalSegmenter(checkpoint, beside_viewer=True)
            rows = tuple(describe(checkpoint))
            self._engine = Engine(checkpoint, segmenter, rows, segmenter.unload, segmenter.calibrate)
            self._key = key
        return self._engine

    def forget(self) -> None:
        """Free the network's memory, on the device as well; the next call loads it again."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.unload()


def _fingerprint(path: Path, overrides: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Changes whenever the file or what is said about it does; None where the file cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return path.resolve(), status.st_mtime_ns, status.st_size, repr(sorted(overrides.items()))
