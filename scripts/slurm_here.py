"""A real SLURM of one machine, on loopback, in a temporary folder: for tests, as root, without accounting."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")

CONF = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=300
KillWait=30
MinJobAge=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr={address} CPUs={cpus} State=UNKNOWN
PartitionName=small Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace_s}
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
"""


def is_there() -> bool:
    """Whether a cluster can be started here."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


@dataclass
class SlurmHere:
    """A cluster: what its commands need in their environment, and its daemons."""

    folder: Path
    env: dict[str, str]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def start(self, name: str, *words: str) -> None:
        """Start a daemon, and give it a moment."""
        with (self.folder / f"{name}.out").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [name, *words], env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        time.sleep(1)

    def kill_controller(self) -> None:
        """As when its computer loses power: jobs go on, and nobody can be asked of them."""
        self._running["slurmctld"].kill()
        self._running["slurmctld"].wait()

    def start_controller(self) -> None:
        """Start it again, with what it has kept on disk."""
        self.start("slurmctld", "-D")

    def run(self, *words: str) -> str:
        """What a command of the cluster prints."""
        return subprocess.run(words, env=self.env, capture_output=True, text=True, check=True, timeout=60).stdout

    def stop(self) -> None:
        """End everything."""
        subprocess.run(["scancel", "--user=root"], env=self.env, check=False, capture_output=True, timeout=60)
        time.sleep(1)
        for process in reversed(self._running.values()):
            process.terminate()
        for process in reversed(self._running.values()):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def slurm_here(folder: Path, *, cpus: int = 2, address: str = "127.0.0.1", grace_s: int = 60) -> Iterator[SlurmHere]:
    """Within, a cluster runs. Jobs of its partition `urgent` pre-empt those of the other one, after a time of grace."""
    folder.mkdir(mode=0o755, parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    values = {"folder": folder, "host": socket.gethostname(), "address": address, "cpus": cpus, "grace_s": grace_s}
    conf.write_text(CONF.format(**values, port=free_port(), node_port=free_port()), "ascii")
    munge = ["--force", f"--key-file={key}", f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid"]
    munge += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    cluster = SlurmHere(folder, {**os.environ, "SLURM_CONF": str(conf)})
    try:
        cluster.start("munged", "--foreground", *munge)
        cluster.start("slurmctld", "-D", "-c")
        cluster.start("slurmd", "-D")
        wait_for_node(cluster.env)
        yield cluster
    finally:
        cluster.stop()


def wait_for_node(env: dict[str, str]) -> None:
    """Until the node takes jobs."""
    for _ in range(60):
        asked = subprocess.run(["sinfo", "-h", "-o", "%T"], env=env, capture_output=True, text=True, check=False)
        if "idle" in asked.stdout:
            return
        time.sleep(1)
    raise TimeoutError(f"the node does not come up: {asked.stdout} {asked.stderr}")


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
