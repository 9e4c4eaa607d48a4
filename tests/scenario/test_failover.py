"""Before the first byte to the agent a failure moves the query on; the agent sees nothing of it."""
import contextlib
import socket
import types

import pytest

from harness.backend import (byte_by_byte, closes, dies_after, hangs, ollama, openai, resets,
                             says_head_then_hangs, sse, status)
from harness.client import Stream, ask, post, timed
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend
from harness.policy import ordered, without_cache
from harness.wait import until


def says_garbage(reply):
    reply.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    reply.close()


def says_nothing_in_200(reply):
    reply.whole(b"")


def says_html(reply):
    reply.whole(b"<html>Bad gateway</html>", content_type="text/html")


def sends_less_than_promised(reply):
    reply.head(length=1000)
    reply.send(b'{"id": "chatcmpl-1", ')
    reply.close()


def streams_an_error_first(reply):
    reply.head(content_type="text/event-stream")
    reply.chunk(sse({"error": {"message": "no memory", "type": "server_error"}}))
    reply.end()


def ends_before_any_content(reply):
    reply.head(content_type="text/event-stream")
    reply.end()


@contextlib.contextmanager
def deaf_server():
    """Its queue of new connections is full and nobody accepts: connecting takes forever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.getsockname()[1]}")


FAILURES = [closes, resets, hangs, says_head_then_hangs, says_garbage, says_nothing_in_200, says_html,
            sends_less_than_promised, streams_an_error_first, ends_before_any_content, status(429),
            status(500), status(502, b"not json"), status(503), status(408), status(401)]
NAMES = [getattr(f, "__name__", "") for f in FAILURES[:10]] + ["429", "500", "502", "503", "408", "401"]


def two(first, second, **more):
    return without_cache({
        **ordered(openai_backend("first", first, timeouts={"first_byte": "300ms"}),
                  openai_backend("second", second)),
        "limits": {"retry_percent": 100}, **more})


@pytest.mark.parametrize("failure", FAILURES, ids=NAMES)
def test_the_next_candidate_answers(hatchway, backend, failure):
    first, second = backend(failure), backend(openai("I am", " here"))
    gateway = hatchway(**two(first, second))

    with Stream(gateway, "hello") as stream:
        stream.start()
        assert stream.status == 200
        assert stream.headers["x-hatchway-backend"] == "second"
        assert [stream.next_text(), stream.next_text()] == ["I am", " here"]
        assert stream.rest()[-1] == "[DONE]"
    assert len(first.requests) >= 1
    assert gateway.metric("hatchway_retries_total") == 1
    assert gateway.access_log()[0]["attempts"] == 2


@pytest.mark.parametrize("failure", [closes, status(500), sends_less_than_promised],
                         ids=["closes", "500", "short"])
def test_the_next_candidate_answers_whole_too(hatchway, backend, failure):
    gateway = hatchway(**two(backend(failure), backend(openai("I am here"))))

    answer = ask(gateway, "hello")

    assert (answer.text, answer.backend) == ("I am here", "second")


def test_an_ollama_that_was_killed(hatchway, backend):
    redfin, helper = backend(ollama("ok")), backend(openai("I am here"))
    config = without_cache(ordered(ollama_backend("redfin", redfin), openai_backend("helper", helper)))
    gateway = hatchway(**config, limits={"retry_percent": 100})
    assert ask(gateway, "hello").backend == "redfin"

    redfin.kill()

    for stream in False, True:
        answer, seconds = timed(lambda: ask(gateway, "hello", stream=stream))
        assert (answer.text, answer.backend) == ("I am here", "helper")
        assert seconds < 1


def test_an_ollama_that_hangs(hatchway, backend):
    redfin, helper = backend(hangs), backend(openai("I am here"))
    gateway = hatchway(**without_cache(
        ordered(ollama_backend("redfin", redfin, timeouts={"first_byte": "200ms"}),
                openai_backend("helper", helper))), limits={"retry_percent": 100})

    answer, seconds = timed(lambda: ask(gateway, "hello", stream=True))

    assert (answer.text, answer.backend) == ("I am here", "helper")
    assert 0.15 < seconds < 1.5
    assert redfin.left  # it was let go


def test_an_unreachable_address_costs_the_connect_time_only(hatchway, backend):
    helper = backend(openai("I am here"))

    with deaf_server() as deaf:
        gateway = hatchway(**without_cache(
            ordered(openai_backend("deaf", deaf, timeouts={"connect": "200ms"}),
                    openai_backend("helper", helper))), limits={"retry_percent": 100})

        answer, seconds = timed(lambda: ask(gateway, "hello"))

    assert answer.backend == "helper"
    assert 0.15 < seconds < 1.5


def test_after_the_first_byte_there_is_no_way_back(hatchway, backend):
    first, second = backend(dies_after("half an ")), backend(openai("never asked"))
    gateway = hatchway(**two(first, second))

    with Stream(gateway, "hello") as stream:
        assert stream.start().next_text() == "half an "
        rest = stream.rest()
    assert len(rest) == 1
    assert set(rest[0]) == {"error"} and "first" in rest[0]["error"]["message"]
    assert not second.requests


def test_a_stream_that_falls_silent(hatchway, backend):
    def falls_silent(reply):
        reply.head(content_type="text/event-stream")
        reply.chunk(sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "small",
                         "choices": [{"index": 0, "delta": {"role": "assistant", "content": "so"},
                                      "finish_reason": None}]}))
        reply.wait_left()

    gateway = hatchway(backends=[openai_backend("peer", backend(falls_silent),
                                                timeouts={"idle": "300ms"})])

    with Stream(gateway, "hello") as stream:
        assert stream.start().next_text() == "so"
        rest, seconds = timed(stream.rest)
    assert set(rest[-1]) == {"error"} and "[DONE]" not in rest
    assert seconds < 1.5


def test_all_fail(hatchway, backend):
    gateway = hatchway(**two(backend(status(500)), backend(closes)))

    answer = ask(gateway, "hello")

    assert answer.status == 502
    assert "second" in answer.error


def test_all_hang(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(hangs))],
                       timeouts={"first_byte": "200ms", "total": "400ms"})

    for stream in False, True:
        answer, seconds = timed(lambda: ask(gateway, "hello", stream=stream))
        assert answer.status == 504
        assert "peer" in answer.error or "total time" in answer.error
        assert seconds < 1.5


def test_a_whole_answer_may_take_its_time(hatchway, backend):
    """Its first byte is its last one; where a stream is asked for in its stead, the limit holds."""
    slow = backend(openai("slow but there", pause=0.6))
    gateway = hatchway(**two(slow, backend(openai("too early"))))
    assert ask(gateway, "hello").text == "slow but there"

    slow.then(hangs)
    answer = post(gateway, "/api/chat", {"model": "auto", "stream": False, "messages": [
        {"role": "user", "content": "hello"}]})
    assert answer.json()["message"]["content"] == "too early"


def test_over_the_rate_limit_everywhere(hatchway, backend):
    gateway = hatchway(**two(backend(status(429)), backend(status(429))))

    answer = ask(gateway, "hello")

    assert answer.status == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.headers["retry-after"]


def test_a_backend_that_keeps_failing_is_left_alone(hatchway, backend):
    first, second = backend(status(500)), backend(openai("ok"))
    gateway = hatchway(**two(first, second))

    for i in range(40):
        assert ask(gateway, f"hello {i}").text == "ok"

    assert len(first.requests) < 20
    assert gateway.metric("hatchway_breaker_state", backend="first") == 2
    first.then(openai("ok again"))
    until(lambda: ask(gateway, "hello").backend == "first", 20, "it is tried again")


def test_a_slow_head_is_no_failure(hatchway, backend):
    # With the usual first_byte of 60 s: a byte a packet takes a third of a second, longer when busy.
    first, second = backend(byte_by_byte(openai("slow but there"))), backend(closes)
    gateway = hatchway(**without_cache(ordered(openai_backend("first", first),
                                               openai_backend("second", second))))

    assert ask(gateway, "hello", stream=True).text == "slow but there"
