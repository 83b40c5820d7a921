"""What every service says of its own process, by the semantic conventions for process metrics."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import psutil

from dpm_runtime.meters import Kind, observed

Values = Iterable[tuple[float, Mapping[str, str]]]

_cpu = observed(
    "process.cpu.time", Kind.COUNTER, "s", "processor time of the process", cpu__mode="`user` or `system`"
)
_memory = observed("process.memory.usage", Kind.GAUGE, "By", "resident memory of the process")
_uptime = observed("process.uptime", Kind.GAUGE, "s", "time since the process began")
_descriptors = observed(
    "process.unix.file_descriptor.count", Kind.GAUGE, "{file_descriptor}", "open descriptors of the process"
)
_threads = observed("process.thread.count", Kind.GAUGE, "{thread}", "threads of the process")


@contextmanager
def observing_process() -> Iterator[None]:
    """Show them, of this process, for as long as the context lasts."""
    process = psutil.Process()
    begun = process.create_time()

    def cpu() -> Values:
        times = process.cpu_times()
        return [(times.user, {"cpu.mode": "user"}), (times.system, {"cpu.mode": "system"})]

    with ExitStack() as observers:
        observers.enter_context(_cpu.by(cpu))
        observers.enter_context(_memory.by(lambda: [(process.memory_info().rss, {})]))
        observers.enter_context(_uptime.by(lambda: [(time.time() - begun, {})]))
        observers.enter_context(_descriptors.by(lambda: [(process.num_fds(), {})]))
        observers.enter_context(_threads.by(lambda: [(process.num_threads(), {})]))
        yield
