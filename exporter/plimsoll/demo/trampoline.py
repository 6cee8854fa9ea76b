"""Becomes another program, which then ends together with the process that started it.

`processes.command_line` runs this file as a script: what it does must happen in the new process, and between
fork and exec no Python is safe in a process that has threads. It needs the standard library only.

    trampoline.py SIGNAL PARENT USER PROGRAM [ARGUMENT…]

SIGNAL is what the program gets when its parent ends, PARENT the parent's process id, USER `uid:gid` or empty.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main(death_signal: str, parent: str, user: str, *command: str) -> None:
    """Give up root if asked to, arrange for the death signal, and execute the command."""
    if user:
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, for the kernel drops the death signal with it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its program started")
    try:
        os.execvp(command[0], command)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
