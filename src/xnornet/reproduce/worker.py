"""The process in which one of several runs is made: `python -m xnornet.reproduce.worker FD`.

It takes its job from an inherited socket and answers there. The socket closes when the process that asked ends, however
that ends; then this one ends as by SIGTERM, on which training saves its checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection

from ..errors import XnornetError
from ..extensions import import_extensions

__all__ = ["main"]


def main() -> None:
    """Make the run and answer with its rows, or with the error."""
    connection = Connection(int(sys.argv[1]))
    job, threads = connection.recv()
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    import torch

    from .training import make_run

    torch.set_num_threads(threads)
    try:
        import_extensions()
        answer: object = make_run(*job)
    except XnornetError as error:
        answer = error
    with contextlib.suppress(BrokenPipeError):  # nobody is there any more
        connection.send(answer)


def _end_with(connection: Connection) -> None:
    """Nothing more is sent to us: the socket can be read when its other end is closed."""
    connection.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
