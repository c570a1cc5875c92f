"""``python container.py CGROUP OOM_SCORE_ADJ FOLDER PROGRAM ...``: runs a program as process 1 of a memory cgroup.

Ends as a container runtime would report it: with the program's exit code, or 128 and the signal's number.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1


def main(cgroup: str, score: str, folder: str, *program: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "unshare")
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path(cgroup, "cgroup.procs").write_text("0")
        Path("/proc/self/oom_score_adj").write_text(score)
        os.chdir(folder)
        os.execv(program[0], program)
    # The pipes belong to the program alone.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
