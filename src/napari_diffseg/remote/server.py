"""The engine's end: reads what is asked, samples, and tells what happens."""

from __future__ import annotations

import logging
import os
import platform
import queue
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from napari_diffseg.errors import BadRequest, DiffsegError, EngineFailed
from napari_diffseg.imaging.memory_budget import free_memory
from napari_diffseg.remote.arrays import by_number, expand
from napari_diffseg.remote.blob_store import BlobStore, default_store_folder
from napari_diffseg.remote.contents import make_case, make_volume
from napari_diffseg.remote.frames import read_frame
from napari_diffseg.remote.messages import (
    Ask,
    Begin,
    Device,
    Done,
    Failed,
    Hello,
    Inspect,
    Inspected,
    Load,
    Loaded,
    LookAt,
    Measure,
    Measured,
    Missing,
    Ping,
    Put,
    RemedyPart,
    Seen,
    Tell,
    ToEngine,
    Unload,
    Welcome,
    to_engine,
)
from napari_diffseg.remote.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.checkpoint import Checkpoint
    from napari_diffseg.remote.event_messages import Event
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

logger = logging.getLogger(__name__)

_GLANCE_S: Final = 0.05
_SILENT_S: Final = 90.0
_PACKAGES: Final = ("napari-diffseg", "torch", "numpy", "nibabel", "scipy")
"""Whose versions a run's record tells."""
_LONGEST: Final = 20_000
"""Letters of an error that cross."""


def package_version(package: str = "napari-diffseg") -> str:
    """The version of a package that is installed, in words where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


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
    """One engine for one asker. The thread that calls `serve` reads; another does, one thing after the other.

    Parameters
    ----------
    incoming, outgoing : binary files
        The two ends of the link.
    store : BlobStore
        Where images and checkpoints are kept.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, store: BlobStore) -> None:
        self._incoming, self._store = incoming, store
        self.heard_at = time.monotonic()
        """When the other end last said something."""
        self._outbox = Outbox(outgoing)
        self._tasks: queue.SimpleQueue[tuple[ToEngine, _Run | None] | None] = queue.SimpleQueue()
        self._runs: dict[int, _Run] = {}
        self._loaded: tuple[Load, Checkpoint, LocalSegmenter] | None = None
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)

    def serve(self) -> None:
        """Answer until the other end is gone, or sends what is no message of ours; whatever runs then is cancelled."""
        self._worker.start()
        try:
            while (frame := read_frame(self._incoming)) is not None:
                self.heard_at = time.monotonic()
                self._take(to_engine(frame), frame.body)
        except DiffsegError as err:
            logger.warning("The engine ends: %s", err)
            self._outbox.put(_failed(0, err))
        finally:
            for run in list(self._runs.values()):
                run.cancelled.set()
            self._tasks.put(None)
            self._store.give_up()

    def close(self, *, wait_s: float = 2.0) -> None:
        """Give what runs a moment to stop at its next step, and end what is compiled."""
        self._worker.join(timeout=wait_s)
        if self._loaded is not None:
            self._loaded[2].close()
        self._outbox.close()

    def _take(self, message: ToEngine, body: bytes) -> None:
        """What cannot wait is done at once; the rest one after the other."""
        match message:
            case Hello():
                self._outbox.put(_welcome(message))
            case Ping():
                self._outbox.put(Done(id=message.id))
            case Tell():
                self._tell(message)
            case LookAt():
                if (run := self._runs.get(message.id)) is not None:
                    run.looked_at = message.slice_index
            case Seen():
                self._outbox.seen(message.previews)
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

    def _guarded(self, message: ToEngine, do: Any) -> None:
        """Do something; whatever goes wrong goes to the other end as one sentence."""
        try:
            do()
        except DiffsegError as err:
            logger.info("Not done: %s", err)
            self._outbox.put(_failed(message.id, err))
        except Exception as err:
            logger.exception("Not done.")
            first = (str(err).splitlines() or [""])[0]
            sentence = f"The engine failed unexpectedly ({type(err).__name__}: {first}): please report it with its log."
            self._outbox.put(_failed(message.id, EngineFailed(sentence)))

    def _do(self, message: ToEngine, run: _Run | None) -> None:
        match message:
            case Ask():
                self._outbox.put(Missing(id=message.id, digests=self._store.missing(message.digests)))
            case Inspect():
                self._outbox.put(_inspected(message, self._store.folder))
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
                try:
                    self._sample(message, run)
                finally:
                    del self._runs[run.id]

    def _segmenter(self) -> LocalSegmenter:
        if self._loaded is None:
            raise BadRequest("No checkpoint is loaded on the engine's computer: load one first.")
        return self._loaded[2]

    def _load(self, message: Load) -> None:
        check_torch()
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
        checkpoint = self._loaded[1]
        self._outbox.put(_facts(message, checkpoint, describe(checkpoint)))

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
                raise EngineFailed("The run was cancelled.")
        self._outbox.put(Done(id=run.id))

    def _events(self, message: Begin, run: _Run) -> Iterator[Event]:
        segmenter = self._segmenter()
        if run.cancelled.is_set():
            return
        case = make_case(message.case, self._store.path)
        if message.task == "segment":
            yield from segmenter.segment(case, message.request, focus=lambda: run.looked_at)
        elif message.task == "trace":
            yield from segmenter.trace(case, message.request)
        else:
            from napari_diffseg.segmenting.what_if import Change

            if message.change is None:
                raise BadRequest("What is to be changed is not said: name an image.")
            wanted = message.change.volume
            volume = None if wanted is None else make_volume(wanted, self._store.path)
            yield from segmenter.what_if(case, message.request, Change(message.change.modality, volume))


def check_torch() -> None:
    """Refuse early where there is nothing to compute with.

    Raises
    ------
    EngineFailed
        If PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise EngineFailed(
            f"PyTorch is missing on {platform.node() or 'the engine’s computer'}: install it there with "
            "pip install 'napari-diffseg[local]'."
        )


def _welcome(message: Hello) -> Welcome:
    return Welcome(
        id=message.id,
        version=package_version(),
        host=platform.node()[:255],
        python=platform.python_version(),
        packages={name: package_version(name) for name in _PACKAGES},
    )


def _facts(message: Load, checkpoint: Checkpoint, rows: list[tuple[str, str]]) -> Loaded:
    values = {
        "id": message.id,
        "recipe": checkpoint.recipe,
        "config": checkpoint.config.to_dict(),
        "digest": checkpoint.digest,
        "weights": checkpoint.kind,
        "family": checkpoint.family,
        "parameters": checkpoint.parameters,
        "guesses": checkpoint.guesses,
        "card": dict(checkpoint.card),
        "overrides": dict(checkpoint.overrides),
        "rows": rows,
    }
    return Loaded.model_validate(values)


def _inspected(message: Inspect, folder: Path) -> Inspected:
    devices: list[Device] = []
    torch_version = None
    if find_spec("torch") is not None:
        from napari_diffseg.segmenting.device.choose_device import nvidia_gpus

        torch_version = package_version("torch")[:64]
        devices = [Device(name=name[:255], free=free, total=total) for name, free, total in nvidia_gpus()]
    there = next((p for p in (folder, *folder.parents) if p.is_dir()), Path("/"))
    return Inspected(
        id=message.id,
        torch=torch_version,
        devices=tuple(devices),
        cores=os.cpu_count() or 1,
        free_memory=free_memory(),
        free_disk=shutil.disk_usage(there).free,
        folder=str(folder),
    )


def _failed(number: int, err: DiffsegError) -> Failed:
    return Failed(
        id=number,
        error=type(err).__name__,
        text=str(err)[:_LONGEST],
        remedies=tuple(RemedyPart(setting=r.setting, value=r.value) for r in err.remedies[:10]),
    )


def serve_stdio(*, quota_gb: float | None = None, folder: Path | None = None) -> None:
    """Serve one asker over standard input and output until it is gone.

    Whatever else is printed in this process goes to standard error, so that it cannot come between messages.

    Parameters
    ----------
    quota_gb : float, optional
        How much of images and checkpoints is kept between runs, in 10^9 bytes.
    folder : Path, optional
        Where they are kept; the user's cache by default.
    """
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _make_binary(incoming.fileno(), outgoing.fileno())
    os.dup2(2, 1)
    quota = {} if quota_gb is None else {"quota": int(quota_gb * 1e9)}
    server = Server(incoming, outgoing, BlobStore(folder or default_store_folder(), **quota))
    threading.Thread(target=_end_unheard, args=(server,), name="engine-lease", daemon=True).start()
    server.serve()
    server.close()


def _end_unheard(server: Server) -> None:
    """End this process, and free its device, once its asker has long been silent: a link may be lost without a sign."""
    while time.monotonic() - server.heard_at < _SILENT_S:
        time.sleep(1.0)
    logger.warning("The engine ends: its asker has not been heard for %.0f s.", _SILENT_S)
    os._exit(1)


def _make_binary(*descriptors: int) -> None:
    """On Windows a descriptor is one of text until it is told otherwise."""
    if os.name == "nt":
        import msvcrt

        for descriptor in descriptors:
            msvcrt.setmode(descriptor, os.O_BINARY)  # type: ignore[attr-defined,unused-ignore]
