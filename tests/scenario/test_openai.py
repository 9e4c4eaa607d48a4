"""A query to a backend of its own dialect is passed on with only the model's name changed."""
import json

from harness.backend import byte_by_byte, openai, openai_events, openai_whole, sse, status
from harness.client import Connection, Stream, ask, chat, post
from harness.policy import openai as openai_backend, without_cache


def test_unknown_fields_and_their_bytes_are_kept(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    body = ('{ "messages":[{"role":"user","content":"caf\\u00e9 \\ud83d\\udc09","name":"Ann"}],\n'
            '  "unknown" : {"deep":[1, 2.50, 1e400, 9007199254740993, null]},\t"model" : "auto",'
            '"temperature":0, "metadata":{"model":"not this one"} }')

    assert post(gateway, "/v1/chat/completions", body).text == "ok"

    assert peer.requests[0].path == "/v1/chat/completions"
    assert peer.requests[0].body.decode() == body.replace('"auto"', '"small"')


def test_the_answer_comes_back_as_it_is(hatchway, backend):
    said = json.dumps(openai_whole("small", "ok", system_fingerprint="fp_1"), indent=3).encode()
    gateway = hatchway(backends=[openai_backend("peer", backend(lambda reply: reply.whole(said)))])

    answer = ask(gateway, "hello")

    assert answer.body == said
    assert answer.headers["x-hatchway-backend"] == "peer"


def test_a_stream_comes_back_as_it_is(hatchway, backend):
    def stream(reply):
        reply.head(content_type="text/event-stream; charset=utf-8")
        for event in openai_events("small", ["a", "b"]):
            reply.chunk(sse({**event, "obfuscation": "xyz"}))
        reply.chunk(b"data: [DONE]\n\n")
        reply.end()

    gateway = hatchway(backends=[openai_backend("peer", backend(stream))])

    answer = ask(gateway, "hello", stream=True)

    assert answer.text == "ab"
    assert all(event["obfuscation"] == "xyz" for event in answer.events[:-1])


def test_frames_split_at_every_byte(hatchway, backend):
    text = "Grüße, 世界 🐉"
    gateway = hatchway(backends=[openai_backend("peer", backend(byte_by_byte(openai(*text))))])

    answer = ask(gateway, "hello", stream=True)

    assert answer.text == text
    assert ask(gateway, "hello").text == text  # and was understood on its way into the cache


def test_whole_answers_split_at_every_byte(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(byte_by_byte(openai("Grüße"))))])

    assert ask(gateway, "hello").text == "Grüße"


def test_crlf_and_comments_in_a_stream(hatchway, backend):
    def stream(reply):
        reply.head(content_type="text/event-stream")
        reply.chunk(b": hello\r\n\r\n")
        for event in openai_events("small", ["a", "b"]):
            reply.chunk(b"data:" + json.dumps(event).encode() + b"\r\n\r\n")
        reply.chunk(b"data: [DONE]\r\n\r\n")
        reply.end()

    gateway = hatchway(backends=[openai_backend("peer", backend(stream))])

    assert b"[DONE]" in ask(gateway, "hello", stream=True).body
    assert ask(gateway, "hello").text == "ab"


def test_a_backend_without_done_still_ends_once(hatchway, backend):
    def stream(reply):
        reply.head(content_type="text/event-stream")
        for event in openai_events("small", ["a"]):
            reply.chunk(sse(event))
        reply.end()

    gateway = hatchway(backends=[openai_backend("peer", backend(stream))])

    assert ask(gateway, "hello", stream=True).text == "a"  # checks: exactly one [DONE]


def test_nothing_follows_the_terminal_event(hatchway, backend):
    def stream(reply):
        reply.head(content_type="text/event-stream")
        for event in openai_events("small", ["a"]):
            reply.chunk(sse(event))
        reply.chunk(sse(b"[DONE]"))
        reply.chunk(sse(next(openai_events("small", []))))
        reply.chunk(sse(b"[DONE]"))
        reply.end()

    gateway = hatchway(backends=[openai_backend("peer", backend(stream))])

    assert ask(gateway, "hello", stream=True).text == "a"


def test_the_backends_own_key_is_sent(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer, api_key="${PEER_KEY}")],
                       env={"PEER_KEY": "sk-of-the-backend"})

    ask(gateway, "hello", headers={"authorization": "Bearer sk-of-the-agent"})

    assert peer.requests[0].headers["authorization"] == "Bearer sk-of-the-backend"
    assert "sk-of-the" not in gateway.log() + json.dumps(gateway.access_log())


def test_the_agents_key_does_not_leave(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    ask(gateway, "hello", headers={"authorization": "Bearer sk-of-the-agent", "cookie": "a=b"})

    assert "authorization" not in peer.requests[0].headers
    assert "cookie" not in peer.requests[0].headers


def test_ids_are_passed_on(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(**without_cache({"backends": [openai_backend("peer", peer)]}))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    answer = ask(gateway, "hello", headers={"x-request-id": "my-id-7", "traceparent": trace})

    assert answer.headers["x-request-id"] == "my-id-7"
    assert peer.requests[0].headers["x-request-id"] == "my-id-7"
    assert peer.requests[0].headers["traceparent"].split("-")[1] == trace.split("-")[1]
    one, two = ask(gateway, "hello"), ask(gateway, "hello")
    assert one.headers["x-request-id"] != two.headers["x-request-id"]
    hostile = ask(gateway, "hello", headers={"x-request-id": 'a"b\\c'})
    assert hostile.headers["x-request-id"] != 'a"b\\c'


def test_connections_to_backends_are_used_again(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(loops=1, **without_cache({"backends": [openai_backend("peer", peer)]}))

    for stream in (False, True) * 10:
        assert ask(gateway, "hello", stream=stream).text == "ok"

    assert len(peer.requests) == 20
    assert peer.connections <= 2


def test_a_connection_that_the_backend_has_closed_is_no_failure(hatchway, backend):
    def says_and_closes(reply):
        openai("ok")(reply)
        reply.close()

    peer = backend(says_and_closes)
    gateway = hatchway(loops=1, **without_cache({"backends": [openai_backend("peer", peer)]}))

    for _ in range(30):
        assert ask(gateway, "hello").text == "ok"
    assert gateway.metric("hatchway_attempts_total", result="ok") == 30


def test_a_400_of_the_backend_stays_what_it_is(hatchway, backend):
    refusal = {"error": {"message": "max_tokens is too large: 99999", "type": "invalid_request_error",
                         "param": "max_tokens", "code": "integer_above_max_value", "more": 1}}
    first, second = backend(status(400, refusal)), backend(openai("never asked"))
    gateway = hatchway(backends=[openai_backend("first", first, quality=1),
                                 openai_backend("second", second)])

    for stream in False, True:
        answer = ask(gateway, "hello", max_tokens=99999, stream=stream)
        assert answer.status == 400
        assert answer.json() == refusal
    assert not second.requests


def test_a_large_body_arrives_whole(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    text = "Ein Wort, viele Male. " * 200_000  # 4.4 MB

    assert ask(gateway, text).text == "ok"
    assert peer.requests[0].json()["messages"][0]["content"] == text


def test_chunked_bodies_and_expect_continue(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    body = json.dumps(chat("hello")).encode()

    with Connection(gateway) as agent:
        agent.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(body), 7):
            agent.send(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]))
        agent.send(b"0\r\n\r\n")
        assert agent.read_answer().text == "ok"
        agent.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(body))
        assert agent.read_answer().status == 100
        agent.send(body)
        assert agent.read_answer().cache == "hit"


def test_first_text_comes_while_the_rest_is_still_being_made(hatchway, backend):
    peer = backend(openai("first", "second", pause=0.3))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    with Stream(gateway, "hello") as stream:
        stream.start()
        assert stream.next_text() == "first"
        assert gateway.inflight() == 1
        assert stream.next_text() == "second"
