"""What an agent hears while a backend is silent, and how soon it hears the first word."""
import time

import pytest

from harness.backend import (hangs, ollama, openai, openai_chunk,
                             openai_whole, sse, status)
from harness.client import ask, chat, events, post, stream_text
from harness.policy import bdh, ordered, without_cache
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend
from harness.wait import until

COMMENT = b": keep-alive\n\n"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
SOON = {"keepalive_comment": "100ms", "first_byte": "20s"}
LATE_SECONDS = 0.6


def late(answer, seconds=LATE_SECONDS):
    def wait(reply):
        time.sleep(seconds)
        answer(reply)
    return wait


def with_openai(peer, **timeouts):
    return without_cache({"backends": [openai_backend("peer", peer)],
                          "timeouts": {**SOON, **timeouts}})


def with_ollama(peer, **timeouts):
    return without_cache({"backends": [ollama_backend("redfin", peer, general=True)],
                          "timeouts": {**SOON, **timeouts}})


@pytest.mark.parametrize("kind, script", [(with_openai, openai), (with_ollama, ollama)])
def test_comments_until_the_first_word(hatchway, backend, kind, script):
    gateway = hatchway(**kind(backend(late(script("Gol", "d.")))))

    answer = ask(gateway, "x", stream=True)

    assert answer.body.startswith(2 * COMMENT) and answer.text == "Gold."
    assert answer.body.rindex(COMMENT) < answer.body.index(b"Gol")
    # Who would answer was not known when the head went out.
    assert "x-hatchway-backend" not in answer.headers and answer.headers["x-hatchway-route"]


def test_anthropics_pings(hatchway, backend):
    gateway = hatchway(**with_openai(backend(late(openai("Gold.")))))
    body = {"model": "auto", "max_tokens": 9, "messages": chat("x")["messages"], "stream": True}

    answer = post(gateway, "/v1/messages", body)

    assert answer.body.startswith(2 * PING) and answer.body.count(b"message_start\n") == 1
    assert answer.body.endswith(b'data: {"type":"message_stop"}\n\n') and b"Gold." in answer.body


def test_ollamas_dialect_has_no_comment(hatchway, backend):
    gateway = hatchway(**with_ollama(backend(late(ollama("Gold.")), late(status(500)))))
    body = {"model": "auto", "messages": chat("x")["messages"]}

    answer, failed = post(gateway, "/api/chat", body), post(gateway, "/api/chat", body)

    assert answer.body.startswith(b'{"model"') and answer.backend == "redfin"
    assert failed.status == 502


def test_whole_answers_and_zero_have_none(hatchway, backend):
    peer = backend(late(openai("Gold.")))
    for gateway in hatchway(**with_openai(peer)), hatchway(**with_openai(peer, keepalive_comment=0)):
        whole = ask(gateway, "x")
        assert whole.text == "Gold." and whole.backend == "peer"
    streamed = ask(gateway, "x", stream=True)
    assert COMMENT not in streamed.body and streamed.backend == "peer"


def test_another_candidate_may_answer_still(hatchway, backend):
    slow, good = backend(hangs), backend(openai("Gold."))
    gateway = hatchway(**without_cache(ordered(openai_backend("slow", slow),
                                               openai_backend("good", good))),
                       timeouts={"keepalive_comment": "100ms", "first_byte": "600ms"})

    answer = ask(gateway, "x", stream=True)

    assert answer.body.startswith(COMMENT) and answer.text == "Gold."
    until(lambda: slow.left)


@pytest.mark.parametrize("failure, said", [(status(500), "peer failed: scripted 500"),
                                           (status(400), "peer: scripted 400"),
                                           (lambda reply: reply.close(), "peer failed: ")])
def test_then_a_failure_is_an_event(hatchway, backend, failure, said):
    gateway = hatchway(**with_openai(backend(late(failure))))

    answer = ask(gateway, "x", stream=True)

    assert answer.status == 200 and answer.body.startswith(COMMENT)
    (event,) = answer.events
    assert event["error"]["message"].startswith(said)


def test_a_whole_answer_to_a_stream_that_was_begun(hatchway, backend):
    gateway = hatchway(**with_openai(backend(
        late(lambda reply: reply.whole(openai_whole("small", "Gold."))))))

    assert ask(gateway, "x", stream=True).text == "Gold."


def test_comments_between_the_words(hatchway, backend):
    def pauses(reply):
        reply.head(content_type="text/event-stream")
        reply.chunk(sse(openai_chunk("small", {"role": "assistant", "content": "Gol"})))
        time.sleep(LATE_SECONDS)
        reply.chunk(sse(openai_chunk("small", {"content": "d."})))
        reply.chunk(sse(openai_chunk("small", {}, "stop")) + sse(b"[DONE]"))
        reply.end()
    gateway = hatchway(**with_openai(backend(pauses)))

    answer = ask(gateway, "x", stream=True)

    first, _, rest = answer.body.partition(COMMENT)
    assert stream_text(events(first + rest)) == "Gold." and b"Gol" in first
    assert answer.backend == "peer"


def test_a_later_candidate_that_loses_more_is_not_asked(hatchway, backend):
    slow, redfin = backend(hangs), backend(ollama("never"))
    gateway = hatchway(**without_cache(ordered(
        openai_backend("slow", slow), ollama_backend("redfin", redfin, general=True))),
        timeouts={"keepalive_comment": "100ms", "first_byte": "600ms"})

    answer = ask(gateway, "x", stream=True, logit_bias={"1": 1})

    assert "too late" in answer.events[-1]["error"]["message"] and redfin.requests == []


def test_the_first_word_is_passed_on_in_the_turn_it_came_in(hatchway, backend):
    openai_peer, ollama_peer = backend(openai("Gol", "d.")), backend(ollama("Gol", "d."))
    gateway = hatchway(**without_cache({
        "backends": [openai_backend("peer", openai_peer),
                     ollama_backend("redfin", ollama_peer, models=["l"], general=True), bdh()]}))

    for model in "small", "l", "hatchling":
        for path in "/v1/chat/completions", "/api/chat", "/v1/messages":
            answer = post(gateway, path, {"model": model, "messages": chat("x")["messages"],
                                          "max_tokens": 8, "stream": True})
            assert answer.status == 200 and answer.backend in ("peer", "redfin", "hatchling")

    until(lambda: gateway.metric("hatchway_first_tokens_total", turn="same") == 9)
    assert gateway.metric("hatchway_first_tokens_total", turn="later") == 0
