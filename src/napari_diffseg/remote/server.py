"""The engine: reads what is asked, samples, and tells what happens, over one link or several, one after another."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from napari_diffseg.errors import BadRequest, DiffsegError, EngineFailed
from napari_diffseg.remote.answers import check_torch, facts, failed, inspected, welcome
from napari_diffseg.remote.arrays import by_number, expand
from napari_diffseg.remote.contents import make_case, make_volume
from napari_diffseg.remote.frames import read_frame
from napari_diffseg.remote.messages import (
    Ask,
    Begin,
    Done,
    End,
    Hello,
    Inspect,
    Load,
    LookAt,
    Measure,
    Measured,
    Missing,
    Ping,
    Put,
    Seen,
    Tell,
    ToEngine,
    Unload,
    to_engine,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.remote.blob_store import BlobStore
    from napari_diffseg.remote.event_messages import Event
    from napari_diffseg.remote.frames import Frame
    from napari_diffseg.remote.outbox import Outbox
    from napari_diffseg.segmenting.segmenter import LocalSegmenter
    from napari_diffseg.segmenting.what_if import Change

logger = logging.getLogger(__name__)

_GLANCE_S: Final = 0.05
_NICENESS: Final = 10
"""Of the thread that samples beside a window, as in the window's own process."""


@dataclass(eq=False)
class _Run:
    """A run under way, and what the other end wants of it."""

    id: int
    cancelled: threading.Event = field(default_factory=threading.Event)
    going: threading.Event = field(default_factory=threading.Event)
    looked_at: int | None = None

    def __post_init__(self) -> None:
        self.going.set()

    def rest(self) -> None:
        while not (self.going.is_set() or self.cancelled.is_set()):
            self.going.wait(_GLANCE_S)


class Server:
    """One engine for one client. The thread that calls `serve` reads; another does, one thing after the other.

    Parameters
    ----------
    outbox : Outbox
        Takes what is to be told.
    store : BlobStore
        Where images and checkpoints are kept.
    """

    def __init__(self, outbox: Outbox, store: BlobStore) -> None:
        self._outbox, self._store = outbox, store
        self.heard_at = time.monotonic()
        """When the other end last said something."""
        self._tasks: queue.SimpleQueue[tuple[ToEngine, _Run | None] | None] = queue.SimpleQueue()
        self._runs: dict[int, _Run] = {}
        self._loaded: tuple[Load, Checkpoint, LocalSegmenter] | None = None
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        self._worker.start()

    @property
    def is_sampling(self) -> bool:
        """Whether a run goes on, or waits for its turn."""
        return bool(self._runs)

    def serve(self, incoming: BinaryIO, first: Frame | None = None) -> bool:
        """Answer until the other end is gone, sends what is no message of ours, or says that the engine is to end.

        Parameters
        ----------
        incoming : binary file
            What is read.
        first : Frame, optional
            What has been read already.

        Returns
        -------
        bool
            Whether the other end has said so; otherwise whatever runs goes on.
        """
        try:
            frame = first or read_frame(incoming, self._note)
            while frame is not None:
                message = to_engine(frame)
                if isinstance(message, End):
                    return True
                self._take(message, frame.body)
                frame = read_frame(incoming, self._note)
        except DiffsegError as err:
            logger.warning("The engine does not go on with this link: %s", err)
            self._outbox.put(failed(0, err))
        except (OSError, ValueError) as err:  # closed, by the other end or here
            logger.info("The link is gone: %s", err)
        return False

    def _note(self) -> None:
        """The other end has said something, or a part of it."""
        self.heard_at = time.monotonic()

    def keep_only(self, run: int | None) -> bool:
        """Cancel every run but that one, and let that one go on; whether it is there and has not ended."""
        for known in list(self._runs.values()):
            (known.going if known.id == run else known.cancelled).set()
        return run in self._runs

    def close(self, *, wait_s: float = 2.0) -> None:
        """Cancel whatever runs, give it a moment to stop at its next step, and end what is compiled."""
        self.keep_only(None)
        self._tasks.put(None)
        self._store.close()
        self._worker.join(timeout=wait_s)
        if self._loaded is not None:
            self._loaded[2].close()
        self._outbox.close()

    def _take(self, message: ToEngine, body: bytes) -> None:
        """What cannot wait is done at once; the rest one after the other."""
        match message:
            case Hello():
                self._outbox.put(welcome(message))
            case Ping():
                self._outbox.put(Done(id=message.id))
            case Tell():
                self._tell(message)
            case LookAt():
                if (run := self._runs.get(message.id)) is not None:
                    run.looked_at = message.slice_index
            case Seen():
                self._outbox.seen(message.id, previews=message.previews, events=message.events)
            case Put():
                self._guarded(message, lambda: self._put(message, body))
            case Begin():
                self._runs[message.id] = _Run(message.id)
                self._tasks.put((message, self._runs[message.id]))
            case _:
                self._tasks.put((message, None))

    def _tell(self, message: Tell) -> None:
        run = self._runs.get(message.id)
        if run is None:
            return
        if message.word == "cancel":
            run.cancelled.set()
        elif message.word == "rest":
            run.going.clear()
        else:
            run.going.set()

    def _put(self, message: Put, body: bytes) -> None:
        piece = by_number(expand(body, message.unpacked), message.width)
        self._store.put(message.digest, piece, offset=message.offset, size=message.size)
        if message.offset + message.unpacked == message.size:
            self._outbox.put(Done(id=message.id))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            message, run = task
            self._guarded(message, lambda message=message, run=run: self._do(message, run))
            if run is not None:  # once its end was told
                del self._runs[run.id]

    def _guarded(self, message: ToEngine, do: Any) -> None:
        """Do something; whatever goes wrong goes to the other end as one sentence."""
        try:
            do()
        except DiffsegError as err:
            logger.info("Not done: %s", err)
            self._refuse(message, err)
        except Exception as err:
            logger.exception("Not done.")
            first = (str(err).splitlines() or [""])[0]
            sentence = f"The engine failed unexpectedly ({type(err).__name__}: {first}): please report it with its log."
            self._refuse(message, EngineFailed(sentence))

    def _refuse(self, message: ToEngine, err: DiffsegError) -> None:
        if isinstance(message, Begin):
            self._outbox.end(message.id, failed(message.id, err))
        else:
            self._outbox.put(failed(message.id, err))

    def _do(self, message: ToEngine, run: _Run | None) -> None:
        match message:
            case Ask():
                missing = self._store.missing(message.digests)
                begun = tuple(self._store.begun(digest) for digest in missing)
                self._outbox.put(Missing(id=message.id, digests=missing, begun=begun))
            case Inspect():
                self._outbox.put(inspected(message, self._store.folder))
            case Load():
                self._load(message)
            case Measure():
                seconds = self._segmenter().calibrate(message.request)
                self._outbox.put(Measured(id=message.id, seconds=seconds))
            case Unload():
                if self._loaded is not None:
                    self._loaded[2].unload()
                self._outbox.put(Done(id=message.id))
            case Begin() if run is not None:
                self._sample(message, run)

    def _segmenter(self) -> LocalSegmenter:
        if self._loaded is None:
            raise BadRequest("No checkpoint is loaded on the engine's computer: load one first.")
        return self._loaded[2]

    def _load(self, message: Load) -> None:
        check_torch()
        if message.beside_viewer:
            _yield_to_the_screen()
        from napari_diffseg.checkpoint import describe, load_checkpoint
        from napari_diffseg.segmenting.segmenter import LocalSegmenter

        alike = message.model_copy(update={"id": 0})
        if self._loaded is None or self._loaded[0] != alike:
            if self._loaded is not None:
                self._loaded[2].unload()
            self._loaded = None  # the old network goes before the new one comes
            with tempfile.TemporaryDirectory(prefix="napari-diffseg-", ignore_cleanup_errors=True) as folder:
                checkpoint = load_checkpoint(self._laid_out(message, Path(folder)), **message.overrides)
            segmenter = LocalSegmenter(
                checkpoint,
                preview_interval_s=message.preview_interval_s,
                beside_viewer=message.beside_viewer,
                compile_meanwhile=message.compile_meanwhile,
            )
            self._loaded = alike, checkpoint, segmenter
        self._store.release()
        checkpoint = self._loaded[1]
        self._outbox.put(facts(message, checkpoint, describe(checkpoint)))

    def _laid_out(self, message: Load, folder: Path) -> Path:
        """The files of a checkpoint under their own names, as they lie where they came from."""
        for part in message.files:
            if any(name in (".", "..") for name in part.place):
                raise EngineFailed("A file of the checkpoint has a name that cannot be used.")
            target = folder.joinpath(*part.place)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = self._store.path(part.digest)
            try:
                target.symlink_to(content)
            except OSError:  # Windows allows links to few
                shutil.copyfile(content, target)
        if any(name in (".", "..") for name in message.main):
            raise EngineFailed("The checkpoint has a name that cannot be used.")
        return folder.joinpath(*message.main)

    def _sample(self, message: Begin, run: _Run) -> None:
        self._outbox.begin(run.id)
        for event in self._events(message, run):
            self._outbox.tell(run.id, event)
            run.rest()
            if run.cancelled.is_set():
                self._outbox.forget(run.id)
                raise EngineFailed("The run was cancelled.")
        self._outbox.end(run.id, Done(id=run.id))

    def _events(self, message: Begin, run: _Run) -> Iterator[Event]:
        segmenter = self._segmenter()
        if run.cancelled.is_set():
            return
        case, change = make_case(message.case, self._store.path), self._change(message)
        self._store.release()
        if message.task == "segment":
            yield from segmenter.segment(case, message.request, focus=lambda: run.looked_at)
        elif message.task == "trace":
            yield from segmenter.trace(case, message.request)
        elif change is None:
            raise BadRequest("What is to be changed is not said: name an image.")
        else:
            yield from segmenter.what_if(case, message.request, change)

    def _change(self, message: Begin) -> Change | None:
        if message.change is None:
            return None
        from napari_diffseg.segmenting.what_if import Change

        wanted = message.change.volume
        volume = None if wanted is None else make_volume(wanted, self._store.path)
        return Change(message.change.modality, volume)


def _yield_to_the_screen() -> None:
    """On Linux a thread can be made nicer than its process, and the threads that it starts inherit it."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
