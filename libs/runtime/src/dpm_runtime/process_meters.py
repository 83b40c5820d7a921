"""What every service says of its own process, by the semantic conventions for process metrics."""

import time
from collections.abc import Iterable, Mapping

import psutil

from dpm_runtime.meters import Kind, observed

_process = psutil.Process()


def _cpu() -> Iterable[tuple[float, Mapping[str, str]]]:
    times = _process.cpu_times()
    return [(times.user, {"cpu.mode": "user"}), (times.system, {"cpu.mode": "system"})]


def _memory() -> Iterable[tuple[float, Mapping[str, str]]]:
    return [(_process.memory_info().rss, {})]


def _descriptors() -> Iterable[tuple[float, Mapping[str, str]]]:
    return [(_process.num_fds(), {})]


def _threads() -> Iterable[tuple[float, Mapping[str, str]]]:
    return [(_process.num_threads(), {})]


def _uptime() -> Iterable[tuple[float, Mapping[str, str]]]:
    return [(time.time() - _process.create_time(), {})]


def declare_all() -> None:
    """Declare and observe all of them, in this process."""
    observed(
        "process.cpu.time",
        Kind.COUNTER,
        "s",
        "processor time of the process",
        _cpu,
        cpu__mode="`user` or `system`",
    )
    observed("process.memory.usage", Kind.GAUGE, "By", "resident memory of the process", _memory)
    observed("process.uptime", Kind.GAUGE, "s", "since the process began", _uptime)
    observed(
        "process.unix.file_descriptor.count", Kind.GAUGE, "{file_descriptor}", "open descriptors", _descriptors
    )
    observed("process.thread.count", Kind.GAUGE, "{thread}", "threads of the process", _threads)
