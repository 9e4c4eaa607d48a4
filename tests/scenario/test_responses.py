"""OpenAI's Responses API in front of backends that do not speak it."""
import json

import pytest

from harness.backend import dies_after, ollama, openai, status
from harness.client import post
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend

QUERY = {"model": "auto", "input": "hello", "temperature": 0}


@pytest.fixture(params=["openai", "ollama"])
def asked(hatchway, backend, request):
    """(gateway, peer) for a backend of each kind."""
    if request.param == "openai":
        peer = backend(openai("Hello ", "there"))
        return hatchway(backends=[openai_backend("peer", peer)]), peer
    peer = backend(ollama("Hello ", "there"))
    return hatchway(backends=[ollama_backend("peer", peer, general=True)]), peer


def typed_events(answer):
    """[(type, data)]; the types agree, the numbers go up by one."""
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.body.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        data = json.loads(data.removeprefix("data: "))
        assert name == f"event: {data['type']}" and data["sequence_number"] == len(found)
        found.append((data["type"], data))
    return found


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message"
                   for part in item["content"])


def test_whole_then_kept_then_streamed(asked):
    gateway, peer = asked
    first = post(gateway, "/v1/responses", QUERY)
    assert first.status == 200 and first.cache == "miss"
    assert text_of(first.json()) == "Hello there" and first.json()["status"] == "completed"
    second = post(gateway, "/v1/responses", {**QUERY, "stream": True})
    assert second.cache == "hit"
    events = typed_events(second)
    assert events[-1][0] == "response.completed"
    assert text_of(events[-1][1]["response"]) == "Hello there"
    assert len(peer.requests) == 1


def test_streamed(asked):
    gateway, _ = asked
    events = typed_events(post(gateway, "/v1/responses", {**QUERY, "stream": True}))
    assert [name for name, _ in events] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.completed"]
    assert "".join(data["delta"] for name, data in events if name.endswith(".delta")) == \
        "Hello there"


def test_a_stream_that_breaks_off_ends_with_an_error(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(dies_after("Half ")))])
    events = typed_events(post(gateway, "/v1/responses", {**QUERY, "stream": True}))
    assert [name for name, _ in events].count("error") == 1 and events[-1][0] == "error"
    assert "peer broke off" in events[-1][1]["message"]


def test_what_is_lost_is_named(asked):
    gateway, _ = asked
    body = {**QUERY, "truncation": "auto", "tools": [{"type": "web_search"}]}
    answer = post(gateway, "/v1/responses", body)
    assert set(answer.headers["x-hatchway-dropped"].split(", ")) == {"tools[0]", "truncation"}
    strict = post(gateway, "/v1/responses", body, {"x-hatchway-strict": "1"})
    assert strict.status == 400 and "truncation" in strict.error


def test_errors_are_openais(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(status(422)))])
    assert post(gateway, "/v1/responses", QUERY).status == 422
    refused = post(gateway, "/v1/responses", {**QUERY, "previous_response_id": "resp_1"})
    assert refused.status == 400 and "not stored here" in refused.error
    assert post(gateway, "/v1/responses", {**QUERY, "model": "nobody"}).status == 404
