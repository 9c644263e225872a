"""`LocalSegmenter`'s interface, over an engine in another process or on another computer."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Started, Stepped
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.remote.answers import other_version, package_version
from napari_diffseg.remote.computer import LinkLost
from napari_diffseg.remote.contents import checkpoint_files, describe_case, describe_volume
from napari_diffseg.remote.event_messages import as_event, is_lasting
from napari_diffseg.remote.going_on import Arrived
from napari_diffseg.remote.link import Link, as_error
from napari_diffseg.remote.messages import (
    Begin,
    ChangePart,
    Done,
    Happened,
    Hello,
    Load,
    Loaded,
    LookAt,
    Measure,
    Measured,
    Seen,
    Tell,
    Unload,
)

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from napari_diffseg.events import Focus, Found, SamplingEvent, SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.remote.contents import Content
    from napari_diffseg.remote.event_messages import Event
    from napari_diffseg.remote.link import Channel
    from napari_diffseg.remote.messages import TaskName
    from napari_diffseg.segmenting.trajectory import Traced
    from napari_diffseg.segmenting.what_if import Change


_T = TypeVar("_T")
_PAUSE_S: Final = 2.0
_GLANCE_S: Final = 0.05


@dataclass(frozen=True, eq=False)
class RemoteCheckpoint:
    """What an engine found a checkpoint to be: all that `checkpoint.Checkpoint` says but its weights.

    Attributes
    ----------
    path : Path
        The file on this computer.
    recipe, config, digest, kind, family, guesses, card, overrides :
        As in `Checkpoint`.
    parameters : int
        Number of weights.
    rows : tuple of (str, str)
        Its description, as `checkpoint.describe` gives it.
    """

    path: Path
    recipe: Recipe
    config: UNetConfig
    digest: str
    kind: str
    family: str
    parameters: int
    guesses: tuple[str, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[tuple[str, str], ...] = ()


class _NotReached(EngineFailed):
    """A computer's engine cannot be started, or spoken with again."""


@dataclass
class _Asked:
    """A run as its engine knows it, and how many of its lasting events have arrived."""

    number: int
    have: int = 0
    channel: Channel | None = None
    """Where its events come; None while the link is lost."""
    is_over: bool = False
    """Whether its end has come."""


class RemoteSegmenter:
    """Runs the conditioned sampler of one checkpoint in another process, on this computer or another.

    The engine is started when it is first needed and stays for the next run. One that has ended is started again. Where
    the link to another computer is lost its engine goes on, and is spoken with again once the computer is reached.

    Parameters
    ----------
    computer : Computer
        Where.
    checkpoint : path
        On this computer, as for `load_checkpoint`; it is sent, once.
    overrides : mapping, optional
        As for `load_checkpoint`.
    preview_interval_s : float or None
        As for `LocalSegmenter`; previews come as fast as the link takes them, the newest first.
    beside_viewer : bool
        Whether the engine's processor draws a window meanwhile.
    compile_meanwhile : bool
        As for `LocalSegmenter`.
    check : callable, optional
        Called at least ten times a second while anything is waited for; what it raises ends the waiting and the run.
    told : callable (sentence), optional
        Told what is going on before a run begins.
    """

    def __init__(
        self,
        computer: Computer,
        checkpoint: Path | str,
        overrides: Mapping[str, Any] | None = None,
        *,
        preview_interval_s: float | None = 1 / 15,
        beside_viewer: bool = False,
        compile_meanwhile: bool = False,
        check: Callable[[], None] = lambda: None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.computer = computer
        self.check, self.told = check, told
        self._path, self._overrides = checkpoint, dict(overrides or {})
        self._how = {
            "preview_interval_s": preview_interval_s,
            "beside_viewer": beside_viewer,
            "compile_meanwhile": compile_meanwhile,
        }
        self._link: Link | None = None
        self._checkpoint: RemoteCheckpoint | None = None
        self._numbers = count(1)
        self._engine: str | None = None
        """By which name the engine can be spoken with again, if it goes on without a link."""
        self._naming = threading.Lock()
        self._has_checkpoint = False
        """Whether that engine has the checkpoint loaded."""
        self.patience_s = computer.outlive_s
        """How long a run goes on without a link, and waits for its computer to be reached again."""

    @property
    def link(self) -> Link | None:
        """The link, where there is one; it counts what crosses."""
        return self._link

    def checkpoint(self) -> RemoteCheckpoint:
        """What the engine finds the checkpoint to be; it is sent and loaded there where it is not yet.

        Raises
        ------
        EngineFailed
            If the engine cannot be reached or used.
        BadCheckpoint, BadRecipe
            If the checkpoint cannot be used; the text says why.
        """
        self._patiently(self._ready)
        assert self._checkpoint is not None  # set with the link
        return self._checkpoint

    def segment(self, case: Case, request: SegmentRequest, *, focus: Focus | None = None) -> Iterator[SamplingEvent]:
        """Sample the ensemble that `request` describes; see `napari_diffseg.events.Segmenter`.

        Raises
        ------
        EngineFailed
            If the engine cannot be reached, or ends.
        DiffsegError
            Whatever `LocalSegmenter.segment` raises there.
        """
        yield from cast("Iterator[SamplingEvent]", self._sampled("segment", case, request, focus=focus))

    def trace(self, case: Case, request: SegmentRequest) -> Generator[Traced]:
        """Sample as `segment` does, and tell of every step of every member.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """
        yield from cast("Iterator[Traced]", self._sampled("trace", case, request))

    def what_if(self, case: Case, request: SegmentRequest, change: Change) -> Generator[Stepped | Found]:
        """Sample as `segment` does, with its noise on its pixels, but for one image.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """
        events = self._sampled("what_if", case, request, change=change)
        yield from cast("Iterator[Stepped | Found]", events)

    def calibrate(self, request: SegmentRequest) -> float:
        """Seconds that one evaluation of one slice takes there; the network stays there.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """

        def measured() -> float:
            link = self._ready()
            return link.ask(Measure(id=link.number(), request=request), Measured).seconds

        return self._patiently(measured)

    def unload(self) -> None:
        """Free the network's memory on the device; the next run loads it again."""
        if self._link is not None and self._link.is_alive:
            self._link.ask(Unload(id=self._link.number()), Done)

    def close(self) -> None:
        """End the engine, in the background where its computer cannot be reached now."""
        link, self._link = self._link, None
        engine, self._engine = self._engine, None
        self._has_checkpoint = False
        ended = link is not None and link.close()
        if engine is not None and not ended:
            _end_later(self.computer, engine, patience_s=self.patience_s)

    def _ready(self, asked: _Asked | None = None) -> Link:
        """A link to an engine that has the checkpoint loaded.

        Parameters
        ----------
        asked : _Asked, optional
            A run that may go on there: `Link.run` of a new link says so.
        """
        if self._link is not None and self._link.is_alive:
            self._link.check = self._ask_check
            return self._link
        link = self._linked(asked)
        try:
            if not self._has_checkpoint:
                self._checkpoint = self._load(link)
                self._has_checkpoint = True
        except LinkLost:  # the engine may be there still, with what has come of the checkpoint
            link.close(end=False)
            raise
        except BaseException:
            self.close()
            raise
        return link

    def _linked(self, asked: _Asked | None) -> Link:
        """A new link: to the engine that was spoken with before, if it is there still, else to a new one."""
        if self._link is not None:
            self._link.close(end=False)
        with self._naming:
            before, self._link = self._engine, None
        self.told(f"Starting the engine: {self.computer.name}…" if before is None else self._words_again())
        hello = Hello(
            version=package_version()[:64],
            outlive_s=self.patience_s if self.computer.host is not None else 0.0,
            engine=before,
            run=None if asked is None else asked.number,
            have=0 if asked is None else asked.have,
        )
        try:
            link = Link(self.computer, check=self._ask_check, numbers=self._numbers, hello=hello, told=self.told)
        except EngineFailed as err:
            raise _NotReached(*err.args) from err
        self._link = link
        self._engine = link.welcome.engine
        if note := other_version(link.welcome):
            self.told(f"{self.computer.name}: {note}")
        if before is None or before != self._engine:
            self._has_checkpoint = False
            if before is not None:
                self.told(f"{self.computer.name} is reached again; its engine has ended: what is missing is sampled.")
        else:
            self.told(f"{self.computer.name} is reached again; its engine has gone on.")
        return link

    def _words_again(self) -> str:
        return f"Trying to reach {self.computer.name} again…"

    def _patiently(self, do: Callable[[], _T]) -> _T:
        """Do something, again where the link was lost."""
        patience = _Patience(self)
        while True:
            try:
                return do()
            except EngineFailed as err:
                patience.rest_after(err)

    def _ask_check(self) -> None:
        self.check()

    def _load(self, link: Link) -> RemoteCheckpoint:
        from napari_diffseg.checkpoint.resolve import resolve_checkpoint

        path = resolve_checkpoint(self._path)
        files = checkpoint_files(path)
        link.bring(files.contents, told=self.told)
        self.told("The engine loads the checkpoint…")
        message = Load.model_validate(
            {
                "id": link.number(),
                "files": files.parts,
                "main": files.main,
                "overrides": _as_json(self._overrides),
                **self._how,
            }
        )
        found = link.ask(message, Loaded)
        return RemoteCheckpoint(
            path=path,
            recipe=found.recipe,
            config=UNetConfig.from_dict(found.config),
            digest=found.digest,
            kind=found.weights,
            family=found.family,
            parameters=found.parameters,
            guesses=found.guesses,
            card=found.card,
            overrides=found.overrides,
            rows=found.rows,
        )

    def _sampled(
        self,
        task: TaskName,
        case: Case,
        request: SegmentRequest,
        *,
        focus: Focus | None = None,
        change: Change | None = None,
    ) -> Iterator[Event]:
        """The events of one run, over however many links and engines: each comes once."""
        arrived, patience = Arrived(request), _Patience(self)
        asked: _Asked | None = None
        try:
            while True:
                try:
                    link = self._ready(asked)
                    channel = link.run if asked is not None else None
                    if asked is None or channel is None or channel.number != asked.number:
                        begin = self._begin(link, task, case, arrived.remaining(), change)
                        asked, channel = _Asked(begin.id), link.open(begin.id)
                        link.send(begin)
                    asked.channel = channel
                    for event in self._events(link, channel, asked, focus):
                        patience.end()
                        yield from arrived.take(event)
                except EngineFailed as err:
                    if asked is not None:
                        asked.channel = None
                    patience.rest_after(err)
                else:
                    asked = None
                    return
        finally:
            if asked is not None:
                self._cancel(asked)

    def _begin(self, link: Link, task: TaskName, case: Case, request: SegmentRequest, change: Change | None) -> Begin:
        """What begins a run, once what it needs is there."""
        part, images = describe_case(case)
        contents: list[Content] = [*images]
        changed = None
        if change is not None:
            volume = None
            if change.volume is not None:
                volume, content = describe_volume(change.volume)
                contents.append(content)
            changed = ChangePart(modality=change.modality, volume=volume)
        link.bring(contents, told=self.told)
        return Begin(id=link.number(), task=task, case=part, request=request, change=changed)

    def _cancel(self, asked: _Asked) -> None:
        """Let a run end at once; where its computer cannot be reached now its engine ends once it can."""
        link, channel = self._link, asked.channel
        if asked.is_over:
            return
        if link is not None and link.is_alive:
            link.send(Tell(id=asked.number, word="cancel"))
            if channel is not None:
                words = (link, channel)
                threading.Thread(target=self._see_cancelled, args=words, name="engine-cancel", daemon=True).start()
        elif self._engine is not None:
            self.close()

    def _see_cancelled(self, link: Link, channel: Channel) -> None:
        """Wait until the engine says that a run has ended; where the word was lost with the link, end the engine."""
        try:
            while isinstance(channel.take(lambda: None)[0], Happened):
                pass
        except LinkLost:
            with self._naming:
                engine = self._engine if self._link is link else None
                if engine is not None:  # nobody has spoken with it since, who would have cancelled the run
                    self._engine, self._has_checkpoint = None, False
            if engine is not None:
                _end_later(self.computer, engine, patience_s=self.patience_s)
        except EngineFailed as err:
            logger.debug("The engine of a cancelled run has ended: %s", err)
        finally:
            link.leave(channel.number)

    def _events(self, link: Link, channel: Channel, asked: _Asked, focus: Focus | None) -> Iterator[Event]:
        previews, looked_at = 0, None
        while True:
            if focus is not None and (slice_index := focus()) != looked_at:
                looked_at = slice_index
                link.send(LookAt(id=channel.number, slice_index=slice_index))
            message, body = channel.take(self.check)
            if not isinstance(message, Happened):
                link.send(Seen(id=channel.number, previews=previews, events=asked.have + 1))  # its end has arrived
                link.leave(channel.number)
                asked.is_over = True
                if isinstance(message, Done):
                    return
                raise as_error(message)
            if _is_known(message, asked):
                continue
            event = as_event(message, body)
            previews += isinstance(event, Stepped) and event.preview is not None
            if is_lasting(event) or (isinstance(event, Stepped) and event.preview is not None):
                link.send(Seen(id=channel.number, previews=previews, events=asked.have))
            yield self._named(event, link)

    def _named(self, event: Event, link: Link) -> Event:
        """The event; that a run begins is told with the computer's name, and the versions there."""
        if not isinstance(event, Started):
            return event
        where = f" on {self.computer.host}" if self.computer.host is not None else ""
        versions = (("python", link.welcome.python), *link.welcome.packages.items())
        return replace(event, device=f"{event.device}{where}", versions=versions)


class _Patience:
    """How long a lost link is waited for.

    Parameters
    ----------
    segmenter : RemoteSegmenter
        Whose link it is.
    """

    def __init__(self, segmenter: RemoteSegmenter) -> None:
        self._segmenter = segmenter
        self._lost_at: float | None = None

    def end(self) -> None:
        """Something has come: the next lost link is a new one."""
        self._lost_at = None

    def rest_after(self, err: EngineFailed) -> None:
        """Wait a moment before the next attempt, unless the client has had enough.

        What is no lost link is raised, such as what an engine says that is reached again.
        """
        now = time.monotonic()
        if not (isinstance(err, LinkLost) or (self._lost_at is not None and isinstance(err, _NotReached))):
            raise err
        self._lost_at = self._lost_at or now
        if now - self._lost_at >= self._segmenter.patience_s:
            raise err
        self._segmenter.told(f"{err} Trying again…")
        while time.monotonic() < now + _PAUSE_S:
            self._segmenter.check()
            time.sleep(_GLANCE_S)


def _is_known(message: Happened, asked: _Asked) -> bool:
    """Whether a lasting event has arrived before; it is counted where it has not.

    Raises
    ------
    EngineFailed
        If one before it is missing.
    """
    if not message.count:
        return False
    if message.count > asked.have + 1:
        raise EngineFailed("Some of what the engine told was lost on the way: run again, or resume.")
    known = message.count <= asked.have
    asked.have = max(asked.have, message.count)
    return known


def _end_later(computer: Computer, engine: str, *, patience_s: float) -> None:
    """End an engine whose computer cannot be reached now, once it can; it ends by itself after so long."""

    def end() -> None:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            try:
                hello = Hello(version=package_version()[:64], outlive_s=patience_s, engine=engine, start=False)
                Link(computer, hello=hello).close()
            except EngineFailed as err:
                logger.debug("The engine cannot be ended yet: %s", err)
                time.sleep(_PAUSE_S)
            else:
                return

    threading.Thread(target=end, name="engine-end-later", daemon=True).start()


def _as_json(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides as JSON has them."""
    plain = {}
    for name, value in overrides.items():
        if not isinstance(value, str | int | float | bool | list | tuple | dict | None):
            raise EngineFailed(f"{name} cannot be sent to another process: give a plain value.")
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain
