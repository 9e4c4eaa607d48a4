"""Agents of OpenAI's /v1/chat/completions and /v1/completions."""
import json

from agent import FINISH, SAMPLING, Dialect, add_part, openai_tool, openai_usage, sse_blocks
from canon import Answer, Call, Turn, number_results
from source import Num, dumps, loads, number


def openai_content(turn):
    if not turn.images:
        return turn.text
    parts = [{"type": "text", "text": turn.text}]
    parts += [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
              for image in turn.images]
    return parts


def openai_call(call):
    return {"id": call.id, "type": "function",
            "function": {"name": call.name, "arguments": dumps(call.arguments)}}


def openai_messages(turns):
    ids = [call.id for turn in turns for call in turn.calls]
    for turn in turns:
        message = {"role": turn.role, "content": openai_content(turn)}
        if turn.calls:
            message["tool_calls"] = [openai_call(call) for call in turn.calls]
            message["content"] = turn.text or None
        if turn.role == "tool":
            message["tool_call_id"] = ids[turn.result_of]
        yield message


def openai_turns(messages):
    turns = []
    for message in messages:
        content = message.get("content") or ""
        turn = Turn(message["role"], result_id=message.get("tool_call_id"))
        if isinstance(content, str):
            turn.text = content
        else:
            turn.text = "".join(part["text"] for part in content if part["type"] == "text")
            urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
            turn.images = [url.partition("base64,")[2] for url in urls if url.startswith("data:")]
        turn.calls = [Call(call["id"], call["function"]["name"],
                           loads(call["function"]["arguments"]))
                      for call in message.get("tool_calls") or []]
        turns.append(turn)
    return number_results(turns)


class OpenAI(Dialect):
    name, path = "openai", "/v1/chat/completions"
    has_turns = True
    answers = {"text", "reasoning", "calls", "finish", "usage", "logprobs"}
    fields = {**{name: [name] for name in SAMPLING},
              "max_tokens": ["max_tokens", "max_completion_tokens"], "stop": ["stop"],
              "tools": ["tools"], "tool_choice": ["tool_choice"], "json": ["response_format"],
              "schema": ["response_format"], "effort": ["reasoning_effort"],
              "logprobs": ["logprobs", "top_logprobs"], "n": ["n"], "unknown": ["frobnicate"],
              "logit_bias": ["logit_bias"], "num_ctx": ["num_ctx"], "keep_alive": ["keep_alive"],
              "parallel": ["parallel_tool_calls"], "message_name": ["messages[0].name"],
              "image_url": ["messages[]", "images"], "audio": ["messages[]", "content"],
              "system": ["system messages"], "turns": ["other messages"], "images": ["images"],
              "calls": ["messages[]", "other messages"], "results": ["messages[]", "other messages"]}

    def build(self, case):
        body = {"model": case.model, "messages": list(openai_messages(case.turns))}
        for feature, value in case.fields.items():
            if feature in SAMPLING or feature in ("tools", "num_ctx", "keep_alive", "n"):
                body[feature] = [openai_tool(t) for t in value] if feature == "tools" else value
            elif feature == "stop":
                body["stop"] = value[0] if len(value) == 1 else value
            elif feature == "max_tokens":
                body["max_tokens" if case.style % 2 else "max_completion_tokens"] = value
            elif feature == "tool_choice":
                body["tool_choice"] = value if isinstance(value, str) else {
                    "type": "function", "function": {"name": value[1]}}
            elif feature == "json":
                body["response_format"] = {"type": "json_object"}
            elif feature == "schema":
                body["response_format"] = {"type": "json_schema",
                                           "json_schema": {"name": "it", "schema": value}}
            elif feature == "effort":
                body["reasoning_effort"] = value
            elif feature == "logprobs":
                body["logprobs"], body["top_logprobs"] = True, Num(value)
            elif feature == "parallel":
                body["parallel_tool_calls"] = value
            elif feature == "message_name":
                body["messages"][0]["name"] = value
            elif feature == "unknown":
                body["frobnicate"] = value
            elif feature == "logit_bias":
                body["logit_bias"] = value
            elif feature == "image_url":
                add_part(body, {"type": "image_url", "image_url": {"url": value}})
            elif feature == "audio":
                add_part(body, {"type": "input_audio",
                                "input_audio": {"data": value, "format": "wav"}})
        if case.stream:
            body["stream"] = True
            if case.usage_asked:
                body["stream_options"] = {"include_usage": True}
        return body

    def answer_of(self, message, answer):
        answer.text += message.get("content") or ""
        answer.reasoning += message.get("reasoning_content") or message.get("reasoning") or ""

    def read_whole(self, answer):
        body = loads(answer.body)
        choice = body["choices"][0]
        found = Answer(finish=FINISH[choice["finish_reason"]],
                       usage=openai_usage(body.get("usage")))
        self.answer_of(choice["message"], found)
        found.calls = openai_turns([choice["message"]])[0].calls
        found.logprobs = (choice.get("logprobs") or {}).get("content")
        return found

    def read_stream(self, answer):
        blocks = sse_blocks(answer.body)
        assert [data for _, data in blocks].count("[DONE]") == 1 and blocks[-1][1] == "[DONE]"
        chunks = [loads(data) for _, data in blocks[:-1]]
        assert not any("error" in chunk for chunk in chunks), chunks[-1]
        assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
        found, calls, finishes = Answer(), {}, []
        for i, chunk in enumerate(chunks):
            for choice in chunk["choices"]:
                assert not finishes, "a choice behind the finish reason"
                delta = choice["delta"]
                assert bool(delta.get("role")) <= (i == 0), "the role stands in the first delta"
                self.answer_of(delta, found)
                for call in delta.get("tool_calls") or []:
                    one = calls.setdefault(number(call["index"]), {"id": "", "name": "", "args": ""})
                    function = call.get("function", {})
                    one["id"] += call.get("id") or ""
                    one["name"] += function.get("name") or ""
                    one["args"] += function.get("arguments") or ""
                if choice.get("logprobs"):
                    found.logprobs = (found.logprobs or []) + choice["logprobs"]["content"]
                if choice.get("finish_reason"):
                    finishes.append(choice["finish_reason"])
            if chunk.get("usage"):
                assert finishes, "usage before the finish reason"
                found.usage = openai_usage(chunk["usage"])
        assert len(finishes) == 1, finishes
        found.finish = FINISH[finishes[0]]
        found.calls = [Call(c["id"], c["name"], loads(c["args"])) for c in calls.values()]
        return found

    def error(self, answer):
        error = json.loads(answer.body)["error"]
        assert set(error) >= {"message", "type", "param", "code"}, error
        return error["message"]

    def stream_error(self, answer):
        """The message of the error event, which must be the last one, and alone."""
        blocks = [loads(data) for _, data in sse_blocks(answer.body) if data != "[DONE]"]
        assert b"[DONE]" not in answer.body, "a terminal event behind the error"
        assert [i for i, b in enumerate(blocks) if "error" in b] == [len(blocks) - 1], blocks
        return blocks[-1]["error"]["message"]


class Completions(OpenAI):
    name, path = "completions", "/v1/completions"
    has_turns = False
    answers = {"text", "finish", "usage", "logprobs"}
    fields = {**{name: [name] for name in SAMPLING}, "max_tokens": ["max_tokens"],
              "stop": ["stop"], "logprobs": ["logprobs"], "n": ["n"], "unknown": ["frobnicate"],
              "logit_bias": ["logit_bias"], "suffix": ["suffix"], "prompts": []}

    def build(self, case):
        body = {"model": case.model, "prompt": case.turns[-1].text}
        for feature, value in case.fields.items():
            name = {"unknown": "frobnicate", "prompts": "prompt"}.get(feature, feature)
            body[name] = Num(value) if feature == "logprobs" else value
        if case.stream:
            body["stream"] = True
            if case.usage_asked:
                body["stream_options"] = {"include_usage": True}
        return body

    def read_whole(self, answer):
        body = loads(answer.body)
        assert body["object"] == "text_completion"
        choice = body["choices"][0]
        return Answer(choice["text"], finish=FINISH[choice["finish_reason"]],
                      usage=openai_usage(body.get("usage")), logprobs=self.entries([choice]))

    def entries(self, choices):
        """As a chat has them."""
        found, offset = [], 0
        for said in (choice["logprobs"] for choice in choices):
            if said is None:
                continue
            assert len({len(each) for each in said.values()}) == 1, said
            for token, logprob, at, top in zip(said["tokens"], said["token_logprobs"],
                                               said["text_offset"], said["top_logprobs"]):
                assert number(at) == offset and top[token] == logprob, said
                if "other" in top:  # as speech.py says it; a worker's are bytes
                    assert top == {token: logprob, "other": "-2.50"}, said
                offset += len(token)
                found.append({"token": token, "logprob": logprob})
        return found or None

    def read_stream(self, answer):
        *blocks, last = [data for _, data in sse_blocks(answer.body)]
        assert last == "[DONE]" and "[DONE]" not in blocks
        chunks = [loads(data) for data in blocks]
        assert not any("error" in chunk for chunk in chunks), chunks[-1]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        finishes = [choice["finish_reason"] for choice in choices]
        assert finishes[:-1] == [None] * (len(finishes) - 1) and finishes[-1], finishes
        usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
        return Answer("".join(choice["text"] for choice in choices), finish=FINISH[finishes[-1]],
                      usage=openai_usage(usages[-1]) if usages else None,
                      logprobs=self.entries(choices))
