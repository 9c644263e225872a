"""What a run in another process costs: bytes over the link, and how late previews come where the way takes time.

The engine is a child process; between it and the client a pipe holds back every byte by half the round trip.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from napari_diffseg import SegmentRequest, Stepped, demo_case_folder, read_case
from napari_diffseg.remote.answers import package_version
from napari_diffseg.remote.computer import Computer
from napari_diffseg.remote.segmenter import RemoteSegmenter

PIPE = """
import os, subprocess, sys, threading, time
from collections import deque
late, words = float(sys.argv[1]), sys.argv[2:]
child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def carry(source, target):
    waiting, come = deque(), threading.Condition()
    def write():
        while True:
            with come:
                come.wait_for(lambda: waiting)
                at, data = waiting.popleft()
            time.sleep(max(0, at - time.monotonic()))
            if not data:
                os.close(target)
                return
            while data:
                data = data[os.write(target, data):]
    threading.Thread(target=write, daemon=True).start()
    data = b"-"
    while data:
        data = os.read(source, 1 << 16)
        with come:
            waiting.append((time.monotonic() + late, data))
            come.notify()
threading.Thread(target=carry, args=(0, child.stdin.fileno()), daemon=True).start()
carry(child.stdout.fileno(), 1)
child.wait()
time.sleep(late + 0.2)
"""
ENGINE = """
import sys, time
from pathlib import Path
from napari_diffseg.events import Stepped
from napari_diffseg.remote import outbox, relay
log = open(sys.argv[1], "a", buffering=1)
tell = outbox.Outbox.tell
def timed(self, run, event):
    if isinstance(event, Stepped) and event.preview is not None:
        log.write(f"{event.done} {time.time()}\\n")
    tell(self, run, event)
outbox.Outbox.tell = timed
relay.serve_stdio(folder=Path(sys.argv[2]))
"""


@dataclass(frozen=True)
class Slow(Computer):
    """An engine here, at the end of a slow pipe."""

    late_s: float = 0.0
    log: str = ""
    store: str = ""

    def words(self) -> list[str]:
        """The pipe, and the engine behind it."""
        return [sys.executable, "-c", PIPE, str(self.late_s), sys.executable, "-c", ENGINE, self.log, self.store]


def measure(round_trip_s: float, request: SegmentRequest) -> dict[str, float]:
    """One run over a link of that round trip, and the same once more, when images and checkpoint are there."""
    case = read_case(demo_case_folder())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        computer = Slow(late_s=round_trip_s / 2, log=str(log), store=str(Path(folder) / "store"))
        segmenter = RemoteSegmenter(computer, "demo", beside_viewer=True)
        try:
            list(segmenter.segment(case, request))
            link = segmenter.link
            assert link is not None
            first = link.sent, link.received
            arrived = {}
            log.write_text("")
            began = time.monotonic()
            for event in segmenter.segment(case, request):
                if isinstance(event, Stepped) and event.preview is not None:
                    arrived[event.done] = time.time()
            seconds = time.monotonic() - began
            second = link.sent - first[0], link.received - first[1]
        finally:
            segmenter.close()
        made = {int(done): float(at) for done, at in (line.split() for line in log.read_text().splitlines())}
    ages = [1000 * (at - made[done]) for done, at in arrived.items() if done in made]
    return {
        "round_trip_ms": 1000 * round_trip_s,
        "first_run_sent_MB": first[0] / 1e6,
        "first_run_received_MB": first[1] / 1e6,
        "next_run_sent_MB": second[0] / 1e6,
        "next_run_received_MB": second[1] / 1e6,
        "previews_made": len(made),
        "previews_arrived": len(arrived),
        "preview_age_ms": median(ages),
        "preview_age_ms_highest": max(ages),
        "seconds": seconds,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--round-trips-ms", type=float, nargs="+", default=[0.0, 20.0, 100.0])
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--slices", default="66:78")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "remote.json")
    given = parser.parse_args()
    request = SegmentRequest(members=given.members, slices=given.slices, device="cpu", stop_early="off")
    case = read_case(demo_case_folder())
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
        "versions": {name: package_version(name) for name in ("napari-diffseg", "torch", "numpy")},
        "case_MB": sum(volume.data.nbytes for volume in case.volumes.values()) / 1e6,
        "members": given.members,
        "slices": given.slices,
        "rows": [measure(ms / 1000, request) for ms in given.round_trips_ms],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
