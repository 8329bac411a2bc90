"""Limits on the memory of a process: a memory cgroup, otherwise RLIMIT_DATA. A trial shows that the limit is imposed."""

import os
import resource

PLACES = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory cgroup v1"),
    ("/sys/fs/cgroup", "memory.max", "memory cgroup v2"),
]
# The memory that a trial process uses beyond the limit.
BEYOND_BYTES = 64 << 20
GOT_THE_MEMORY = 7


def is_imposed(enter, limit_bytes):
    """Returns whether a process that enters the limit cannot use more memory than the limit."""
    child = os.fork()
    if child == 0:
        try:
            enter()
            memory = bytearray(limit_bytes + BEYOND_BYTES)
            os._exit(GOT_THE_MEMORY if memory else 0)
        except (MemoryError, OSError):
            pass
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == GOT_THE_MEMORY)


class MemoryLimit:
    """The strictest memory limit that the kernel and the permissions allow, or none."""

    cgroups_allowed = True

    def __init__(self, limit_mib):
        self.bytes, self.group = limit_mib << 20, None
        self.enter, self.how = lambda: None, "no memory limit"
        places = PLACES if self.cgroups_allowed else []
        if any(self.make_group(*place) for place in places):
            return
        if is_imposed(self.enter_data_limit, self.bytes):
            self.enter, self.how = self.enter_data_limit, f"no memory cgroup, RLIMIT_DATA {limit_mib} MiB (setrlimit)"

    def make_group(self, root, file, kind):
        """Makes a group, and keeps it if the kernel imposes its limit. The trial has a group of its own, because its use counts."""
        for purpose in ("trial", "bridge"):
            group = os.path.join(root, f"imprint-attack-{os.getpid()}-{purpose}")
            try:
                os.mkdir(group)
                with open(os.path.join(group, file), "w") as limit:
                    limit.write(str(self.bytes))
            except OSError:
                remove(group)
                return False
            if purpose == "trial":
                imposed = is_imposed(lambda group=group: enter_group(group), self.bytes)
                remove(group)
                if not imposed:
                    return False
        self.group, self.enter, self.how = group, lambda: enter_group(group), f"{kind}, {self.bytes >> 20} MiB"
        return True

    def enter_data_limit(self):
        resource.setrlimit(resource.RLIMIT_DATA, (self.bytes, self.bytes))

    def peak_mib(self):
        """Returns the most memory that the group ever used, or None without a group."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            try:
                with open(os.path.join(self.group, name)) as file:
                    return int(file.read()) >> 20
            except (OSError, TypeError):
                pass
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        if self.group:
            remove(self.group)


def enter_group(group):
    with open(os.path.join(group, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))


def remove(group):
    try:
        os.rmdir(group)
    except OSError:
        pass
