"""The README's receiver of webhooks takes what pgtask signs, and nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from pgtask.model.webhook import Message, draw_secret, signed_headers

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_verifies_what_is_signed() -> None:
    [code] = re.findall(r"```python\n(import base64.*?)```", README.read_text(), flags=re.DOTALL)
    scope: dict[str, Callable[[str, dict[str, str], bytes], bool]] = {}
    exec(code, scope)
    verified, secret = scope["verified"], draw_secret()
    headers = signed_headers(secret, Message("evt_1", b'{"a": 1}'), int(time.time()))

    assert verified(secret, headers, b'{"a": 1}')
    assert not verified(secret, headers, b'{"a": 2}')
    assert not verified(draw_secret(), headers, b'{"a": 1}')
    assert not verified(secret, headers | {"webhook-id": "evt_2"}, b'{"a": 1}')
    old = signed_headers(secret, Message("evt_1", b"{}"), int(time.time()) - 400)
    assert not verified(secret, old, b"{}")
