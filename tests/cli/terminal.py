"""Runs the command line on a terminal of a given size, whose keyboard is ours."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from tests.cli.command import COMMAND, environment
from tests.support.patience import PATIENCE_SECONDS

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`text` is all that was written, without colours and cursor movements."""

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self._raw = b""

    @property
    def text(self) -> str:
        return _ESCAPE.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def until(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self._read(), f"it ended before it said {words!r}: {self.text}"

    def end(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.text
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def interrupt(self) -> int:
        """Types Ctrl-C until it has ended: Python may not see one that comes just before it begins to read a line."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        typed_at = 0.0
        while self._read() or self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            if time.monotonic() - typed_at > 3:
                typed_at = time.monotonic()
                self.type("\x03")
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def _read(self) -> bool:
        """False once it has ended and all is read."""
        running = self.process.poll() is None
        if select.select([self._keyboard], [], [], 0.1 if running else 0)[0]:
            self._raw += os.read(self._keyboard, 65536)
            return True
        return running


@contextmanager
def terminal(
    *arguments: str, columns: int = 100, rows: int = 40, env: Mapping[str, str] | None = None
) -> Generator[Terminal]:
    """All three streams of the command are the terminal."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = environment(TERM="xterm-256color", **env or {})
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        variables.pop(name, None)
    # a session's first process that opens a terminal has its Ctrl-C
    shell = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(screen)]
    process = subprocess.Popen([*shell, *COMMAND, *arguments], env=variables, start_new_session=True)
    try:
        yield Terminal(process, keyboard)
    finally:
        process.kill()
        process.wait()
        os.close(screen)
        os.close(keyboard)


def on_terminal(*arguments: str, columns: int, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    with terminal(*arguments, columns=columns, env=env) as screen:
        return screen.end(), screen.text
