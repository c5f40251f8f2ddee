"""The search language: what it means, that it can be written back, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtask.model.cursor import decode_cursor, encode_cursor
from pgtask.model.errors import CursorError, SearchError
from pgtask.model.job_filter import JobFilter, PayloadTerm
from pgtask.model.search import merge, parse_search, payload_term, variants, write_search
from pgtask.model.status import JobStatus

FAILED, RETRYING = JobStatus.FAILED, JobStatus.RETRYING


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", JobFilter()),
        ("  \n ", JobFilter()),
        ("status:failed,Retrying", JobFilter(statuses=frozenset({FAILED, RETRYING}))),
        ("-status:failed", JobFilter(statuses=frozenset(JobStatus) - {FAILED})),
        ("status:failed,retrying -status:failed", JobFilter(statuses=frozenset({RETRYING}))),
        ("task:send_*", JobFilter(task="send_*")),
        ("type:send", JobFilter(task="send")),
        ("queue:mail,bulk -queue:other", JobFilter(queue=("mail", "bulk"), not_queue="other")),
        ("tag:x -tag:y,z", JobFilter(tag="x", not_tag=("y", "z"))),
        ("priority:high,-3", JobFilter(priorities=(2, -3))),
        ("worker:12 id:7,8", JobFilter(workers=(12,), ids=(7, 8))),
        ("schedule:nightly error:Timeout* -error:X", JobFilter(schedule="nightly", error="Timeout*", not_error="X")),
        ('unique_key:"a b" concurrency_key:c:1', JobFilter(unique_key="a b", concurrency_key="c:1")),
        ('task:"with \\"quotes\\", comma"', JobFilter(task='with "quotes", comma')),
        ('payload.to:"a@b.c"', JobFilter(payload=(PayloadTerm(("to",), ('"a@b.c"',)),))),
        ("payload.to:a@b.c", JobFilter(payload=(PayloadTerm(("to",), ('"a@b.c"',)),))),
        ("payload.user.id:42", JobFilter(payload=(PayloadTerm(("user", "id"), ("42",)),))),
        ('payload."a.b".c:true', JobFilter(payload=(PayloadTerm(("a.b", "c"), ("true",)),))),
        ("since:1h", JobFilter(since=timedelta(hours=1))),
        ("before:2026-11-01", JobFilter(before=datetime(2026, 11, 1, tzinfo=UTC))),
        ("created_after:2026-11-01T10:00+02:00", JobFilter(created_after=datetime(2026, 11, 1, 8, tzinfo=UTC))),
    ],
)
def test_a_search_means_a_filter_and_can_be_written_back(text: str, wanted: JobFilter) -> None:
    found = parse_search(text)

    assert found == wanted
    assert parse_search(write_search(found)) == found
    assert bool(found) is bool(text.strip())


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = st.one_of(st.none(), TEXTS, st.lists(TEXTS, min_size=2, max_size=4, unique=True).map(tuple))
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
AGES = st.timedeltas(timedelta(0), timedelta(days=10_000))
TERMS = st.builds(
    lambda path, values: PayloadTerm((path,), tuple(dict.fromkeys(payload_term(["x"], v).values[0] for v in values))),
    TEXTS,
    st.lists(TEXTS | st.integers().map(str), min_size=1, max_size=3),
)
FILTERS = st.builds(
    JobFilter,
    ids=st.lists(st.integers(1, 2**63 - 1), max_size=3, unique=True).map(tuple),
    statuses=st.frozensets(st.sampled_from(JobStatus)),
    queue=NAMES,
    task=NAMES,
    tag=NAMES,
    priorities=st.lists(st.integers(-100, 100), max_size=3, unique=True).map(tuple),
    workers=st.lists(st.integers(1, 2**31 - 1), max_size=3, unique=True).map(tuple),
    schedule=NAMES,
    error=NAMES,
    unique_key=NAMES,
    concurrency_key=NAMES,
    payload=TERMS.map(lambda term: (term,)) | st.just(()),
    since=st.none() | INSTANTS | AGES,
    before=st.none() | INSTANTS | AGES,
    created_after=st.none() | INSTANTS,
    created_before=st.none() | INSTANTS,
    not_queue=NAMES,
    not_task=NAMES,
    not_tag=NAMES,
    not_error=NAMES,
)


@given(FILTERS)
def test_every_filter_can_be_written_and_read(wanted: JobFilter) -> None:
    assert parse_search(write_search(wanted)) == wanted


@given(st.text(max_size=60) | st.lists(st.sampled_from(['"', ":", ",", "-", ".", "a", "queue:", " "])).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_search(text)
    except SearchError:
        return
    assert parse_search(write_search(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("send_mail", "write task:send_mail"),
        ("42", "write id:42"),
        ("staus:failed", "Did you mean status:?"),
        ("status:faild", "Did you mean 'failed'?"),
        ("colour:red", "Known: id, status, queue"),
        ("payload:x", "payload.to:x"),
        ("payloads.to:x", "Did you mean payload.field:?"),
        ("queue:", "queue: has no value"),
        ("queue:a,", "'queue:a,' is not to be understood"),
        ('queue:"a', "is not to be understood"),
        ("queue:a queue:b", "queue is given twice"),
        ("-status:failed -status:running", "-status is given twice"),
        ("payload.a:1 payload.a:2", "payload.a is given twice"),
        ("payload.a:1 payload.a.b:2", "payload.a is given twice"),
        ("-priority:1", "- goes before status, queue, task, tag and error"),
        (f"-status:{','.join(JobStatus)}", "leaves no status"),
        ("worker:web-1", "no worker's id"),
        ("id:0", "no job's id"),
        ("id:99999999999999999999", "no job's id"),
        ("priority:urgent", "unknown priority 'urgent'"),
        ("since:yesterday", "'yesterday' is no time: write how long ago, such as 24h, or"),
        ("created_after:1h", "'1h' is no time: write 2026-12-24T18:00"),
        ("since:1h,2h", "takes one time"),
        ("before:0001-01-01T00:00+14:00", "is no time"),
        ("queue:a\0b", "cannot store"),
        ('queue:"\\u0000"', "PostgreSQL can store"),
        ('queue:"\\ud800"', "PostgreSQL can store"),
        ("x" * 4001, "too long"),
        (" ".join(f"payload.f{n}:1,2" for n in range(4)), "too many values"),
        (f"queue:{','.join('a' * 101)}", "too many values"),
    ],
)
def test_what_is_not_understood_is_refused_with_a_hint(text: str, words: str) -> None:
    with pytest.raises(SearchError) as caught:
        parse_search(text)

    assert words in str(caught.value)


def test_two_filters_that_say_the_same_are_refused() -> None:
    assert merge(JobFilter(queue="a"), JobFilter(task="t")) == JobFilter(queue="a", task="t")
    with pytest.raises(SearchError, match="status is given twice"):
        merge(JobFilter(statuses=frozenset({FAILED})), parse_search("status:failed"))


def test_numbers_also_stand_for_the_same_text() -> None:
    assert variants("42") == ["42", '"42"']
    assert variants('"42"') == ['"42"']
    assert payload_term(["a"], "1e999999").values == ('"1e999999"',)


def test_what_a_token_may_see_is_no_term() -> None:
    limited = JobFilter(queues=frozenset({"mail"}))

    assert not limited
    assert write_search(limited) == ""
    assert merge(limited, parse_search("queue:other")).queues == frozenset({"mail"})


def test_a_cursor_is_bound_to_its_list() -> None:
    cursor = encode_cursor("one", [7])

    assert decode_cursor("one", cursor) == [7]
    for binding, other in (("two", cursor), ("one", ""), ("one", "!"), ("one", cursor[:-3]), ("one", "A" * 5000)):
        with pytest.raises(CursorError):
            decode_cursor(binding, other)
