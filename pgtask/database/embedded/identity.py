"""As whom PostgreSQL runs: it refuses root, and initdb refuses a user without a name.

Both run it in a user namespace of one uid, where they appear as an account that exists while the
files stay their own. Where that is refused to root, as in many containers, that account gets the
home. From then on the owner of the data decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgtask.database.embedded import keeper
from pgtask.database.embedded.home import Home
from pgtask.model.errors import EmbeddedServerError

ACCOUNTS = ("postgres", "nobody")
PROBE_TIMEOUT_SECONDS = 20.0
INHERITED = ("PATH", "HOME", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Identity:
    """A way to run PostgreSQL: `uid` and `gid` own its files, seen from here.

    To itself it appears as `seen_as`, which is the same except in a namespace.
    """

    kind: Literal["self", "namespace", "account"]
    uid: int
    gid: int
    seen_as: int

    def __str__(self) -> str:
        if self.kind == "namespace":
            return "in a user namespace"
        return f"as uid {self.uid}"

    def order(self) -> keeper.Identity:
        """This, for a keeper."""
        return keeper.Identity(kind=self.kind, uid=self.uid, gid=self.gid, seen_as=self.seen_as)

    def version_line(self, directory: Path, home: Home) -> str:
        """What ``postgres -V`` in `directory` prints when run this way.

        Raises EmbeddedServerError, with a short reason, when it does not run.
        """
        spec = keeper.Probe(
            identity=self.order(),
            postgres=str(directory / "postgres"),
            reachable=str(home.path.parent),
        )
        try:
            result = subprocess.run(
                keeper_command("probe"),
                check=False,
                input=json.dumps(spec),
                capture_output=True,
                text=True,
                env=environment(),
                cwd="/",
                timeout=PROBE_TIMEOUT_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EmbeddedServerError(f"{self}: {error}") from error
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
            raise EmbeddedServerError(f"{self}: {lines[-1]}")
        return result.stdout


def identities(home: Home) -> list[Identity]:
    """Ways to run the server of `home`, best first.

    Raises EmbeddedServerError when the data belongs to someone else.
    """
    user, group = os.geteuid(), os.getegid()
    has_data = home.data_dir.exists()
    owner = (home.data_dir if has_data else home.path).stat()
    if user != 0:
        if has_data and owner.st_uid != user:
            raise EmbeddedServerError(
                f"{home.data_dir} belongs to another user (uid {owner.st_uid}). "
                "Set PGTASK_HOME to a directory of your own."
            )
        itself = Identity("self", user, group, user)
        return [itself] if has_data or _has_name(user) else _namespace(user, group)
    if owner.st_uid != 0:
        return [Identity("account", owner.st_uid, owner.st_gid, owner.st_uid)]
    found = _namespace(user, group)
    if not has_data:
        found += [Identity("account", uid, gid, uid) for uid, gid in _accounts()]
    return found


def keeper_command(verb: str) -> list[str]:
    """The command that runs the keeper's `verb`: by path and isolated, so that it stays small."""
    return [sys.executable, "-I", "-S", keeper.__file__, verb]


def environment() -> dict[str, str]:
    """The environment for PostgreSQL's programs: nothing that would change what they do."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"LC_ALL": "C"}


def _namespace(uid: int, gid: int) -> list[Identity]:
    accounts = _accounts() if sys.platform == "linux" else []
    return [Identity("namespace", uid, gid, seen_as) for seen_as, _ in accounts[:1]]


def _accounts() -> list[tuple[int, int]]:
    """Uid and gid of the unprivileged accounts that exist here."""
    found = []
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            found.append((account.pw_uid, account.pw_gid))
    return found


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
