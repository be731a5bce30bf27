"""Runs a command for as long as somebody holds the other end of its stdin: a demo that is killed takes its agents along.

Started as the first process of a group of its own; ending means the whole group, with whatever the command has started.
"""

import os
import signal
import subprocess
import sys
import threading


def watch() -> None:
    """Ends the group when nobody holds on to it any more."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Runs the command, and returns its exit code."""
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=watch, daemon=True).start()
    return running.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
