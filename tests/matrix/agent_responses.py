"""Agents of OpenAI's /v1/responses."""
from agent import Dialect, sse_blocks
from agent_openai import OpenAI
from canon import Answer, Call
from source import Num, dumps, loads, number

INCOMPLETE = {"max_output_tokens": "length", "content_filter": "filter"}
PART_WORDS = {"system": "input_text", "user": "input_text", "assistant": "output_text"}
DELTAS = {"response.output_text.delta": "text", "response.reasoning_text.delta": "reasoning",
          "response.reasoning_summary_text.delta": "reasoning",
          "response.function_call_arguments.delta": "arguments"}


def message_item(turn, style):
    """As terse as the API allows in some styles, as an SDK repeats it in others."""
    content = turn.text
    if turn.images or style % 2:
        content = [{"type": PART_WORDS[turn.role], "text": turn.text}]
        content += [{"type": "input_image", "detail": "auto",
                     "image_url": f"data:image/png;base64,{image}"} for image in turn.images]
    role = "developer" if turn.role == "system" and style % 3 else turn.role
    return {**({"type": "message"} if style % 5 else {}), "role": role, "content": content}


def input_items(turns, style):
    ids = [call.id for turn in turns for call in turn.calls]
    for turn in turns:
        if turn.role == "tool":
            yield {"type": "function_call_output", "call_id": ids[turn.result_of],
                   "output": turn.text}
            continue
        if turn.text or not turn.calls:
            yield message_item(turn, style)
        for call in turn.calls:
            yield {"type": "function_call", "call_id": call.id, "name": call.name,
                   "arguments": dumps(call.arguments), "status": "completed"}


def add_to_last(body, part):
    if isinstance(body["input"], str):
        body["input"] = [{"role": "user", "content": body["input"]}]
    last = body["input"][-1]
    if not isinstance(last["content"], list):
        last["content"] = [{"type": "input_text", "text": last["content"]}]
    last["content"].append(part)


def part_of(item, what):
    """The one part of a message or a thought."""
    assert len(item[what]) == 1, item
    return item[what][0]


class Responses(Dialect):
    name, path = "responses", "/v1/responses"
    has_turns = True
    answers = {"text", "reasoning", "calls", "finish", "usage", "logprobs"}
    fields = {"temperature": ["temperature"], "top_p": ["top_p"],
              "max_tokens": ["max_output_tokens"], "tools": ["tools"], "tool_choice": ["tool_choice"],
              "parallel": ["parallel_tool_calls"], "json": ["text", "text.format"],
              "schema": ["text", "text.format"],
              "effort": ["reasoning"], "logprobs": ["include", "top_logprobs"],
              "unknown": ["frobnicate"], "verbosity": ["text.verbosity", "text"],
              "truncation": ["truncation"], "hosted_tool": ["tools[]", "tools"],
              "include": ["include[]", "include"], "image_url": ["input[]", "images"],
              "document": ["input[]"],
              "system": ["system messages", "instructions"], "turns": ["other messages"],
              "images": ["images"], "calls": ["input[]", "other messages"],
              "summary": ["reasoning"],
              "results": ["input[]", "other messages"]}

    def build(self, case):
        body, turns = {"model": case.model}, case.turns
        if turns[0].role == "system" and case.style % 2:
            body["instructions"], turns = turns[0].text, turns[1:]
        body["input"] = list(input_items(turns, case.style))
        if len(turns) == 1 and not turns[0].images and case.style % 4 == 0:
            body["input"] = turns[0].text
        for feature, value in case.fields.items():
            self.put(body, feature, value)
        if case.stream:
            body["stream"] = True
        return body

    def put(self, body, feature, value):
        if feature == "tools":
            body.setdefault("tools", []).extend({"type": "function", **tool} for tool in value)
        elif feature == "hosted_tool":
            body.setdefault("tools", []).append({"type": value})
        elif feature == "tool_choice":
            body["tool_choice"] = value if isinstance(value, str) else {"type": "function",
                                                                        "name": value[1]}
        elif feature == "json":
            body.setdefault("text", {})["format"] = {"type": "json_object"}
        elif feature == "schema":
            body.setdefault("text", {})["format"] = {"type": "json_schema", "name": "it",
                                                     "schema": value}
        elif feature == "verbosity":
            body.setdefault("text", {})["verbosity"] = value
        elif feature == "effort":
            body.setdefault("reasoning", {})["effort"] = value
        elif feature == "summary":
            body.setdefault("reasoning", {})["summary"] = value
        elif feature == "logprobs":
            body["top_logprobs"] = Num(value)
            body.setdefault("include", []).append("message.output_text.logprobs")
        elif feature == "include":
            body.setdefault("include", []).append(value)
        elif feature == "image_url":
            add_to_last(body, {"type": "input_image", "detail": "low", "image_url": value})
        elif feature == "document":
            add_to_last(body, {"type": "input_file", "filename": "a.txt", "file_data": value})
        else:
            body[{"max_tokens": "max_output_tokens", "parallel": "parallel_tool_calls",
                  "unknown": "frobnicate"}.get(feature, feature)] = value

    def read(self, case, answer):
        found = super().read(case, answer)
        assert (b'"summary_text"' in answer.body) == ("summary" in case.fields and
                                                      bool(found.reasoning)), answer.body
        return found

    def add_up(self, response):
        assert response["object"] == "response" and response["error"] is None
        assert response["status"] in ("completed", "incomplete"), response["status"]
        found = Answer()
        for item in response["output"]:
            if item["type"] == "message":
                part = part_of(item, "content")
                assert part["type"] == "output_text" and item["role"] == "assistant"
                found.text += part["text"]
                found.logprobs = (found.logprobs or []) + part["logprobs"]
            elif item["type"] == "reasoning":
                found.reasoning += part_of(item, "summary" if item["summary"] else "content")["text"]
            else:
                assert item["type"] == "function_call", item
                found.calls.append(Call(item["call_id"], item["name"], loads(item["arguments"])))
        found.finish = "tool" if found.calls else "stop"
        if response["status"] == "incomplete":
            found.finish = INCOMPLETE[response["incomplete_details"]["reason"]]
        usage = response["usage"]
        if usage is not None:
            found.usage = number(usage["input_tokens"]), number(usage["output_tokens"])
            assert sum(found.usage) == number(usage["total_tokens"])
        return found

    def read_whole(self, answer):
        return self.add_up(loads(answer.body))

    def events(self, answer):
        found = []
        for name, data in sse_blocks(answer.body):
            found.append(loads(data))
            assert name == found[-1]["type"]
            assert number(found[-1]["sequence_number"]) == len(found) - 1
        return found

    def read_stream(self, answer):
        """What the pieces add up to is what their ends, their items and the response repeat."""
        events = self.events(answer)
        assert [event["type"] for event in events[:2]] == ["response.created",
                                                           "response.in_progress"]
        last, items = events[-1], []
        for event in events[2:-1]:
            kind = event["type"]
            if kind == "response.output_item.added":
                assert number(event["output_index"]) == len(items)
                items.append({"said": "", "logprobs": [], "id": event["item"]["id"], "done": None})
                continue
            item = items[int(number(event["output_index"]))]
            assert item["done"] is None, "more of an item that was done"
            if kind == "response.output_item.done":
                item["done"] = event["item"]
                assert event["item"]["id"] == item["id"]
                continue
            assert event["item_id"] == item["id"], event
            if kind in DELTAS:
                item["said"] += event["delta"]
                item["logprobs"] += event.get("logprobs", [])
            elif kind.endswith((".added", "_part.done")):
                whole = event["part"]["text"]
                assert whole == (item["said"] if kind.endswith("done") else ""), event
            else:
                assert kind.endswith(".done"), kind
                assert item["said"] == event.get("text", event.get("arguments")), event
                assert item["logprobs"] == event.get("logprobs", []), event
        assert [item["done"] for item in items] == last["response"]["output"]
        for item in items:
            done = item["done"]
            said = done["arguments"] if done["type"] == "function_call" else \
                (done.get("content") or done["summary"])[0]["text"]
            assert said == item["said"], done
        assert last["type"] == f"response.{last['response']['status']}"
        return self.add_up(last["response"])

    error = OpenAI.error

    def stream_error(self, answer):
        events = self.events(answer)
        kinds = [event["type"] for event in events]
        assert kinds.count("error") == 1 and kinds[-1] == "error", kinds
        assert not any(kind in ("response.completed", "response.incomplete") for kind in kinds)
        return events[-1]["message"]
