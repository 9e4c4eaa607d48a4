"""A large query is held once: what a gateway's memory grows by at its peak, beside the bodies.

Several at a time, so that everything else is small beside them; twice, so that what the first left
behind counts."""
import json
import pathlib
import re
import threading

import pytest

from harness.backend import bdh_node, ollama, openai
from harness.client import post
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend

BODY_BYTES = 8 << 20
AT_ONCE = 2
UNTOUCHED, TRANSLATED = 1.25, 3.0

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
OLLAMA, GENERATE, ANTHROPIC = "/api/chat", "/api/generate", "/v1/messages"
EMBEDDINGS, EMBED = "/v1/embeddings", "/api/embed"
OWN = {"openai": (CHAT, COMPLETIONS, EMBEDDINGS), "ollama": (OLLAMA, GENERATE, EMBED), "bdh": ()}

LONG = "words of a long context, and its lines\n" * (BODY_BYTES // 41)
IMAGE = "iVBORw0KGgo" + "A" * (BODY_BYTES - 1000)


def many(bytes_each, make):
    """As many as fill a body, but no more than limits.json_nodes takes."""
    return [make(i) for i in range(BODY_BYTES // bytes_each)]


def said(i, text):
    return {"role": ("user", "assistant")[i % 2], "content": text}


LINE = "a line of a talk that goes on and on, as lines of them do\n"
TALK = many(2350, lambda i: said(i, "a turn of a long talk\n" * 100))
CHATTER = many(168, lambda i: said(i, LINE * 2))
TEXTS = many(2150, lambda i: "a text that wants a vector, and goes on\n" * 50)

USER = {"role": "user"}
PART = {"type": "text", "text": "what is it?"}
LONG_PART = {"type": "text", "text": LONG}
PARTS = many(150, lambda i: {"type": "text", "text": LINE * 2})
URL = {"url": f"data:image/png;base64,{IMAGE}"}
SOURCE = {"type": "base64", "media_type": "image/png", "data": IMAGE}
ARGUMENTS = {"text": "to be filed\n" * 160}


def openai_calls(i):
    return [{"role": "assistant", "content": None, "tool_calls": [
                {"id": f"call_{i}", "type": "function",
                 "function": {"name": "file", "arguments": json.dumps(ARGUMENTS)}}]},
            {"role": "tool", "tool_call_id": f"call_{i}", "content": "filed"}]


def ollama_calls(i):
    return [{"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "file", "arguments": ARGUMENTS}}]},
            {"role": "tool", "tool_name": "file", "content": "filed"}]


def anthropic_calls(i):
    return [{"role": "assistant", "content": [
                {"type": "tool_use", "id": f"call_{i}", "name": "file", "input": ARGUMENTS}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": f"call_{i}", "content": "filed"}]}]


def responses_calls(i):
    return [{"type": "function_call", "call_id": f"call_{i}", "name": "file",
             "arguments": json.dumps(ARGUMENTS)},
            {"type": "function_call_output", "call_id": f"call_{i}", "output": "filed"}]


def calls(of_dialect):
    return [message for pair in many(2450, of_dialect) for message in pair]


def content(value, **more):
    return {"messages": [{**USER, "content": value, **more}]}


def item(value):
    return {"input": [{**USER, "content": value}]}


def one_call():
    """Its arguments are most of the body."""
    arguments = json.dumps({"text": "to be filed, all of it\n" * (BODY_BYTES // 26)})
    return [{"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function",
                 "function": {"name": "file", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "filed"}]


ALL = ("openai", "ollama", "bdh")  # a bdh node takes the last text alone
NATIVE = ("openai", "ollama")
QUERIES = {
    "a long text": (ALL, CHAT, content(LONG)),
    "a long talk": (("openai",), CHAT, {"messages": [*TALK, said(0, "well?")]}),
    "chatter": (NATIVE, CHAT, {"messages": [*CHATTER, said(0, "well?")]}),
    "parts": (ALL, CHAT, content(PARTS)),
    "calls": (NATIVE, CHAT, {"messages": [*calls(openai_calls), said(0, "well?")]}),
    "a call": (NATIVE, CHAT, {"messages": [*one_call(), said(0, "well?")]}),
    "an image": (NATIVE, CHAT, content([PART, {"type": "image_url", "image_url": URL}])),
    "a prompt": (("openai",), COMPLETIONS, {"prompt": LONG}),
    "ollama, a long text": (NATIVE, OLLAMA, content(LONG)),
    "ollama, chatter": (NATIVE, OLLAMA, {"messages": [*CHATTER, said(0, "well?")]}),
    "ollama, calls": (NATIVE, OLLAMA, {"messages": [*calls(ollama_calls), said(0, "well?")]}),
    "ollama, an image": (NATIVE, OLLAMA, content("what?", images=[IMAGE])),
    "generate": (("ollama",), GENERATE, {"prompt": LONG}),
    "anthropic, a long text": (("openai",), ANTHROPIC, content(LONG)),
    "anthropic, a block": (("bdh",), ANTHROPIC, content([PART, LONG_PART])),
    "anthropic, blocks": (NATIVE, ANTHROPIC, content(PARTS)),
    "anthropic, chatter": (("ollama",), ANTHROPIC, {"messages": [*CHATTER, said(0, "well?")]}),
    "anthropic, calls": (NATIVE, ANTHROPIC,
                         {"messages": [*calls(anthropic_calls), said(0, "well?")]}),
    "anthropic, an image": (NATIVE, ANTHROPIC,
                            content([PART, {"type": "image", "source": SOURCE}])),
    "responses, a long text": (("openai",), RESPONSES, {"input": LONG}),
    "responses, instructions": (("ollama",), RESPONSES, {"input": "well?", "instructions": LONG}),
    "responses, an item": (("bdh",), RESPONSES, item(LONG)),
    "responses, a part": (("openai",), RESPONSES, item([{"type": "input_text", "text": LONG}])),
    "responses, chatter": (("ollama",), RESPONSES, {"input": [*CHATTER, said(0, "well?")]}),
    "responses, calls": (NATIVE, RESPONSES,
                         {"input": [*calls(responses_calls), said(0, "well?")]}),
    "responses, an image": (NATIVE, RESPONSES,
                            item([{"type": "input_image", "image_url": URL["url"]}])),
    "embeddings, a long text": (NATIVE, EMBEDDINGS, {"input": LONG}),
    "embeddings, texts": (NATIVE, EMBEDDINGS, {"input": TEXTS}),
    "embed, a long text": (("openai",), EMBED, {"input": LONG}),
    "embed, texts": (NATIVE, EMBED, {"input": TEXTS}),
}


def peak_bytes(gateway):
    status = pathlib.Path(f"/proc/{gateway.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def all_at_once(gateway, path, text):
    answers = []
    askers = [threading.Thread(target=lambda: answers.append(post(gateway, path, text, seconds=60)))
              for _ in range(AT_ONCE)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert [answer.status for answer in answers] == [200] * AT_ONCE, answers


def when_all_are_there(kind, path, fields):
    """So that all bodies are in the gateway at the same time."""
    together = threading.Barrier(AT_ONCE)
    chat = {"openai": openai, "ollama": ollama, "bdh": bdh_node}[kind]("ok")
    count = len(fields["input"]) if isinstance(fields.get("input"), list) else 1
    wholes = {
        COMPLETIONS: {"choices": [{"index": 0, "text": "ok", "finish_reason": "stop"}]},
        GENERATE: {"model": "m", "response": "ok", "done": True, "done_reason": "stop"},
        EMBEDDINGS: {"data": [{"index": i, "embedding": [1]} for i in range(count)]},
        EMBED: {"embeddings": [[1]] * count},
    }

    def wait(reply):
        together.wait(60)
        if reply.request.path in wholes:
            reply.whole(wholes[reply.request.path])
        else:
            chat(reply)
    return wait


@pytest.mark.parametrize("query, kind", [
    (query, kind) for query, (kinds, _, _) in QUERIES.items() for kind in kinds])
def test_a_large_query_is_held_once(hatchway, backend, sanitized, query, kind):
    if sanitized:
        pytest.skip("ASan has a memory of its own")
    _, path, fields = QUERIES[query]
    peer = backend(when_all_are_there(kind, path, fields))
    peers = {"openai": openai_backend("peer", peer),
             "ollama": ollama_backend("peer", peer, general=True),
             "bdh": {"name": "peer", "kind": "bdh", "url": peer.url, "general": True}}
    gateway = hatchway(backends=[peers[kind]], cache={"keep": "none"}, limits={"body": "9MiB"},
                       loops=1)
    most = "max_output_tokens" if path == RESPONSES else "max_tokens"
    text = json.dumps({"model": "auto", most: 5, "stream": False, **fields})
    assert 0.9 * BODY_BYTES < len(text) < 9 << 20

    before = gateway.rss_bytes()
    for _ in range(2):
        all_at_once(gateway, path, text)

    grown = (peak_bytes(gateway) - before) / AT_ONCE / len(text)
    print(f"{query} to {kind}: {grown:.2f} of the body")
    assert grown <= (UNTOUCHED if path in OWN[kind] else TRANSLATED)
