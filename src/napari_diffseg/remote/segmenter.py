"""`LocalSegmenter`'s interface, over an engine in another process or on another computer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Started, Stepped
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.remote.computer import LinkLost
from napari_diffseg.remote.contents import checkpoint_files, describe_case, describe_volume
from napari_diffseg.remote.event_messages import as_event
from napari_diffseg.remote.going_on import Arrived
from napari_diffseg.remote.link import Link, as_error
from napari_diffseg.remote.messages import (
    Begin,
    ChangePart,
    Done,
    Happened,
    Load,
    Loaded,
    LookAt,
    Measure,
    Measured,
    Seen,
    Tell,
    Unload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from napari_diffseg.events import Expected, Focus, Sampled, SamplingEvent, SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.remote.contents import Content
    from napari_diffseg.remote.event_messages import Event
    from napari_diffseg.remote.link import Channel
    from napari_diffseg.remote.messages import TaskName
    from napari_diffseg.segmenting.trajectory import Traced
    from napari_diffseg.segmenting.what_if import Change


PATIENCE_S: Final = 600.0
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


class RemoteSegmenter:
    """Runs the conditioned sampler of one checkpoint in another process, on this computer or another.

    The engine is started when it is first needed and stays for the next run. One that has ended is started again.

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
        self.patience_s = PATIENCE_S
        """How long a run waits for its computer to be reached again, once the link was lost."""

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
        self._ready()
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
        arrived, lost_at = Arrived(request), None
        while True:
            try:
                for event in self._sample("segment", case, arrived.remaining(), focus=focus):
                    lost_at = None
                    yield from arrived.take(event)  # type: ignore[arg-type]
                return
            except EngineFailed as err:
                now = time.monotonic()
                if lost_at is None and not isinstance(err, LinkLost):
                    raise
                lost_at = lost_at or now
                if now - lost_at >= self.patience_s:
                    raise
                self.told(f"{err} Trying again…")
                self._rest()

    def _rest(self) -> None:
        """Wait a moment before the next attempt, unless the asker has had enough."""
        until = time.monotonic() + _PAUSE_S
        while time.monotonic() < until:
            self.check()
            time.sleep(_GLANCE_S)

    def trace(self, case: Case, request: SegmentRequest) -> Generator[Traced]:
        """Sample as `segment` does, and tell of every step of every member.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """
        yield from self._sample("trace", case, request)  # type: ignore[misc]

    def what_if(self, case: Case, request: SegmentRequest, change: Change) -> Generator[Stepped | Expected | Sampled]:
        """Sample as `segment` does, with its noise on its pixels, but for one image.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """
        yield from self._sample("what_if", case, request, change=change)  # type: ignore[misc]

    def calibrate(self, request: SegmentRequest) -> float:
        """Seconds that one evaluation of one slice takes there; the network stays there.

        Raises
        ------
        DiffsegError
            As `segment` does.
        """
        link = self._ready()
        return link.ask(Measure(id=link.number(), request=request), Measured).seconds

    def unload(self) -> None:
        """Free the network's memory on the device; the next run loads it again."""
        if self._link is not None and self._link.is_alive:
            self._link.ask(Unload(id=self._link.number()), Done)

    def close(self) -> None:
        """End the engine."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _ready(self) -> Link:
        """A link to an engine that has the checkpoint loaded."""
        if self._link is not None and self._link.is_alive:
            self._link.check = self._ask_check
            return self._link
        self.close()
        self.told(f"Starting the engine: {self.computer.name}…")
        link = Link(self.computer, check=self._ask_check)
        try:
            self._checkpoint = self._load(link)
        except BaseException:
            link.close()
            raise
        self._link = link
        return link

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

    def _sample(
        self,
        task: TaskName,
        case: Case,
        request: SegmentRequest,
        *,
        focus: Focus | None = None,
        change: Change | None = None,
    ) -> Iterator[Event]:
        link = self._ready()
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
        begin = Begin(id=link.number(), task=task, case=part, request=request, change=changed)
        channel = link.open(begin.id)
        link.send(begin)
        finished = False
        try:
            yield from self._events(link, channel, focus)
            finished = True
        finally:
            if not finished:
                link.send(Tell(id=begin.id, word="cancel"))
            link.leave(begin.id)

    def _events(self, link: Link, channel: Channel, focus: Focus | None) -> Iterator[Event]:
        previews, looked_at = 0, None
        while True:
            if focus is not None and (slice_index := focus()) != looked_at:
                looked_at = slice_index
                link.send(LookAt(id=channel.number, slice_index=slice_index))
            message, body = channel.take(self.check)
            if isinstance(message, Done):
                return
            if not isinstance(message, Happened):
                raise as_error(message)
            event = as_event(message, body)
            if isinstance(event, Stepped) and event.preview is not None:
                previews += 1
                link.send(Seen(id=channel.number, previews=previews))
            yield self._named(event, link)

    def _named(self, event: Event, link: Link) -> Event:
        """The event; that a run begins is told with the computer's name, and the versions there."""
        if not isinstance(event, Started):
            return event
        where = f" on {self.computer.host}" if self.computer.host is not None else ""
        versions = (("python", link.welcome.python), *link.welcome.packages.items())
        return replace(event, device=f"{event.device}{where}", versions=versions)


def _as_json(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides as JSON has them."""
    plain = {}
    for name, value in overrides.items():
        if not isinstance(value, str | int | float | bool | list | tuple | dict | None):
            raise EngineFailed(f"{name} cannot be sent to another process: give a plain value.")
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain
