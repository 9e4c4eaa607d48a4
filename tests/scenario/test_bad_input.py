"""Whatever comes in, the answer is the right 4xx in the dialect's own shape, and the gateway lives."""
import json

import pytest

from harness.backend import openai
from harness.client import Connection, ask, chat, get, post, request, request_bytes
from harness.policy import bdh
from harness.policy import openai as openai_backend
from harness.wait import until

CHAT = "/v1/chat/completions"
ASK = "/api/bdh/ask"


@pytest.fixture
def gateway(hatchway, backend):
    """A gateway with a little of everything, and small limits."""
    return hatchway(
        backends=[bdh(), openai_backend("peer", backend(openai("ok")), models=["small:1b"])],
        roles={"trading": {"keywords": ["market"]}}, aliases={"gpt-4o": "auto"},
        limits={"body": "64KiB", "header_bytes": "4KiB", "headers": 20, "json_nodes": 1000})


BODY = b'{"model": "auto", "messages": []}'
MALFORMED = {
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": 400,  # a TLS hello
    b"GET\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n\r\n": 400,  # no Host
    b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
    b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n": 400,
    b"GET /health HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n": 400,
    b"GET /health HTTP/1.1\r\nHost: a\r\nX\x00Y: b\r\n\r\n": 400,
    b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n": (400, 505),
    b"GET http://elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n": 400,
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n": 400,
    b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n{}": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n{}": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n": (400, 501),
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}XX0\r\n\r\n": 400,
    b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n":
        (400, 413),
    b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n": 431,
    b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 30 + b"\r\n": 431,
    b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n": (414, 431),
}


def test_malformed_http(gateway):
    for sent, status in MALFORMED.items():
        with Connection(gateway) as agent:
            agent.send(sent)
            until(agent.fill, what=f"an answer to {sent[:100]}")
            answer = agent.read_answer()
            expected = status if isinstance(status, tuple) else (status,)
            assert answer.status in expected, sent[:100]
            assert answer.error
            assert agent.is_closed(), sent[:100]
    assert get(gateway, "/health").status == 200


def test_a_smuggled_request_is_not_answered(gateway):
    inner = request_bytes("/health", method="GET")
    with Connection(gateway) as agent:
        agent.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner)
        assert agent.read_to_end().count(b"HTTP/1.1 ") == 1


def test_json_cut_at_every_byte(gateway):
    body = json.dumps({**chat("hé\\llo \"x\""), "tools": [], "seed": 1.5e3, "n": None}).encode()

    with Connection(gateway) as agent:
        for path, whole in (CHAT, body), (ASK, b'{"question": "h\\u00e9\\ud83d\\udc09"}'):
            for i in range(1, len(whole)):
                agent.send_request(path, whole[:i])
                answer = agent.read_answer()
                assert answer.status == 400, whole[:i]
                assert answer.json()["error"]


BAD_JSON = [b"", b"nonsense", b"[]", b"null", b'"text"', b"{} {}", b"{'model': 'auto'}", b'{"a": 01}',
            b'{"a": .5}', b'{"a": NaN}', b'{"a": "\x01"}', b'{"a": "\xff"}', b'{"a": "\\ud800"}',
            b'{"a": "\xc0\x80"}', b'{"a": 1,}', b'{"a" 1}', b"\xef\xbb\xbf{}", b'{"a": "\\x"}']


@pytest.mark.parametrize("path", [CHAT, ASK])
def test_bad_json(gateway, path):
    for body in BAD_JSON:
        answer = request(gateway, "POST", path, body)
        assert answer.status == 400, body
        assert answer.json()["error"]


def test_duplicates_are_refused(gateway):
    for field in '"model": "auto"', '"messages": []', '"stream": true':
        body = '{"model": "auto", "stream": false, "messages": [{"role": "user", "content": "x"}], %s}'
        answer = post(gateway, CHAT, body % field)
        assert answer.status == 400
        assert "twice" in answer.error


WRONG = {
    "model": [None, 1, [], {}, "", "x" * 10000],
    "messages": [None, 1, "hello", {}, [], [1], [{}], [{"role": "user"}], [{"role": 1, "content": "x"}],
                 [{"role": "wizard", "content": "x"}], [{"role": "user", "content": 7}],
                 [{"role": "user", "content": [{"type": "text"}]}],
                 [{"role": "user", "content": [{"type": "smell", "text": "x"}]}],
                 [{"role": "tool", "content": {}}]],
    "temperature": ["warm", -1, 3, [], {}, True],
    "top_p": [-0.1, 1.5, "x"],
    "max_tokens": [-1, 0, 1.5, "many", True, 1e30],
    "n": [0, -1, "x"],
    "stream": ["yes", 1, [], {}],
    "stream_options": [1, []],
    "stop": [1, [1], {}, ["a", "b", "c", "d", "e"]],
    "seed": ["x", []],
    "tools": [1, {}, [1]],
    "response_format": [1, "json", {}],
}


def test_wrong_types_name_the_field(gateway):
    for field, values in WRONG.items():
        for value in values:
            answer = ask(gateway, "hello") if field == "nothing" else post(
                gateway, CHAT, {**chat("hello"), field: value})
            if answer.status == 404 and field == "model":
                continue  # a name that nobody has
            assert answer.status == 400, (field, value, answer)
            assert field.split("_")[0] in answer.error, (field, value)
            assert answer.json()["error"]["type"] == "invalid_request_error"
    for value in (None, 1, [], {}, ""):
        answer = post(gateway, ASK, {"question": value})
        assert answer.status == 400, value
        assert isinstance(answer.json()["error"], str)
    assert post(gateway, ASK, {}).status == 400


def test_unknown_model(gateway):
    for asked, near in (("smal:1b", "small:1b"), ("tradng", "trading"), ("gpt-4", "gpt-4o"),
                        ("hatchlin", "hatchling")):
        answer = ask(gateway, "hello", model=asked)
        assert answer.status == 404
        assert near in answer.error
        assert answer.json()["error"]["param"] == "model"
        assert answer.json()["error"]["code"] == "model_not_found"
    assert "auto" in ask(gateway, "hello", model="entirely different").error


def test_oversized_body(gateway):
    answer = ask(gateway, "x" * 70_000)
    assert answer.status == 413 and answer.error
    assert post(gateway, ASK, {"question": "x" * 70_000}).status == 413
    with Connection(gateway) as agent:  # refused before it is sent
        agent.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                   b"Content-Length: 100000000\r\n\r\n")
        assert agent.read_answer().status == 413
    with Connection(gateway) as agent:  # its size is not known before
        agent.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 5)
        assert agent.read_answer().status == 413


def test_too_deep_and_too_many(gateway):
    deep = '{"model": "auto", "messages": %s%s}' % ("[" * 1000, "]" * 1000)
    many = '{"model": "auto", "messages": [%s]}' % ",".join(["0"] * 2000)

    assert post(gateway, CHAT, deep).status in (400, 413)
    assert post(gateway, CHAT, many).status in (400, 413)


def test_wrong_method_and_path(gateway):
    assert get(gateway, CHAT).status == 405
    assert get(gateway, CHAT).headers["allow"] == "POST"
    assert get(gateway, ASK).status == 405
    assert isinstance(get(gateway, ASK).json()["error"], str)
    assert request(gateway, "DELETE", "/metrics").status == 405
    assert get(gateway, "/v1/nothing").status == 404
    assert get(gateway, "/v1/nothing").error
    assert get(gateway, "/v1/models/nothing").status == 404
    assert request(gateway, "BREW", "/health").status in (400, 405, 501)


def test_unsupported_content_still_gets_an_answer(gateway):
    answer = request(gateway, "POST", CHAT, json.dumps(chat("hello", max_tokens=3)),
                     {"content-type": "text/plain"})
    assert answer.status in (200, 415)


def test_strange_texts_are_answered(gateway):
    assert ask(gateway, "", model="hatchling").status == 400  # nothing to go on from
    assert ask(gateway, "\u0000").status == 400
    for text in (" ", "\\", "🐉" * 100, "\u202e", "a" * 20000, "\r\n\r\n", "Q: \nA: "):
        answer = ask(gateway, text, model="hatchling", max_tokens=4)
        assert answer.status == 200, (text[:20], answer)
