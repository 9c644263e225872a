"""Files that are whole or absent: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from napari_diffseg.errors import OutputExists, OutputFailed, Remedy
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def atomic_write(
    path: Path, write: Callable[[BinaryIO], object], *, overwrite: bool = False, size: int | None = None
) -> None:
    """Write a file so that, whatever happens, the old content or the new is there, whole.

    The content goes to `.NAME.*.part` in the same folder, is forced to the disk, and takes its name in one step: by
    a hard link where nothing may be replaced, so that two writers cannot both win, by a rename where it may. A link
    at `path` is replaced, not what it points to. Permissions follow the umask.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    write : callable
        Gets the open binary file and writes the content.
    overwrite : bool
        Replace what is there.
    size : int, optional
        Bytes that will be written, for the message when they do not fit.

    Raises
    ------
    OutputExists
        If something is at `path` and overwriting was not asked for.
    OutputFailed
        If the content cannot be written; what was there before is intact.
    """
    path = Path(path)
    if not overwrite and os.path.lexists(path):
        raise _exists(path)
    temporary: Path | None = None
    try:
        file, temporary = _open_beside(path)
        with file:
            try:
                write(file)
                file.flush()
                _sync(file.fileno())
            except OSError as err:
                raise _failed(path, err, size or file.tell()) from err
        (_replace if overwrite else _name)(temporary, path)
    except OSError as err:
        raise _failed(path, err, size) from err
    except ValueError as err:
        if "null" not in str(err):
            raise
        raise OutputFailed(f"{shown_name(path)} is no possible file name: choose another.") from err
    finally:
        if temporary is not None:
            _remove(temporary)
    _sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    OutputFailed
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputFailed(f"{folder} cannot be made: {reason_of(err, folder)}: choose another place.") from err


def write_json(path: Path, obj: Any, *, overwrite: bool = False) -> None:
    """Write an object as JSON (UTF-8, indented), whole or not at all.

    Raises
    ------
    OutputExists, OutputFailed
        As `atomic_write`.
    """
    content = (json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    atomic_write(path, lambda file: file.write(content), overwrite=overwrite, size=len(content))


def _open_beside(path: Path) -> tuple[BinaryIO, Path]:
    """A new file in the folder of `path`; os.open applies the umask, which mkstemp does not."""
    temporary = path.parent / f".{path.name[:60]}.{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.fdopen(os.open(temporary, flags, 0o666), "wb"), temporary


def _replace(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)


def _name(temporary: Path, path: Path) -> None:
    """Give the file its name unless the name is taken, in one step where the file system has hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError as err:
        raise _exists(path) from err
    except OSError as err:
        if err.errno not in _NO_LINKS:
            raise
        # No hard links here (exFAT, some network disks): a gap of microseconds is what remains.
        if os.path.lexists(path):
            raise _exists(path) from err
        os.rename(temporary, path)


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError as err:
        logger.warning("Temporary file %s could not be removed: %s", temporary, err)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(descriptor)
        return
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk; the file is whole already, so a file system that cannot is no failure."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as err:
        logger.debug("Folder %s could not be synced: %s", folder, err)


def _exists(path: Path) -> OutputExists:
    return OutputExists(
        f"{shown_name(path)} exists in {path.parent}: choose another name, or allow overwriting.", Remedy("overwrite")
    )


def _failed(path: Path, err: OSError, size: int | None) -> OutputFailed:
    where = f"{shown_name(path)} could not be written to {path.parent}"
    need = "" if size is None else f" need {_megabytes(size)}"
    match err.errno:
        case errno.ENOSPC if _is_out_of_files(path.parent):
            return OutputFailed(f"{where}: {reason_of(err, path.parent)}: delete files, or choose another place.")
        case errno.ENOSPC:
            have = f"{',' if need else ''} have {_free(path.parent)}"
            return OutputFailed(f"Disk full: {where}:{need}{have}: make room, or choose another place.")
        case errno.EDQUOT:
            return OutputFailed(f"Quota used up: {where}{need and ':'}{need}: delete files, or choose another place.")
        case errno.EFBIG:
            limit = f"{where}{need and ':'}{need}, more than one file may hold here"
            return OutputFailed(f"File too large: {limit}: raise the limit (ulimit -f), or choose another place.")
    if isinstance(err, FileNotFoundError):
        return OutputFailed(f"{where}: there is no such folder: make it, or choose another place.")
    return OutputFailed(f"{where}: {err.strerror or err}: choose another place or name.")


def reason_of(err: OSError, folder: Path) -> str:
    """Why nothing could be written in a folder, in words; a disk without inodes is not called full."""
    if err.errno == errno.ENOSPC and _is_out_of_files(folder):
        return "the disk can hold no more files (it has no inodes left), whatever room there is"
    return err.strerror or str(err)


def _is_out_of_files(folder: Path) -> bool:
    """Whether a disk counts its files and has no place for one more."""
    there = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), folder)
    try:
        disk = os.statvfs(there)
    except (OSError, AttributeError):  # Windows does not count
        return False
    return disk.f_files > 0 and disk.f_favail == 0


def _free(folder: Path) -> str:
    try:
        return _megabytes(shutil.disk_usage(folder).free)
    except OSError:
        return "less"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
