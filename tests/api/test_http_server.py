"""Requests, answers and connections of the HTTP server, without stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from leaseq.observability.telemetry import recorded
from leaseq_api.http_server.limits import Limits
from support.raw_http import GET, POST, Client, Echo, Served, get, serving, take_apart, with_length


@pytest.fixture
async def served(echo: Echo) -> AsyncIterator[Served]:
    async with serving(echo, body_bytes=1000, in_flight_bytes=100_000) as served:
        yield served


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


# Request -> the code of the problem.
REFUSED: dict[str, tuple[bytes, str]] = {
    "no request": (b"hello\r\n\r\n", "request_malformed"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "request_malformed"),
    "another version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "request_malformed"),
    "an old version": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "request_malformed"),
    "no version": (b"GET /\r\n\r\n", "request_malformed"),
    "an unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "method_unknown"),
    "a proxy's method": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "method_unknown"),
    "bytes in the target": (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "request_malformed"),
    "a control character in the target": (
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        "request_malformed",
    ),
    "no path": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "request_malformed"),
    "another scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "request_malformed"),
    "another host in the target": (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "host_invalid"),
    "no host beside the target": (b"GET http://b/ HTTP/1.1\r\n\r\n", "host_invalid"),
    "a user in the target": (b"GET http://a@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "request_malformed"),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nx\r\n\r\n", "request_malformed"),
    "a blank before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "request_malformed"),
    "a line that goes on": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "request_malformed",
    ),
    "a NUL in a header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", "request_malformed"),
    "a bare CR": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", "request_malformed"),
    "a bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", "request_malformed"),
    "length and chunks": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "chunks and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "two lengths": (
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "request_malformed",
    ),
    "equal lengths": (
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "request_malformed",
    ),
    "lengths in one": (POST + b"Content-Length: 1, 1\r\n\r\na", "request_malformed"),
    "a signed length": (POST + b"Content-Length: +1\r\n\r\na", "request_malformed"),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\na", "request_malformed"),
    "no number": (POST + b"Content-Length: x\r\n\r\na", "request_malformed"),
    "a hexadecimal length": (POST + b"Content-Length: 0x1\r\n\r\na", "request_malformed"),
    "an empty length": (POST + b"Content-Length: \r\n\r\n", "request_malformed"),
    "a length beyond numbers": (
        POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
        "request_malformed",
    ),
    "another coding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", "request_malformed"),
    "two codings": (
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "chunked twice": (
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "chunked in two lines": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", "request_malformed"),
    "nearly chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "request_malformed"),
    "quoted chunked": (
        POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
        "request_malformed",
    ),
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "no size of a chunk": (
        POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
        "request_malformed",
    ),
    "a chunk that is longer": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "request_malformed",
    ),
    "two expectations": (
        POST + b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        "header_repeated",
    ),
    "a long target": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "target_too_long"),
    "a target without end": (b"GET /" + b"a" * 300_000, "target_too_long"),
    "a large header": (GET[:-2] + b"X: " + b"a" * 70_000 + b"\r\n\r\n", "head_too_large"),
    "a header without end": (GET[:-2] + b"X: " + b"a" * 700_000, "head_too_large"),
    "a name without end": (GET[:-2] + b"a" * 700_000, "head_too_large"),
    "many headers": (GET[:-2] + b"X: a\r\n" * 101 + b"\r\n", "head_too_large"),
    "a large body": (with_length(b"a" * 1001), "body_too_large"),
    "a body that only says it is large": (
        POST + b"Content-Length: 999999999999\r\n\r\n",
        "body_too_large",
    ),
    "large chunks": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"a" * 600, b"a" * 600),
        "body_too_large",
    ),
    "chunks that are all frame": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 60_000 + b"\r\na\r\n") * 5,
        "body_too_large",
    ),
    "trailers without end": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 50_000,
        "body_too_large",
    ),
}


async def send_slowly(client: Client, raw: bytes) -> None:
    """In two parts, the second after the server had time for the first."""
    client.send(raw[: len(raw) // 2])
    await client.writer.drain()
    client.send(raw[len(raw) // 2 :])


@pytest.mark.parametrize("slowly", [False, True])
async def test_malformed_or_large_request_is_a_problem_and_ends_its_connection(
    served: Served, echo: Echo, slowly: bool
) -> None:
    for name, (raw, code) in REFUSED.items():
        client = await served.connect()
        if slowly:
            await send_slowly(client, raw)
        else:
            client.send(raw)
        answers = take_apart(await client.rest())
        assert [answer.code for answer in answers] == [code], name
        assert answers[0].headers["connection"] == "close", name
        client.close()
    assert echo.asked == []
    assert (await (await served.connect()).ask(GET)).status == 200


async def test_a_refusal_does_not_wait_for_the_body(served: Served) -> None:
    for head in (b"Content-Length: 1001\r\n", b"Content-Length: 1001\r\nExpect: 100-continue\r\n"):
        client = await served.connect()
        # and no 100 before
        assert (await client.ask(POST + head + b"\r\n")).code == "body_too_large"


async def test_a_client_that_sends_on_gets_its_refusal(served: Served) -> None:
    client = await served.connect()
    client.send(POST + b"Content-Length: 5000000\r\n\r\n" + bytes(5_000_000))
    (answer,) = take_apart(await client.rest())
    assert answer.code == "body_too_large"


async def test_100_continue_comes_before_the_body(served: Served) -> None:
    for framing, body in (
        (b"Content-Length: 2\r\n", b"ab"),
        (b"Transfer-Encoding: chunked\r\n", chunked(b"ab")),
    ):
        client = await served.connect()
        client.send(POST + b"Expect: 100-Continue\r\n" + framing + b"\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = await client.ask(body)
        assert msgspec.json.decode(answer.body)[3] == "ab"


async def test_requests_in_one_packet_are_answered_in_order(served: Served, echo: Echo) -> None:
    echo.release.set()
    client = await served.connect()
    paths = ["/held", "/a", "/b", "/c"]
    body = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"xy") + with_length(b"z")
    client.send(b"".join(map(get, paths)) + body + get("/last", b"Connection: close\r\n") + GET)
    answers = take_apart(await client.rest())
    said = [msgspec.json.decode(answer.body) for answer in answers]
    assert [asked[1] for asked in said] == [*paths, "/", "/", "/last"]
    assert [asked[3] for asked in said] == ["", "", "", "", "xy", "z", ""]
    assert "connection" not in answers[0].headers
    assert answers[-1].headers["connection"] == "close"


async def test_a_malformed_request_behind_others_is_refused_behind_their_answers(
    served: Served,
) -> None:
    client = await served.connect()
    client.send(GET + GET + b"nonsense\r\n\r\n")
    answers = take_apart(await client.rest())
    assert [answer.status for answer in answers] == [200, 200, 400]


async def test_a_thousand_requests_ahead_keep_a_few_and_end_the_connection(
    served: Served, echo: Echo
) -> None:
    client = await served.connect()
    client.send(get("/held") + GET * 1000)
    await served.until(lambda: echo.asked == ["/held"])
    echo.release.set()
    answers = take_apart(await client.rest())
    assert {answer.status for answer in answers} == {200}
    assert len(answers) <= Limits().pipelined + 2
    assert answers[-1].headers["connection"] == "close"


async def test_trailers_are_not_headers(served: Served) -> None:
    client = await served.connect()
    raw = (
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nIdempotency-Key: evil\r\nHost: b\r\n\r\n"
    )
    seen = msgspec.json.decode((await client.ask(raw)).body)
    assert seen[2:] == [{"host": "a", "transfer-encoding": "chunked"}, "a"]
    assert (await client.ask(GET)).status == 200


async def test_an_upgrade_is_ignored(served: Served) -> None:
    client = await served.connect()
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    client.send(get("/a", upgrade) + get("/b", upgrade) * 10 + with_length(b"x"))
    for path in ["/a", *["/b"] * 10, "/"]:
        answer = await client.answer()
        assert (answer.status, msgspec.json.decode(answer.body)[1]) == (200, path)


async def test_the_absolute_form_is_taken_for_its_path(served: Served) -> None:
    client = await served.connect()
    for target, path in (
        (b"http://A/x?y", "/x"),
        (b"https://a/", "/"),
        (b"http://a", "/"),
        (b"http://a?y", "/"),
    ):
        answer = await client.ask(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert msgspec.json.decode(answer.body)[1] == path


async def test_connections_are_kept_as_the_client_wants(served: Served) -> None:
    for request, kept in (
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", True),
    ):
        client = await served.connect()
        answer = await client.ask(request)
        assert (answer.headers.get("connection") != "close") == kept
        if kept:
            assert (await client.ask(GET)).status == 200
        else:
            assert await client.rest() == b""


async def test_answers_in_pieces_without_content_and_to_head(served: Served) -> None:
    client = await served.connect()
    client.send(get("/pieces", b"Connection: close\r\n"))
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert b"\r\ntransfer-encoding: chunked" in head
    assert body == b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    client = await served.connect()
    client.send(b"GET /pieces HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"abc"
    client = await served.connect()
    client.send(
        get("/empty") + get("/x").replace(b"GET", b"HEAD") + get("/y", b"Connection: close\r\n")
    )
    empty, rest = (await client.rest()).split(b"\r\n\r\n", 1)
    assert b"content-length" not in empty
    head, _, rest = rest.partition(b"\r\n\r\n")
    assert int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]) > 0
    assert take_apart(rest)[0].status == 200


async def test_an_application_that_fails_is_a_500_that_gives_nothing_away(served: Served) -> None:
    with recorded() as events:
        for path in ("/fails", "/silent"):
            client = await served.connect()
            client.send(get(path))
            (answer,) = take_apart(await client.rest())
            assert answer.code == "internal_error"
            assert b"s3cret" not in answer.body
        client = await served.connect()
        client.send(get("/breaks"))
        # no end, so that no client takes half for the whole
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
    assert [event.name for event in events] == ["request.failed"] * 3
    assert "s3cret" not in repr(events)


async def test_a_client_that_goes_ends_what_it_asked_for_but_not_what_it_changes(
    echo: Echo,
) -> None:
    async with serving(echo, linger_seconds=0.1, header_seconds=0.4) as served:
        asking, changing = await served.connect(), await served.connect()
        asking.send(get("/held/ask"))
        changing.send(with_length(b"x", b"/held/change"))
        await served.until(lambda: len(echo.asked) == 2)
        asking.close()
        changing.close()
        await served.until(lambda: echo.ended == ["/held/ask"])
        assert len(served.server.connections) == 1  # what it left behind counts
        echo.release.set()
        await served.until(lambda: len(echo.ended) == 2)


async def test_client_that_closes_its_sending_side_gets_its_answers(served: Served) -> None:
    for raw, statuses in (
        (GET, [200]),
        (GET + GET + with_length(b"x"), [200, 200, 200]),
        (GET[:-4], [400]),
        (b"G", [400]),
        (POST + b"Content-Length: 3\r\n\r\nab", [400]),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n", [400]),
        (GET + GET[:-4], [200, 400]),
        (get("/pieces"), None),
    ):
        client = await served.connect()
        client.send(raw)
        client.writer.write_eof()
        got = await client.rest()
        if statuses is None:
            assert got.endswith(b"0\r\n\r\n")
        else:
            assert [answer.status for answer in take_apart(got)] == statuses, raw


async def test_stopping_answers_what_has_begun_and_closes_the_rest(echo: Echo) -> None:
    async with serving(echo) as served:
        idle, held, ahead, half = [await served.connect() for _ in range(4)]
        assert (await idle.ask(GET)).status == 200
        held.send(get("/held"))
        ahead.send(get("/held") + GET)
        half.send(POST + b"Content-Length: 9\r\n\r\n")
        await served.until(lambda: len(echo.asked) == 3 and len(served.server.connections) == 4)
        stopping = asyncio.create_task(served.server.stop(seconds=1.0))
        assert await idle.rest() == b""
        echo.release.set()
        for client in (held, ahead):
            (answer,) = take_apart(await client.rest())
            assert answer.headers["connection"] == "close"
        await stopping
        assert await half.rest() == b""
        with pytest.raises(ConnectionError):
            await served.connect()
