"""A query by keyword goes to Ollama, translated; its answer comes back translated."""
import json

from harness.backend import byte_by_byte, ndjson, ollama, ollama_last, ollama_line, status
from harness.client import Stream, ask, chat, post
from harness.policy import bdh
from harness.policy import ollama as ollama_backend

ROLES = {"trading": {"keywords": ["market", "hedge", "spread"]}}
QUESTION = "Should we hedge the gold market?"


def with_trader(peer, **more):
    return {"roles": ROLES,
            "backends": [bdh(), ollama_backend("redfin", peer, roles=["trading"], quality=1, **more)],
            "routes": [{"name": "specialist", "when": {"role": ["trading"]}, "to": {"role": "same"}},
                       {"name": "default", "to": {"by": "latency"}}]}


def test_a_keyword_query_reaches_ollama(hatchway, backend):
    redfin = backend(ollama("Sell", " half."))
    gateway = hatchway(**with_trader(redfin))

    answer = ask(gateway, QUESTION)

    assert answer.text == "Sell half."
    assert answer.backend == "redfin"
    assert answer.headers["x-hatchway-role"] == "trading"
    assert answer.headers["x-hatchway-route"] == "specialist"
    assert answer.json()["usage"] == {"prompt_tokens": 11, "completion_tokens": 3,
                                      "total_tokens": 14}
    assert redfin.requests[0].path == "/api/chat"
    assert redfin.requests[0].json() == {
        "model": "llama3.1:8b", "messages": [{"role": "user", "content": QUESTION}],
        "stream": True, "options": {"temperature": 0}}
    assert ask(gateway, "a plain question", max_tokens=3).backend == "hatchling"


def test_it_is_streamed_as_it_comes(hatchway, backend):
    redfin = backend(ollama("Sell", " half", ".", pause=0.2))
    gateway = hatchway(**with_trader(redfin))

    with Stream(gateway, QUESTION) as stream:
        stream.start()
        assert stream.next_text() == "Sell"
        assert gateway.inflight() == 1  # the backend is still at it
        assert stream.next_text() == " half"
        assert stream.rest()[-1] == "[DONE]"
    assert redfin.requests[0].json()["stream"] is True


def test_every_field_is_translated(hatchway, backend):
    redfin = backend(ollama("ok"))
    gateway = hatchway(**with_trader(redfin))
    tools = [{"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}]
    schema = {"type": "object", "properties": {"sell": {"type": "boolean"}}}

    answer = post(gateway, "/v1/chat/completions", {
        "model": "trading",
        "messages": [
            {"role": "developer", "content": "You trade."},
            {"role": "user", "content": [{"type": "text", "text": "The "},
                                         {"type": "text", "text": "price?"}]},
            {"role": "assistant", "content": None,
             "tool_calls": [{"id": "call_1", "type": "function",
                             "function": {"name": "price", "arguments": '{"of": "gold"}'}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "2400"},
            {"role": "user", "content": "Hedge?"}],
        "max_tokens": 12, "temperature": 0.25, "top_p": 0.5, "seed": 9007199254740993,
        "stop": "END", "presence_penalty": 0.5, "frequency_penalty": -0.5, "tools": tools,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        "reasoning_effort": "low", "logit_bias": {"50256": -100}})

    assert answer.text == "ok"
    sent = redfin.requests[0].json()
    assert sent["messages"] == [
        {"role": "system", "content": "You trade."},
        {"role": "user", "content": "The price?"},
        {"role": "assistant", "content": "",
         "tool_calls": [{"id": "call_1",
                         "function": {"name": "price", "arguments": {"of": "gold"}}}]},
        {"role": "tool", "content": "2400", "tool_name": "price", "tool_call_id": "call_1"},
        {"role": "user", "content": "Hedge?"}]
    assert sent["options"] == {"num_predict": 12, "temperature": 0.25, "top_p": 0.5,
                               "seed": 9007199254740993, "stop": ["END"], "presence_penalty": 0.5,
                               "frequency_penalty": -0.5}
    assert sent["format"] == schema
    assert sent["think"] == "low"
    assert sent["tools"] == tools
    assert "logit_bias" in answer.headers["x-hatchway-dropped"]


def test_tool_calls_come_back(hatchway, backend):
    call = {"role": "assistant", "content": "",
            "tool_calls": [{"function": {"name": "price", "arguments": {"of": "gold"}}}]}

    def calls(reply):
        if not reply.request.streams:
            reply.whole({**ollama_last("llama3.1:8b"), "message": call})
            return
        reply.head(content_type="application/x-ndjson")
        reply.chunk(ndjson({**ollama_line("llama3.1:8b", ""), "message": call}))
        reply.chunk(ndjson(ollama_last("llama3.1:8b")))
        reply.end()

    gateway = hatchway(**with_trader(backend(calls)))
    tools = [{"type": "function", "function": {"name": "price"}}]

    choice = ask(gateway, QUESTION, tools=tools).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    function = choice["message"]["tool_calls"][0]["function"]
    assert function["name"] == "price" and json.loads(function["arguments"]) == {"of": "gold"}
    events = ask(gateway, QUESTION + " Now?", tools=tools, stream=True).events
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert any(event["choices"][0]["delta"].get("tool_calls") for event in events[:-1])


def test_frames_split_at_every_byte(hatchway, backend):
    text = "Grüße, 世界 🐉 — \"quoted\" \\ \n done"
    redfin = backend(byte_by_byte(ollama(*text)))
    gateway = hatchway(**with_trader(redfin))

    assert ask(gateway, QUESTION, stream=True).text == text


def test_an_error_line_in_the_middle_of_a_stream(hatchway, backend):
    def breaks(reply):
        reply.head(content_type="application/x-ndjson")
        reply.chunk(ndjson(ollama_line("llama3.1:8b", "Sell")))
        reply.chunk(ndjson({"error": "an error was encountered while running the model"}))
        reply.end()

    gateway = hatchway(**with_trader(backend(breaks)))

    with Stream(gateway, QUESTION) as stream:
        assert stream.start().next_text() == "Sell"
        rest = stream.rest()
    assert len(rest) == 1 and "while running the model" in rest[0]["error"]["message"]


def test_a_stream_that_just_ends(hatchway, backend):
    def ends(reply):
        reply.head(content_type="application/x-ndjson")
        reply.chunk(ndjson(ollama_line("llama3.1:8b", "Sell")))
        reply.end()

    gateway = hatchway(**with_trader(backend(ends)))

    with Stream(gateway, QUESTION) as stream:
        assert stream.start().next_text() == "Sell"
        rest = stream.rest()
    assert len(rest) == 1 and set(rest[0]) == {"error"}


def test_ollamas_own_refusal_is_the_answer(hatchway, backend):
    redfin = backend(status(404, {"error": "model 'llama3.1:8b' not found"}))
    gateway = hatchway(**with_trader(redfin))

    answer = ask(gateway, QUESTION)

    assert answer.status == 404
    assert "model 'llama3.1:8b' not found" in answer.error


def test_the_role_can_be_asked_for(hatchway, backend):
    redfin = backend(ollama("hm"))
    gateway = hatchway(**with_trader(redfin))

    assert ask(gateway, "nothing special", model="trading").backend == "redfin"
    assert ask(gateway, "nothing else", headers={"x-hatchway-role": "trading"}).backend == "redfin"
    assert ask(gateway, "nothing more", model="llama3.1:8b").backend == "redfin"


def test_a_chat_body_keeps_its_order_of_messages(hatchway, backend):
    redfin = backend(ollama("ok"))
    gateway = hatchway(**with_trader(redfin))
    messages = [{"role": role, "content": f"{role} {i}"}
                for i, role in enumerate(["user", "assistant"] * 20 + ["user"])]

    assert post(gateway, "/v1/chat/completions", {**chat(""), "model": "trading",
                                                  "messages": messages}).status == 200
    assert redfin.requests[0].json()["messages"] == messages
