"""The client's end of a link: a process that is spoken with over its pipes."""

from __future__ import annotations

import logging
import os
import queue
import select
import subprocess
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

from napari_diffseg import errors
from napari_diffseg.errors import DiffsegError, EngineFailed, Remedy
from napari_diffseg.remote.answers import package_version
from napari_diffseg.remote.arrays import by_place, compress
from napari_diffseg.remote.frames import NotOurs, OtherVersion, read_frame, write_frame
from napari_diffseg.remote.messages import (
    Ask,
    Done,
    End,
    Failed,
    FromEngine,
    Hello,
    Missing,
    Ping,
    Put,
    Tell,
    Welcome,
    from_engine,
    header_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.remote.contents import Content
    from napari_diffseg.remote.messages import Message

logger = logging.getLogger(__name__)

Answer = tuple[FromEngine, bytes]
_M = TypeVar("_M")
_GLANCE_S: Final = 0.05
_PRINTED: Final = 40
"""Lines of standard error that are kept."""
_UNREAD_S: Final = 0.5
"""How long events may lie unread before the engine is told to rest."""
_END_S: Final = 3.0
_ALIVE_S: Final = 10.0
_NO_ANSWER_S: Final = 0.2
_TERMINATED_S: Final = 2.0
_CANCEL_S: Final = 30.0


class Channel:
    """The events of one run as they arrive. Where they are not read the engine rests, as one in this process would."""

    def __init__(self, link: Link, number: int) -> None:
        self._link, self.number = link, number
        self._events: queue.SimpleQueue[Answer | EngineFailed] = queue.SimpleQueue()
        self._read_at = time.monotonic()
        self._rests = False

    @property
    def has_come(self) -> bool:
        """Whether an answer waits to be taken."""
        return not self._events.empty()

    def bring(self, item: Answer | EngineFailed) -> None:
        """Called by the link's thread."""
        idle = time.monotonic() - self._read_at > _UNREAD_S
        if idle and not self._rests and not self._events.empty() and not isinstance(item, EngineFailed):
            self._rests = True
            self._link.send(Tell(id=self.number, word="rest"))
        self._events.put(item)

    def take(self, check: Callable[[], None]) -> Answer:
        """The next event; `check` is called meanwhile, and may raise.

        Raises
        ------
        EngineFailed
            If the link is gone.
        """
        while True:
            self._read_at = time.monotonic()
            if self._rests and self._events.empty():
                self._rests = False
                self._link.send(Tell(id=self.number, word="go_on"))
            try:
                item = self._events.get(timeout=_GLANCE_S)
            except queue.Empty:
                check()
                continue
            self._read_at = time.monotonic()
            if isinstance(item, EngineFailed):
                raise item
            return item


class Link:
    """A running engine, spoken with.

    Parameters
    ----------
    computer : Computer
        Where it is started.
    check : callable, optional
        Called at least ten times a second while an answer is waited for; what it raises ends the waiting.
    numbers : iterator of int, optional
        Numbers for messages that want an answer. Links that follow one another to the same engine share one, so that
        a run keeps its number.
    hello : Hello, optional
        What is said first: how long the engine is to go on without a link, and which one, and which run, is wanted.
    told : callable (sentence), optional
        Told what the job waits for in which the engine is to start, where it does.

    Raises
    ------
    EngineFailed
        If it cannot be started, or does not answer as one of ours.
    """

    def __init__(
        self,
        computer: Computer,
        *,
        check: Callable[[], None] = lambda: None,
        numbers: Iterator[int] | None = None,
        hello: Hello | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.computer = computer
        self.check, self._told = check, told
        self.sent = self.received = 0
        """Bytes over the link so far."""
        self._numbers = count(1) if numbers is None else numbers
        self._writing = threading.Lock()
        self._channels: dict[int, Channel] = {}
        self._channels_lock = threading.Lock()
        self._ended: EngineFailed | None = None
        self._answered = self._outlives = False
        self._gone = threading.Event()
        self._printed: deque[str] = deque(maxlen=_PRINTED)
        self._job = self._waits = ""
        """The engine's job, and what it waits for where nobody has been told yet."""
        self._process = _started(computer)
        self._at_exit = weakref.finalize(self, _say_end_at_exit, self._process, self._writing)
        self._printer = threading.Thread(target=self._keep_printed, name="engine-stderr", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="engine-link", daemon=True)
        self._printer.start()  # first: the listener waits for it
        self._listener.start()
        threading.Thread(target=self._stay, name="engine-alive", daemon=True).start()
        hello = hello or Hello(version=package_version()[:64])
        run = None if hello.run is None else self.open(hello.run)  # before it is asked for: its events come at once
        try:
            self.welcome = self.ask(hello.model_copy(update={"id": self.number()}), Welcome)
        except BaseException:
            self.close(wait_s=_NO_ANSWER_S)
            raise
        self.run = run if self.welcome.goes_on else None
        """Where the answers of the run come that was asked for, where it goes on."""

    @property
    def is_alive(self) -> bool:
        """Whether the other end is there, as far as is known."""
        return self._ended is None

    @property
    def pid(self) -> int:
        """The number of the process that is spoken with."""
        return self._process.pid

    def number(self) -> int:
        """A number for a message that wants an answer."""
        return next(self._numbers)

    def send(self, message: Message, blocks: Sequence[bytes] = ()) -> None:
        """Send a message that nobody answers; one that cannot be sent is lost, and the next answer says why."""
        header = header_of(message)
        with self._writing:
            stream = self._process.stdin
            assert stream is not None  # a pipe
            try:
                self.sent += write_frame(stream, header, blocks)
            except (OSError, ValueError) as err:  # the pipe is broken, or closed
                logger.debug("Nothing can be sent any more: %s", err)

    def open(self, number: int) -> Channel:
        """Where the answers of that number come."""
        channel = Channel(self, number)
        with self._channels_lock:
            if self._ended is not None:
                channel.bring(self._ended)
            self._channels[number] = channel
        return channel

    def leave(self, number: int) -> None:
        """Drop further answers of that number."""
        with self._channels_lock:
            self._channels.pop(number, None)

    def ask(self, message: Message, kind: type[_M], blocks: Sequence[bytes] = ()) -> _M:
        """Send a message and wait for its answer.

        Raises
        ------
        DiffsegError
            What the engine says is wrong, or that it is gone.
        """
        channel = self.open(message.id)
        try:
            self.send(message, blocks)
            answer, _ = channel.take(self._look)
        finally:
            self.leave(message.id)
        if isinstance(answer, kind):
            return answer
        raise as_error(answer)

    def _look(self) -> None:
        """While an answer is waited for: the client may have had enough; before the first a job may have to wait."""
        self.check()
        if not self._answered and (waits := self._waits):
            self._waits = ""
            self._told(waits)

    def bring(self, contents: Sequence[Content], *, told: Callable[[str], None] = lambda _: None) -> None:
        """Send what of these contents is not kept there already.

        Raises
        ------
        EngineFailed
            If it cannot be kept there.
        """
        by_digest = {content.digest: content for content in contents}
        missing = self.ask(Ask(id=self.number(), digests=tuple(by_digest)), Missing)
        begun = dict(zip(missing.digests, missing.begun, strict=False))
        total = sum(by_digest[digest].size - begun.get(digest, 0) for digest in missing.digests)
        done = 0
        for digest in missing.digests:
            for n in self._put(by_digest[digest], start=begun.get(digest, 0)):
                done += n
                told(
                    f"Sending images and checkpoint to {self.computer.name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB…"
                )

    def _put(self, content: Content, *, start: int = 0) -> Any:
        number, offset = self.number(), start
        channel = self.open(number)
        try:
            for piece in content.pieces(start) if content.size else iter([b""]):
                self.check()
                if channel.has_come:  # a refusal: the rest would cross for nothing
                    break
                if self._ended is not None:
                    raise self._ended
                put = Put(
                    id=number,
                    digest=content.digest,
                    size=content.size,
                    offset=offset,
                    unpacked=len(piece),
                    width=content.width,
                )
                self.send(put, [compress(by_place(piece, content.width))])
                offset += len(piece)
                yield len(piece)
            answer, _ = channel.take(self.check)
        finally:
            self.leave(number)
        if not isinstance(answer, Done):
            raise as_error(answer)

    def close(self, *, wait_s: float = _END_S, end: bool = True) -> bool:
        """End the engine; what runs there is cancelled. A process that does not end is killed after `wait_s`.

        Parameters
        ----------
        wait_s : float
            How long is waited for it, at most a few times.
        end : bool
            Whether the engine is to end, where it could go on without this link.

        Returns
        -------
        bool
            Whether the engine has ended as it should: one that could not be told may go on for a while.
        """
        self._ended = self._ended or EngineFailed("The engine was ended.")
        self._gone.set()
        self._at_exit.detach()
        process = self._process
        if end and process.poll() is None:
            self._say_end(wait_s)
        if not self._end_input(wait_s):  # somebody writes to an engine that does not read
            process.kill()
            self._end_input(_END_S)
        if not _has_ended(process, wait_s):
            process.terminate()  # srun then gives up the job that it waits for
            if not _has_ended(process, _TERMINATED_S):
                process.kill()
                process.wait()
        for thread in (self._listener, self._printer):
            thread.join(timeout=_END_S)
        if self._job and not self._answered and self.computer.host is not None:
            threading.Thread(target=_cancel_job, args=(self.computer, self._job), daemon=True).start()
        return process.returncode == 0

    def _say_end(self, wait_s: float) -> None:
        """Say that the engine is to end; not where its pipe is full, which it does not read then."""
        ending = threading.Thread(target=self.send, args=(End(),), name="engine-end", daemon=True)
        ending.start()
        ending.join(timeout=wait_s)

    def _end_input(self, wait_s: float) -> bool:
        """Close what the engine reads, once nobody writes to it; whether that was so in time."""
        if not self._writing.acquire(timeout=wait_s):
            return False
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._writing.release()
        return True

    def _stay(self) -> None:
        """Let the engine hear now and then that its client is there: without a word for long it ends."""
        while not self._gone.wait(_ALIVE_S):
            self.send(Ping())

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # a pipe
        try:
            while (frame := read_frame(stream)) is not None:
                self.received += frame.size
                self._take(from_engine(frame), frame.body)
            ended = self._why_ended()
        except OtherVersion as err:
            ended = EngineFailed(
                f"{self._name()} has another version of napari-diffseg ({err}): install the same version on both."
            )
        except NotOurs as err:
            ended = EngineFailed(
                f"{self._name()} does not answer as an engine ({err}): make the start-up files of its shell "
                "print nothing, or check the command."
            )
        except EngineFailed as err:
            ended = EngineFailed(f"{self._name()}: {err}")
        except (OSError, ValueError) as err:  # closed here
            ended = EngineFailed(f"The link to {self.computer.name} was closed ({err}).")
        self._end(ended)

    def _take(self, message: FromEngine, body: bytes) -> None:
        self._answered = True
        if isinstance(message, Welcome):
            self._outlives = message.engine is not None
        if message.id == 0 and isinstance(message, Failed):
            raise EngineFailed(message.text)
        with self._channels_lock:
            channel = self._channels.get(message.id)
        if channel is not None:
            channel.bring((message, body))

    def _end(self, why: EngineFailed) -> None:
        with self._channels_lock:
            self._ended = self._ended or why
            self._gone.set()
            for channel in self._channels.values():
                channel.bring(self._ended)
        stdout = self._process.stdout
        if stdout is not None:
            stdout.close()

    def _why_ended(self) -> EngineFailed:
        try:
            code: int | None = self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            code = None
        self._printer.join(timeout=1)
        printed = "\n".join(self._printed)
        return self.computer.explain(code, printed, answered=self._answered, outlives=self._outlives)

    def _keep_printed(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # a pipe
        with stream:
            for line in stream:
                text = line.decode("utf-8", "replace").rstrip()
                self._printed.append(text)
                job, waits = self.computer.waits(text)
                self._job, self._waits = job or self._job, waits or self._waits
                logger.debug("engine: %s", text)

    def _name(self) -> str:
        return self.computer.host or "The other process"


def _say_end_at_exit(process: subprocess.Popen[bytes], writing: threading.Lock) -> None:
    """Say that the engine is to end where this program does without closing the link; never wait for the engine."""
    stream = process.stdin
    if stream is None or not writing.acquire(timeout=_GLANCE_S):
        return
    try:
        if os.name == "nt" or select.select([], [stream], [], 0)[1]:
            write_frame(stream, header_of(End()))
    except (OSError, ValueError):  # the link is gone, or closed
        logger.debug("The engine could not be told to end.")
    finally:
        writing.release()


def _cancel_job(computer: Computer, job: str) -> None:
    """Over a connection of its own; where that fails the job begins in its turn, finds nobody, and ends."""
    try:
        words = computer.words_to_cancel(job)
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CANCEL_S, check=True)
    except (EngineFailed, OSError, subprocess.SubprocessError) as err:
        logger.info("Job %s could not be cancelled: %s", job, err)


def _has_ended(process: subprocess.Popen[bytes], wait_s: float) -> bool:
    try:
        process.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _started(computer: Computer) -> subprocess.Popen[bytes]:
    words = computer.words()
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C in a terminal is for the client, which cancels in order. An engine here stays in the session of its
            # client: Linux shares processors out by sessions, so only there can it give way to a window.
            start_new_session=computer.host is not None,
            process_group=0 if computer.host is None and os.name == "posix" else None,
        )
    except OSError as err:
        raise EngineFailed(f"{words[0]} cannot be started ({err.strerror}): check that it is installed.") from err


def as_error(answer: FromEngine) -> DiffsegError:
    """An engine's refusal as the error that it is, of the same class where that is one of ours."""
    if not isinstance(answer, Failed):
        return EngineFailed(
            "The engine gave an answer that does not fit the question: install the same version on both."
        )
    kind = getattr(errors, answer.error, None)
    if not (isinstance(kind, type) and issubclass(kind, DiffsegError)):
        kind = EngineFailed
    error: DiffsegError = kind(answer.text, *(Remedy(r.setting, r.value) for r in answer.remedies))
    return error
