"""Standard streams that stop no run: closed, left by their reader, or without the letters of a name."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer


def open_streams() -> None:
    """Make the process's output streams such that writing to them fails at most once, and never for a lack of readers.

    A name that a stream cannot show is escaped.
    """
    sys.stdout = _opened(sys.stdout)
    sys.stderr = _opened(sys.stderr)


class _Outlet(io.FileIO):
    """A descriptor that takes everything once it has failed.

    That its reader has gone (`predict ... | head -1`) is no failure of ours. Another reason is told, once: what is
    still buffered must not fail again when the interpreter ends.
    """

    _lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        if not self._lost:
            try:
                return super().write(data)
            except BrokenPipeError:
                self._lost = True
            except OSError:
                self._lost = True
                raise
        return memoryview(data).nbytes


def _opened(stream: TextIO | None) -> TextIO:
    if stream is None:
        return io.StringIO()
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)  # `python -u` has no buffer between
    if type(raw) is not io.FileIO:
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(raw.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
