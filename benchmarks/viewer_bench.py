"""A viewer with the panel that counts and times what happens in its window; `viewer.py` asks it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from speed_runs import DEMO

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.events import SegmentRequest, Stepped
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.engine import EngineCache
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.segmenting.device.choose_device import resolve_device
from napari_diffseg.segmenting.segmenter import LocalSegmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from pathlib import Path

    from napari_diffseg.events import Focus, SamplingEvent, Segmenter
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.session.engine import Engine
    from napari_diffseg.remote.computer import Computer

_WINDOW = (1400, 900)
_PATIENCE_S = 300.0
_SHOWN_S = 2.0
"""Until napari's own window is painted, with the panel."""
_WARM_S = 4.0
_WARM_PREVIEWS = 3


@dataclass(eq=False)
class Clock:
    """What took how long in the window's thread, and when previews came.

    Attributes
    ----------
    gaps : dict of str to list of float
        Between beats in ms, by turn.
    took : dict of str to list of float
        Work in ms, by kind.
    first_preview_s : list of float
        From the click on Run until the first preview is in its layer.
    made, shown : int
        Previews that the engine made, and that reached the layer.
    shown_s : float
        Seconds in which they were, from the first of each run on.
    """

    gaps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first_preview_s: list[float] = field(default_factory=list)
    made: int = 0
    shown: int = 0
    shown_s: float = 0.0


class Bench:
    """A viewer with the shipped case on the slice with most lesion, the panel ready to run, and the turns.

    Parameters
    ----------
    folder : Path
        Runs are kept there.
    checkpoint, device : str
        As on the command line.
    computer : Computer, optional
        Where the panel's runs are computed; in this process by default.
    """

    def __init__(self, folder: Path, checkpoint: str, device: str, computer: Computer | None = None) -> None:
        self.clock = Clock()
        self._device, self._counting, self._is_here = device, False, computer is None
        self._clicked = self._first = 0.0
        self._seen = 0
        self._unseen = LocalSegmenter(
            load_checkpoint(resolve_checkpoint(checkpoint)), preview_interval_s=None, beside_viewer=True
        )
        self.session = _TimedSession(self, launch=launch, load_engine=_Loader(self), runs_folder=folder / "runs")
        self.session.previewed.connect(self._before_preview)
        self.viewer = napari.Viewer(title="napari-diffseg")
        self.viewer.window.resize(*_WINDOW)
        self.panel = DiffsegPanel(self.viewer, session=self.session, remembered=Remembered(None))
        self.session.previewed.connect(self._after_preview)  # callbacks come in the order they were connected in
        self.viewer.window.add_dock_widget(self.panel, name="Diffusion ensemble", area="right")
        self._time_drawing()
        self.session.choose_computer(computer)
        beats(_SHOWN_S)
        self._open(checkpoint)

    @property
    def _settings(self) -> dict[str, Any]:
        """Of a run: on a GPU one that lasts as long as a turn."""
        long = {"members": 200, "timesteps": 250} if resolve_device(self._device).type == "cuda" else {}
        return {"device": self._device} | long

    def _open(self, checkpoint: str) -> None:
        self.panel.case.opened.emit([str(DEMO)])
        self.panel.checkpoint.choose(checkpoint)
        opening: list[float] = []
        until(lambda: self._is_idle() and not self.panel.drawn_ahead.is_under_way, gaps=opening)
        self.clock.gaps["opening case and checkpoint"] = opening
        for name, value in self._settings.items():
            self.session.set_value(name, value)
        self.viewer.reset_view()
        mask = next(layer for layer in self.viewer.layers if layer.data.dtype == np.uint8)
        index = int(np.argmax((mask.data > 0).sum(axis=(1, 2))))
        self.viewer.dims.set_point(self.viewer.dims.ndim - 3, float(mask.data_to_world((index, 0, 0))[0]))

    def _time_drawing(self) -> None:
        """The canvas's own painting: in software where there is no graphics card."""
        events = self.viewer.window._qt_viewer.canvas._scene_canvas.events  # noqa: SLF001 (napari gives no other way)
        began = [0.0]

        def before(_event: object) -> None:
            began[0] = time.perf_counter()

        def after(_event: object) -> None:
            self.note("canvas drawn", time.perf_counter() - began[0])

        events.draw.connect(before, position="first")
        events.draw.connect(after, position="last")

    def note(self, work: str, seconds: float) -> None:
        """Something took so long in the window's thread."""
        if self._counting:
            self.clock.took[work].append(1e3 * seconds)

    def count_made(self) -> None:
        """The engine has made a preview."""
        if self._counting and self._first:
            self.clock.made += 1

    def _before_preview(self, _step: object) -> None:
        self._slot = time.perf_counter()

    def _after_preview(self, _step: object) -> None:
        now = time.perf_counter()
        self._seen += 1
        self.note("preview", now - self._slot)
        if not self._counting:
            return
        if self._first:
            self.clock.shown += 1
        else:
            self._first = now
            self.clock.first_preview_s.append(now - self._clicked)

    def warm_up(self) -> None:
        """The window's first run, until its layers are there: shaders are compiled, networks loaded, kernels chosen."""
        opening, first = self.clock.gaps["opening case and checkpoint"], beats(0.0, first=self._click)
        until(lambda: self._seen >= _WARM_PREVIEWS and self._has_layers(), gaps=first)
        self._case = self.session.runs.records[-1].plan.case
        self._stop()
        if self._is_here:
            self.unseen(_WARM_S)
        self.clock.gaps.clear()
        self.clock.gaps |= {"opening case and checkpoint": opening, "first run of the window": first}

    def _has_layers(self) -> bool:
        return bool(self.panel.results.members) and not self.panel.results.is_behind

    def idle(self, seconds: float) -> None:
        """Nothing happens."""
        self.clock.gaps["idle"] += beats(seconds)

    def unseen(self, seconds: float) -> None:
        """The same engine in the same thread; nothing reaches the screen."""
        stop, ended = threading.Event(), threading.Event()

        def work() -> None:
            run = self._unseen.segment(self._case, SegmentRequest(**self._settings))
            with closing(cast("Generator[SamplingEvent]", run)) as events:
                for _ in events:
                    if stop.is_set():
                        break
            ended.set()

        launch(work, stop)
        self.clock.gaps["sampling, not shown"] += beats(seconds)
        stop.set()
        until(ended.is_set)

    def streaming(self, seconds: float) -> None:
        """The panel's Run, from the click on; then Cancel, and the run's layers go."""
        self._counting, self._first = True, 0.0
        self.clock.gaps["streaming"] += self._run(seconds)

    def _run(self, seconds: float) -> list[float]:
        gaps = beats(seconds, first=self._click)
        if self._first:
            self.clock.shown_s += time.perf_counter() - self._first
        self._stop()
        return gaps

    def _stop(self) -> None:
        self._counting = False
        self.panel.run_box.cancel.click()
        until(self._is_idle)
        for record in self.session.runs.records:
            self.panel.runs_box.remove_asked.emit(record)

    def _click(self) -> None:
        self._clicked = time.perf_counter()
        self.panel.run_box.run.click()
        self.note("Run clicked", time.perf_counter() - self._clicked)

    def _is_idle(self) -> bool:
        return self.session.phase is Phase.IDLE

    def close(self) -> None:
        """Close the window."""
        self.session.close()
        self.viewer.close()


class _TimedSession(Session):
    """Tells the bench how long each look into the mailbox takes, with all that hangs on it."""

    def __init__(self, bench: Bench, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._bench = bench

    def poll(self) -> None:
        """As the session does, timed."""
        began = time.perf_counter()
        super().poll()
        self._bench.note("poll", time.perf_counter() - began)


class _Loader(EngineCache):
    """Loads engines whose previews are counted."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def __call__(self, text: str, overrides: Mapping[str, Any]) -> Engine:
        engine = super().__call__(text, overrides)
        counted: Any = _Counted(engine.segmenter, self._bench)  # nothing but `segment` is called here
        return replace(engine, segmenter=counted)


@dataclass(frozen=True)
class _Counted:
    segmenter: Segmenter
    bench: Bench

    def segment(self, case: Case, request: SegmentRequest, *, focus: Focus | None = None) -> Iterator[SamplingEvent]:
        with closing(cast("Generator[SamplingEvent]", self.segmenter.segment(case, request, focus=focus))) as events:
            for event in events:
                if isinstance(event, Stepped) and event.preview is not None:
                    self.bench.count_made()
                yield event


def beats(seconds: float, *, first: Callable[[], None] | None = None) -> list[float]:
    """Gaps in ms between the beats of a timer of 1 ms in Qt's event loop; `first` is called in it at the beginning."""
    loop, timer, times = QEventLoop(), QTimer(), [time.perf_counter()]
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: times.append(time.perf_counter()))
    timer.start(1)
    if first is not None:
        QTimer.singleShot(0, first)
    QTimer.singleShot(round(1e3 * seconds), loop.quit)
    loop.exec()
    timer.stop()
    return [float(gap) for gap in 1e3 * np.diff(times)]


def until(condition: Callable[[], bool], *, gaps: list[float] | None = None) -> None:
    """Let Qt work until the condition holds; `gaps` gets those of the time until then."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Nothing came in {_PATIENCE_S:.0f} s.")
        found = beats(0.02 if gaps is None else 1.0)
        if gaps is not None:
            gaps += found
