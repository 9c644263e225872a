"""What a training tells: a bar with the time that is left, log.csv, and TensorBoard's events."""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Final, Self

from tqdm import tqdm

from napari_diffseg.imaging.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

COLUMNS: Final = ("step", "loss", "gradient", "learning_rate", "seconds_a_step", "dice", "ece", "ged_squared")
"""Of log.csv; a row has losses, figures of a validation, or both."""

_TAGS = {"loss": "train", "gradient": "train", "learning_rate": "train", "seconds_a_step": "train"}
_LOG_INTERVAL_S = 10.0


class Journal:
    """The record of a run; to be used as a context.

    Parameters
    ----------
    folder : Path
        Of the run; has log.csv and events/.
    done, total : int
        Steps behind, and of the whole training. What an earlier run wrote of later steps is taken back.
    """

    def __init__(self, folder: Path, *, done: int, total: int) -> None:
        self._folder, self._done, self._total = folder, done, total

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter

        _cut(self._folder / "log.csv", self._done)
        self._events = SummaryWriter(str(self._folder / "events"), purge_step=self._done + 1 if self._done else None)
        interval = 0.1 if sys.stderr.isatty() else _LOG_INTERVAL_S
        self._bar = tqdm(
            total=self._total, initial=self._done, desc="training", unit="step", mininterval=interval, file=sys.stderr
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._events.close()

    def advance(self) -> None:
        """A step is done."""
        self._bar.update()

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of some columns for a step."""
        with (self._folder / "log.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([step, *(f"{values[c]:.6g}" if c in values else "" for c in COLUMNS[1:])])
        for name, value in values.items():
            self._events.add_scalar(f"{_TAGS.get(name, 'validation')}/{name}", value, step)
        self._events.flush()
        self._bar.set_postfix_str(", ".join(f"{n} {v:.3g}" for n, v in values.items() if n in ("loss", "dice")))


def _cut(path: Path, done: int) -> None:
    """Keep the rows of steps that are behind; a run that was killed may have written more, or half a row."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    rows = list(csv.reader(text.splitlines()))[1:]
    kept = [r for r in rows if len(r) == len(COLUMNS) and r[0].isdigit() and int(r[0]) <= done]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([COLUMNS, *kept])
    atomic_write(path, lambda file: file.write(table.getvalue().encode()), overwrite=True)
