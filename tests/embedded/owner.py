"""A process that owns a server: says which on standard output, and leaves at the end of its standard input.

owner.py temporary BASE | shared DATA_DIR | visits DATA_DIR COUNT
"""

import json
import sys
from pathlib import Path

from dtsched import embedded


def main(kind: str, folder: str, count: str = "1") -> None:
    if kind == "visits":
        for _ in range(int(count)):
            with embedded.shared(Path(folder)) as cluster:
                assert cluster.pid
        return
    owned = embedded.temporary(base=Path(folder)) if kind == "temporary" else embedded.shared(Path(folder))
    with owned as cluster:
        print(json.dumps({"dsn": cluster.dsn, "pid": cluster.pid, "data_dir": str(cluster.data_dir)}), flush=True)
        sys.stdin.read()


main(*sys.argv[1:])
