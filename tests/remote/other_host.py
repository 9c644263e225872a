"""Another host on this machine: a network namespace with an OpenSSH server of its own, and a relay to slow the way."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import napari_diffseg
from napari_diffseg.remote.computer import Computer

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
SOURCE = Path(napari_diffseg.__file__).parents[1]
_NUMBERS = itertools.count(1)


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


def why_not() -> str:
    """Why there can be no other host here; empty where there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, for a network namespace"
    if SSHD is None or shutil.which("ssh") is None or shutil.which("ip") is None:
        return "needs an OpenSSH server and client, and ip"
    name = f"ndst{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return "network namespaces cannot be made here"
    return ""


class OtherHost:
    """A namespace at the other end of a cable, with a server; `cut` and `mend` pull and plug the cable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        number = (os.getpid() * 8 + next(_NUMBERS)) % 16000
        self._name, self._near, self._far = f"ndst{number}", f"nda{number}", f"ndb{number}"
        third, fourth = divmod(number * 4, 256)
        self.near_address, self.address = f"10.213.{third}.{fourth + 1}", f"10.213.{third}.{fourth + 2}"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OtherHost:
        self._plug_in()
        self._write_keys()
        Path("/run/sshd").mkdir(exist_ok=True)
        log = (self.folder / "sshd.log").open("wb")
        config = str(self.folder / "sshd_config")
        words = ["ip", "netns", "exec", self._name, str(SSHD), "-D", "-e", "-f", config]
        self._server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=10)
        subprocess.run(["ip", "link", "del", self._near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self._name], check=False, capture_output=True)

    def _plug_in(self) -> None:
        run("ip", "netns", "add", self._name)
        run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far)
        run("ip", "link", "set", self._far, "netns", self._name)
        run("ip", "addr", "add", f"{self.near_address}/30", "dev", self._near)
        run("ip", "link", "set", self._near, "up")
        inside = ("ip", "netns", "exec", self._name, "ip")
        run(*inside, "addr", "add", f"{self.address}/30", "dev", self._far)
        run(*inside, "link", "set", self._far, "up")
        run(*inside, "link", "set", "lo", "up")

    def _write_keys(self) -> None:
        for name in ("host_key", "user_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"other {kind} {key}\n")
        (self.folder / "sshd_config").write_text(
            f"ListenAddress {self.address}\nPort 2222\nHostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nClientAliveInterval 5\nClientAliveCountMax 3\n"
        )

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 2222), timeout=1) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def computer(self, *, port: int | None = None, known: str = "known_hosts", command: str | None = None) -> Computer:
        """This host for a segmenter; by way of a relay at a port of this machine, where one is given."""
        config = self.folder / f"ssh_config_{port or 'direct'}_{known}"
        config.write_text(
            f"Host other\n HostName {self.address if port is None else '127.0.0.1'}\n Port {port or 2222}\n"
            f" HostKeyAlias other\n User root\n IdentityFile {self.folder}/user_key\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {self.folder}/{known}\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n"
        )
        there = command or (
            f"env PYTHONPATH={SOURCE} OMP_NUM_THREADS=1 XDG_CACHE_HOME={self.folder}/cache "
            f"XDG_RUNTIME_DIR={self.folder}/run {sys.executable} -m napari_diffseg"
        )
        return Computer("other", there, ("-F", str(config)))

    @property
    def pid(self) -> int:
        """Of its SSH server."""
        assert self._server is not None  # while it is there
        return self._server.pid

    def cut(self) -> None:
        """Pull the cable."""
        run("ip", "link", "set", self._near, "down")

    def mend(self) -> None:
        """Plug it in again."""
        run("ip", "link", "set", self._near, "up")


class Relay:
    """Passes on what comes to a port of this machine, later, and now and then much later, as after a lost packet."""

    def __init__(self, address: str, *, delay_s: float, loss: float = 0.0, port: int = 2222) -> None:
        self._to, self._delay_s, self._loss = (address, port), delay_s, loss
        self._random = random.Random(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._ends += near, far
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        come = threading.Condition()

        def write() -> None:
            while True:
                with come:
                    come.wait_for(lambda: bool(waiting))
                    at, data = waiting.popleft()
                time.sleep(max(0.0, at - time.monotonic()))
                try:
                    if not data:
                        target.shutdown(socket.SHUT_WR)
                        return
                    target.sendall(data)
                except OSError:
                    return

        threading.Thread(target=write, daemon=True).start()
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 14)
            except OSError:
                data = b""
            late = 0.2 + 2 * self._delay_s if self._random.random() < self._loss else 0.0  # sent anew after a time-out
            with come:
                at = max(time.monotonic() + self._delay_s + late, waiting[-1][0] if waiting else 0.0)
                waiting.append((at, data))
                come.notify()
