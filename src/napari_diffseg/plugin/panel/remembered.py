"""What the panel remembers from one session to the next: settings, how results are summed up, checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from qtpy.QtCore import QSettings

from napari_diffseg.appearance import Convention
from napari_diffseg.ensemble.summary import Measure, Rule, Summary
from napari_diffseg.errors import BadRequest
from napari_diffseg.events import SegmentRequest, make_request
from napari_diffseg.plugin.layers.live_layer import Live
from napari_diffseg.plugin.widgets.compute_box import HERE, MOST_MINUTES, PROCESS, SSH, ComputeChoice

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CHECKPOINTS: Final = 8
_MOST_SPEEDS: Final = 64
_SLOWEST_S: Final = 1e5
OF_ONE_CASE: Final = ("slices", "first_member", "focus")
"""Settings that would surprise with the next case, and are not remembered."""
OF_THE_CHECKPOINT: Final = "timesteps"
"""The setting that is remembered for each checkpoint: ten steps of one are no measure for another."""


class RecentCheckpoint(BaseModel):
    """A checkpoint that was loaded, and the timesteps it was last run with (None: its own)."""

    model_config = ConfigDict(frozen=True)

    text: str
    timesteps: int | None = None


class Remembered:
    """Choices kept in a settings file of the user's; a value that is broken or out of bounds counts as never chosen.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing beyond this object.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = QSettings(str(path), QSettings.Format.IniFormat) if path is not None else None
        self._kept: dict[str, str] = {}

    @property
    def values(self) -> Mapping[str, object]:
        """Settings of a run by their name in SegmentRequest, each valid by itself."""
        return {name: value for name, value in self._mapping("run").items() if _is_valid(name, value)}

    def remember_value(self, name: str, value: object) -> None:
        """Keep a setting, unless it belongs to one case or one checkpoint."""
        if name not in OF_ONE_CASE and name != OF_THE_CHECKPOINT:
            self._write("run", {**self.values, name: value})

    @property
    def keep_seed(self) -> bool:
        """Whether each run has the same seed."""
        return self._read("keep_seed") is not False

    def remember_keep_seed(self, keep: bool) -> None:
        """Keep whether each run has the same seed."""
        self._write("keep_seed", keep)

    @property
    def compute(self) -> ComputeChoice:
        """Where runs are computed."""
        stored = self._mapping("compute")
        place, host, command = (stored.get(name) for name in ("place", "host", "command"))
        try:
            choice = ComputeChoice(str(place), str(host), str(command))
            if isinstance(minutes := stored.get("outlive_minutes"), int) and 0 <= minutes <= MOST_MINUTES:
                choice = replace(choice, outlive_minutes=minutes)
            choice.computer()
        except BadRequest:
            return ComputeChoice()
        return choice if place in (HERE, PROCESS, SSH) else ComputeChoice()

    def remember_compute(self, choice: ComputeChoice) -> None:
        """Keep where runs are computed."""
        self._write("compute", asdict(choice))

    @property
    def compile_meanwhile(self) -> bool:
        """Whether networks are compiled for a GPU beside runs."""
        return self._read("compile_meanwhile") is not False

    def remember_compile_meanwhile(self, is_wanted: bool) -> None:
        """Keep whether networks are compiled beside runs."""
        self._write("compile_meanwhile", is_wanted)

    @property
    def live(self) -> Live:
        """What the live layer shows: at first the noise that the mask comes out of."""
        stored = self._read("live")
        return next((live for live in Live if live.value == stored), Live.SAMPLE)

    def remember_live(self, live: Live) -> None:
        """Keep what the live layer shows."""
        self._write("live", live.value)

    @property
    def runs_folder(self) -> Path | None:
        """Where runs are kept; None is the user's data folder."""
        stored = self._read("runs_folder")
        return Path(stored) if isinstance(stored, str) and stored else None

    def remember_runs_folder(self, folder: Path) -> None:
        """Keep where runs are kept."""
        self._write("runs_folder", str(folder))

    @property
    def convention(self) -> Convention | None:
        """Where the patient's left is shown; None while it was never chosen."""
        stored = self._read("convention")
        return next((convention for convention in Convention if convention.value == stored), None)

    def remember_convention(self, convention: Convention) -> None:
        """Keep where the patient's left is shown."""
        self._write("convention", convention.value)

    @property
    def summary(self) -> Summary:
        """How results are summed up."""
        stored = self._mapping("result")
        try:
            measure = Measure(stored["measure"])
            rule = None if stored["rule"] is None else Rule(stored["rule"])
            refined = stored.get("refined", True) is not False
            return Summary(rule, stored["threshold"], measure, stored.get("smoothing_mm"), refined)
        except (KeyError, ValueError, TypeError, BadRequest):
            return Summary()

    def remember_summary(self, summary: Summary) -> None:
        """Keep how results are summed up."""
        rule = None if summary.rule is None else summary.rule.value
        kept = {"rule": rule, "threshold": summary.threshold, "measure": summary.measure.value}
        self._write("result", kept | {"smoothing_mm": summary.smoothing_mm, "refined": summary.refined})

    @property
    def checkpoints(self) -> tuple[RecentCheckpoint, ...]:
        """Checkpoints that were loaded, the last one first."""
        stored = self._read("checkpoints")
        recent = [_recent(entry) for entry in stored] if isinstance(stored, list) else []
        return tuple(entry for entry in recent if entry is not None)[:MOST_CHECKPOINTS]

    def timesteps_of(self, checkpoint: str) -> int | None:
        """The timesteps that a checkpoint was last run with; None where there is nothing to remember."""
        return next((entry.timesteps for entry in self.checkpoints if entry.text == checkpoint), None)

    def remember_checkpoint(self, checkpoint: str, timesteps: int | None = None) -> None:
        """Put a checkpoint at the head of the list; without `timesteps` those it had stay."""
        new = RecentCheckpoint(text=checkpoint, timesteps=timesteps or self.timesteps_of(checkpoint))
        others = [entry for entry in self.checkpoints if entry.text != checkpoint]
        self._write("checkpoints", [entry.model_dump() for entry in (new, *others)][:MOST_CHECKPOINTS])

    def speed_of(self, key: str) -> float | None:
        """Seconds an evaluation took the last time with these settings; None where there is nothing to remember."""
        stored = self._mapping("speeds").get(key)
        return float(stored) if isinstance(stored, int | float) and 0 < stored < _SLOWEST_S else None

    def remember_speed(self, key: str, seconds: float) -> None:
        """Keep how long an evaluation takes."""
        others = {name: value for name, value in self._mapping("speeds").items() if name != key}
        self._write("speeds", dict([*others.items(), (key, seconds)][-_MOST_SPEEDS:]))

    def _mapping(self, key: str) -> dict[str, Any]:
        stored = self._read(key)
        return stored if isinstance(stored, dict) else {}

    def _read(self, key: str) -> Any:
        text = self._kept.get(key) if self._file is None else self._file.value(key)
        try:
            return json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return None

    def _write(self, key: str, value: object) -> None:
        text = json.dumps(value)
        if self._file is None:
            self._kept[key] = text
        else:
            self._file.setValue(key, text)


def settings_path() -> Path:
    """The settings file of the user's."""
    from platformdirs import user_config_path

    return Path(user_config_path("napari-diffseg", appauthor=False)) / "panel.ini"


def _is_valid(name: str, value: object) -> bool:
    if name not in SegmentRequest.model_fields or name in OF_ONE_CASE or name == OF_THE_CHECKPOINT:
        return False
    try:
        make_request({name: value})
    except BadRequest:
        return False
    return True


def _recent(entry: object) -> RecentCheckpoint | None:
    try:
        found = RecentCheckpoint.model_validate(entry)
        make_request({OF_THE_CHECKPOINT: found.timesteps})
    except (ValidationError, BadRequest):
        return None
    return found if found.text else None
