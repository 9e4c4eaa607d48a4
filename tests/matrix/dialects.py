"""The agents: how each dialect spells a query, and what its answers say.

A dialect builds a body from a Case, names what may be told as dropped of each feature, and reads
whole and streamed answers, checking their form: one terminal event, at the end."""
import json

from canon import Answer, Call, Turn, number_results
from source import Num, dumps, loads, number

FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool", "content_filter": "filter"}


def sse_blocks(body):
    """[(event name or None, data)]; comments and keep-alives are left out."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert text.endswith("\n\n"), text[-200:]
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = None, []
        for line in block.split("\n"):
            key, _, value = line.partition(":")
            if key == "event":
                name = value.strip()
            elif key == "data":
                data.append(value.removeprefix(" "))
        if data:
            found.append((name, "\n".join(data)))
    return found


class Dialect:
    name = path = None
    fields = {}     # feature -> its names in x-hatchway-dropped
    has_turns = False
    answers = {"text"}  # what an answer of the dialect has a place for
    streams = True

    def build(self, case):
        raise NotImplementedError

    def read(self, case, answer):
        return self.read_stream(answer) if case.stream and self.streams else self.read_whole(answer)

    def body(self, case):
        return dumps(self.build(case), case.escaped)


# --- OpenAI -----------------------------------------------------------------------------------------

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


def openai_tool(tool):
    return {"type": "function", "function": tool}


def openai_usage(usage):
    if usage is None:
        return None
    counts = number(usage["prompt_tokens"]), number(usage["completion_tokens"])
    assert sum(counts) == number(usage["total_tokens"])
    return counts


def add_part(body, part):
    """To the last message's content."""
    last = body["messages"][-1]
    if not isinstance(last["content"], list):
        last["content"] = [{"type": "text", "text": last["content"]}]
    last["content"].append(part)


SAMPLING = ["temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty",
            "frequency_penalty"]


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
    answers = {"text", "finish", "usage"}
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
                      usage=openai_usage(body.get("usage")))

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
                      usage=openai_usage(usages[-1]) if usages else None)


# --- Ollama -----------------------------------------------------------------------------------------

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


# --- Anthropic --------------------------------------------------------------------------------------

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


# --- BDH --------------------------------------------------------------------------------------------

class Bdh(Dialect):
    name, path = "bdh", "/api/bdh/ask"
    streams = False
    fields = {name: [name] for name in ("max_tokens", "temperature", "top_p", "top_k", "seed")}
    fields["unknown"] = ["frobnicate"]

    def build(self, case):
        body = {"question": case.turns[-1].text, "model": case.model}
        for feature, value in case.fields.items():
            body["frobnicate" if feature == "unknown" else feature] = value
        return body

    def read_whole(self, answer):
        body = loads(answer.body)
        assert set(body) == {"answer", "model", "device", "source"}, body
        return Answer(body["answer"])

    def error(self, answer):
        body = json.loads(answer.body)
        assert set(body) == {"error", "detail"}, body
        return body["error"]


DIALECTS = {one.name: one for one in (OpenAI(), Completions(), Ollama(), Generate(), Anthropic(),
                                      Bdh())}
