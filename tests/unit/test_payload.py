"""JSON on its way into the database and out of it, and texts that the system itself writes."""

from __future__ import annotations

import pytest

from pgtask import PayloadError
from pgtask.model.payload import MAX_RESULT_BYTES, clean_text, decode_many, encode, encode_result


def test_json_is_compact_and_ascii() -> None:
    assert encode({"a": [1, "ö", None]}) == '{"a":[1,"\\u00f6",null]}'


@pytest.mark.parametrize(
    "text", ["\\u0000", "\\\\u0000", "\\ud800", "😀", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")]
)
def test_what_only_looks_like_a_refused_character_is_kept(text: str) -> None:
    assert decode_many([encode(text)]) == [text]


def test_the_message_names_what_was_refused_and_why() -> None:
    with pytest.raises(PayloadError, match=r"^The result cannot be stored: a text in it holds U\+0000$"):
        encode("\0", "result")


def test_no_result_is_no_json() -> None:
    assert encode_result(None) is None
    assert encode_result([None]) == "[null]"
    assert encode_result(False) == "false"


def test_a_result_has_a_limit() -> None:
    assert encode_result("x" * (MAX_RESULT_BYTES - 2)) is not None
    with pytest.raises(PayloadError, match="the limit is 1048576"):
        encode_result("x" * (MAX_RESULT_BYTES - 1))


def test_many_texts_are_decoded_each_for_itself() -> None:
    texts = ['{"a": 1}', "[" * 5000 + "]" * 5000, '{"n": ' + "9" * 5001 + "}", "2", "]", "{", "1, 2", ""]

    values = decode_many(texts)

    assert [value for value in values if not isinstance(value, PayloadError)] == [{"a": 1}, 2]
    reasons = [str(value) for value in values if isinstance(value, PayloadError)]
    assert len(reasons) == 6
    assert "nested too deeply" in reasons[0]
    assert "digits" in reasons[1]


@pytest.mark.parametrize("texts", [[], ["1"], ["1", "2", "3"]])
def test_texts_that_can_be_decoded(texts: list[str]) -> None:
    assert decode_many(texts) == [int(text) for text in texts]


def test_clean_text_is_text_that_postgresql_can_store() -> None:
    assert clean_text("plain", 100) == "plain"
    assert clean_text("a\0b\ud800c ö 😀", 100) == "a␀b?c ö 😀"
    long = clean_text("a" * 60 + "b" * 60, 100)
    assert long.startswith("a" * 50 + "\n")
    assert long.endswith("\n" + "b" * 50)
    assert "20 characters cut" in long
