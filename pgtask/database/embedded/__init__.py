"""A private PostgreSQL server that starts with the first client and stops after the last.

    from pgtask.database import embedded

    with embedded.start() as server:
        connect(server.url)

The parts, one file each:

    server      start, stop and status, as callers see them
    launcher    one start: choose binaries and identity, hand over to a keeper
    keeper      the detached process that owns the server and stops it in the end
    home        the directory that holds it all, and the names inside
    runtime     the short private directory for the socket
    locks       file locks, which the kernel drops with their holder
    control     the pipe on which a keeper listens
    postmaster  what PostgreSQL itself says about the server
    binaries    where PostgreSQL's programs come from
    identity    as whom they run, since PostgreSQL refuses root

Three locks in the home make it safe, however the processes die:

* Every client holds ``clients.lock`` shared. The keeper stops the server when it gets that lock
  alone, and keeps it to its end: a client that comes meanwhile waits, then starts the server anew.
* The keeper, PostgreSQL and all their children hold ``server.lock``, inherited from the client
  that launched them. It is free only when nothing of the server is left.
* Whoever starts or stops the server holds ``start.lock`` meanwhile.

If the keeper is killed, the kernel (on Linux) tells PostgreSQL to shut down at once. Clients lose
their connections then; the next `start` waits for the old server to end and starts it anew, at
the same URL.
"""

from pgtask.database.embedded.server import EmbeddedServer, Status, start, status, stop

__all__ = ["EmbeddedServer", "Status", "start", "status", "stop"]
