"""What a training tells: a bar with the time that is left, log.csv, and TensorBoard's events."""

from __future__ import annotations

import csv
import io
import re
import sys
from typing import TYPE_CHECKING, Final, Self

from tqdm import tqdm

from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.training.validate import MEASURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

COLUMNS: Final = ("step", "loss", "gradient", "learning_rate", "seconds_a_step", *MEASURES)
"""Of log.csv; a row has losses, figures of a validation, or both."""

_TAGS = {"loss": "train", "gradient": "train", "learning_rate": "train", "seconds_a_step": "train"}
_LOG_INTERVAL_S = 10.0
_STEP = re.compile(r"[0-9]{1,12}")


class Journal:
    """The record of a run; to be used as a context.

    Parameters
    ----------
    folder : Path
        Of the run; has log.csv and events/.
    done, total : int
        Steps behind, and of the whole training. What an earlier run wrote of later steps is taken back.
    regions : sequence of str
        What is validated; of several each has columns of its own.
    """

    def __init__(self, folder: Path, *, done: int, total: int, regions: Sequence[str] = ()) -> None:
        self._folder, self._done, self._total = folder, done, total
        of_each = [f"{measure} {region}" for region in regions for measure in MEASURES] if len(regions) > 1 else []
        self._columns = (*COLUMNS, *of_each)

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter

        _cut(self._folder / "log.csv", self._done, self._columns)
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
            csv.writer(file).writerow([step, *(f"{values[c]:.6g}" if c in values else "" for c in self._columns[1:])])
        for name, value in values.items():
            self._events.add_scalar(f"{_TAGS.get(name, 'validation')}/{name.replace(' ', '_')}", value, step)
        self._events.flush()
        self._bar.set_postfix_str(", ".join(f"{n} {v:.3g}" for n, v in values.items() if n in ("loss", "dice")))


def _cut(path: Path, done: int, columns: Sequence[str]) -> None:
    """Keep the rows of steps that are behind; a run that was killed may have written more, or half a row."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    rows = [row for line in text.splitlines() for row in _cells(line)]
    kept = [r for r in rows if len(r) == len(columns) and _STEP.fullmatch(r[0]) and int(r[0]) <= done]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([columns, *kept])
    atomic_write(path, lambda file: file.write(table.getvalue().encode()), overwrite=True)


def _cells(line: str) -> list[list[str]]:
    """The cells of a line; none of one that is damaged."""
    try:
        return list(csv.reader([line]))
    except csv.Error:
        return []
