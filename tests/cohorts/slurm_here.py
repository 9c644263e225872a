"""A real SLURM of one machine, on loopback, in a temporary folder: for tests, as root, without accounting."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
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
SlurmctldPort={controller}
SlurmdPort={daemon}
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
NodeName={host} NodeAddr={address} CPUs={cpus} State=UNKNOWN
PartitionName=small Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def is_there() -> bool:
    """Whether a cluster can be started here."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


@contextmanager
def slurm_here(folder: Path, *, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Within, a cluster runs; what its commands need in their environment."""
    folder.mkdir(mode=0o755, parents=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    values = {"folder": folder, "host": socket.gethostname(), "address": "127.0.0.1", "cpus": cpus}
    conf.write_text(CONF.format(**values, controller=free_port(), daemon=free_port()), "ascii")
    env = {**os.environ, "SLURM_CONF": str(conf)}
    munge = ["--force", f"--key-file={key}", f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid"]
    munge += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for words in (["munged", "--foreground", *munge], ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            log = (folder / f"{words[0]}.out").open("wb")
            running.append(subprocess.Popen(words, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
            log.close()
            time.sleep(1)
        wait_for_node(env)
        yield env
    finally:
        subprocess.run(["scancel", "--user=root"], env=env, check=False, capture_output=True, timeout=60)
        time.sleep(1)
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


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
