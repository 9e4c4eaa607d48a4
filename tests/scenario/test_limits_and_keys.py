"""Whoever is refused hears by what: which limit, which key, which path. And nobody hears our own keys."""
import hashlib

import pytest

from harness.backend import openai, status
from harness.client import Connection, ask, chat, get, post, request
from harness.policy import openai as openai_backend

CHAT = "/v1/chat/completions"


def test_each_limit_is_named_with_its_number(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("ok")))],
                       limits={"body": "16KiB", "header_bytes": "2KiB", "headers": 12,
                               "json_nodes": 100, "json_depth": 8})

    def refused(sent, code, *words):
        with Connection(gateway) as agent:
            agent.send(sent)
            answer = agent.read_answer()
        assert answer.status == code
        for word in words:
            assert word in answer.error, answer.error

    head = b" HTTP/1.1\r\nHost: a\r\n"
    refused(b"POST /v1/chat/completions" + head + b"Content-Length: 16385\r\n\r\n", 413, "16384 bytes",
            "limits.body")
    refused(b"POST /v1/chat/completions" + head + b"Transfer-Encoding: chunked\r\n\r\n4001\r\n", 413,
            "16384 bytes", "limits.body")
    refused(b"GET /health" + head + b"X: " + b"y" * 3000 + b"\r\n\r\n", 431, "2048 bytes",
            "limits.header_bytes")
    refused(b"GET /health" + head + b"X: y\r\n" * 20 + b"\r\n", 431, "12", "limits.headers")
    refused(b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "2048 bytes",
            "limits.header_bytes")

    many = post(gateway, CHAT, chat("x", metadata=[0] * 200))
    assert many.status == 413 and "100 values (limits.json_nodes)" in many.error
    deep = request(gateway, "POST", CHAT, b'{"a":' + b"[" * 9 + b"]" * 9 + b"}")
    assert deep.status == 413 and "8 levels (limits.json_depth)" in deep.error


def test_a_wrong_key_is_told_apart_from_none(hatchway, backend):
    key = hashlib.sha256(b"right").hexdigest()
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("ok")))],
                       agents=[{"name": "email", "key": f"sha256:{key}"}])

    for call in lambda h: ask(gateway, "hello", headers=h), lambda h: get(gateway, "/v1/models", headers=h):
        none, wrong = call({}), call({"authorization": "Bearer righ"})
        assert none.status == wrong.status == 401
        assert "wants an API key" in none.error
        assert "none of this endpoint's" in wrong.error and "righ" not in wrong.error
        assert call({"authorization": "Bearer right"}).status == 200


def test_a_path_that_is_none_says_where_queries_go(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("ok")))])

    answer = post(gateway, "/v1/chat/completion", {})

    assert answer.status == 404
    for path in CHAT, "/v1/completions", "/api/chat", "/api/generate", "/v1/messages", "/api/bdh/ask":
        assert path in answer.error


@pytest.mark.parametrize("code", [401, 403])
def test_what_a_backend_says_of_our_key_is_not_passed_on(hatchway, backend, code):
    said = {"error": {"message": "Incorrect API key provided: sk-live-1234", "type": "auth",
                      "param": None, "code": None}}
    gateway = hatchway(backends=[openai_backend("peer", backend(status(code, said)))])

    answer = ask(gateway, "hello")

    assert answer.status == 502 and "sk-live" not in answer.body.decode()
    assert "peer" in answer.error and "api_key" in answer.error
    assert "sk-live" not in gateway.stdout.read_text() + gateway.log()


def test_a_backend_that_is_overloaded_is_no_bad_gateway(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(status(503)))])

    answer = ask(gateway, "hello")

    assert answer.status == 503 and "retry-after" in answer.headers
