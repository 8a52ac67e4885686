"""The machine that a benchmark ran on, and what its processes used. Linux only."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20


@dataclass(frozen=True)
class Cores:
    """Which cores the program under test has for itself, and which the servers around it share."""

    tested: tuple[int, ...]
    others: tuple[int, ...]

    @classmethod
    def of(cls, count: int) -> "Cores":
        """So many cores for the program under test."""
        every = sorted(os.sched_getaffinity(0))
        return cls(tuple(every[:count]), tuple(every[count:] or every))


def describe() -> dict[str, str]:
    """What a reader needs to judge figures by."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if "model name" in line), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("faust-streaming", "aiokafka", "msgspec", "numpy")},
    }


def pin(pid: int, cores: tuple[int, ...]) -> None:
    """Let a process, with all its threads, run on these cores only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its descendants have used, user and system."""
    total = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_mib(pid: int) -> float:
    """Resident memory of a process and its descendants."""
    return sum(_status_kib(one, "VmRSS") for one in family(pid)) * 1024 / _MIB


def peak_mib(pid: int) -> float:
    """The most that was ever resident, of each process alone."""
    return sum(_status_kib(one, "VmHWM") for one in family(pid)) * 1024 / _MIB


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0
