"""Agents of Ollama's /api/chat and /api/generate."""
import json

from agent import FINISH, SAMPLING, Dialect, openai_tool
from canon import Answer, Call, Turn, number_results
from source import Num, loads, number

OPTIONS = [*SAMPLING, "num_ctx"]


def ollama_messages(turns, with_ids):
    calls = [call for turn in turns for call in turn.calls]
    for turn in turns:
        message = {"role": turn.role, "content": turn.text}
        if turn.images:
            message["images"] = turn.images
        if turn.calls:
            message["tool_calls"] = [
                {**({"id": call.id} if with_ids else {}),
                 "function": {"name": call.name, "arguments": call.arguments}}
                for call in turn.calls]
        if turn.role == "tool":
            message["tool_name"] = calls[turn.result_of].name
            if with_ids:
                message["tool_call_id"] = calls[turn.result_of].id
        yield message


def ollama_turns(messages):
    turns = []
    for message in messages:
        turns.append(Turn(message["role"], message.get("content") or "",
                          message.get("images") or [],
                          [Call(call.get("id"), call["function"]["name"],
                                call["function"]["arguments"])
                           for call in message.get("tool_calls") or []],
                          result_id=message.get("tool_call_id")))
    return number_results(turns)


class Ollama(Dialect):
    name, path = "ollama", "/api/chat"
    has_turns = True
    answers = {"text", "reasoning", "calls", "finish", "usage", "logprobs"}
    fields = {**{name: [f"options.{name}"] for name in OPTIONS},
              "max_tokens": ["options.num_predict"], "stop": ["options.stop", "stop"],
              "mirostat": ["options.mirostat"], "tools": ["tools"], "json": ["format"],
              "schema": ["format"], "effort": ["think"], "think": ["think"],
              "logprobs": ["logprobs", "top_logprobs"], "unknown": ["frobnicate"],
              "keep_alive": ["keep_alive"], "truncate": ["truncate"],
              "message_name": ["messages[0].name"],
              "system": ["system messages"], "turns": ["other messages"], "images": ["images"],
              "calls": ["messages[]", "other messages"], "results": ["messages[]", "other messages"]}

    def build(self, case):
        body = {"model": case.model}
        self.put_turns(case, body)
        options = {}
        for feature, value in case.fields.items():
            if feature in OPTIONS or feature in ("stop", "mirostat"):
                options[feature] = value
            elif feature == "max_tokens":
                options["num_predict"] = value
            elif feature == "tools":
                body["tools"] = [openai_tool(tool) for tool in value]
            elif feature == "json":
                body["format"] = "json"
            elif feature == "schema":
                body["format"] = value
            elif feature in ("effort", "think"):
                body["think"] = value
            elif feature == "logprobs":
                body["logprobs"], body["top_logprobs"] = True, Num(value)
            elif feature == "message_name":
                body["messages"][0]["name"] = value
            elif feature == "unknown":
                body["frobnicate"] = value
            else:
                body[feature] = value
        if options:
            body["options"] = options
        if not case.stream:
            body["stream"] = False
        elif case.style % 2:
            body["stream"] = True
        return body

    def put_turns(self, case, body):
        body["messages"] = list(ollama_messages(case.turns, with_ids=case.style % 3 > 0))

    def text_of(self, body):
        assert body["message"]["role"] == "assistant"
        return body["message"]["content"], body["message"].get("thinking") or ""

    def read_whole(self, answer):
        body = loads(answer.body)
        return self.add_up([body])

    def read_stream(self, answer):
        assert answer.body.endswith(b"\n")
        return self.add_up([loads(line) for line in answer.body.splitlines()])

    def add_up(self, lines):
        assert "error" not in lines[-1], lines[-1]
        assert [i for i, line in enumerate(lines) if line["done"]] == [len(lines) - 1], lines
        found = Answer()
        for line in lines:
            text, thinking = self.text_of(line)
            found.text += text
            found.reasoning += thinking
            found.calls += ollama_turns([line["message"]])[0].calls if "message" in line else []
            if line.get("logprobs"):
                found.logprobs = (found.logprobs or []) + line["logprobs"]
        last = lines[-1]
        found.finish = FINISH[last["done_reason"]]
        if found.finish == "stop" and found.calls:
            found.finish = "tool"  # the dialect's word for both is stop
        if "eval_count" in last:
            found.usage = number(last["prompt_eval_count"]), number(last["eval_count"])
        return found

    def error(self, answer):
        body = json.loads(answer.body)
        assert list(body) == ["error"], body
        return body["error"]

    def stream_error(self, answer):
        lines = [loads(line) for line in answer.body.splitlines()]
        assert [i for i, b in enumerate(lines) if "error" in b or b.get("done")] == \
            [len(lines) - 1], lines
        return lines[-1]["error"]


class Generate(Ollama):
    name, path = "generate", "/api/generate"
    has_turns = False
    answers = {"text", "reasoning", "finish", "usage", "logprobs"}
    fields = {**{name: [f"options.{name}"] for name in OPTIONS},
              **{name: Ollama.fields[name]
                 for name in ("max_tokens", "stop", "mirostat", "json", "schema", "effort", "think",
                              "logprobs", "unknown", "keep_alive", "truncate", "system", "images")},
              "suffix": ["suffix"], "raw": ["raw"]}

    def put_turns(self, case, body):
        for turn in case.turns:
            body["prompt" if turn.role == "user" else turn.role] = turn.text
            if turn.images:
                body["images"] = turn.images

    def text_of(self, body):
        return body["response"], body.get("thinking") or ""
