"""Kill what a run on another computer is made of at random moments, and compare with an undisturbed run.

    python scripts/kill_remote.py --kills 100 [--members 60] [--seed 0] [--work FOLDER] [--out RESULT.json]

The other computer is a network namespace with an OpenSSH server of its own (needs root on Linux). Killed are the
engine, the process that passes on what it says, the server's process of the login, `ssh` here, and the client; and the
cable is pulled. A run whose engine was killed, or whose client was, is resumed, as a person would. Every run must come
to its end with the bytes of the undisturbed one, no mask may come twice, and no process may be left behind.
"""

from __future__ import annotations

import argparse
import json
import platform
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from napari_diffseg.remote.answers import package_version

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / name) for name in ("", "remote")]

_HANG_S = 300.0
_OUTLIVE_S = 40.0
"""Of the engine of a client that was killed, so that the end of the last ones can be waited for."""
_KINDS = ("engine", "relay", "relay", "login", "ssh", "ssh", "client", "cable")
_STOP = "stop"


def ask(folder: Path, computer: dict[str, Any], *, members: int) -> None:
    """The client: one run after another until it is told to stop; prints what happens, a word a line."""
    from napari_diffseg.errors import EngineFailed
    from napari_diffseg.events import Sampled, SegmentRequest
    from napari_diffseg.imaging.case import read_case
    from napari_diffseg.remote.computer import Computer
    from napari_diffseg.remote.segmenter import RemoteSegmenter
    from napari_diffseg.runs.keep import keep_run
    from napari_diffseg.runs.run_folder import RunFolder

    case = read_case(folder / "case")
    request = SegmentRequest(device="cpu", members=members, threads=1, reproducible=True)
    options = tuple(computer.pop("ssh_options"))
    there = Computer(**computer, ssh_options=options, outlive_s=_OUTLIVE_S)
    segmenter = RemoteSegmenter(there, folder / "tiny.safetensors", told=lambda text: _say(f"told {text}"))

    def sample(place: Path) -> None:
        run = RunFolder(place, case, segmenter.checkpoint(), request)
        rows: set[tuple[int, int]] = set()
        for event in keep_run(segmenter, run, resume=True):
            if isinstance(event, Sampled):
                new = {(event.member, s) for s in event.slices}
                if rows & new:
                    _say("doubled")
                rows |= new
                _say("mask")
        (place / "done").write_text("")
        _say("run")

    while not (folder / _STOP).exists():
        number = len(list((folder / "runs").glob("*/done")))
        try:
            sample(folder / "runs" / f"{number:04}")
        except EngineFailed as err:
            _say(f"failed {err}")
    segmenter.close()
    _say("end")


def _say(text: str) -> None:
    print(text, flush=True)


@dataclass
class Trial:
    """Runs that are disturbed, and what came of it."""

    work: Path
    host: Any
    words: list[str]
    random: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    clients: int = 0

    def disturb(self, most: int) -> None:
        """Kill until so many kills have happened, then let the last run come to its end."""
        client = self._start()
        while sum(self.kills.values()) < most and not self.hung:
            self._listen(client, self.random.uniform(0.3, 3.0), until="mask")
            if self._strike(client):
                client = self._start()
            print(f"{sum(self.kills.values())} kills, {self.said['run']} runs", end="\r", file=sys.stderr)
        (self.work / _STOP).write_text("")
        self._listen(client, 0.0, until="end")
        client.wait(30)

    def _start(self) -> subprocess.Popen[str]:
        self.clients += 1
        log = (self.work / "clients.log").open("a")
        with log:
            client = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=log, text=True)
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._hear, args=(client, self._heard), daemon=True).start()
        return client

    def _hear(self, client: subprocess.Popen[str], heard: queue.SimpleQueue[str]) -> None:
        assert client.stdout is not None  # a pipe
        for line in client.stdout:
            word, _, text = line.strip().partition(" ")
            self.said[word] += 1
            if word in ("failed", "told"):
                self.sentences[f"{word}: {text[:90]}"] += 1
            heard.put(word)

    def _listen(self, client: subprocess.Popen[str], seconds: float, *, until: str) -> None:
        """Wait for a word of the client, and then so many seconds; what never comes is a hang."""
        deadline = time.monotonic() + _HANG_S
        word = ""
        while word != until:
            try:
                word = self._heard.get(timeout=1.0)
            except queue.Empty:
                if time.monotonic() > deadline or client.poll() is not None:
                    self.hung += 1
                    client.kill()
                    return
        time.sleep(seconds)
        while until == "mask" and not self._heard.empty():  # the next one is to come after the kill
            self._heard.get()

    def _strike(self, client: subprocess.Popen[str]) -> bool:
        """One kill; whether it was the client."""
        kind = self.random.choice(_KINDS)
        if kind == "cable":
            self.host.cut()
            time.sleep(self.random.choice((1.0, 4.0, 20.0)))
            self.host.mend()
        elif kind == "client":
            client.kill()
            client.wait()
        else:
            found = self._processes(kind, client)
            if not found:
                return False
            with suppress(psutil.Error):
                self.random.choice(found).kill()
        self.kills[kind] += 1
        return kind == "client"

    def _processes(self, kind: str, client: subprocess.Popen[str]) -> list[psutil.Process]:
        if kind == "ssh":
            return [child for child in psutil.Process(client.pid).children() if child.name() == "ssh"]
        if kind == "login":
            server = psutil.Process(self.host.pid).children(recursive=True)
            return [process for process in server if "sshd" in process.name()]
        return [process for process in self.there() if _kind(process) == kind]

    def there(self) -> list[psutil.Process]:
        """Processes of the other computer, by the folder of its cache."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("XDG_CACHE_HOME") == f"{self.host.folder}/cache" and _kind(process):
                    found.append(process)
        return found


def _kind(process: psutil.Process) -> str:
    words = process.cmdline()
    if "napari_diffseg.remote.engine_process" in words:
        return "engine"
    return "relay" if words[-2:] == ["engine", "--stdio"] and "python" in Path(words[0]).name else ""


def left_behind(trial: Trial) -> int:
    """Processes that are there though every client has ended, and the engines of those that were killed should have."""
    deadline = time.monotonic() + _OUTLIVE_S + 60
    while (left := trial.there()) and time.monotonic() < deadline:
        time.sleep(1)
    ways = [p for p in psutil.process_iter(["name", "cmdline"]) if p.info["name"] == "ssh"]
    return len(left) + sum(any(str(trial.work) in word for word in p.info["cmdline"] or []) for p in ways)


def run(kills: int, members: int, seed: int, work: Path) -> dict[str, Any]:
    """Disturb runs until so many kills have happened; what came of it."""
    from napari_diffseg.checkpoint import load_checkpoint
    from napari_diffseg.cohorts.digest import result_digest
    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.case import read_case
    from napari_diffseg.runs.keep import keep_run
    from napari_diffseg.runs.run_folder import RunFolder
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    builders = import_module("builders")
    checkpoint = load_checkpoint(builders.write_tiny_checkpoint(work / "tiny.safetensors"))
    case = read_case(builders.write_case(work / "case"))
    request = SegmentRequest(device="cpu", members=members, threads=1, reproducible=True)
    list(keep_run(LocalSegmenter(checkpoint), RunFolder(work / "undisturbed", case, checkpoint, request)))
    expected = result_digest(work / "undisturbed")
    (work / "host").mkdir()
    with import_module("other_host").OtherHost(work / "host") as host:
        there = host.computer()
        computer = {"host": there.host, "command": there.command, "ssh_options": there.ssh_options}
        words = [sys.executable, __file__, "--ask", json.dumps(computer), "--members", str(members)]
        trial = Trial(work, host, [*words, "--work", str(work)], random.Random(seed))
        trial.disturb(kills)
        left = left_behind(trial)
    runs = sorted((work / "runs").iterdir())
    whole = [place for place in runs if (place / "done").exists()]
    return {
        "kills": dict(trial.kills),
        "runs": len(whole),
        "members": members,
        "clients": trial.clients,
        "resumed_after_a_sentence": trial.said["failed"],
        "taken_up_again": sum(n for text, n in trial.sentences.items() if "its engine has gone on" in text),
        "sampled_by_a_new_engine": sum(n for text, n in trial.sentences.items() if "its engine has ended" in text),
        "lost": len(runs) - len(whole),
        "doubled": trial.said["doubled"],
        "wrong": sum(result_digest(place) != expected for place in whole),
        "hung": trial.hung,
        "left_behind": left,
        "sentences": dict(trial.sentences.most_common(20)),
    }


def main() -> int:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--members", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ask:
        ask(asked.work, json.loads(asked.ask), members=asked.members)
        return 0
    work = asked.work or Path(tempfile.mkdtemp(prefix="kill-remote-"))
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found = run(asked.kills, asked.members, asked.seed, work)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.platform(),
        "versions": {name: package_version(name) for name in ("napari-diffseg", "torch", "numpy")},
        **found,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(result, indent=2))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return int(any(result[key] for key in ("lost", "doubled", "wrong", "hung", "left_behind")))


if __name__ == "__main__":
    raise SystemExit(main())
