"""Workers of a search end with the process that started them, however it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import os, time
from latmodel.search.executors import pool

if __name__ == "__main__":
    workers = pool("process", 2, 0)
    busy = [workers.executor.submit(time.sleep, 0.3) for _ in range(2)]
    [one.result() for one in busy]
    asleep = [workers.executor.submit(time.sleep, 60.0) for _ in range(2)]
    print(*workers.executor._processes, flush=True)
    time.sleep(60.0)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be buried does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes through /proc")
def test_a_killed_search_leaves_no_worker(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(alive, pids))
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20.0
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, pids))
