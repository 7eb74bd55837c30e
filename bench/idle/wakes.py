"""How often the threads of a process wake, and what memory it has."""

import pathlib

# As gRPC 1.51 names its threads. The rest have the program's name.
GRPC_THREADS = ("grpc_", "default-executo", "resolver-execut", "timer_manager", "event_engine", "nexting_thread")


def so_far(pid):
    """How often each thread has gone to sleep, by its number and name. A thread that wakes goes to sleep again."""
    counts = {}
    for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
        fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        counts[task.name, fields["Name"]] = int(fields["voluntary_ctxt_switches"])
    return counts


def since(pid, before):
    return {thread: count - before.get(thread, 0) for thread, count in so_far(pid).items()}


def own(woken):
    """Without gRPC's threads."""
    return {thread: count for thread, count in woken.items() if not thread[1].startswith(GRPC_THREADS)}


def resident_mib(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024
