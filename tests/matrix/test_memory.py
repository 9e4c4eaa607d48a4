"""A large query is held once: what a gateway's memory grows by at its peak, beside the bodies.

Several at a time, so that everything else is small beside them; twice, so that what the first left
behind counts."""
import json
import pathlib
import re
import threading

import pytest

from harness.backend import ollama, openai, openai_whole
from harness.client import post
from harness.gateway import TINY_MODEL
from harness.policy import bdh
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend

BODY_BYTES = 8 << 20
AT_ONCE = 4
UNTOUCHED, TRANSLATED = 1.25, 3.0

LONG = "words of a long context, and its lines\n" * (BODY_BYTES // 41)
IMAGE = "iVBORw0KGgo" + "A" * (BODY_BYTES - 1000)
TURNS = [{"role": ("user", "assistant")[i % 2], "content": "a turn of a long talk\n" * 100}
         for i in range(BODY_BYTES // 2350)]
USER = {"role": "user"}

CHAT, OLLAMA, ANTHROPIC = "/v1/chat/completions", "/api/chat", "/v1/messages"
RESPONSES = "/v1/responses"
PART = [{"type": "text", "text": "what is it?"}]
OPENAI_IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
ANTHROPIC_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                               "data": IMAGE}}
QUERIES = {
    "a long text": (CHAT, {"messages": [{**USER, "content": LONG}]}),
    "a long talk": (CHAT, {"messages": [*TURNS, {**USER, "content": "well?"}]}),
    "an image": (CHAT, {"messages": [{**USER, "content": [*PART, OPENAI_IMAGE]}]}),
    "a prompt": ("/v1/completions", {"prompt": LONG}),
    "ollama, a long text": (OLLAMA, {"messages": [{**USER, "content": LONG}]}),
    "ollama, an image": (OLLAMA, {"messages": [{**USER, "content": "what?", "images": [IMAGE]}]}),
    "generate": ("/api/generate", {"prompt": LONG}),
    "anthropic, a long text": (ANTHROPIC, {"messages": [{**USER, "content": LONG}]}),
    "anthropic, blocks": (ANTHROPIC, {"messages": [
        {**USER, "content": [*PART, {"type": "text", "text": LONG}]}]}),
    "anthropic, an image": (ANTHROPIC, {"messages": [
        {**USER, "content": [*PART, ANTHROPIC_IMAGE]}]}),
    "responses, a long talk": (RESPONSES, {"input": [*TURNS, {**USER, "content": "well?"}]}),
    "responses, an image": (RESPONSES, {"input": [{**USER, "content": [
        {"type": "input_text", "text": "what is it?"},
        {"type": "input_image", "image_url": OPENAI_IMAGE["image_url"]["url"]}]}]}),
}
OWN = {"openai": (CHAT, "/v1/completions"), "ollama": (OLLAMA, "/api/generate")}


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


def when_all_are_there(answer):
    """So that all bodies are in the gateway at the same time."""
    together = threading.Barrier(AT_ONCE)

    def wait(reply):
        together.wait(60)
        if reply.request.path in ("/v1/completions", "/api/generate"):
            reply.whole({**openai_whole("small", "ok"), "model": "m", "response": "ok",
                         "done": True, "done_reason": "stop"} | {"choices": [
                             {"index": 0, "text": "ok", "finish_reason": "stop"}]})
        else:
            answer(reply)
    return wait


@pytest.mark.parametrize("query, kind", [
    (query, kind) for query, (path, _) in QUERIES.items() for kind in OWN
    if path in (*OWN[kind], CHAT, ANTHROPIC, RESPONSES) or "image" in query])
def test_a_large_query_is_held_once(hatchway, backend, sanitized, query, kind):
    if sanitized:
        pytest.skip("ASan has a memory of its own")
    path, fields = QUERIES[query]
    peer = backend(when_all_are_there(openai("ok") if kind == "openai" else ollama("ok")))
    gateway = hatchway(
        backends=[openai_backend("peer", peer) if kind == "openai"
                  else ollama_backend("peer", peer, general=True)],
        cache={"keep": "none"}, limits={"body": "9MiB"}, loops=1)
    most = "max_output_tokens" if path == RESPONSES else "max_tokens"
    text = json.dumps({"model": "auto", most: 5, "stream": False, **fields})
    assert len(text) > 0.95 * BODY_BYTES

    before = gateway.rss_bytes()
    for _ in range(2):
        all_at_once(gateway, path, text)

    grown = (peak_bytes(gateway) - before) / AT_ONCE / len(text)
    print(f"{query} to {kind}: {grown:.2f} of the body")
    assert grown <= (UNTOUCHED if path in OWN[kind] else TRANSLATED)
