"""The dialects in front of a real Ollama, as far as what is checked does not hang on a model's words:
HATCHWAY_TEST_OLLAMA (harness/live.py). A stand-in that answers as Ollama does takes its place in
every run, so that these tests are known to work on the day that there is a real one."""
import pytest

from canon import Answer, Call, Case, Turn
from dialects import DIALECTS
from harness import live
from harness.backend import ndjson, ollama_last, ollama_line, ollama_piece
from harness.client import Stream, post
from harness.wait import until
from source import Num, loads

SCHEMA = {"type": "object", "properties": {"sell": {"type": "boolean"}, "lots": {"type": "integer"}},
          "required": ["sell", "lots"], "additionalProperties": False}
PRICE = {"name": "price", "description": "What a metal costs. Call it, do not guess.",
         "parameters": {"type": "object", "properties": {"of": {"type": "string"}},
                        "required": ["of"]}}
MODELS = [{"name": name, "model": name, "size": size, "details": {"family": family}}
          for name, size, family in (("big:70b", 40000, "llama"), ("small:1b", 800, "llama"),
                                     ("vectors:latest", 20, "nomic-bert"))]
SPEAKING = [name for name, kind in DIALECTS.items() if not kind.embeds]
WAYS = [(name, stream) for name in DIALECTS
        for stream in ([False, True] if DIALECTS[name].streams else [False])]


def stand_in(reply):
    """As Ollama 0.11 answers: a call where there are tools and no result yet, JSON where a format
    is asked for, 404 for a model that it does not have."""
    body, path = reply.request.json(), reply.request.path
    model = body["model"]
    if model not in [each["name"] for each in MODELS]:
        reply.whole({"error": f"model '{model}' not found"}, 404)
    elif path == "/api/embeddings":
        reply.whole({"embedding": [0.5, -0.25]})
    elif path == "/api/embed":
        count = len(body["input"]) if isinstance(body["input"], list) else 1
        reply.whole({"model": model, "embeddings": [[0.5, -0.25]] * count, "total_duration": 9,
                     "load_duration": 1, "prompt_eval_count": 3})
    else:
        speak(reply, body, path, model)


def speak(reply, body, path, model):
    messages = body.get("messages", [])
    calls = body.get("tools") and not any(each["role"] == "tool" for each in messages)
    words = ['{"sell": true,', ' "lots": 3}'] if "format" in body else ["Blue", ", I", " think."]
    lines = [ollama_piece(path, model, word) for word in words]
    if calls:
        lines = [ollama_line(model, "")]
        lines[0]["message"]["tool_calls"] = [
            {"function": {"name": "price", "arguments": {"of": "gold"}}}]
    last = ollama_last(model)
    if path == "/api/generate":
        last["response"] = last.pop("message")["content"]
    if reply.request.streams:
        reply.head(content_type="application/x-ndjson")
        for line in [*lines, last]:
            reply.chunk(ndjson(line))
        reply.end()
    else:
        part = "response" if path == "/api/generate" else "message"
        whole = {**last, part: lines[0][part]}
        if not calls and part == "message":
            whole["message"]["content"] = "".join(words)
        elif not calls:
            whole["response"] = "".join(words)
        reply.whole(whole)


@pytest.fixture(params=["a stand-in", "a real one"])
def ollama(request, backend):
    """A harness.live.Live."""
    if request.param == "a stand-in":
        peer = backend(stand_in)
        peer.lists = {"/api/tags": {"models": MODELS}, "/api/ps": {"models": []}}
        return live.Live(peer.url, MODELS)
    if live.why_not():
        pytest.skip(live.why_not())
    return live.find()


@pytest.fixture
def gateway(hatchway, ollama):
    return hatchway(backends=[ollama.backend(), {**ollama.backend("wrong"), "models": ["nobody:1b"]}],
                    egress="any", timeouts={"total": f"{live.ANSWER_SECONDS}s"},
                    cache={"keep": "none"}, aliases={"ask-live": ollama.model,
                                                     "ask-vectors": ollama.embedder,
                                                     "ask-nobody": "nobody:1b"})


def case_of(dialect, turns, stream=False, route="live", **fields):
    if "max_tokens" in DIALECTS[dialect].fields:
        fields["max_tokens"] = Num("400")
    return Case("live", dialect, "ollama", stream, turns, fields, Answer(), 1, usage_asked=True,
                route="vectors" if DIALECTS[dialect].embeds else route)


def ask(gateway, case):
    kind = DIALECTS[case.dialect]
    return post(gateway, kind.path, kind.body(case), seconds=live.ANSWER_SECONDS)


def read(case, answer):
    """What it says; that its form is right is judged on the way."""
    assert answer.status == 200, answer
    return DIALECTS[case.dialect].read(case, answer)


COLOUR = [Turn("user", "What colour is the sky? Say one word.")]


@pytest.mark.parametrize("dialect, stream", WAYS)
def test_every_dialect_is_answered(gateway, dialect, stream):
    kind, case = DIALECTS[dialect], case_of(dialect, COLOUR, stream)
    found = read(case, ask(gateway, case))
    if kind.embeds:
        assert len(found.vectors) == 1 and len(found.vectors[0]) > 1
    else:
        assert found.text or found.reasoning
        assert found.finish in ("stop", "length") and not found.calls
    if "usage" in kind.answers:
        assert found.usage[0] > 0 and (kind.embeds or found.usage[1] > 0)


@pytest.mark.parametrize("dialect, stream", [way for way in WAYS if "schema" in DIALECTS[way[0]].fields])
def test_a_schema_is_kept_to(gateway, dialect, stream):
    case = case_of(dialect, [Turn("user", "Sell three lots? As JSON.")], stream, schema=SCHEMA)
    found = loads(read(case, ask(gateway, case)).text)
    assert set(found) == {"sell", "lots"} and isinstance(found["sell"], bool)


@pytest.mark.parametrize("dialect, stream", [way for way in WAYS if "tools" in DIALECTS[way[0]].fields])
def test_tools(gateway, ollama, dialect, stream):
    """Whether it calls is the model's affair; that a call and its result are carried is ours."""
    turns = [Turn("user", "What does gold cost? Use the tool.")]
    case = case_of(dialect, turns, stream, tools=[PRICE])
    answer = ask(gateway, case)
    if answer.status == 400 and "does not support tools" in DIALECTS[dialect].error(answer):
        pytest.skip(f"{ollama.model} does not support tools")
    found = read(case, answer)
    assert (found.finish == "tool") == bool(found.calls) or found.finish == "length"
    calls = found.calls or [Call("call_1", "price", {"of": "gold"})]
    turns += [Turn("assistant", "", calls=calls),
              *(Turn("tool", "2400", result_of=i) for i in range(len(calls)))]
    case = case_of(dialect, turns, stream, tools=[PRICE])
    found = read(case, ask(gateway, case))
    assert found.text or found.reasoning or found.calls


@pytest.mark.parametrize("dialect", SPEAKING)
def test_a_model_that_ollama_has_not(gateway, dialect):
    answer = ask(gateway, case_of(dialect, COLOUR, route="nobody"))
    assert answer.status == 404 and "nobody" in DIALECTS[dialect].error(answer), answer


def test_who_leaves_frees_it(gateway, ollama):
    with Stream(gateway, "Count to a thousand.", model=ollama.model) as stream:
        stream.start()
        assert stream.next_text()
    until(lambda: gateway.inflight() == 0, what="nobody is at it")
