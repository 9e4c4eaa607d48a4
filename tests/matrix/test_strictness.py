"""JSON is taken strictly in every dialect, from agents and from backends: what is doubtful is refused
and never guessed at, and what is legal is carried as it was written."""
import json

import pytest

from canon import Answer, Call, Case, Turn
from dialects import DIALECTS
from harness.client import post
from judge import Match
from source import dumps, loads
from speech import READERS

TEXT = "hello"


def plain_body(dialect, protocol="openai"):
    case = Case("x", dialect, protocol, False, [Turn("user", TEXT)], {}, Answer("ok"), 1)
    return DIALECTS[dialect].body(case)


def twice(body, name):
    """The member once more, behind the others."""
    value = dumps(loads(body)[name])
    return f'{body[:-1]}, "{name}": {value}}}'


def broken(body):
    """(what, bytes) of bodies that no dialect takes."""
    text = json.dumps(TEXT)
    yield "nothing", b""
    yield "half a body", body[:-5].encode()
    yield "junk behind it", (body + " x").encode()
    yield "two bodies", (body + body).encode()
    yield "a list", f"[{body}]".encode()
    yield "a number that begins with 0", f'{body[:-1]}, "odd": 01}}'.encode()
    yield "a plus sign", f'{body[:-1]}, "odd": +1}}'.encode()
    yield "NaN", f'{body[:-1]}, "odd": NaN}}'.encode()
    yield "a comma too many", f"{body[:-1]},}}".encode()
    yield "a raw line end in a text", body.replace(text, '"a\nb"').encode()
    yield "a raw zero in a text", body.replace(text, '"a\0b"').encode()
    yield "an escape that is none", body.replace(text, '"\\x41"').encode()
    yield "a zero in a text", body.replace(text, '"a\\u0000b"').encode()
    for name, bad in (("half a surrogate", b"\\ud83d"), ("its other half", b"\\udc09"),
                      ("surrogates the wrong way", b"\\udc09\\ud83d"),
                      ("half a character", b"\xc3"), ("a stray byte", b"\x80"),
                      ("an overlong form", b"\xc0\xaf"), ("a surrogate in UTF-8", b"\xed\xa0\x80"),
                      ("beyond Unicode", b"\xf4\x90\x80\x80")):
        yield name, body.encode().replace(text.encode(), b'"a' + bad + b'b"')
    unread = body[:-1] + ', "odd": '
    yield "half a surrogate where nobody reads", (unread + '"\\ud83d"}').encode()
    yield "half a character where nobody reads", unread.encode() + b'"\xc3"}'


@pytest.fixture
def match(hatchway, backend):
    return Match(hatchway, backend)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_doubtful_is_refused(match, dialect):
    kind, body = DIALECTS[dialect], plain_body(dialect)
    said = [name for name in ("messages", "prompt", "question", "input") if name in loads(body)]
    body_with_stream = f'{body[:-1]}, "stream": false}}' if "stream" not in body else body
    doubled = [(f"{name} twice", twice(body_with_stream, name).encode())
               for name in ["model", *said, *(["stream"] if kind.streams else [])]]

    for what, sent in [*broken(body), *doubled]:
        answer = post(match.gateway, kind.path, sent)
        assert answer.status == 400, (what, sent, answer)
        assert kind.error(answer), (what, answer)
        assert "twice" not in what or "twice" in kind.error(answer), (what, answer)
    assert match.peer.requests == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_that_blows_up_is_refused_by_its_budget(hatchway, backend, dialect):
    match = Match(hatchway, backend, lambda peer: {
        "backends": [{"name": "o", "kind": "openai", "url": peer.url, "models": ["m"],
                      "general": True}], "limits": {"json_nodes": 1000, "json_depth": 20}})
    kind, body = DIALECTS[dialect], plain_body(dialect)
    wide = f'{body[:-1]}, "odd": [{"0," * 2000}0]}}'
    deep = f'{body[:-1]}, "odd": {"[" * 30}{"]" * 30}}}'

    for sent, limit in (wide, "json_nodes"), (deep, "json_depth"):
        answer = post(match.gateway, kind.path, sent)
        assert answer.status == 413 and limit in kind.error(answer), answer
    assert match.peer.requests == []


LEGAL = ['"a\\u0001b\\u007f"', '"\\ud83d\\udc09"', '"\\/"', '"\\u2028"', '"\\ufeff\\uffff"',
         '"\\u0022\\u005c"', '"\ufeffüé"']


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_legal_arrives_as_it_was_meant(match, dialect):
    kind = DIALECTS[dialect]
    for protocol in ("openai", "ollama") if kind.embeds else ("openai", "ollama", "bdh"):
        for i, text in enumerate(LEGAL):
            case = Case(f"legal-{protocol}-{i}", dialect, protocol, False,
                        [Turn("user", json.loads(text))], {}, Answer("ok"), 1)
            match.speaker.cases[case.id] = case
            body = plain_body(dialect, protocol).replace(json.dumps(TEXT), text)
            answer = match.send(case, kind.path, body)
            assert answer.status == 200, answer
            path, sent = match.speaker.asked[case.id][-1]
            assert READERS[path](loads(sent))[0][-1].text == json.loads(text), sent


def test_a_zero_in_what_is_only_carried(match):
    """Arguments and schemas pass as source text, zeroes and all."""
    arguments = {"a": "\0b", "n": [1]}
    turns = [Turn("user", "x"), Turn("assistant", calls=[Call("call_0", "price", arguments)]),
             Turn("tool", "7", result_of=0)]
    for dialect in "openai", "ollama", "anthropic":
        for protocol in "openai", "ollama":
            case = Case(f"zero-{dialect}-{protocol}", dialect, protocol, False, turns, {},
                        Answer("ok"), 1)
            match.speaker.cases[case.id] = case
            answer = match.send(case, DIALECTS[dialect].path, DIALECTS[dialect].body(case))
            assert answer.status == 200, answer
            sent = match.peer.requests[-1].json()["messages"][1]["tool_calls"][0]["function"]
            found = sent["arguments"]
            assert (json.loads(found) if isinstance(found, str) else found) == arguments


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
def test_backends_are_held_to_it_too(match, protocol):
    """A zero is carried; what is no JSON, or no text, is a failure and no answer."""
    cases = [("\\u0000", True), ("\\u0001", True), ("\\ud83d", False), ("\\udc09", False)]
    for i, (escape, good) in enumerate(cases):
        def answer(reply, escape=escape):
            if protocol == "openai":
                reply.whole(('{"choices": [{"index": 0, "message": {"role": "assistant", "content": '
                             f'"a{escape}b"}}, "finish_reason": "stop"}}]}}').encode())
            else:
                reply.whole(('{"model": "m", "message": {"role": "assistant", "content": '
                             f'"a{escape}b"}}, "done": true, "done_reason": "stop"}}').encode())
        match.peer.then(answer)
        for dialect in "openai", "ollama", "anthropic":
            case = Case(f"said-{i}-{dialect}", dialect, protocol, False, [Turn("user", "x")], {},
                        None, 1)
            got = match.send(case, DIALECTS[dialect].path, DIALECTS[dialect].body(case))
            if good:
                assert DIALECTS[dialect].read_whole(got).text == json.loads(f'"a{escape}b"'), got
            else:
                assert got.status == 502 and "the backend sent" in DIALECTS[dialect].error(got)
            whole = Case("well", dialect, protocol, False, [Turn("user", "x")], {}, Answer("ok"), 1)
            match.speaker.cases[whole.id] = whole
            if not good:  # for the breaker
                match.peer.then(match.speaker)
                for _ in range(2):
                    assert match.send(whole, DIALECTS[dialect].path,
                                      DIALECTS[dialect].body(whole)).status == 200
                match.peer.then(answer)
