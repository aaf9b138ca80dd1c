from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import InvalidJob
from broadcaster.protocol.payload import (
    MAX_LINKS,
    MAX_PAYLOAD_BYTES,
    BatchPlace,
    Cause,
    ChainPlace,
    NextJob,
    Payload,
    blaming,
    decode_payload,
    encode_payload,
    outline,
    refreshed,
)

ID = "0" * 32


def payload(data: Any = None, **options: Any) -> Payload:
    return Payload(id=ID, job="mail", data={} if data is None else data, **options)


def body(**fields: Any) -> bytes:
    return json.dumps({"v": 1, "id": ID, "job": "mail", "data": {}} | fields).encode()


def test_optional_fields_are_left_out() -> None:
    assert encode_payload(payload({"a": 1})) == (
        b'{"v":1,"id":"00000000000000000000000000000000","job":"mail","data":{"a":1}}'
    )


def test_what_was_written_is_read_back() -> None:
    written = payload({"a": [1, 2.5, None, "é"]}, tries=0, backoff=(1, 2.5), timeout=30)

    assert decode_payload(encode_payload(written)) == written


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": {"b": [1, float("nan")]}}, r"data\.a\.b\[1\] is NaN or infinite"),
        ({"a": float("inf")}, r"data\.a is NaN"),
        ({"a": "\ud800"}, "surrogates"),
        ({"a": object()}, "cannot be written as JSON"),
        ({"a": "x" * MAX_PAYLOAD_BYTES}, "pass a reference"),
    ],
)
def test_what_json_cannot_carry_is_refused_at_dispatch(data: Any, message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        encode_payload(payload(data))


def test_data_too_deep_to_be_read_is_refused_at_dispatch() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(InvalidJob):
        encode_payload(payload({"deep": deep}))


@pytest.mark.parametrize(
    "options",
    [{"tries": -1}, {"backoff": (-1.0,)}, {"timeout": float("inf")}, {"timeout": -1.0}],
)
def test_limits_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        encode_payload(payload(**options))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"data":' * 5_000,
        body(v=2),
        body(id="short"),
        body(id=ID + "\n"),
        body(job=""),
        body(job=7),
        body(data=[]),
        body(surprise=1),
        body(tries="3"),
        body(tries=True),
        body(timeout=1e999).replace(b"Infinity", b"1e999"),
        body().replace(b"mail", b'\\ud800 lone"'[:-1]),
        b"\xff" + body(),
        body(data={"x": "y" * MAX_PAYLOAD_BYTES}),
    ],
)
def test_a_body_that_is_no_payload_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidJob):
        decode_payload(text)


def test_the_error_shows_hostile_text_in_ascii_and_cut() -> None:
    with pytest.raises(InvalidJob) as caught:
        decode_payload(body(**{"\x1b[2J" + "é" * 1000: 1}))

    assert caught.value.message.isascii()
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 500


@given(st.binary(max_size=300))
def test_the_parser_is_total_over_bytes(text: bytes) -> None:
    with contextlib.suppress(InvalidJob):
        decode_payload(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["v", "id", "job", "data", "tries", "x"]), _JSON))
def test_the_parser_is_total_over_json(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidJob):
        decode_payload(json.dumps(fields).encode())


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=3))
def test_the_writer_is_total_and_writes_only_what_can_be_read(data: dict[str, Any]) -> None:
    try:
        written = encode_payload(payload(data))
    except InvalidJob:
        return
    assert decode_payload(written).job == "mail"


def test_everything_that_a_job_can_say_is_read_back() -> None:
    link = NextJob(payload({"n": 1}, tries=2), "q#3", 1.5)
    written = payload(
        jitter=0.5,
        fail_on_timeout=True,
        max_exceptions=3,
        retry_until=1.7e9,
        retry_for=60.0,
        drop_missing=True,
        unlock="mail:1",
        chain=ChainPlace(id=ID, index=1, next=(link, link), catch=(link,)),
        batch=BatchPlace(id=ID, index=7, always=True),
        cause=Cause(chain=ID, job="mail", job_id=ID, error="ValueError: boom"),
    )

    assert decode_payload(encode_payload(written)) == written


@pytest.mark.parametrize(
    "fields",
    [
        {"jitter": 2},
        {"max_exceptions": 0},
        {"retry_until": "tomorrow"},
        {"retry_for": -1},
        {"unlock": 7},
        {"chain": {"id": "short", "index": 0}},
        {"chain": {"id": ID, "index": -1}},
        {"chain": {"id": ID, "index": 0, "more": 1}},
        {"chain": {"id": ID, "index": 0, "next": [{"queue": "q"}]}},
        {
            "chain": {
                "id": ID,
                "index": 0,
                "next": [{"queue": "", "payload": {"id": ID, "job": "x"}}],
            }
        },
        {
            "chain": {
                "id": ID,
                "index": 0,
                "next": [{"queue": "q", "payload": {"id": ID, "job": "x", "v": 2}}],
            }
        },
        {"batch": {"id": ID}},
        {"batch": {"id": ID, "index": 0, "always": "yes"}},
        {"cause": {"exception": "x"}},
    ],
)
def test_row_1_places_that_do_not_fit_are_refused(fields: dict[str, Any]) -> None:
    """Nobody who writes into a queue gets a worker to read what it does not expect."""
    with pytest.raises(InvalidJob):
        decode_payload(body(**fields))


@pytest.mark.parametrize("queue", ["x}y{", "x\ny", "q\n", "q:#1", "q#256", "q#01", "q" * 129])
def test_a_link_for_a_queue_that_cannot_be_is_refused(queue: str) -> None:
    link = {"queue": queue, "payload": {"v": 1, "id": ID, "job": "x"}}

    with pytest.raises(InvalidJob):
        decode_payload(body(chain={"id": ID, "index": 0, "next": [link]}))


def test_a_chain_has_an_end() -> None:
    link = NextJob(payload(), "q")

    with pytest.raises(InvalidJob):
        encode_payload(payload(chain=ChainPlace(id=ID, index=0, next=(link,) * (MAX_LINKS + 1))))


def test_a_chain_in_a_chain_in_a_chain_is_refused_and_does_no_harm() -> None:
    begin = (
        f'{{"id":"{ID}","job":"x","chain":{{"id":"{ID}","index":0,"next":[{{"queue":"q","payload":'
    )
    deep = begin * 5_000 + f'{{"id":"{ID}","job":"x"}}' + "}]}}" * 5_000

    with pytest.raises(InvalidJob):
        decode_payload(deep.encode())


NEW_LINK = {"queue": "q", "payload": {"v": 2, "id": "1" * 32, "batch": {"id": ID, "index": 4}}}
OLD_LINK = {"queue": "q", "payload": {"v": 1, "id": "1" * 32, "job": "x"}}


@pytest.mark.parametrize(
    ("fields", "job"),
    [({"v": 2}, "mail"), ({"later": 1}, "mail"), ({"job": ""}, ""), ({"tries": -1}, "mail")],
)
def test_the_places_of_a_job_that_cannot_be_read_are_known(fields: Any, job: str) -> None:
    """A newer version may have written it, and its batch must come to its end."""
    chain = {"id": ID, "index": 1, "next": [OLD_LINK], "catch": [OLD_LINK]}
    written = body(batch={"id": ID, "index": 3, "later": 1}, chain=chain, **fields)

    with pytest.raises(InvalidJob):
        decode_payload(written)
    found = outline(written)

    assert found is not None
    assert (found.id, found.job, found.batch) == (ID, job, BatchPlace(id=ID, index=3))
    assert found.chain is not None
    assert [len(found.chain.next), len(found.chain.catch)] == [1, 1]


def test_the_places_of_links_that_cannot_be_read_are_known() -> None:
    found = outline(body(chain={"id": ID, "index": 1, "next": [NEW_LINK], "catch": [NEW_LINK]}))

    assert found is not None
    assert found.chain is not None
    assert [link.payload.batch for link in found.chain.next] == [BatchPlace(id=ID, index=4)]
    assert found.chain.catch == ()


def test_a_chain_that_is_none_leaves_the_place_in_the_batch() -> None:
    found = outline(body(batch={"id": ID, "index": 3}, chain=5))

    assert found is not None
    assert (found.batch, found.chain) == (BatchPlace(id=ID, index=3), None)


@pytest.mark.parametrize(
    "written", [b"", b"nonsense", b"[1]", b'{"id": "x"}', b"[" * 100_000, b'{"id":"\xff"}']
)
def test_what_is_no_job_has_no_places(written: bytes) -> None:
    assert outline(written) is None
    assert outline(body(data={"x": "y" * MAX_PAYLOAD_BYTES})) is None


def test_what_can_be_read_has_the_places_that_it_says() -> None:
    chain = ChainPlace(id=ID, index=0, next=(NextJob(payload(), "q"),))
    whole = payload(batch=BatchPlace(id=ID, index=1), chain=chain)

    assert outline(encode_payload(whole)) == whole


def test_nan_is_found_in_a_later_link_too() -> None:
    link = NextJob(payload({"a": float("nan")}), "q")

    with pytest.raises(InvalidJob, match="NaN"):
        encode_payload(payload(chain=ChainPlace(id=ID, index=0, next=(link,))))


def test_row_43_a_job_that_is_put_back_gets_its_time_for_tries_again() -> None:
    within = encode_payload(payload(retry_for=60.0, retry_until=5.0))
    until = encode_payload(payload(retry_until=5.0))

    assert decode_payload(refreshed(within, now=1_000.0)).retry_until == 1_060.0
    assert refreshed(until, now=1_000.0) == until
    assert refreshed(b"nonsense", now=1_000.0) == b"nonsense"


def test_one_that_people_put_back_runs_in_a_cancelled_batch_too_and_so_do_its_links() -> None:
    place = BatchPlace(id=ID, index=0)
    links = (NextJob(payload(batch=BatchPlace(id=ID, index=1)), "q"), NextJob(payload(), "q"))
    body = encode_payload(payload(batch=place, chain=ChainPlace(id=ID, index=0, next=links)))

    insisting = decode_payload(refreshed(body, now=1_000.0, insist=True))

    assert insisting.batch == BatchPlace(id=ID, index=0, always=True)
    assert insisting.chain is not None
    assert [link.payload.batch for link in insisting.chain.next] == [
        BatchPlace(id=ID, index=1, always=True),
        None,
    ]
    assert refreshed(body, now=1_000.0) == body


def test_a_job_without_room_for_its_time_is_put_back_as_it_is() -> None:
    small = encode_payload(payload({"x": ""}, retry_for=60.0))
    full = encode_payload(payload({"x": "y" * (MAX_PAYLOAD_BYTES - len(small))}, retry_for=60.0))

    assert refreshed(full, now=1_000.0) == full


def test_a_callback_is_told_which_job_failed() -> None:
    callback = encode_payload(payload(cause=Cause(batch=ID)))
    other = encode_payload(payload())

    told = decode_payload(blaming(callback, job="mail", job_id=ID, error="ValueError: boom"))

    assert told.cause == Cause(batch=ID, job="mail", job_id=ID, error="ValueError: boom")
    assert blaming(other, job="mail", job_id=ID, error="x") == other
    assert blaming(b"nonsense", job="mail", job_id=ID, error="x") == b"nonsense"
