"""A run's events as a progress bar on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_diffseg.events import Finished, Sampled, Started, Stepped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_diffseg.events import SamplingEvent

_LOG_INTERVAL_S = 10.0


def show_progress(events: Iterable[SamplingEvent], case_id: str) -> None:
    """Read all events of a run while a bar shows what is done and how long the rest will take.

    Parameters
    ----------
    events : iterable of SamplingEvent
        They are consumed.
    case_id : str
        Written before the bar.
    """
    interval = 0.1 if sys.stderr.isatty() else _LOG_INTERVAL_S
    with tqdm(desc=case_id, unit="step", file=sys.stderr, mininterval=interval, dynamic_ncols=True) as bar:
        plane = ""
        for event in events:
            match event:
                case Started():
                    _announce(bar, event)
                    plane = event.plane_across
                case Stepped():
                    if event.across is not None:
                        bar.set_postfix_str(f"member {event.across[0] + 1}, {plane} slices", refresh=False)
                    bar.update(event.done - bar.n)
                case Sampled():
                    bar.set_postfix_str(f"member {event.member + 1}", refresh=False)
                case Finished():
                    bar.set_postfix_str(f"{len(event.members)} members", refresh=False)
                    if told := event.describe_left_out(int(bar.total or 1)):
                        bar.write(f"{case_id}: {told}", file=sys.stderr)


def _announce(bar: tqdm[Any], started: Started) -> None:
    for warning in started.warnings:
        bar.write(f"{started.case_id}: {warning}", file=sys.stderr)
    bar.reset(total=started.evaluations)
