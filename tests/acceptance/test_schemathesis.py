"""The API tried by schemathesis: requests made from its document, those that it permits and those that it forbids.

Here with few examples each. For more, run it by hand with the settings in tests/api, and its phase coverage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.serving import Server, Servers

SETTINGS = Path(__file__).resolve().parents[1] / "api"

# It would take away its own token; a stream lasts five minutes, and schemathesis checks an answer when it is complete
# (tests/api/test_events.py reads streams); nothing is to be sent elsewhere.
LEFT_OUT = ("revoke_token", "stream_events", "test_webhook")


def try_out(server: Server, folder: Path, settings: str, *more: str) -> subprocess.CompletedProcess[str]:
    left_out = [word for operation in LEFT_OUT for word in ("--exclude-operation-id", operation)]
    options = ["--no-color", "--continue-on-failure", "--generation-deterministic", "--warnings", "off"]
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS / settings), "run"),
            *(f"{server.place}/api/v1/openapi.json", *options, *left_out, *more),
        ],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if "PGTASK" not in name},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(400)
def test_what_the_document_says_holds(api_servers: Servers, tmp_path: Path) -> None:
    server = api_servers.start("--processes", "2", PGTASK_REQUEST_RATE="100000", PGTASK_FAILURE_RATE="100000")
    assert server.token is not None

    tried = try_out(
        server,
        tmp_path,
        "schemathesis.toml",
        *("--header", f"Authorization: Bearer {server.token}"),
        *("--phases", "examples,fuzzing,stateful", "--max-examples", "4", "--workers", "2"),
    )

    assert tried.returncode == 0, tried.stdout[-20_000:]
    assert "Tested: 0" not in tried.stdout
    assert "Traceback" not in server.said()


def test_nobody_without_a_token_gets_anywhere(api_servers: Servers, tmp_path: Path) -> None:
    server = api_servers.start("--processes", "1", token=False, PGTASK_FAILURE_RATE="100000")

    tried = try_out(server, tmp_path, "schemathesis_anonymous.toml", "--phases", "fuzzing", "--max-examples", "2")

    assert tried.returncode == 0, tried.stdout[-20_000:]
    lines = [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]
    asked = [line for line in lines if "/api/v1/" in line["message"] and "openapi.json" not in line["message"]]
    assert len(asked) > 100, tried.stdout[-5000:]
    # What cannot be found is said to everyone: the document is no secret.
    assert {line["status"] for line in asked} <= {401, 404, 405}
