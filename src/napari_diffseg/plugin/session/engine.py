"""A checkpoint made ready to sample, on this computer or another, kept between runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.remote.segmenter import RemoteSegmenter
    from napari_diffseg.runs.identity import DescribedCheckpoint
    from napari_diffseg.segmenting.device.compile_meanwhile import CompileMeanwhile
    from napari_diffseg.segmenting.segmenter import LocalSegmenter


@dataclass(frozen=True, eq=False)
class Engine:
    """A loaded checkpoint, what samples with it, and its description, row by row."""

    checkpoint: DescribedCheckpoint
    segmenter: LocalSegmenter | RemoteSegmenter
    rows: tuple[tuple[str, str], ...]
    unload: Callable[[], None]
    """Frees what the segmenter holds on the device."""
    calibrate: Callable[[SegmentRequest], float] | None = None
    """Measures the seconds that one evaluation of one slice takes; None where that is not known beforehand."""
    compiler: CompileMeanwhile | None = None
    """What compiles the network beside runs; None where that is another process's business."""


class EngineCache:
    """Loads checkpoints for the worker thread and keeps the last one, until its file or its overrides change.

    Attributes
    ----------
    computer : Computer or None
        Where the next engine runs; None in this process. Whoever sets it sees that nothing runs meanwhile.
    compile_meanwhile : bool
        Whether engines have their network compiled beside runs, see `LocalSegmenter`; an engine in another process is
        told when it is loaded.
    """

    def __init__(self) -> None:
        self.computer: Computer | None = None
        self.compile_meanwhile = True
        self._key: tuple[Any, ...] | None = None
        self._engine: Engine | None = None
        self._check: Callable[[], None] = lambda: None
        self._told: Callable[[str], None] = lambda _: None

    def watch(self, check: Callable[[], None], told: Callable[[str], None]) -> None:
        """Of the job that goes on: call `check` while another computer is waited for, and tell what is going on."""
        self._check, self._told = check, told

    def __call__(self, text: str, overrides: Mapping[str, Any]) -> Engine:
        """The engine of a checkpoint's path, or of `demo`. Imports PyTorch, which takes seconds the first time.

        Raises
        ------
        BadRequest
            If PyTorch is not installed, and the engine is to run in this process.
        BadCheckpoint, BadRecipe
            If it cannot be used; the text says why.
        EngineFailed
            If another computer's engine cannot be reached or used.
        """
        from napari_diffseg.checkpoint.resolve import resolve_checkpoint

        path = resolve_checkpoint(text)
        key = _fingerprint(path, overrides, self.computer)
        if self._engine is None or key is None or key != self._key:
            self.forget()  # the old network goes before the new one comes
            self._engine = self._local(path, overrides) if self.computer is None else self._remote(path, overrides)
            self._key = key
        return self._engine

    @property
    def compiler(self) -> CompileMeanwhile | None:
        """Of the engine that is loaded, in this process."""
        return None if self._engine is None else self._engine.compiler

    def set_compile_meanwhile(self, is_wanted: bool) -> None:
        """Whether networks are compiled beside runs; what is under way ends where they are not."""
        self.compile_meanwhile = is_wanted
        if (compiler := self.compiler) is not None:
            compiler.is_wanted = is_wanted
            if not is_wanted:
                compiler.cancel()

    def _local(self, path: Path, overrides: Mapping[str, Any]) -> Engine:
        from napari_diffseg.extras import check_extra

        check_extra("local")
        from napari_diffseg.checkpoint import describe, load_checkpoint
        from napari_diffseg.segmenting.segmenter import LocalSegmenter

        checkpoint = load_checkpoint(path, **overrides)
        segmenter = LocalSegmenter(checkpoint, beside_viewer=True, compile_meanwhile=self.compile_meanwhile)
        rows = tuple(describe(checkpoint))
        return Engine(checkpoint, segmenter, rows, segmenter.unload, segmenter.calibrate, segmenter.compiler)

    def _remote(self, path: Path, overrides: Mapping[str, Any]) -> Engine:
        from napari_diffseg.remote.segmenter import RemoteSegmenter

        computer = self.computer
        assert computer is not None  # otherwise it is local
        segmenter = RemoteSegmenter(
            computer,
            path,
            overrides,
            beside_viewer=computer.host is None,
            compile_meanwhile=self.compile_meanwhile,
            check=lambda: self._check(),
            told=lambda text: self._told(text),
        )
        checkpoint = segmenter.checkpoint()
        return Engine(checkpoint, segmenter, checkpoint.rows, segmenter.close, segmenter.calibrate)

    def forget(self) -> None:
        """Free the network's memory, on the device as well; the next call loads it again."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.unload()

    def end(self) -> None:
        """End an engine of another process, without waiting for it; one in this process goes with it."""
        if (compiler := self.compiler) is not None:
            compiler.cancel()
        if self.computer is not None:
            threading.Thread(target=self.forget, name="engine-end", daemon=True).start()


def _fingerprint(path: Path, overrides: Mapping[str, Any], computer: Computer | None) -> tuple[Any, ...] | None:
    """Changes whenever the file, what is said about it, or the computer does; None where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return path.resolve(), status.st_mtime_ns, status.st_size, repr(sorted(overrides.items())), computer
