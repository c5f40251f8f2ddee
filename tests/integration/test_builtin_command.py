"""The task command: real processes, and files that are or are not to be trusted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pgtask.builtin import command as task
from pgtask.builtin.command import MAX_OUTPUT, CommandFailedError
from pgtask.model.errors import ConfigurationError
from pgtask.model.payload import encode_result
from pgtask.model.verdict import Discard
from tests.handlers import Context, configure
from tests.support import eventually

Allow = Callable[..., Path]
SHOW_ARGUMENTS = [sys.executable, "-I", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Allow:
    """Writes the file of commands, with one called `it`, and sets the task to use it."""
    # Whatever the umask is.
    tmp_path.chmod(0o700)

    def write(program: list[str] | None = None, text: str | None = None, **keys: Any) -> Path:
        file = tmp_path / "commands.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in {"program": program, **keys}.items()]
        file.write_text(text if text is not None else "\n".join(["[it]", *lines]))
        file.chmod(0o600)
        configure(monkeypatch, tmp_path, commands_file=file)
        return file

    return write


def run(*args: Any, name: Any = "it", context: Context | None = None) -> dict[str, Any]:
    return asyncio.run(task.command(context or Context(), name, list(args)))


def shell(text: str) -> list[str]:
    """A program for the file; the task itself never uses a shell."""
    return ["/bin/sh", "-c", text]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# What it does


def test_it_returns_what_the_command_wrote(allow: Allow) -> None:
    allow(shell("echo out; echo err >&2"))
    result = run()
    assert result.pop("seconds") >= 0
    assert result == {"exit_code": 0, "stdout": "out\n", "stderr": "err\n", "truncated": False}


def test_arguments_arrive_as_they_are(allow: Allow) -> None:
    allow(SHOW_ARGUMENTS, arguments=4)
    given = ["two words", "$(touch x); `id` | cat > y && *", '"', "ü"]
    assert json.loads(run(*given)["stdout"]) == given


def test_it_runs_in_its_directory(allow: Allow, tmp_path: Path) -> None:
    allow(["/bin/pwd"])
    assert run()["stdout"].strip() == str(tmp_path)
    allow(["/bin/pwd"], directory="/")
    assert run()["stdout"].strip() == "/"


def test_the_environment_is_not_inherited(allow: Allow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hush")
    monkeypatch.setenv("WANTED", "yes")
    allow(["/usr/bin/env"], environment=["WANTED", "MISSING"])
    lines = dict(line.split("=", 1) for line in run()["stdout"].splitlines())
    assert lines == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "WANTED": "yes",
        "PGTASK_JOB_ID": "42",
        "PGTASK_ATTEMPT": "1",
    }


def test_nothing_that_the_worker_has_open_is_inherited(allow: Allow) -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        # The listing has a descriptor of its own, closed when it is done.
        code = "import os; p = '/proc/self/fd/'; print(*sorted(n for n in os.listdir(p) if os.path.exists(p + n)))"
        allow([sys.executable, "-I", "-c", code])
        assert run()["stdout"].split() == ["0", "1", "2"]
        allow(["/bin/readlink", "/proc/self/fd/0"])
        assert run()["stdout"] == "/dev/null\n"
    finally:
        os.close(secret)


def test_much_output_is_cut_at_its_beginning(allow: Allow) -> None:
    allow([sys.executable, "-I", "-c", "import sys; sys.stdout.write('x' * 3_000_000 + 'end')"])
    result = run()
    assert (len(result["stdout"]), result["stdout"][-4:], result["truncated"]) == (MAX_OUTPUT, "xend", True)


def test_the_most_that_is_kept_fits_into_a_result(allow: Allow) -> None:
    code = "import sys; sys.stdout.write(chr(1) * 200_000); sys.stderr.write(chr(0) * 200_000)"
    allow([sys.executable, "-I", "-c", code])
    assert encode_result(run())


# How it fails


def test_another_exit_code_fails_with_the_end_of_stderr(allow: Allow) -> None:
    allow(shell("echo before; yes padding | head -n 1000 >&2; echo the reason >&2; exit 3"))
    context = Context()
    with pytest.raises(CommandFailedError, match=r"(?s)^it exited with code 3: .*the reason$") as caught:
        run(context=context)
    assert len(str(caught.value)) < 1_100
    assert context.lines[0] == ("info", "before")
    assert context.lines[1][0] == "error"
    assert context.lines[1][1].endswith("the reason")


def test_a_signal_is_named(allow: Allow) -> None:
    allow(shell("kill -SEGV $$"))
    with pytest.raises(CommandFailedError, match=r"^it was ended by SIGSEGV"):
        run()


def test_a_program_that_is_not_there_is_named(allow: Allow) -> None:
    allow(["/nowhere/at-all"])
    with pytest.raises(CommandFailedError, match=r"it could not be run: .*No such file.*/nowhere/at-all"):
        run()


def test_a_directory_that_is_not_there_is_named(allow: Allow) -> None:
    allow(["/bin/true"], directory="/nowhere/at-all")
    with pytest.raises(FileNotFoundError, match="/nowhere/at-all"):
        run()


def test_a_signal_without_a_name_is_told_by_its_number(allow: Allow) -> None:
    allow(shell("kill -40 $$"))
    with pytest.raises(CommandFailedError, match="it was ended by signal 40"):
        run()


# What it refuses to run


def test_it_is_off_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path)
    with pytest.raises(Discard, match=r"is off.*commands_file = "):
        run()


@pytest.mark.parametrize("name", ["other", "", "/bin/sh", "it ", None, 5, ["it"]])
def test_only_what_the_file_names_is_run(allow: Allow, name: Any) -> None:
    allow(["/bin/true"])
    with pytest.raises(Discard, match="There is no command"):
        run(name=name)


@pytest.mark.parametrize("argument", ["-rf", "--help", "-", "--", "-x y"])
@pytest.mark.parametrize("arguments", [1, [".*"]])
def test_an_argument_that_looks_like_an_option_is_refused(allow: Allow, argument: str, arguments: Any) -> None:
    allow(SHOW_ARGUMENTS, arguments=arguments)
    with pytest.raises(Discard, match="begins with a dash"):
        run(argument)


@pytest.mark.parametrize("argument", ["a\nb", "a\r", "\0", "a\x1b[2J", "a\tb", "a\u2028b", "x" * 4001])
def test_an_argument_with_control_characters_or_without_end_is_refused(allow: Allow, argument: str) -> None:
    allow(SHOW_ARGUMENTS, arguments=1)
    with pytest.raises(Discard, match="too long or holds a control character"):
        run(argument)


def test_the_number_of_arguments_is_fixed(allow: Allow) -> None:
    allow(SHOW_ARGUMENTS)
    with pytest.raises(Discard, match="takes 0 arguments, not 1"):
        run("x")
    allow(SHOW_ARGUMENTS, arguments=["a", "b"])
    with pytest.raises(Discard, match="takes 2 arguments, not 1"):
        run("a")


@pytest.mark.parametrize("argument", ["abc1", "1abc", "ABC", ""])
def test_a_pattern_holds_for_the_whole_argument(allow: Allow, argument: str) -> None:
    allow(SHOW_ARGUMENTS, arguments=["[a-z]+"])
    assert json.loads(run("abc")["stdout"]) == ["abc"]
    with pytest.raises(Discard, match=r"does not match \[a-z\]\+"):
        run(argument)


@pytest.mark.parametrize("args", ["abc", [1], [None], {"a": 1}, [["a"]]])
def test_arguments_must_be_a_list_of_texts(allow: Allow, args: Any) -> None:
    allow(SHOW_ARGUMENTS, arguments=1)
    with pytest.raises(Discard, match="args must be a list of texts"):
        asyncio.run(task.command(Context(), "it", args))


# The file


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_change_is_refused(allow: Allow, mode: int) -> None:
    allow(["/bin/true"]).chmod(mode)
    with pytest.raises(ConfigurationError, match=r"commands\.toml can be changed by other users: run chmod go-w"):
        run()


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the path belong to somebody else than root and this user."""
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)


def test_a_file_of_another_user_is_refused(allow: Allow, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(allow(["/bin/true"]), monkeypatch)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        run()


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_file_that_others_can_replace_is_refused(allow: Allow, tmp_path: Path, mode: int) -> None:
    allow(["/bin/true"])
    tmp_path.chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"{tmp_path} can be changed by other users"):
        run()
    tmp_path.chmod(mode | 0o1000)
    assert run()["exit_code"] == 0


def test_a_link_is_judged_by_where_it_leads(allow: Allow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = allow(["/bin/true"])
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    configure(monkeypatch, tmp_path, commands_file=link)
    assert run()["exit_code"] == 0
    file.chmod(0o666)
    with pytest.raises(ConfigurationError, match="can be changed"):
        run()


def test_what_is_no_file_is_refused(allow: Allow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allow(["/bin/true"])
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, reason in (("pipe", "is no file"), (".", "is no file"), ("missing", "cannot be read")):
        configure(monkeypatch, tmp_path, commands_file=tmp_path / name)
        with pytest.raises(ConfigurationError, match=reason):
            run()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[it", "cannot be read"),
        ("it = 3", "must be a table"),
        ("[it]", "program must be a list"),
        ("[it]\nprogram = 'ls -l'", "program must be a list"),
        ("[it]\nprogram = []", "absolute path"),
        ("[it]\nprogram = ['ls']", "absolute path"),
        ("[it]\nprogram = ['/bin/ls']\nshell = true", "unknown key 'shell'"),
        ("[it]\nprogram = ['/bin/ls']\narguments = ['(']", r"\[it\]: .*"),
        ("[it]\nprogram = ['/bin/ls']\narguments = -1", "arguments must be a list"),
        ("[it]\nprogram = ['/bin/ls']\narguments = true", "arguments must be a list"),
        ("[it]\nprogram = ['/bin/ls']\ntimeout = 0", "longer than nothing"),
        ("[it]\nprogram = ['/bin/ls']\ntimeout = 'soon'", "is no duration"),
        ("[it]\nprogram = ['/bin/ls']\ndirectory = 'here'", "absolute path"),
        ("[it]\nprogram = ['/bin/ls']\nenvironment = 'HOME'", "environment must be a list"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_words(allow: Allow, text: str, reason: str) -> None:
    allow(text=text)
    with pytest.raises(ConfigurationError, match=reason):
        run()


# Its end

OFFSPRING = {
    "a child": "sleep 1000 & echo $! > child",
    "a child that ignores TERM": "trap '' TERM; sleep 1000 & echo $! > child",
    "a child in a session of its own": "setsid sh -c 'echo $$ > child; exec sleep 1000' &",
    "a daemon": "(setsid sh -c 'echo $$ > child; exec sleep 1000' & )",
}
AWAIT_CHILD = "while ! [ -s child ]; do sleep 0.01; done; "


def child(tmp_path: Path) -> int:
    return int((tmp_path / "child").read_text())


@pytest.mark.parametrize("text", OFFSPRING.values(), ids=OFFSPRING)
def test_what_a_command_leaves_behind_is_killed(allow: Allow, tmp_path: Path, text: str) -> None:
    allow(shell(f"{text}\n{AWAIT_CHILD} echo done"))
    assert run()["stdout"] == "done\n"
    assert gone(child(tmp_path))


def cancel_when_ready(tmp_path: Path) -> None:
    """Runs the command and cancels the job once it has said that it is ready."""

    async def scenario() -> None:
        running = asyncio.create_task(task.command(Context(), "it"))
        while not (tmp_path / "ready").exists() and not running.done():  # noqa: ASYNC110 - a file, announced by nobody
            await asyncio.sleep(0.01)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())


@pytest.mark.parametrize("text", OFFSPRING.values(), ids=OFFSPRING)
def test_a_cancelled_command_is_ended_with_all_that_it_started(
    allow: Allow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setattr(task, "GRACE", 0.1)
    allow(shell(f"echo $$ > parent; {text}\n{AWAIT_CHILD} touch ready; while :; do sleep 1000; done"))
    cancel_when_ready(tmp_path)
    assert gone(int((tmp_path / "parent").read_text()))
    assert gone(child(tmp_path))


def test_a_command_over_its_time_is_ended_with_all_that_it_started(allow: Allow, tmp_path: Path) -> None:
    allow(shell(f"echo words; echo $$ > parent; {OFFSPRING['a daemon']}\n{AWAIT_CHILD} sleep 1000"), timeout=3)
    context = Context()
    with pytest.raises(CommandFailedError, match=r"^it ran longer than its timeout of 3 s$"):
        run(context=context)
    assert context.lines == [("info", "words")]
    assert gone(int((tmp_path / "parent").read_text()))
    assert gone(child(tmp_path))


def test_a_command_may_clean_up_when_it_is_told_to_end(allow: Allow, tmp_path: Path) -> None:
    allow(shell("trap 'echo cleaned > trace; exit 0' TERM; touch ready; while :; do sleep 0.01; done"))
    cancel_when_ready(tmp_path)
    assert (tmp_path / "trace").read_text() == "cleaned\n"


def test_the_limit_is_kept_while_output_never_ends(allow: Allow) -> None:
    allow(["/usr/bin/yes"], timeout=0.5)
    with pytest.raises(CommandFailedError, match="ran longer"):
        run()


def test_a_command_ends_when_its_guard_is_killed(allow: Allow, tmp_path: Path) -> None:
    allow(shell("sleep 1000 & echo $$ $PPID $! > parent; wait"))

    async def scenario() -> None:
        running = asyncio.create_task(task.command(Context(), "it"))
        while len(words(tmp_path / "parent")) < 3 and not running.done():  # noqa: ASYNC110 - a file, announced by nobody
            await asyncio.sleep(0.01)
        os.kill(words(tmp_path / "parent")[1], signal.SIGKILL)
        await running

    with pytest.raises(CommandFailedError, match="its guard was killed"):
        asyncio.run(scenario())
    command, _, offspring = words(tmp_path / "parent")
    # The kernel kills what the guard has started; that takes a moment, too.
    eventually(lambda: gone(command))
    eventually(lambda: gone(offspring))


def words(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_a_command_ends_when_its_worker_is_killed(allow: Allow, tmp_path: Path) -> None:
    file = allow(shell(f"echo $$ > parent; {OFFSPRING['a daemon']}\n{AWAIT_CHILD} touch ready; sleep 1000"))
    code = "import asyncio; from pgtask.builtin.command import command; from tests.handlers import Context;"
    worker = psutil.Popen(
        [sys.executable, "-c", code + "asyncio.run(command(Context(), 'it'))"],
        env=os.environ | {"PGTASK_COMMANDS_FILE": str(file), "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        eventually((tmp_path / "ready").exists)
    finally:
        worker.kill()
        worker.wait()
    eventually(lambda: gone(int((tmp_path / "parent").read_text())))
    eventually(lambda: gone(child(tmp_path)))
