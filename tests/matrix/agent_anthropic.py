"""Agents of Anthropic's /v1/messages."""
import json

from agent import Dialect, add_part, sse_blocks
from canon import Answer, Call
from source import Num, loads, number

STOP_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
                "tool_use": "tool", "refusal": "filter"}


def anthropic_blocks(turn):
    blocks = [{"type": "text", "text": turn.text}] if turn.text else []
    blocks += [{"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                            "data": image}} for image in turn.images]
    blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
               for call in turn.calls]
    return blocks


def anthropic_messages(turns):
    ids = [call.id for turn in turns for call in turn.calls]
    messages = []
    for turn in turns:
        if turn.role == "tool":
            block = {"type": "tool_result", "tool_use_id": ids[turn.result_of],
                     "content": turn.text}
            if messages[-1]["role"] == "user":
                messages[-1]["content"].append(block)
            else:
                messages.append({"role": "user", "content": [block]})
        elif turn.role != "system":
            plain = not turn.images and not turn.calls
            messages.append({"role": turn.role,
                             "content": turn.text if plain else anthropic_blocks(turn)})
    return messages


class Anthropic(Dialect):
    name, path = "anthropic", "/v1/messages"
    has_turns = True
    answers = {"text", "reasoning", "calls", "finish", "usage"}
    fields = {**{name: [name] for name in ("temperature", "top_p", "top_k")},
              "max_tokens": ["max_tokens"], "stop": ["stop_sequences", "stop"],
              "tools": ["tools"], "tool_choice": ["tool_choice"], "think": ["thinking"],
              "schema": ["output_format", "output_config"], "unknown": ["frobnicate"],
              "single_call": ["tool_choice.disable_parallel_tool_use", "tool_choice"],
              "document": ["messages[]"], "image_url": ["messages[]", "images"],
              "system": ["system messages", "system"], "turns": ["other messages"],
              "images": ["images"], "calls": ["messages[]", "other messages"],
              "results": ["messages[]", "other messages"]}

    def build(self, case):
        body = {"model": case.model, "messages": anthropic_messages(case.turns)}
        system = [turn.text for turn in case.turns if turn.role == "system"]
        if system:
            body["system"] = system[0] if case.style % 2 else [{"type": "text", "text": system[0]}]
        for feature, value in case.fields.items():
            if feature in ("temperature", "top_p", "top_k", "max_tokens"):
                body[feature] = value
            elif feature == "stop":
                body["stop_sequences"] = value
            elif feature == "tools":
                body["tools"] = [{"name": tool["name"], "description": tool["description"],
                                  "input_schema": tool["parameters"]} for tool in value]
            elif feature == "tool_choice":
                body.setdefault("tool_choice", {}).update(
                    {"type": {"required": "any"}.get(value, value)} if isinstance(value, str)
                    else {"type": "tool", "name": value[1]})
            elif feature == "single_call":
                body.setdefault("tool_choice", {"type": "auto"})["disable_parallel_tool_use"] = True
            elif feature == "think":
                body["thinking"] = {"type": "enabled", "budget_tokens": Num(1024)} if value else {
                    "type": "disabled"}
            elif feature == "schema":
                format = {"type": "json_schema", "schema": value}
                body.update({"output_format": format} if case.style % 2
                            else {"output_config": {"format": format}})
            elif feature == "unknown":
                body["frobnicate"] = value
            elif feature == "document":
                add_part(body, {"type": "document", "source": {"type": "text", "data": value}})
            elif feature == "image_url":
                add_part(body, {"type": "image", "source": {"type": "url", "url": value}})
        if case.stream:
            body["stream"] = True
        return body

    def add_up(self, message):
        assert message["type"] == "message" and message["role"] == "assistant"
        found = Answer(finish=STOP_REASONS[message["stop_reason"]])
        for block in message["content"]:
            if block["type"] == "text":
                found.text += block["text"]
            elif block["type"] == "thinking":
                found.reasoning += block["thinking"]
            else:
                found.calls.append(Call(block["id"], block["name"], block["input"]))
        found.usage = tuple(number(message["usage"][f"{way}_tokens"]) for way in ("input", "output"))
        return found

    def read_whole(self, answer):
        return self.add_up(loads(answer.body))

    def read_stream(self, answer):
        events = []
        for name, data in sse_blocks(answer.body):
            events.append(loads(data))
            assert name == events[-1]["type"]
        events = [event for event in events if event["type"] != "ping"]
        assert events[0]["type"] == "message_start", events[0]
        assert [e["type"] for e in events].count("message_stop") == 1
        assert events[-1]["type"] == "message_stop", events[-1]
        message, opened, ended = events[0]["message"], None, False
        for event in events[1:-1]:
            if event["type"] == "content_block_start":
                assert opened is None and number(event["index"]) == len(message["content"])
                opened = len(message["content"])
                message["content"].append({**event["content_block"], "json": ""})
            elif event["type"] == "content_block_delta":
                assert number(event["index"]) == opened
                block, delta = message["content"][opened], event["delta"]
                kind = {"text_delta": "text", "thinking_delta": "thinking"}.get(delta["type"])
                if kind:
                    block[kind] += delta[kind]
                else:
                    assert delta["type"] == "input_json_delta", delta
                    block["json"] += delta["partial_json"]
            elif event["type"] == "content_block_stop":
                assert number(event["index"]) == opened
                if message["content"][opened]["type"] == "tool_use":
                    message["content"][opened]["input"] = loads(
                        message["content"][opened]["json"] or "{}")
                opened = None
            else:
                assert event["type"] == "message_delta" and opened is None and not ended
                ended = True
                message.update(event["delta"])
                message["usage"].update(event["usage"])
        assert ended
        return self.add_up(message)

    def error(self, answer):
        body = json.loads(answer.body)
        assert body["type"] == "error" and set(body["error"]) == {"type", "message"}, body
        return body["error"]["message"]

    def stream_error(self, answer):
        blocks = [loads(data) for _, data in sse_blocks(answer.body)]
        kinds = [block["type"] for block in blocks]
        assert kinds.count("error") == 1 and kinds[-1] == "error", kinds
        assert "message_stop" not in kinds
        return blocks[-1]["error"]["message"]
