"""A PgBouncer in transaction mode before a run's server, as Debian's package `pgbouncer` brings it."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dtsched.embedded.binaries import server_user

_PLACES = ("/usr/sbin", "/usr/local/sbin")
_START_SECONDS = 10.0

_SETTINGS = """\
[databases]
* = host={host} port={port}
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
admin_users = {user}
max_client_conn = 2000
default_pool_size = {size}
ignore_startup_parameters = {ignored}
server_login_retry = 1
log_connections = 0
log_disconnections = 0
log_stats = 0
"""


def program() -> str | None:
    """Debian puts it where only root's PATH leads."""
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES]))


class PgBouncer:
    """`dsn` leads through it and stays the same over restarts. `ignored` are the startup parameters that it accepts
    and does nothing with; it refuses others that it does not know."""

    def __init__(self, folder: Path, server: str, *, size: int = 20, ignored: str = "") -> None:
        given = conninfo_to_dict(server)
        self._folder = folder
        self._user = server_user(folder / "data")  # as the server does, it refuses to run as root
        port = _free_port()
        self.dsn = make_conninfo(server, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        settings = _SETTINGS.format(
            host=given["host"],
            port=given["port"],
            listen_port=port,
            folder=folder,
            user=given["user"],
            size=size,
            ignored=ignored,
        )
        self._write("pgbouncer.ini", settings)
        self._write("users.txt", f'"{given["user"]}" "{given["password"]}"\n')
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Returns when it takes connections; no effect when it does already."""
        if self.pid is not None:
            return
        found = program()
        if found is None:
            raise FileNotFoundError("pgbouncer")
        user, group = self._user or (None, None)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [found, str(self._folder / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            if self.pid is None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {(self._folder / 'log').read_text()[-500:]}")
            time.sleep(0.01)

    def reload(self) -> None:
        """Reads its settings anew; nobody notices."""
        self._signal(signal.SIGHUP)

    def stop(self) -> None:
        """At once: the connections through it are cut."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._signal(number)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        if self._user is not None:
            os.chown(path, *self._user)


@contextmanager
def pgbouncer(server: str, *, size: int = 20, ignored: str = "") -> Generator[PgBouncer]:
    """One that runs, and is gone in the end."""
    with TemporaryDirectory(prefix="dtsched-pgbouncer-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            folder.chmod(0o755)
        pooler = PgBouncer(folder, server, size=size, ignored=ignored)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.kill()


def _free_port() -> int:
    """Below those that Linux hands out by itself: somebody might get it while PgBouncer is away."""
    for port in random.sample(range(20000, 32000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
