"""The home: the directory of one embedded server, and the names inside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pgtask.model.errors import EmbeddedServerError


@dataclass(frozen=True)
class Home:
    """The directory that holds one server: its data, its log and the locks around it."""

    path: Path

    @classmethod
    def locate(cls, path: Path | None) -> Home:
        """The home at `path`, else at $PGTASK_HOME, else ./.pgtask; it need not exist."""
        return cls(Path(os.path.realpath(path or os.environ.get("PGTASK_HOME") or ".pgtask")))

    @property
    def data_dir(self) -> Path:
        """PostgreSQL's data directory; it appears in one step, complete."""
        return self.path / "data"

    @property
    def log_file(self) -> Path:
        """What PostgreSQL and the keeper have to say; the part before is in ``server.log.1``."""
        return self.path / "server.log"

    @property
    def start_lock(self) -> Path:
        """Held by whoever is starting or stopping the server."""
        return self.path / "start.lock"

    @property
    def clients_lock(self) -> Path:
        """Held shared by every client, and alone by a keeper that is stopping the server."""
        return self.path / "clients.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the keeper, PostgreSQL and all its children."""
        return self.path / "server.lock"

    @property
    def control(self) -> Path:
        """The pipe on which the keeper listens."""
        return self.path / "control"

    def prepare(self) -> None:
        """Make the directory if it is missing, and hide it from git if it is empty.

        Raises EmbeddedServerError when it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not any(self.path.iterdir()):  # else it may be a directory that git is to see
                (self.path / ".gitignore").write_text("*\n")
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> EmbeddedServerError:
        """The error to raise for an `error` met when writing in this home."""
        return EmbeddedServerError(
            f"The embedded PostgreSQL cannot use {self.path}: {error.strerror or error}. "
            "Set PGTASK_HOME to a directory that you can write to."
        )

    def data_version(self) -> int | None:
        """Major version of PostgreSQL that made the data directory, None when there is none yet.

        Raises EmbeddedServerError when what lies there is something else.
        """
        try:
            return int((self.data_dir / "PG_VERSION").read_text())
        except FileNotFoundError:
            if not self.data_dir.exists() or not any(self.data_dir.iterdir()):
                return None
        except OSError as error:
            raise self.unwritable(error) from error
        except ValueError:
            pass
        raise EmbeddedServerError(
            f"{self.data_dir} is not a PostgreSQL data directory. Move it away, "
            "or set PGTASK_HOME to another directory."
        )

    def give_to(self, uid: int, gid: int) -> None:
        """Make `uid` and `gid` own our files, for a server that runs under another account.

        A home without data becomes theirs as a whole; raises EmbeddedServerError when it then
        holds anything that we did not put there.
        """
        ours = {".gitignore", self.log_file.name, "server.log.1", self.control.name}
        ours |= {self.start_lock.name, self.clients_lock.name, self.server_lock.name}
        found = {entry.name for entry in self.path.iterdir()}
        if not self.data_dir.exists():
            if not found <= ours:
                raise EmbeddedServerError(
                    f"{self.path} holds files that are not pgtask's, so it is not given to "
                    f"uid {uid}. Set PGTASK_HOME to an empty directory."
                )
            os.chown(self.path, uid, gid)
        for name in found & ours:
            os.chown(self.path / name, uid, gid, follow_symlinks=False)
