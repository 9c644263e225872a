"""SimpleITK in a process of its own: on some damaged files its readers end the process that they run in."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadImage, BadRequest
from napari_diffseg.extras import check_extra
from napari_diffseg.imaging.names.naming import shown_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_CHILD: Final = Path(__file__).with_name("itk_child.py")
_LONGEST_S: Final = 600.0
_IDLE_S: Final = 60.0
_ADDRESSED: Final = re.compile(r"^.*\(0x[0-9a-f]+\):")
_AROUND: Final = re.compile(r'^(?:sitk::|:)?ERROR: | for "[^"]*"$')
_BITS: Final = re.compile(r"(\d+)-bit")


_Child = subprocess.Popen[str]
_idle: Final[list[_Child]] = []
_lock: Final = threading.Lock()


def _started() -> _Child:
    return subprocess.Popen(
        [sys.executable, "-P", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


def _taken() -> _Child | None:
    """A process that waits for work; a case has several images, and each process takes a second to start."""
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None or child.poll() is None:
            return child
        _end(child)


def _put_back(child: _Child) -> None:
    with _lock:
        _idle.append(child)
    unused = threading.Timer(_IDLE_S, _end_if_idle, [child])
    unused.daemon = True
    unused.start()


def _end_if_idle(child: _Child) -> None:
    with _lock:
        is_idle = child in _idle
        if is_idle:
            _idle.remove(child)
    if is_idle:
        _end(child)


@atexit.register
def _end_all() -> None:
    while (child := _taken()) is not None:
        _end(child)


def _end(child: _Child) -> None:
    child.kill()  # it keeps nothing that could be lost
    for stream in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    child.wait()


@dataclass(frozen=True, eq=False)
class ItkHeader:
    """What SimpleITK says of a file before its voxels are read; lengths in mm, LPS+.

    Attributes
    ----------
    size : tuple of int
        Voxels along the axes.
    spacing, origin, direction : ndarray, (N,), (N,), (N, N)
        Where they lie.
    components : int
        Values a voxel.
    kind : str
        Of the values, in words.
    tags : mapping of str to str
        Fields that were asked for and are there, printable.
    """

    size: tuple[int, ...]
    spacing: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]
    components: int
    kind: str
    tags: Mapping[str, str]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """From what the other process answers."""
        spacing = np.array(said["spacing"], np.float64)
        direction = np.array(said["direction"], np.float64).reshape(spacing.size, spacing.size)
        tags = {tag: "".join(c if c.isprintable() else "?" for c in text).strip() for tag, text in said["tags"].items()}
        origin = np.array(said["origin"], np.float64)
        return cls(tuple(said["size"]), spacing, origin, direction, said["components"], said["kind"], tags)

    @property
    def bytes_a_value(self) -> int:
        """Of a stored value; 8 where its kind does not say."""
        bits = _BITS.search(self.kind)
        return int(bits[1]) // 8 if bits else 8


class ItkProcess:
    """Reads with SimpleITK in another process, which waits a minute for more work after the `with` block.

    Parameters
    ----------
    path : Path
        What is read, for messages.

    Raises
    ------
    BadImage
        If SimpleITK is not installed; from any method: if a file cannot be read, or reading it ends the process.
    """

    def __init__(self, path: Path) -> None:
        self._name = shown_name(path)
        try:
            check_extra("formats")
        except BadRequest as err:
            raise BadImage(f"{self._name}: {err}") from err
        self._child = _taken() or _started()
        self._is_lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_lost and (err is None or isinstance(err, BadImage)):
            _put_back(self._child)
        else:
            _end(self._child)

    def headers(self, files: Sequence[Path], *, tags: Sequence[str] = ()) -> list[ItkHeader]:
        """The headers of files, in their order, with some of their fields."""
        said = self._ask({"files": [str(path) for path in files], "tags": list(tags)})
        for path, one in zip(files, said, strict=True):
            if "error" in one:
                raise BadImage(
                    f"{shown_name(path)} cannot be read ({_last_line(one['error'])}): copy it again, with the file of "
                    "its voxels where that is another one."
                )
        return [ItkHeader.of(one) for one in said]

    def values(self, files: Sequence[Path]) -> npt.NDArray[Any]:
        """The values of files of one size, in one line: the first axis fastest, then channels, then files."""
        descriptor, into = tempfile.mkstemp(prefix="napari-diffseg-")
        os.close(descriptor)
        try:
            said = self._ask({"files": [str(path) for path in files], "into": into})
            if "error" in said:
                raise BadImage(
                    f"{shown_name(said['file'])} is cut short or damaged ({_last_line(said['error'])}): copy it again."
                )
            return np.fromfile(into, np.dtype(said["dtype"]))
        finally:
            Path(into).unlink(missing_ok=True)

    def _ask(self, question: Mapping[str, Any]) -> Any:
        assert self._child.stdin is not None  # both are pipes
        assert self._child.stdout is not None
        too_long = threading.Timer(_LONGEST_S, self._child.kill)
        too_long.start()
        try:
            self._child.stdin.write(json.dumps(question) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except OSError:
            answer = ""
        finally:
            too_long.cancel()
        if not answer:
            self._is_lost = True
            raise BadImage(f"{self._name} is damaged, so that it cannot be read at all: copy it again.")
        return json.loads(answer)


def _last_line(text: str) -> str:
    """What a library says is wrong, without the path of its source, the address of its object and the file's path."""
    lines = [_ADDRESSED.sub("", line).strip() for line in text.splitlines() if line.strip()]
    return _AROUND.sub("", lines[-1])[:120].rstrip(".: ") if lines else "no reason is given"
