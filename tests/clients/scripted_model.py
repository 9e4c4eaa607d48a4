"""A model that does what its last message says, behind an OpenAI-compatible or an Ollama server.

A text's embedding is its length and the number of its words."""
import base64
import json
import re
import struct
import time

from harness.backend import ndjson, ollama_last, ollama_line, openai_chunk, openai_whole, sse

GREETING = ["Grüße ", "from a ", "scripted ", "model 🐉."]
DECISION = ['{"sell": ', 'true, "lots"', ": 3}"]
CALLS = [("price", {"of": "gold"}), ("price", {"of": "tin"})]
PAUSE_SECONDS = 0.01


def last_text(message):
    content = message["content"] or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def has_image(message):
    parts = message["content"] if isinstance(message["content"], list) else []
    return bool(message.get("images")) or any(part["type"] == "image_url" for part in parts)


def wants_json(body):
    """With a schema or without."""
    return "format" in body or "response_format" in body


def tool_results(messages):
    """What came after our last message, each with what it was asked of; None in a first round.

    LangChain's ChatOllama forgets the calls: then its results stand alone, for OpenAI as a user's."""
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=None)
    if last is None:
        return None
    results = [last_text(m) for m in messages[last + 1:]]
    calls = messages[last].get("tool_calls")
    if not calls:
        return ", ".join(results)
    arguments = [call["function"]["arguments"] for call in calls]
    arguments = [json.loads(a) if isinstance(a, str) else a for a in arguments]
    return ", ".join(f"{a['of']} {result}" for a, result in zip(arguments, results))


def vector(text):
    return [float(len(text)), float(len(text.split()))]


def embed(reply, body):
    """/v1/embeddings, /api/embed and /api/embeddings."""
    given = body.get("input", body.get("prompt"))
    vectors = [vector(text) for text in (given if isinstance(given, list) else [given])]
    if reply.request.path == "/api/embeddings":
        reply.whole({"embedding": vectors[0]})
    elif reply.request.path == "/api/embed":
        reply.whole({"model": body["model"], "embeddings": vectors, "total_duration": 1000,
                     "load_duration": 0, "prompt_eval_count": 9})
    else:
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack("<2f", *each)).decode() for each in vectors]
        reply.whole({"object": "list", "model": body["model"],
                     "data": [{"object": "embedding", "index": i, "embedding": each}
                              for i, each in enumerate(vectors)],
                     "usage": {"prompt_tokens": 9, "total_tokens": 9}})


class Model:
    """speech: OpenAI or Ollama, below."""

    def __init__(self, speech):
        self.speech = speech
        self.failed = set()  # questions that have failed once

    def __call__(self, reply):
        body = reply.request.json()
        if "embed" in reply.request.path:
            embed(reply, body)
            return
        if reply.request.path == "/api/generate":
            body["messages"] = [{"role": "user", "content": body["prompt"],
                                 "images": body.get("images")}]
        messages = body["messages"]
        text = last_text(messages[-1])
        speech = self.speech(reply, body["model"])
        asked_status = re.search(r"status (\d+)", text)
        if asked_status:
            speech.refuse(int(asked_status.group(1)))
        elif "fail once" in text and text not in self.failed:
            self.failed.add(text)
            speech.refuse(503)
        elif "go on" in text:
            speech.go_on()
        elif "hang" in text:
            reply.wait_left()
        elif "break off" in text:
            speech.break_off()
        elif tool_results(messages):
            speech.say([tool_results(messages)])
        elif body.get("tools") and "prices" in text:
            speech.say([], CALLS)
        elif wants_json(body):
            speech.say(DECISION)
        elif has_image(messages[-1]):
            speech.say(["I see ", "a picture."])
        else:
            speech.say(GREETING)


class OpenAI:
    def __init__(self, reply, model):
        self.reply = reply
        self.model = model

    def refuse(self, status):
        self.reply.whole({"error": {"message": f"scripted {status}", "type": "scripted",
                                    "param": None, "code": None}}, status)

    def event(self, delta, finish=None):
        self.reply.chunk(sse(openai_chunk(self.model, delta, finish)))
        time.sleep(PAUSE_SECONDS)

    def start(self):
        self.reply.head(content_type="text/event-stream")
        self.event({"role": "assistant", "content": ""})

    def say(self, pieces, calls=()):
        calls = [(f"call_{i}", name, json.dumps(arguments))
                 for i, (name, arguments) in enumerate(calls)]
        if not self.reply.request.streams:
            whole = openai_whole(self.model, "".join(pieces))
            if calls:
                whole["choices"][0]["finish_reason"] = "tool_calls"
                whole["choices"][0]["message"].update(content=None, tool_calls=[
                    {"id": id, "type": "function", "function": {"name": name, "arguments": text}}
                    for id, name, text in calls])
            self.reply.whole(whole)
            return
        self.start()
        for piece in pieces:
            self.event({"content": piece})
        for i, (id, name, text) in enumerate(calls):  # arguments in pieces, as real ones come
            self.event({"tool_calls": [{"index": i, "id": id, "type": "function",
                                        "function": {"name": name, "arguments": ""}}]})
            for part in (text[:4], text[4:]):
                self.event({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
        self.event({}, "tool_calls" if calls else "stop")
        if self.reply.request.json().get("stream_options", {}).get("include_usage"):
            usage = openai_whole(self.model, "")["usage"]
            self.reply.chunk(sse({**openai_chunk(self.model, {}), "choices": [], "usage": usage}))
        self.reply.chunk(sse(b"[DONE]"))
        self.reply.end()

    def go_on(self):
        if not self.reply.request.streams:
            self.reply.wait_left()
            return
        self.start()
        while not self.reply.backend.closed:
            self.event({"content": "on "})
            if self.reply.wait_left(PAUSE_SECONDS):
                return

    def break_off(self):
        self.start()
        self.event({"content": "Half a"})
        self.reply.send(b'40\r\ndata: {"id":')
        self.reply.reset()


class Ollama:
    """Its /api/chat, and /api/generate."""

    def __init__(self, reply, model):
        self.reply = reply
        self.model = model

    def refuse(self, status):
        self.reply.whole({"error": f"scripted {status}"}, status)

    def shaped(self, line):
        if self.reply.request.path == "/api/generate":
            line["response"] = line.pop("message")["content"]
        return line

    def line(self, line):
        self.reply.chunk(ndjson(self.shaped(line)))
        time.sleep(PAUSE_SECONDS)

    def say(self, pieces, calls=()):
        calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
        if not self.reply.request.streams:
            whole = ollama_last(self.model, "".join(pieces))
            if calls:
                whole["message"]["tool_calls"] = calls
            self.reply.whole(self.shaped(whole))
            return
        self.reply.head(content_type="application/x-ndjson")
        for piece in pieces:
            self.line(ollama_line(self.model, piece))
        for call in calls:
            line = ollama_line(self.model, "")
            line["message"]["tool_calls"] = [call]
            self.line(line)
        self.line(ollama_last(self.model))
        self.reply.end()

    def go_on(self):
        if not self.reply.request.streams:
            self.reply.wait_left()
            return
        self.reply.head(content_type="application/x-ndjson")
        while not self.reply.backend.closed:
            self.line(ollama_line(self.model, "on "))
            if self.reply.wait_left(PAUSE_SECONDS):
                return

    def break_off(self):
        self.reply.head(content_type="application/x-ndjson")
        self.line(ollama_line(self.model, "Half a"))
        self.reply.send(b'40\r\n{"model":')
        self.reply.reset()
