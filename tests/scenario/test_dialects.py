"""Agents of every dialect, whoever answers them."""
import hashlib
import json

import pytest

from harness.backend import (byte_by_byte, dies_after, ndjson, ollama, ollama_last, ollama_line,
                             ollama_piece, openai, openai_chunk, sse, status)
from harness.client import get, post, request
from harness.policy import bdh, without_cache
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend
from harness.wait import until

def hashed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


QUESTION = [{"role": "user", "content": "hello"}]


def with_ollama(peer):
    return {"backends": [ollama_backend("redfin", peer, general=True)]}


def with_openai(peer):
    return {"backends": [openai_backend("peer", peer)]}


def lines(answer):
    """The objects of an NDJSON stream, with exactly one that ends it."""
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.body.endswith(b"\n")
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [i for i, line in enumerate(found) if line.get("done") or "error" in line] == \
        [len(found) - 1], found
    return found


def text_of(found):
    return "".join(line["message"]["content"] if "message" in line else line["response"]
                   for line in found)


def calls_a_tool(reply):
    """An OpenAI stream whose two calls come in pieces, one within the other."""
    def call(index, **fields):
        return openai_chunk("small", {"tool_calls": [{"index": index, **fields}]})

    reply.head(content_type="text/event-stream")
    for event in [
            openai_chunk("small", {"role": "assistant", "content": "Let me see."}),
            call(0, id="call_a", type="function", function={"name": "price", "arguments": ""}),
            call(1, id="call_b", type="function", function={"name": "spread", "arguments": '{"of"'}),
            call(0, function={"arguments": '{"of": "gold"}'}),
            call(1, function={"arguments": ': "tin"}'}),
            openai_chunk("small", {}, "stop")]:  # as some servers say, though they called
        reply.chunk(sse(event))
    reply.chunk(sse(b"[DONE]"))
    reply.end()


# --- Ollama ---------------------------------------------------------------------------------------

CHAT = {"model": "auto", "messages": QUESTION, "options": {"temperature": 0}}
GENERATE = {"model": "auto", "prompt": "hello", "options": {"temperature": 0}}


def generates(*pieces):
    """Ollama's /api/generate says this."""
    def answer(reply):
        assert reply.request.path == "/api/generate"
        last = {**ollama_last("llama3.1:8b"), "context": [1, 2, 3]}
        del last["message"]
        if not reply.request.streams:
            reply.whole({**last, "response": "".join(pieces)})
            return
        reply.head(content_type="application/x-ndjson")
        for piece in pieces:
            reply.chunk(ndjson(ollama_piece("/api/generate", "llama3.1:8b", piece)))
        reply.chunk(ndjson({**last, "response": ""}))
        reply.end()
    return answer


def test_ollama_to_ollama_passes_untouched(hatchway, backend):
    peer = backend(byte_by_byte(ollama("Grüße", ", ", "世界")))
    gateway = hatchway(**without_cache(with_ollama(peer)))
    body = '{ "odd" : [1, 2.50, 1e400], "model":"auto", "messages":[{"role":"user","content":"x"}] }'

    streamed = post(gateway, "/api/chat", body)
    whole = post(gateway, "/api/chat", {**CHAT, "stream": False})

    assert peer.requests[0].path == "/api/chat"
    assert peer.requests[0].body.decode() == body.replace('"auto"', '"llama3.1:8b"')
    assert lines(streamed)[-1] == ollama_last("llama3.1:8b")
    assert text_of(lines(streamed)) == "Grüße, 世界"
    assert whole.json() == ollama_last("llama3.1:8b", "Grüße, 世界")


def test_generate_to_ollama_passes_untouched(hatchway, backend):
    peer = backend(generates("a", "b"))
    gateway = hatchway(**without_cache(with_ollama(peer)))

    streamed = post(gateway, "/api/generate", {**GENERATE, "raw": True, "context": [9]})
    whole = post(gateway, "/api/generate", {**GENERATE, "stream": False})

    assert peer.requests[0].json() == {**GENERATE, "model": "llama3.1:8b", "raw": True,
                                       "context": [9]}
    assert text_of(lines(streamed)) == "ab" and lines(streamed)[-1]["context"] == [1, 2, 3]
    assert whole.json()["response"] == "ab"
    assert "x-hatchway-dropped" not in streamed.headers


@pytest.mark.parametrize("path, body", [("/api/chat", CHAT), ("/api/generate", GENERATE)])
def test_ollama_to_openai(hatchway, backend, path, body):
    peer = backend(openai("Gol", "d."))
    gateway = hatchway(**without_cache(with_openai(peer)))

    streamed = post(gateway, path, body)
    whole = post(gateway, path, {**body, "stream": False})

    assert peer.requests[0].path == "/v1/chat/completions"
    assert peer.requests[0].json() == {
        "model": "small", "messages": QUESTION, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True}}
    assert text_of(lines(streamed)) == "Gold." == text_of([whole.json()])
    for last in lines(streamed)[-1], whole.json():
        assert last["done"] is True and last["done_reason"] == "stop" and last["model"] == "small"
        assert last["total_duration"] > last["eval_duration"] > 0
        assert last["created_at"].endswith("Z") and len(last["created_at"]) == 20


@pytest.mark.parametrize("path, body", [("/api/chat", CHAT), ("/api/generate", GENERATE)])
def test_ollama_to_a_worker(hatchway, path, body):
    gateway = hatchway(backends=[bdh()])
    body = {**body, "options": {"temperature": 0, "num_predict": 8}}

    streamed = post(gateway, path, body)
    whole = post(gateway, path, {**body, "stream": False})

    assert lines(streamed)[-1]["eval_count"] > 0
    assert lines(streamed)[-1]["done_reason"] == "length" == whole.json()["done_reason"]
    assert text_of(lines(streamed)) == text_of([whole.json()])
    assert (streamed.cache, whole.cache) == ("miss", "hit")
    assert gateway.counts(2, 'hatchway_requests_total{dialect="ollama",route="default",code="200"}')


def test_chat_and_generate_do_not_share_kept_answers(hatchway, backend):
    peer = backend(openai("chat"), openai("generate"))
    gateway = hatchway(**with_openai(peer))
    both = {**CHAT, **GENERATE, "stream": False}

    assert text_of([post(gateway, "/api/chat", both).json()]) == "chat"
    assert text_of([post(gateway, "/api/generate", both).json()]) == "generate"


def test_an_ollama_agents_tools(hatchway, backend):
    peer = backend(calls_a_tool)
    gateway = hatchway(**without_cache(with_openai(peer)))
    tools = [{"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}]

    streamed = lines(post(gateway, "/api/chat", {**CHAT, "tools": tools}))
    whole = post(gateway, "/api/chat", {**CHAT, "tools": tools, "stream": False}).json()

    calls_streamed = [call for line in streamed for call in line["message"].get("tool_calls", [])]
    for calls in calls_streamed, whole["message"]["tool_calls"]:
        assert [(call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in calls] == [("call_a", "price", {"of": "gold"}),
                                                       ("call_b", "spread", {"of": "tin"})]
    assert peer.requests[0].json()["tools"] == tools
    assert text_of(streamed) == "Let me see."
    assert streamed[-1]["done_reason"] == "stop"


def test_what_an_ollama_query_loses_is_said(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(**without_cache(with_openai(peer)))
    body = {**CHAT, "stream": False, "options": {"mirostat": 1, "num_ctx": 8192}}

    answer = post(gateway, "/api/chat", body)
    refused = post(gateway, "/api/chat", body, headers={"x-hatchway-strict": "1"})

    assert answer.headers["x-hatchway-dropped"] == "options.mirostat, options.num_ctx"
    assert refused.status == 400 and len(peer.requests) == 1
    assert "options.mirostat, options.num_ctx" in refused.json()["error"]
    assert post(gateway, "/api/chat", {**CHAT, "stream": False},
                headers={"x-hatchway-strict": "1"}).status == 200


def test_strict_moves_on_to_a_backend_that_loses_nothing(hatchway, backend):
    peer, redfin = backend(openai("ok")), backend(ollama("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer, quality=1),
                                 ollama_backend("redfin", redfin, general=True, quality=1)],
                       routes=[{"name": "r", "to": {"backend": ["peer", "redfin"], "by": "priority"}}])

    answer = post(gateway, "/api/chat", {**CHAT, "options": {"mirostat": 1}},
                  headers={"x-hatchway-strict": "1"})

    assert answer.backend == "redfin" and "x-hatchway-dropped" not in answer.headers


def test_a_strict_route_says_it_for_all_its_queries(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(**without_cache(with_openai(peer)), routes=[
        {"name": "exact", "when": {"header": {"x-team": "law"}}, "strict": True}, {"name": "rest"}])
    body = {**CHAT, "stream": False, "options": {"mirostat": 1}}

    refused = post(gateway, "/api/chat", body, headers={"x-team": "law"})
    taken = post(gateway, "/api/chat", {**CHAT, "stream": False}, headers={"x-team": "law"})

    assert refused.status == 400 and len(peer.requests) == 1
    assert "options.mirostat" in refused.json()["error"] and "strict" in refused.json()["error"]
    assert taken.status == 200 and taken.headers["x-hatchway-route"] == "exact"
    assert post(gateway, "/api/chat", body).headers["x-hatchway-dropped"] == "options.mirostat"


def test_strict_holds_for_workers(hatchway):
    gateway = hatchway(backends=[bdh()])

    refused = post(gateway, "/api/chat", {**CHAT, "format": "json"},
                   headers={"x-hatchway-strict": "1"})

    assert refused.status == 400 and "format" in refused.json()["error"]


def test_an_empty_prompt_loads_nothing_and_says_so(hatchway, backend):
    peer = backend(ollama("never"))
    gateway = hatchway(**with_ollama(peer))

    for path, body in ("/api/generate", {"model": "auto"}), ("/api/chat", {"model": "auto"}):
        last = lines(post(gateway, path, body))[-1]
        assert last["done_reason"] == "load" and text_of([last]) == ""
    assert peer.requests == []


def test_ollama_errors(hatchway, backend):
    gateway = hatchway(**with_ollama(backend(status(400, {"error": "no such option"}))))

    unknown = post(gateway, "/api/chat", {**CHAT, "model": "nobody"})
    assert unknown.status == 404 and "nobody" in unknown.json()["error"]
    assert list(unknown.json()) == ["error"]
    refused = post(gateway, "/api/chat", CHAT)
    assert refused.status == 400 and refused.json() == {"error": "no such option"}
    assert post(gateway, "/api/chat", "{").json()["error"].startswith("invalid JSON")
    assert "error" in post(gateway, "/api/nothing", {}).json()


def test_an_ollama_stream_that_dies_says_so(hatchway, backend):
    gateway = hatchway(**with_openai(backend(dies_after("begun"))))

    found = lines(post(gateway, "/api/chat", CHAT))

    assert text_of(found[:-1]) == "begun"
    assert found[-1]["error"].startswith("peer broke off")


def test_an_ollama_backend_that_fails_within_its_stream(hatchway, backend):
    def fails(reply):
        reply.head(content_type="application/x-ndjson")
        reply.chunk(ndjson(ollama_line("llama3.1:8b", "begun")))
        reply.chunk(ndjson({"error": "out of memory"}))
        reply.end()

    gateway = hatchway(**with_ollama(backend(fails)))

    found = lines(post(gateway, "/api/chat", CHAT))

    assert text_of(found[:-1]) == "begun"
    assert found[-1] == {"error": "redfin broke off: out of memory"}


# --- Anthropic ------------------------------------------------------------------------------------

MESSAGE = {"model": "auto", "max_tokens": 64, "temperature": 0, "messages": QUESTION}


def sse_events(answer):
    """The data of each event, whose name must be its type."""
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def message_of(found):
    """Adds a stream up as Anthropic's SDK does, checking the order of its events."""
    assert found[0]["type"] == "message_start" and found[-1]["type"] == "message_stop"
    message, opened, inputs = found[0]["message"], None, {}
    for event in found[1:-1]:
        if event["type"] == "content_block_start":
            assert opened is None and event["index"] == len(message["content"])
            opened = event["index"]
            message["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            assert event["index"] == opened
            block, delta = message["content"][opened], event["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "input_json_delta":
                inputs[opened] = inputs.get(opened, "") + delta["partial_json"]
                block["input"] = json.loads(inputs[opened])
            else:
                block["thinking"] += delta["thinking"]
        elif event["type"] == "content_block_stop":
            assert event["index"] == opened
            opened = None
        else:
            assert event["type"] == "message_delta" and opened is None
            message.update(event["delta"])
            message["usage"].update(event["usage"])
    return message


@pytest.mark.parametrize("kind, script", [(with_openai, openai), (with_ollama, ollama)])
def test_anthropic_whole_and_streamed(hatchway, backend, kind, script):
    peer = backend(script("Gol", "d."))
    gateway = hatchway(**without_cache(kind(peer)))

    whole = post(gateway, "/v1/messages", {**MESSAGE, "system": "Be brief."})
    streamed = message_of(sse_events(post(gateway, "/v1/messages", {**MESSAGE, "stream": True})))

    assert peer.requests[0].json()["messages"] == [{"role": "system", "content": "Be brief."},
                                                   *QUESTION]
    for message in whole.json(), streamed:
        assert message["content"] == [{"type": "text", "text": "Gold."}]
        assert message["stop_reason"] == "end_turn" and message["role"] == "assistant"
        assert message["id"].startswith("msg_") and message["usage"]["input_tokens"] > 0
    assert whole.headers["x-hatchway-backend"] in ("peer", "redfin")


def test_anthropic_to_a_worker(hatchway):
    gateway = hatchway(backends=[bdh()])
    body = {**MESSAGE, "max_tokens": 8}

    streamed = message_of(sse_events(post(gateway, "/v1/messages", {**body, "stream": True})))
    whole = post(gateway, "/v1/messages", body)

    assert streamed["stop_reason"] == "max_tokens" == whole.json()["stop_reason"]
    assert streamed["content"] == whole.json()["content"]
    assert whole.cache == "hit"
    assert gateway.counts(
        2, 'hatchway_requests_total{dialect="anthropic",route="default",code="200"}')


def test_an_anthropic_agents_tools(hatchway, backend):
    peer = backend(calls_a_tool)
    gateway = hatchway(**without_cache(with_openai(peer)))
    body = {**MESSAGE, "tools": [{"name": "price", "input_schema": {"type": "object"}}],
            "messages": [*QUESTION, {"role": "assistant", "content": [
                {"type": "tool_use", "id": "t0", "name": "price", "input": {"of": "tin"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t0", "content": "7"}]}]}

    streamed = message_of(sse_events(post(gateway, "/v1/messages", {**body, "stream": True})))
    whole = post(gateway, "/v1/messages", body).json()

    assert streamed["content"] == whole["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "call_a", "name": "price", "input": {"of": "gold"}},
        {"type": "tool_use", "id": "call_b", "name": "spread", "input": {"of": "tin"}}]
    assert streamed["stop_reason"] == "tool_use" == whole["stop_reason"]
    sent = peer.requests[0].json()
    assert sent["messages"][-1] == {"role": "tool", "tool_call_id": "t0", "content": "7"}
    assert sent["tools"][0]["function"]["parameters"] == {"type": "object"}


def test_what_an_anthropic_query_loses_is_said(hatchway, backend):
    gateway = hatchway(**without_cache(with_openai(backend(openai("ok")))))
    body = {**MESSAGE, "top_k": 3, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "read this"}, {"type": "document", "source": {}}]}]}

    answer = post(gateway, "/v1/messages", body)
    refused = post(gateway, "/v1/messages", body, headers={"x-hatchway-strict": "1"})

    assert answer.headers["x-hatchway-dropped"] == "messages[0].content[1], top_k"
    assert refused.status == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert "messages[0].content[1], top_k" in refused.json()["error"]["message"]


def test_anthropic_errors(hatchway, backend):
    gateway = hatchway(**with_openai(backend(status(400), dies_after("begun"))),
                       agents=[{"name": "email", "key": hashed("secret")}])
    key = {"x-api-key": "secret"}

    assert post(gateway, "/v1/messages", MESSAGE).json()["error"]["type"] == "authentication_error"
    refused = post(gateway, "/v1/messages", MESSAGE, headers=key)
    assert refused.status == 400 and "scripted 400" in refused.json()["error"]["message"]
    died = sse_events(post(gateway, "/v1/messages", {**MESSAGE, "stream": True}, headers=key))
    assert died[-1]["type"] == "error" and "broke off" in died[-1]["error"]["message"]
    unknown = post(gateway, "/v1/messages", {**MESSAGE, "model": "nobody"}, headers=key)
    assert unknown.status == 404 and unknown.json()["error"]["type"] == "not_found_error"


def test_tokens_are_counted_by_estimate(hatchway):
    gateway = hatchway(backends=[bdh()])

    count = post(gateway, "/v1/messages/count_tokens",
                 {"model": "auto", "messages": [{"role": "user", "content": "x" * 4000}]})
    wrong = post(gateway, "/v1/messages/count_tokens", {"model": "auto"})

    assert count.status == 200 and 800 <= count.json()["input_tokens"] <= 2000
    assert wrong.status == 400 and wrong.json()["error"]["message"] == "messages is missing"


# --- models, as Ollama's clients look for them ----------------------------------------------------

def with_both(peer):
    return {"backends": [bdh(), ollama_backend("redfin", peer), ollama_backend("bluefin", peer)],
            "roles": {"trading": {"keywords": ["market"]}}, "aliases": {"big": "llama3.1:8b"}}


def test_tags_show_each_model_once_and_where_it_lives(hatchway, backend):
    gateway = hatchway(**with_both(backend(ollama("ok"))))

    models = {model["name"]: model for model in get(gateway, "/api/tags").json()["models"]}

    assert {"auto", "trading", "big", "llama3.1:8b", "model"} <= set(models)
    assert models["llama3.1:8b"]["backends"] == ["redfin", "bluefin"]
    assert models["model"]["details"]["family"] == "bdh" and len(models["model"]["digest"]) == 64
    assert models["auto"]["modified_at"].endswith("Z") and models["auto"]["model"] == "auto"
    assert set(models) == {model["id"] for model in get(gateway, "/v1/models").json()["data"]}


def test_ps_shows_what_is_loaded_here(hatchway, backend):
    gateway = hatchway(**with_both(backend(ollama("ok"))))

    assert [model["name"] for model in until(lambda: get(gateway, "/api/ps").json()["models"])] == \
        ["model"]


def test_show(hatchway, backend):
    gateway = hatchway(**with_both(backend(ollama("ok"))))

    llama = post(gateway, "/api/show", {"model": "llama3.1:8b"}).json()
    own = post(gateway, "/api/show", {"name": "model:latest"}).json()

    assert "tools" in llama["capabilities"] and llama["backends"] == ["redfin", "bluefin"]
    assert own["capabilities"] == ["completion"]
    assert own["model_info"]["general.architecture"] == "bdh"
    unknown = post(gateway, "/api/show", {"model": "nobody"})
    assert unknown.status == 404 and "'nobody' not found" in unknown.json()["error"]
    for body in "{", "[]", {"model": 7}, {}:
        assert post(gateway, "/api/show", body).status == 400


def test_models_are_managed_elsewhere(hatchway, backend):
    peer = backend(ollama("never"))
    gateway = hatchway(**with_both(peer))

    for path in "pull", "push", "create", "copy", "blobs/sha256:12":
        refused = post(gateway, f"/api/{path}", {"model": "llama3.1:8b"})
        assert refused.status == 403 and "does not manage models" in refused.json()["error"]
    assert request(gateway, "DELETE", "/api/delete", {"model": "llama3.1:8b"}).status == 403
    assert peer.requests == []
    assert set(get(gateway, "/api/version").json()) == {"version"}


# --- OpenAI's completions -------------------------------------------------------------------------

COMPLETION = {"model": "auto", "prompt": "hello", "temperature": 0}


def completes(*pieces):
    """An OpenAI-compatible server's /v1/completions says this."""
    def piece(text, finish=None):
        return {"id": "cmpl-scripted", "object": "text_completion", "created": 1, "model": "small",
                "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}

    def answer(reply):
        assert reply.request.path == "/v1/completions"
        if not reply.request.streams:
            reply.whole(piece("".join(pieces), "stop"))
            return
        reply.head(content_type="text/event-stream")
        for text in pieces:
            reply.chunk(sse(piece(text)))
        reply.chunk(sse(piece("", "stop")))
        reply.chunk(sse(b"[DONE]"))
        reply.end()
    return answer


def completion_text(answer):
    """Whole, or a stream with exactly one finish reason and one [DONE], both at its end."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()["choices"][0]["text"]
    *chunks, done = answer.events
    assert done == "[DONE]" and "[DONE]" not in chunks
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == \
        [None] * (len(chunks) - 1) + ["stop"]
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


@pytest.mark.parametrize("kind, script", [(with_openai, completes), (with_ollama, ollama)])
def test_completions(hatchway, backend, kind, script):
    peer = backend(script("Gol", "d."))
    gateway = hatchway(**without_cache(kind(peer)))

    for stream in False, True:
        answer = post(gateway, "/v1/completions", {**COMPLETION, "stream": stream, "suffix": "x"})
        assert completion_text(answer) == "Gold."
        assert answer.headers.get("x-hatchway-dropped") == \
            (None if kind is with_openai else "suffix")
    wrong = post(gateway, "/v1/completions", {**COMPLETION, "prompt": ["a", "b"]})
    assert wrong.status == 400 and "one string" in wrong.error
