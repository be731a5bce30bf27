"""What a command tells whoever started it: its exit code, and what was wrong with the question.

A node that a handler holds up for too long ends with a code of its own, `runtime.watchdog.STUCK`.
"""

FINE, NO, WRONG, CRASHED = 0, 1, 2, 3
INTERRUPTED = 130


class Wrong(Exception):
    """The question was wrong: the text says what to change. Ends the program with exit code 2."""
