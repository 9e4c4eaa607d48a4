"""The second ask is answered from memory."""
import hashlib

from harness.backend import dies_after, openai, openai_whole, status
from harness.client import Stream, ask, chat, post
from harness.policy import bdh, openai as openai_backend, ordered
from harness.wait import until


def test_hit_on_the_second_ask(hatchway):
    gateway = hatchway(backends=[bdh()])

    first = ask(gateway, "hello", max_tokens=30)
    second = ask(gateway, "hello", max_tokens=30)

    assert (first.cache, second.cache) == ("miss", "hit")
    assert second.text == first.text
    assert second.backend == "hatchling"
    assert second.json()["model"] == first.json()["model"]
    assert gateway.metric("hatchway_cache_requests_total", result="hit", store="memory") == 1
    assert gateway.metric("hatchway_attempts_total") == 1


def test_whole_then_streamed(hatchway):
    gateway = hatchway(backends=[bdh()])

    whole = ask(gateway, "hello", max_tokens=30)
    streamed = ask(gateway, "hello", max_tokens=30, stream=True)

    assert streamed.cache == "hit"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text == whole.text


def test_streamed_then_whole(hatchway):
    gateway = hatchway(backends=[bdh()])

    streamed = ask(gateway, "hello", max_tokens=30, stream=True)
    whole = ask(gateway, "hello", max_tokens=30)
    spelled_out = ask(gateway, "hello", max_tokens=30, stream=False)

    assert (streamed.cache, whole.cache, spelled_out.cache) == ("miss", "hit", "hit")
    assert whole.text == streamed.text == spelled_out.text


def test_a_relayed_answer_is_kept_too(hatchway, backend):
    peer = backend(openai("forty", "-", "two"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    texts = [ask(gateway, "what is it?", stream=stream) for stream in (True, False, True)]

    assert [answer.cache for answer in texts] == ["miss", "hit", "hit"]
    assert {answer.text for answer in texts} == {"forty-two"}
    assert len(peer.requests) == 1


def test_a_hit_with_usage_in_its_stream(hatchway):
    gateway = hatchway(backends=[bdh()])
    ask(gateway, "hello", max_tokens=7)

    hit = ask(gateway, "hello", max_tokens=7, stream=True, stream_options={"include_usage": True})

    assert hit.cache == "hit"
    usage = hit.events[-2]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 7


def test_what_changes_the_answer_is_part_of_the_key(hatchway, backend):
    peer = backend(openai("an answer"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    different = [{}, {"max_tokens": 3}, {"seed": 1}, {"seed": 2}, {"stop": "x"}, {"top_p": 0.5},
                 {"an_unknown_field": 1}, {"an_unknown_field": 2}, {"temperature": 0.0},
                 {"response_format": {"type": "json_object"}}]

    for fields in different:
        assert ask(gateway, "question", **fields).cache == "miss", fields
    for fields in different:
        assert ask(gateway, "question", **fields).cache == "hit", fields
    assert len(peer.requests) == len(different)


def test_chance_is_not_kept(hatchway, backend):
    peer = backend(openai("heads"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    for _ in range(2):
        assert ask(gateway, "toss a coin", temperature=1.0).cache == "bypass"
    for _ in range(2):
        assert ask(gateway, "toss a coin", n=2).cache == "bypass"
    for _ in range(2):
        no_cache = {"cache-control": "no-cache"}
        assert ask(gateway, "toss a coin", headers=no_cache).cache == "bypass"


def test_failures_are_not_kept(hatchway, backend):
    peer = backend(status(400), dies_after("half an "), openai("an answer"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    assert ask(gateway, "question").status == 400
    with Stream(gateway, "question") as stream:
        assert "error" in stream.start().rest()[-1]
    assert ask(gateway, "question").cache == "miss"
    assert ask(gateway, "question").text == "an answer"


def test_an_answer_cut_by_its_agent_is_not_kept(hatchway, backend):
    peer = backend(openai("one ", "two ", "three", pause=0.1), openai("whole"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    with Stream(gateway, "count") as stream:
        stream.start().next_text()
    until(lambda: peer.left, what="the backend sees it")

    assert ask(gateway, "count").text == "whole"


def test_a_fallback_outside_the_route_is_not_kept(hatchway, backend):
    specialist, helper = backend(status(503)), backend(openai("my best guess"))
    gateway = hatchway(
        backends=[openai_backend("specialist", specialist, general=False),
                  openai_backend("helper", helper, general=False)],
        routes=[{"name": "all", "to": {"backend": "specialist"}, "fallback": {"backend": "helper"}}],
        limits={"retry_percent": 100})

    assert ask(gateway, "question").text == "my best guess"
    specialist.then(openai("I know"))
    until(lambda: ask(gateway, "question").text == "I know", 15)


def test_unknown_fields_of_an_answer_come_through_on_a_miss(hatchway, backend):
    peer = backend(lambda reply: reply.whole(openai_whole("small", "hi", extension={"a": [1, 2]})))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    assert ask(gateway, "hello").json()["extension"] == {"a": [1, 2]}


def test_the_cache_can_be_off(hatchway, backend):
    peer = backend(openai("again"))
    gateway = hatchway(**ordered(openai_backend("peer", peer)), cache={"memory": 0})

    for _ in range(3):
        assert ask(gateway, "hello").cache == "bypass"
    assert len(peer.requests) == 3


def test_agents_do_not_share(hatchway, backend):
    peer = backend(openai("for your eyes"))
    keys = {name: f"key-of-{name}" for name in ("email", "legal")}
    gateway = hatchway(
        backends=[openai_backend("peer", peer)],
        agents=[{"name": name, "key": "sha256:" + hashlib.sha256(key.encode()).hexdigest()}
                for name, key in keys.items()])

    def cache_of(name):
        return post(gateway, "/v1/chat/completions", chat("hello"),
                    {"authorization": f"Bearer {keys[name]}"}).cache

    assert [cache_of(name) for name in ("email", "legal", "email", "legal")] == [
        "miss", "miss", "hit", "hit"]
