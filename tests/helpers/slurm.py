"""A Slurm of two nodes on this machine, without accounting: on Debian, as root, after

apt-get install --no-install-recommends slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "squeue", "srun")
CONFIGURATION = """ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=7817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=30
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[7821-7822] CPUs=2 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str | None:
    """Return why there can be none here, None if there can."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


def wait_until(found: Callable[[], object], seconds: float = 300) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.5)


def run(*command: str) -> str:
    """Run a command, and return what it says."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Cluster:
    """A controller and the nodes `n1` and `n2`; commands find it by SLURM_CONF."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "slurm.conf"

    def __enter__(self) -> "Cluster":
        for name in ("state", "spool/n1", "spool/n2"):
            (self.folder / name).mkdir(parents=True)
        text = CONFIGURATION.format(folder=self.folder, host=socket.gethostname().split(".")[0])
        self.configuration.write_text(text)
        os.environ["SLURM_CONF"] = str(self.configuration)
        os.environ["PATH"] += f"{os.pathsep}/usr/sbin"
        if subprocess.run(["pgrep", "-x", "munged"], stdout=subprocess.DEVNULL).returncode != 0:
            run("install", "-d", "-m", "0755", "-o", "munge", "-g", "munge", "/run/munge")
            run("runuser", "-u", "munge", "--", "/usr/sbin/munged")
        subprocess.run(["slurmctld"], check=True)
        for node in ("n1", "n2"):
            self.start(node)
        wait_until(lambda: run("sinfo", "-h", "-N", "-o", "%t").count("idle") == 4)
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run(["scancel", "--user=root"], check=False)
        for name in ("n1", "n2", "slurmctld"):
            self._end(name, signal.SIGTERM)

    def start(self, node: str) -> None:
        """Start a node."""
        subprocess.run(["slurmd", "-N", node], check=True)

    def kill(self, node: str) -> None:
        """Let a node go, with all that it runs: who watches over its jobs first."""
        jobs = run("squeue", "--noheader", f"--nodelist={node}", "--format=%A").split()
        self._end(node, signal.SIGKILL)
        watchers = tuple(f"slurmstepd: [{job}.".encode() for job in jobs)
        marks = [f"SLURM_JOB_ID={job}\0".encode() for job in jobs]
        for is_of_node in (
            lambda process: (process / "cmdline").read_bytes().startswith(watchers),
            lambda process: any(it in (process / "environ").read_bytes() for it in marks),
        ):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):  # it has ended
                    if is_of_node(process):
                        os.kill(int(process.name), signal.SIGKILL)

    def node_of(self, job: str) -> str:
        """Return the node that a job runs on, `` if it waits."""
        return run("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%N").strip()

    def _end(self, name: str, number: int) -> None:
        path = self.folder / f"{name}.pid"
        if path.exists():
            os.kill(int(path.read_text()), number)
            path.unlink(missing_ok=True)
            time.sleep(1)
