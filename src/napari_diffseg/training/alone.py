"""One training a folder at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Within, no other training of this machine begins or goes on in the folder, which is made if it is not there.

    The system forgets the lock with the process, however that ends; the file stays.

    Raises
    ------
    BadRequest
        If another one does already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BadRequest(
            f"A training is going on in {folder}: wait for it, stop it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()
