"""What a child process says, passed on to our stderr at once, and its last lines remembered."""

import os
import sys
import threading
from collections import deque
from contextlib import suppress

REMEMBERED = 20
PATIENCE_SECONDS = 1.0


class Echo:
    """The child writes to `descriptor`, which is to be closed here once it has it."""

    def __init__(self) -> None:
        self._read, self.descriptor = os.pipe()
        self._lines: deque[str] = deque(maxlen=REMEMBERED)
        self._thread = threading.Thread(target=self._pass_on, name="dtsched-echo", daemon=True)
        self._thread.start()

    def last_lines(self, count: int) -> str:
        """Of a child that has ended: its last words may be on their way, and a child of its own may go on talking."""
        self._thread.join(PATIENCE_SECONDS)
        return "\n".join(list(self._lines)[-count:])

    def _pass_on(self) -> None:
        with open(self._read, "rb") as said:
            for line in said:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                with suppress(OSError, ValueError):  # nobody reads ours any more: the child must not wait for that
                    sys.stderr.buffer.write(line)
                    sys.stderr.flush()
