"""A lock on a folder: one training or run at a time writes in it."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from napari_diffseg.errors import BadRequest, Remedy
from napari_diffseg.imaging.atomic import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

LOCK: Final = ".lock"


@contextmanager
def alone_in(folder: Path, *, what: str = "training") -> Iterator[None]:
    """Within, no other such process begins or goes on in the folder, which is made if it is not there.

    The system forgets the lock with the process, however that ends. Where a disk has no locks, as some network disks
    have none, nobody is refused.

    Parameters
    ----------
    folder : Path
        The folder.
    what : str
        What goes on in it, for the message.

    Raises
    ------
    BadRequest
        If another one goes on there.
    OutputFailed
        If the folder cannot be made.
    """
    make_folder(folder)
    lock = try_lock(folder / LOCK)
    if lock is None:
        raise taken(folder, what=what)
    try:
        yield
    finally:
        forget(lock)


def is_taken(folder: Path) -> bool:
    """Whether `alone_in` would refuse now; nothing is made."""
    return os.path.lexists(folder / LOCK) and is_locked(folder / LOCK)


def taken(folder: Path, *, what: str) -> BadRequest:
    """The refusal where another process is at work."""
    return BadRequest(
        f"A {what} is going on in {folder}: wait for it, stop it, or choose another folder.", Remedy("out")
    )


def try_lock(path: Path) -> FileLock | None:
    """Lock a file, which is made; None if another process, or another part of this one, has locked it."""
    lock = FileLock(path, thread_local=False)  # a generator may be closed in another thread than it began in
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as err:
        logger.warning("%s cannot be locked, so another process would not be noticed: %s", path, err)
    return lock


def is_locked(path: Path) -> bool:
    """Whether somebody has locked a file that is there; it stays."""
    lock = try_lock(path)
    if lock is None:
        return True
    lock.release()
    return False


def forget(lock: FileLock) -> None:
    """Unlock a file and remove it: before it is unlocked, so that it is nobody else's yet."""
    if os.name != "nt":
        with suppress(OSError):
            os.unlink(lock.lock_file)
    lock.release()
    with suppress(OSError):
        if os.name == "nt":
            os.unlink(lock.lock_file)
