"""No request hides in another one, whichever way a proxy in front reads the bytes.

Each case is a message that two readers could divide differently (RFC 9112, 11.2). It is followed,
or filled, by a second request to /smuggled. Either the first request is refused and its connection
closed, or both readers agree: the case says which.
"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from leaseq_api.http_server.limits import LargeBody
from support.raw_http import Client, Echo, serving, take_apart

INNER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nHost: a\r\n"
STREAM = b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Type: text/lines\r\n"
GET = b"GET /first HTTP/1.1\r\nHost: a\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
SIZE = b"%x\r\n" % len(INNER)
UPGRADE = b"Upgrade: h2c\r\nConnection: Upgrade\r\n"
EMPTY = b"0\r\n\r\n"
LARGE = {"large_bodies": {b"/stream": LargeBody(1_000_000, b"text/lines")}}

# Messages that are refused whole. INNER stands where one of two readers would begin a request.
REFUSED = {
    "CL and TE": b"Content-Length: 5\r\n" + TE + b"\r\n" + EMPTY + INNER,
    "TE and CL": TE + b"Content-Length: %d\r\n\r\n" % (5 + len(INNER)) + EMPTY + INNER,
    "CL 0 and TE": b"Content-Length: 0\r\n" + TE + b"\r\n" + SIZE + INNER + b"\r\n" + EMPTY,
    "two CL": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "two equal CL": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + INNER,
    "CL in a list": b"Content-Length: 0, 0\r\n\r\n" + INNER,
    "CL with a sign": b"Content-Length: +0\r\n\r\n" + INNER,
    "CL with a letter": b"Content-Length: 0x0\r\n\r\n" + INNER,
    "CL with a blank inside": b"Content-Length: 0 0\r\n\r\n" + INNER,
    "CL with an underscore": b"Content-Length: 1_0\r\n\r\n" + INNER,
    "CL beyond numbers": b"Content-Length: 18446744073709551616\r\n\r\n" + INNER,
    "a vertical tab before CL": b"Content-Length: \x0b0\r\n\r\n" + INNER,
    "digits of another script": b"Content-Length: \xd9\xa0\r\n\r\n" + INNER,
    "a blank before the colon of CL": b"Content-Length : 0\r\n\r\n" + INNER,
    "a blank before the colon of TE": b"Transfer-Encoding : chunked\r\n\r\n" + EMPTY + INNER,
    "a tab before the colon of TE": b"Transfer-Encoding\t: chunked\r\n\r\n" + EMPTY + INNER,
    "a line that goes on in TE": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + EMPTY + INNER,
    "a line that goes on before TE": b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + EMPTY + INNER,
    "a first line that goes on": b" X: y\r\n\r\n" + INNER,
    "a vertical tab before TE": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + EMPTY + INNER,
    "a NUL behind TE": b"Transfer-Encoding: chunked\x00\r\n\r\n" + EMPTY + INNER,
    "a parameter of TE": b"Transfer-Encoding: chunked;q=1\r\n\r\n" + EMPTY + INNER,
    "an empty element of TE": b"Transfer-Encoding: ,chunked\r\n\r\n" + EMPTY + INNER,
    "an element behind chunked": b"Transfer-Encoding: chunked, identity\r\n\r\n" + EMPTY + INNER,
    "identity": b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + INNER,
    "quoted": b'Transfer-Encoding: "chunked"\r\n\r\n' + EMPTY + INNER,
    "chunked is not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n" + EMPTY + INNER,
    "nearly chunked": b"Transfer-Encoding: xchunked\r\n\r\n" + EMPTY + INNER,
    "two TE": TE + b"Transfer-Encoding: cow\r\n\r\n" + EMPTY + INNER,
    "an empty TE": b"Transfer-Encoding:\r\nContent-Length: 0\r\n\r\n" + INNER,
    "a bare LF in the head": b"X: y\nContent-Length: 0\r\n\r\n" + INNER,
    "a bare LF at the end of the head": b"Content-Length: 0\r\n\n" + INNER,
    "a bare CR in the head": b"X: y\rContent-Length: 0\r\n\r\n" + INNER,
    "a bare LF behind a size": TE + b"\r\n0\n\r\n" + INNER,
    "a bare LF behind a chunk": TE + b"\r\n1\r\na\n0\r\n\r\n" + INNER,
    "a bare CR behind a size": TE + b"\r\n0\r\r\n\r\n" + INNER,
    "a bare LF in an extension": TE + b"\r\n0;a\nb\r\n\r\n" + INNER,
    "a bare CR in an extension": TE + b"\r\n0;a\rb\r\n\r\n" + INNER,
    "a size with a prefix": TE + b"\r\n0x0\r\n\r\n" + INNER,
    "a size with a sign": TE + b"\r\n-0\r\n\r\n" + INNER,
    "a size with an underscore": TE + b"\r\n0_0\r\n\r\n" + INNER,
    "a size beyond numbers": TE + b"\r\n1" + b"0" * 20 + b"\r\n" + INNER,
    "no size": TE + b"\r\n\r\n" + INNER,
    "no line end behind a chunk": TE + b"\r\n1\r\naa0\r\n\r\n" + INNER,
    "a chunk that is shorter": TE + b"\r\n5\r\nabc\r\n0\r\n\r\n" + INNER,
    "trailers with a bare LF": TE + b"\r\n0\r\nX: y\n\r\n" + INNER,
    "a length in the trailers": TE + b"\r\n0\r\nContent-Length: 100\r\n\r\n" + INNER,
    "no colon": b"Content-Length\r\n\r\n" + INNER,
    "an empty name": b": 0\r\n\r\n" + INNER,
    "a NUL in a name": b"Content-\x00Length: 0\r\n\r\n" + INNER,
}
REQUEST_LINES = {
    "a bare LF": b"GET /first HTTP/1.1\nHost: a\n\n",
    "tabs": b"GET\t/first\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "something behind the version": b"GET /first HTTP/1.1 x\r\nHost: a\r\n\r\n",
    "a request in the target": b"GET /first\rGET HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /first\r\n",
    "a blank before the method": b" GET /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "the absolute form of another host": b"GET http://b/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "the authority form": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case method": b"get /first HTTP/1.1\r\nHost: a\r\n\r\n",
    "version 0.9 with a head": b"GET /first HTTP/0.9\r\nHost: a\r\n\r\n",
    "version 1.2": b"GET /first HTTP/1.2\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
# Messages that have one reading. Then INNER is the body, or a request of its own.
BODY = {
    "a body of a GET": GET + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "zeros before CL": POST + b"Content-Length: 000%d\r\n\r\n" % len(INNER) + INNER,
    "chunks": POST + TE + b"\r\n" + SIZE + INNER + b"\r\n" + EMPTY,
    "a tab before chunked": POST + b"Transfer-Encoding:\tchunked\r\n\r\n" + SIZE + INNER + b"\r\n" + EMPTY,
    "chunked in capitals": POST + b"transfer-encoding: CHUNKED\r\n\r\n" + SIZE + INNER + b"\r\n" + EMPTY,
    "an extension": POST + TE + b"\r\n" + SIZE.replace(b"\r", b';a="0"\r') + INNER + b"\r\n" + EMPTY,
    "a header that looks like CL": POST + b"Content_Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "an expectation": POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "an upgrade": POST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "an upgrade of a body in chunks": POST + UPGRADE + TE + b"\r\n" + SIZE + INNER + b"\r\n" + EMPTY,
    "an upgrade of a streamed body": STREAM + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "a streamed body": STREAM + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
    "a streamed body in chunks": STREAM + TE + b"\r\n" + SIZE + INNER + b"\r\n" + EMPTY,
}  # fmt: skip
FOLLOWS = {
    "no body": POST + b"\r\n",
    "CL 0": POST + b"Content-Length: 0\r\n\r\n",
    "no chunks": POST + TE + b"\r\n" + EMPTY,
    "trailers": POST + TE + b"\r\n0\r\nX: y\r\nHost: b\r\n\r\n",
    "an upgrade": POST + UPGRADE + b"Content-Length: 1\r\n\r\na",
    "an upgrade without a body": b"GET /first HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "two blanks in the first line": b"GET  /first  HTTP/1.1\r\nHost: a\r\n\r\n",
    "lines before": b"\r\n\r\n" + POST + b"Content-Length: 0\r\n\r\n",
    "the absolute form": b"POST http://a/first HTTP/1.1\r\nHost: a\r\n\r\n",
    "a streamed body": STREAM + b"Content-Length: 1\r\n\r\na",
}


class Stream(Echo):
    """The same, for bodies that come in pieces too."""

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        async def whole() -> dict[str, object]:
            body, more = b"", True
            while more:
                message = await receive()  # type: ignore[operator]
                body, more = body + message["body"], message["more_body"]
            return {"type": "http.request", "body": body, "more_body": False}

        await super().__call__(scope, whole, send)  # type: ignore[arg-type]


@pytest.fixture
def echo() -> Stream:
    return Stream()


async def answers_to(client: Client, raw: bytes, *, slowly: bool) -> bytes:
    """Everything that the server sends until it closes, or until the client closes its side."""
    cuts = [raw] if not slowly else [raw[at : at + 7] for at in range(0, len(raw), 7)]
    for piece in cuts:
        client.send(piece)
        await client.writer.drain()
        await asyncio.sleep(0)
    client.writer.write_eof()
    return await client.rest()


@pytest.mark.parametrize("slowly", [False, True])
async def test_a_request_with_two_readings_is_refused_whole(echo: Stream, slowly: bool) -> None:
    refused = {
        f"{name}, {kind}": head + rest
        for name, rest in REFUSED.items()
        for kind, head in (("POST", POST), ("stream", STREAM))
    }
    refused |= {f"line: {name}": raw + INNER for name, raw in REQUEST_LINES.items()}
    async with serving(echo, **LARGE) as served:
        for name, raw in refused.items():
            echo.asked.clear()
            got = await answers_to(await served.connect(), raw, slowly=slowly)
            *before, last = take_apart(got)
            assert "/smuggled" not in echo.asked, name
            assert last.headers["connection"] == "close", name
            # A streamed body may be refused in its middle, by the application.
            if not before and echo.asked != ["/stream"]:
                assert last.code, name
                assert echo.asked == [], name


@pytest.mark.parametrize("slowly", [False, True])
async def test_a_body_is_no_request(echo: Stream, slowly: bool) -> None:
    async with serving(echo, **LARGE) as served:
        for name, raw in BODY.items():
            echo.asked.clear()
            got = await answers_to(await served.connect(), raw, slowly=slowly)
            answers = take_apart(got)
            assert [answer.status for answer in answers] == [200], name
            assert msgspec.json.decode(answers[0].body)[3].encode() == INNER, name
            assert len(echo.asked) == 1, name


@pytest.mark.parametrize("slowly", [False, True])
async def test_a_request_that_follows_is_one_of_its_own(echo: Stream, slowly: bool) -> None:
    async with serving(echo, **LARGE) as served:
        for name, raw in FOLLOWS.items():
            echo.asked.clear()
            got = await answers_to(await served.connect(), raw + INNER, slowly=slowly)
            assert [answer.status for answer in take_apart(got)] == [200, 200], name
            assert echo.asked[1:] == ["/smuggled"], name


async def test_nothing_is_read_behind_a_request_that_ends_the_connection(echo: Stream) -> None:
    async with serving(echo, **LARGE) as served:
        for head in (
            b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET /first HTTP/1.0\r\nHost: a\r\n\r\n",
        ):
            echo.asked.clear()
            got = await answers_to(await served.connect(), head + INNER, slowly=False)
            assert [answer.status for answer in take_apart(got)] == [200]
            assert echo.asked == ["/first"]
