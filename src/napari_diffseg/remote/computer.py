"""Which computer an engine is started on, by which command, and what is wrong where that fails, in one sentence."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from typing import Final

from napari_diffseg.errors import BadRequest, EngineFailed

PROGRAM: Final = "napari-diffseg"
"""The command on another computer, unless told otherwise."""
_ENGINE: Final = ("engine", "--stdio")
_SSH: Final = (
    "-T",
    *("-o", "BatchMode=yes"),  # nobody is there to type: keys, agents and connections that are open already count
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),
)
_HOST: Final = re.compile(r"(ssh://)?[A-Za-z0-9_%+.\[][A-Za-z0-9_%+.@:\[\]-]*")
OUTLIVE_S: Final = 600.0
"""How long an engine goes on without its client, unless told otherwise."""
MOST_OUTLIVE_S: Final = 86_400.0
LINK_GONE: Final = 75
"""Exit code of the command that is spoken with where the engine goes on without it."""
_NOT_FOUND: Final = 127
_SSH_FAILED: Final = 255
_RELAY_GONE: Final = (LINK_GONE, _SSH_FAILED)
_LINES: Final = 3

_SSH_REASONS: Final = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "it shows another host key than before: if it was installed anew, remove its old key "
        "(ssh-keygen -R {host}); if not, somebody may be in between",
    ),
    (
        "Host key verification failed",
        "its host key is not known here: log in once with ssh {host} in a terminal, and confirm the key",
    ),
    (
        "Permission denied",
        "it refuses the login: log in once with ssh {host} in a terminal; without a password, by a key or an agent, "
        "it must work there",
    ),
    (
        "Too many authentication failures",
        "it refuses the login after too many keys: name the right one for {host} in ~/.ssh/config",
    ),
    ("Could not resolve hostname", "there is no computer of that name: check the name, or the VPN"),
    ("Connection refused", "no SSH server answers there: ask for it to be started, or check the port"),
    ("timed out", "it does not answer: check that it is switched on, and the VPN"),
    ("No route to host", "it cannot be reached from here: check the network, or the VPN"),
    ("Network is unreachable", "this computer has no network"),
)


_JOB_REASONS: Final = (
    ("DUE TO TIME LIMIT", "the time of its job was up: ask for more"),
    ("DUE TO PREEMPTION", "another job has taken the place of its own"),
    ("DUE TO NODE FAILURE", "the node of its job has failed"),
    ("oom_kill", "the memory of its job ran out: ask for more"),
    ("oom-kill", "the memory of its job ran out: ask for more"),
    ("CANCELLED AT", "its job was cancelled"),
)
"""What SLURM says of a job that it ends, through srun."""
_JOB_WAITS: Final = re.compile(r"srun: (?:job|Job) (\d+) (queued and waiting|has been allocated)")


class LinkLost(EngineFailed):
    """The link to another computer was lost after its engine had answered."""


_LOST: Final = (
    "Timeout, server",
    "Broken pipe",
    "Connection reset",
    "closed by remote",
    "client_loop",
    "timed out",
)
"""What `ssh` says of a connection that it had."""


@dataclass(frozen=True, slots=True)
class Computer:
    """Where an engine runs.

    Attributes
    ----------
    host : str or None
        `user@host`, a name of `~/.ssh/config`, or `ssh://user@host:port`; None for another process on this computer.
    command : str
        What starts napari-diffseg there, such as `/opt/envs/seg/bin/napari-diffseg`, or, on the login node of a
        cluster, `srun --gres=gpu:1 napari-diffseg`; a shell there reads it. On this computer it is not read by a shell,
        and by default this Python starts it.
    ssh_options : tuple of str
        Further words for `ssh`, such as `-F`, `config`.
    outlive_s : float
        How long a run goes on there when the link is lost, and how long it is tried to reach the computer again.
        0: a lost link is the end of the run. Without effect on this computer, where no link can be lost.

    Raises
    ------
    BadRequest
        If the host's name is none, or the time is not within a day.
    """

    host: str | None = None
    command: str = PROGRAM
    ssh_options: tuple[str, ...] = ()
    outlive_s: float = OUTLIVE_S

    def __post_init__(self) -> None:
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise BadRequest(f"{self.host!r} is no name of a computer: give user@host, or a name of ~/.ssh/config.")
        if not self.command.strip() or not self.command.isprintable():
            raise BadRequest("The command that starts the engine there is empty: give napari-diffseg, or its path.")
        if not 0 <= self.outlive_s <= MOST_OUTLIVE_S:
            raise BadRequest(
                f"A run cannot go on for {self.outlive_s:g} s without its link: give 0 to {MOST_OUTLIVE_S:.0f} (a day)."
            )

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        return "another process on this computer" if self.host is None else self.host

    def words(self) -> list[str]:
        """The command that starts the engine and speaks with it over its standard streams.

        Raises
        ------
        EngineFailed
            If this computer has no `ssh`.
        """
        if self.host is None:
            return [*self._words_here(), *_ENGINE]
        return self._words_there(f"{self.command} {shlex.join(_ENGINE)}")

    def words_to_cancel(self, job: str) -> list[str]:
        """What cancels the job that `srun` has asked for there: it does not notice that nobody waits for it any more.

        Raises
        ------
        EngineFailed
            If this computer has no `ssh`.
        """
        return self._words_there(f"{self.command.partition('srun')[0]}scancel {shlex.quote(job)}")

    def _words_there(self, command: str) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise EngineFailed(
                f"This computer has no ssh, with which {self.host} would be reached: install an OpenSSH client."
            )
        return [ssh, *_SSH, *self.ssh_options, "--", str(self.host), command]

    def waits(self, line: str) -> tuple[str, str]:
        """The engine's job and what it waits for, where a printed line says so; two empty texts otherwise."""
        found = _JOB_WAITS.search(line)
        if found is None:
            return "", ""
        job, state = found.groups()
        where = "" if self.host is None else f" on {self.host}"
        if state.startswith("queued"):
            return job, f"Waiting for the job to start: job {job}{where} is queued…"
        return job, f"Starting the engine: job {job}{where} has begun…"

    def _words_here(self) -> list[str]:
        if self.command == PROGRAM:
            return [sys.executable, "-m", "napari_diffseg"]
        try:
            return shlex.split(self.command)
        except ValueError as err:
            raise EngineFailed(f"{self.command} cannot be read as a command ({err}): mend its quotes.") from err

    def explain(self, code: int | None, printed: str, *, answered: bool, outlives: bool = False) -> EngineFailed:
        """Why the engine is not there any more.

        Parameters
        ----------
        code : int or None
            With which the command ended; None where it still runs.
        printed : str
            The last lines that it printed to standard error.
        answered : bool
            Whether the engine had answered before.
        outlives : bool
            Whether it is a process that goes on without the one that is spoken with.
        """
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        last = " / ".join(line[:200] for line in lines[-_LINES:])
        if self.host is not None:
            for sign, reason in _SSH_REASONS if code == _SSH_FAILED and not answered else ():
                if sign in printed:
                    return _sentence(f"{self.host} cannot be used: {reason.format(host=self.host)}")
            lost = code is None or code < 0 or any(sign in printed for sign in _LOST)
            if answered and (lost or (outlives and code in _RELAY_GONE)):
                return LinkLost(f"The link to {self.host} was lost{_told(last)}: check the network, and go on.")
            if code == _SSH_FAILED and not answered:
                return _sentence(f"{self.host} cannot be reached{_told(last)}")
            if code == _NOT_FOUND and not answered:
                return _sentence(
                    f"{self.host} has no command {self.command!r}: install napari-diffseg there, or give the path of "
                    "its command"
                )
            if not answered and any(sign in printed.lower() for sign in ("unrecognized", "unknown command")):
                return _sentence(f"The napari-diffseg on {self.host} is too old to serve runs: update it there")
        where = "The engine" if self.host is None else f"The engine on {self.host}"
        if answered and (reason := next((reason for sign, reason in _JOB_REASONS if sign in printed), "")):
            return _sentence(f"{where} has ended, as {reason}; run again, or resume")
        if not answered:
            return _sentence(f"{where} did not start{_told(last)}")
        return _sentence(f"{where} has ended{_by(code)}{_told(last)}: run again, or resume")


def parse_computer(text: str, *, command: str = PROGRAM, ssh_options: tuple[str, ...] = ()) -> Computer:
    """The computer that a word names: `process` for another process here, else `user@host`, also as `ssh:user@host`.

    Raises
    ------
    BadRequest
        If it names none.
    """
    word = text.strip()
    if word == "process":
        return Computer(None, command)
    host = word.removeprefix("ssh:") if not word.startswith("ssh://") else word
    return Computer(host, command, ssh_options)


def _by(code: int | None) -> str:
    """How a process ended; a shell tells of a signal as 128 more."""
    if code in (-9, 137, _SSH_FAILED):
        return ": it was killed, by a person or for want of memory"
    if code is not None and (code < 0 or code > 128):
        return f" by signal {-code if code < 0 else code - 128}"
    return "" if not code else f" with exit code {code}"


def _told(last: str) -> str:
    return f" ({last})" if last else ""


def _sentence(text: str) -> EngineFailed:
    return EngineFailed(f"{text}.")
