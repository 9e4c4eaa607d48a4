"""The backend: one that speaks every protocol by path, answering each query as its Case says.

It also tells what a backend reads in a query (turns, features): the other side of what dialects.py
spelt. How it frames its answers varies with the Case's style."""
import base64
import json
import struct

from canon import Call, Turn
from agent_ollama import ollama_turns
from agent_openai import openai_call, openai_turns
from harness.backend import STAMP
from source import Num, Raw, dumps, loads

OPENAI_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls",
                 "filter": "content_filter"}


def pieces(text, style):
    """The text in pieces of no more than so many characters."""
    step = (1, 3, 7, 1000)[style % 4]
    return [text[i:i + step] for i in range(0, len(text), step)]


# --- what was asked -----------------------------------------------------------------------------

def openai_tools(tools):
    return [{"name": tool["function"]["name"], "description": tool["function"]["description"],
             "parameters": tool["function"]["parameters"]} for tool in tools or []] or None


def read_openai(body):
    """(turns, features) of a body of /v1/chat/completions, or /v1/completions."""
    turns = openai_turns(body["messages"]) if "messages" in body else [Turn("user", body["prompt"])]
    for turn in turns:
        turn.role = {"developer": "system"}.get(turn.role, turn.role)
    seen = {name: body[name] for name in body
            if name in ("temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty",
                        "frequency_penalty", "n", "logit_bias", "suffix", "num_ctx", "keep_alive")}
    seen["max_tokens"] = body.get("max_tokens", body.get("max_completion_tokens"))
    stop = body.get("stop")
    seen["stop"] = [stop] if isinstance(stop, str) else stop
    seen["tools"] = openai_tools(body.get("tools"))
    choice = body.get("tool_choice")
    seen["tool_choice"] = ("tool", choice["function"]["name"]) if isinstance(choice, dict) else choice
    form = body.get("response_format") or {}
    seen["json"] = form.get("type") == "json_object" or None
    seen["schema"] = form["json_schema"]["schema"] if form.get("type") == "json_schema" else None
    seen["effort"] = body.get("reasoning_effort")
    seen["think"] = {None: None, "none": False}.get(seen["effort"], True)
    seen["logprobs"] = body.get("top_logprobs") if body.get("logprobs") is True \
        else body.get("logprobs")
    seen["unknown"] = body.get("frobnicate")
    seen["parallel"] = body.get("parallel_tool_calls")
    seen["single_call"] = True if seen["parallel"] is False else None
    seen["message_name"] = next((m["name"] for m in body.get("messages", []) if "name" in m), None)
    parts = [part for m in body.get("messages", []) if isinstance(m["content"], list)
             for part in m["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    seen["image_url"] = next((url for url in urls if url.startswith("http")), None)
    seen["audio"] = next((part["input_audio"]["data"] for part in parts
                          if part["type"] == "input_audio"), None)
    return turns, seen


def read_ollama(body):
    """(turns, features) of a body of /api/chat or /api/generate."""
    if "messages" in body:
        turns = ollama_turns(body["messages"])
    else:
        turns = [Turn("system", body["system"])] if "system" in body else []
        turns.append(Turn("user", body.get("prompt", ""), body.get("images") or []))
    options = body.get("options") or {}
    seen = {name: options.get(name) for name in
            ("temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty",
             "frequency_penalty", "num_ctx", "mirostat", "stop")}
    seen["max_tokens"] = options.get("num_predict")
    seen["tools"] = openai_tools(body.get("tools"))
    seen["json"] = body.get("format") == "json" or None
    seen["schema"] = body["format"] if isinstance(body.get("format"), dict) else None
    seen["effort"] = seen["think"] = body.get("think")
    if isinstance(seen["think"], str):
        seen["think"] = True
    seen["logprobs"] = body.get("top_logprobs") if body.get("logprobs") is True else None
    seen["unknown"] = body.get("frobnicate")
    for name in "keep_alive", "truncate", "suffix", "raw":
        seen[name] = body.get(name)
    seen["message_name"] = next((m["name"] for m in body.get("messages", []) if "name" in m), None)
    return turns, seen


def read_bdh(body):
    assert list(body) == ["question"], body
    return [Turn("user", body["question"])], {}


def read_embed(body):
    """(turns, features) of a body of an endpoint that gives vectors."""
    given = body.get("input", body.get("prompt"))
    texts = given if isinstance(given, list) else [given]
    seen = {name: body.get(name) for name in ("dimensions", "truncate", "keep_alive")}
    seen["num_ctx"] = (body.get("options") or {}).get("num_ctx")
    seen["unknown"] = body.get("frobnicate")
    if isinstance(texts[0], Num):
        return [Turn("user", "")], {**seen, "tokens": texts}
    return [Turn("user", texts[0])], {**seen, "texts": texts[1:] or None}


READERS = {"/v1/chat/completions": read_openai, "/v1/completions": read_openai,
           "/api/chat": read_ollama, "/api/generate": read_ollama, "/api/bdh/ask": read_bdh,
           "/v1/embeddings": read_embed, "/api/embed": read_embed, "/api/embeddings": read_embed}


# --- what is answered ---------------------------------------------------------------------------

def logprobs_of(answer, text):
    """One token a character, with it and another one as the likeliest."""
    return [{"token": c, "logprob": Num("-0.10"), "bytes": [Num(b) for b in c.encode()],
             "top_logprobs": [{"token": other, "logprob": Num(value), "bytes": None}
                              for other, value in ((c, "-0.10"), ("other", "-2.50"))]}
            for c in text]


def completion_logprobs(text, offset):
    """The same as /v1/completions has it."""
    return {"tokens": list(text), "token_logprobs": [Num("-0.10")] * len(text),
            "text_offset": [Num(offset + i) for i in range(len(text))],
            "top_logprobs": [{c: Num("-0.10"), "other": Num("-2.50")} for c in text]}


def openai_answer(case, path, stream):
    """The bodies of the answer: chunks when streamed, else one."""
    answer, chat = case.answer, path == "/v1/chat/completions"
    finish = OPENAI_FINISH[answer.finish]
    if answer.finish == "tool" and case.style % 3 == 0 and "n" not in case.fields:
        finish = "stop"  # as some servers say, though they called
    head = {"id": "chatcmpl-scripted", "created": Num(1785585600), "model": "scripted",
            "object": ("chat.completion" if chat else "text_completion") +
                      (".chunk" if chat and stream else ""),
            "system_fingerprint": "fp_1"}
    usage = answer.usage and {"prompt_tokens": answer.usage[0],
                              "completion_tokens": answer.usage[1],
                              "total_tokens": Num(sum(map(int, answer.usage)))}
    offset = 0  # of the next piece of a completion
    key = "reasoning_content" if case.style % 2 else "reasoning"

    def choice(content, finish=None):
        nonlocal offset
        logprobs = None
        if answer.logprobs and content.get("content") and not chat:
            logprobs = completion_logprobs(content["content"], offset)
            offset += len(content["content"])
        elif answer.logprobs and content.get("content"):
            logprobs = {"content": logprobs_of(answer, content["content"]), "refusal": None}
        inner = {"delta" if stream else "message": content} if chat else {
            "text": content.get("content", "")}
        return {"index": Num(0), **inner, "logprobs": logprobs, "finish_reason": finish}

    if not stream:
        message = {"role": "assistant", "content": answer.text or None}
        if answer.reasoning:
            message[key] = answer.reasoning
        if answer.calls:
            message["tool_calls"] = [openai_call(call) for call in answer.calls]
        elif not answer.text:
            message["content"] = ""
        return [{**head, "choices": [choice(message, finish)],
                 **({"usage": usage} if usage else {})}]
    deltas = [{"role": "assistant", "content": ""}] if chat and case.style % 5 else []
    deltas += [{key: piece} for piece in pieces(answer.reasoning, case.style)] if chat else []
    deltas += [{"content": piece} for piece in pieces(answer.text, case.style)]
    deltas += call_deltas(answer.calls, case.style)
    chunks = [{**head, "choices": [choice(delta)]} for delta in deltas]
    chunks.append({**head, "choices": [choice({}, finish)]})
    if usage and case.style % 4 == 3:
        chunks[-1]["usage"] = usage
    elif usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return chunks


def call_deltas(calls, style):
    """Each call's arguments in pieces; in some styles one call within the other."""
    rows = []
    for i, call in enumerate(calls):
        whole = openai_call(call)
        arguments = whole["function"].pop("arguments")
        first = {"index": Num(i), **whole}
        first["function"] = {**whole["function"], "arguments": ""}
        rows.append([{"tool_calls": [first]}] + [
            {"tool_calls": [{"index": Num(i), "function": {"arguments": piece}}]}
            for piece in pieces(arguments, style)])
    if style % 2 == 0:
        return [delta for row in rows for delta in row]
    longest = max(map(len, rows), default=0)
    return [row[i] for i in range(longest) for row in rows if i < len(row)]


def ollama_answer(case, path, stream):
    answer, chat = case.answer, path == "/api/chat"

    def line(text="", thinking="", calls=(), **more):
        body = {"model": "scripted", "created_at": STAMP}
        message = {"role": "assistant"} if chat else {}
        message["content" if chat else "response"] = text
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "function": {"index": Num(i), "name": call.name,
                                             "arguments": call.arguments}}
                for i, call in calls]
        body.update({"message": message} if chat else message)
        if answer.logprobs and text:
            body["logprobs"] = logprobs_of(answer, text)
        return {**body, "done": False, **more}

    last = {"done": True, "done_reason": "length" if answer.finish == "length" else "stop",
            "total_duration": Num(5000000), "load_duration": Num(1000000)}
    if answer.usage:
        last.update(prompt_eval_count=answer.usage[0], prompt_eval_duration=Num(1000000),
                    eval_count=answer.usage[1], eval_duration=Num(3000000))
    if not chat:
        last["context"] = [Num(1), Num(2)]
    calls = list(enumerate(answer.calls)) if chat else []
    if not stream:
        return [line(answer.text, answer.reasoning, calls, **last)]
    lines = [line(thinking=piece) for piece in pieces(answer.reasoning, case.style)]
    lines += [line(piece) for piece in pieces(answer.text, case.style)]
    if case.style % 2:
        lines += [line(calls=[call]) for call in calls]
    elif calls:
        lines.append(line(calls=calls))
    return [*lines, line(**last)]


def embed_answer(case, path, asked):
    """asked: the body."""
    vectors = case.answer.vectors or [[Num("0.5")]]
    count = case.answer.usage and case.answer.usage[0]
    if path == "/api/embeddings":
        return {"embedding": vectors[0]}
    if path == "/api/embed":
        return {"model": "scripted", "embeddings": vectors, "total_duration": Num(5000000),
                **({"prompt_eval_count": count} if count else {})}
    if asked.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(each)}f", *map(float, each))).decode()
                   for each in vectors]
    data = [{"object": "embedding", "index": Num(i), "embedding": each}
            for i, each in enumerate(vectors)]
    return {"object": "list", "data": data[::-1] if case.style % 2 else data, "model": "scripted",
            **({"usage": {"prompt_tokens": count, "total_tokens": count}} if count else {})}


def framed(case, bodies, path):
    """The bytes of a streamed answer, each body one string."""
    if path.startswith("/api/"):
        return [dumps(body, case.style % 2).encode() + (b"\r\n" if case.style % 7 == 6 else b"\n")
                for body in bodies]
    end = ("\n\n", "\r\n\r\n", "\n\n", "\r\r")[case.style % 4]
    blocks = []
    for i, body in enumerate(bodies):
        if case.style % 3 == 1 and i % 2 == 0:
            blocks.append(": keep-alive" + end)
        if case.style % 6 == 5:
            blocks.append("event: message\n".replace("\n", end[:len(end) // 2]))
        colon = "data:" if case.style % 5 == 4 else "data: "
        blocks.append(colon + dumps(body, case.style % 2) + end)
    blocks.append("data: [DONE]" + end)
    return [block.encode() for block in blocks]


class Speaker:
    """A Backend's answer: finds the Case by the request id, and keeps what was asked."""

    def __init__(self):
        self.cases = {}
        self.asked = {}   # case id -> [(path, body bytes)]
        self.said = {}    # case id -> the answer's bytes

    def __call__(self, reply):
        request = reply.request
        case = self.cases[request.headers["x-request-id"]]
        self.asked.setdefault(case.id, []).append((request.path, request.body))
        if request.path == "/api/bdh/ask":
            self.whole(reply, case, {"answer": case.answer.text, "model": "bdh-25m",
                                     "device": "mps", "source": "dragon_hatchling"})
            return
        if "embed" in request.path:
            self.whole(reply, case, embed_answer(case, request.path, request.json()))
            return
        answer = ollama_answer if request.path.startswith("/api/") else openai_answer
        stream = request.streams
        bodies = answer(case, request.path, stream)
        if not stream:
            self.whole(reply, case, bodies[0])
            return
        parts = framed(case, bodies, request.path)
        self.said[case.id] = b"".join(parts)
        kind = "application/x-ndjson" if request.path.startswith("/api/") else "text/event-stream"
        reply.head(content_type=kind)
        reply.send(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")

    def whole(self, reply, case, body):
        self.said[case.id] = dumps(body).encode()
        reply.whole(self.said[case.id])
