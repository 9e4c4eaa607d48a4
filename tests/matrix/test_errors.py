"""Whatever goes wrong, the asker is told in its own dialect, with the status that it deserves."""
import itertools

import pytest

from canon import Answer, Case, Turn
from dialects import DIALECTS
from harness.client import post
from judge import Match, config, fault

# A bdh node gives no vectors.
WAYS = [way for way in itertools.product(DIALECTS, ["openai", "ollama", "bdh"])
        if not (DIALECTS[way[0]].embeds and way[1] == "bdh")]


def says(status, message="said by the backend"):
    """A backend's error, in its protocol's shape."""
    def answer(reply):
        ollama = reply.request.path.startswith("/api/")
        reply.whole({"error": message} if ollama else
                    {"error": {"message": message, "type": "t", "param": None, "code": None}},
                    status=status)
    return answer


def sends(body, content_type="application/json"):
    def answer(reply):
        reply.whole(body, content_type=content_type)
    return answer


def page(reply):
    """What stands in front of a server that is down, often."""
    reply.whole(b"<html>Bad gateway</html>", status=502, content_type="text/html")


def breaks_off(reply):
    reply.head(length=100)
    reply.send(b'{"choi')
    reply.reset()


def hangs(reply):
    reply.wait_left()


# failure -> status, a word of the message. A 4xx is the answer; what concerns our own credentials or
# the backend's health is a failure of the backend.
FAILURES = {
    "400": (says(400), 400, "said by"), "404": (says(404), 404, "said by"),
    "409": (says(409), 409, "said by"), "413": (says(413), 413, "said by"),
    "422": (says(422), 422, "said by"), "429": (says(429), 429, "rate limit"),
    "401": (says(401, "bad key sk-of-ours"), 502, ""), "403": (says(403, "sk-of-ours"), 502, ""),
    "408": (says(408), 502, "failed"), "500": (says(500), 502, "failed"),
    "503": (says(503), 503, "overloaded"), "a page": (page, 502, "failed"),
    "closes": (lambda reply: reply.close(), 502, "failed"),
    "resets": (lambda reply: reply.reset(), 502, "failed"),
    "breaks off": (breaks_off, 502, "failed"), "hangs": (hangs, 504, " time"),
    "nothing": (sends(b""), 502, "failed"), "no JSON": (sends(b"hello"), 502, "failed"),
    "a list": (sends(b"[]"), 502, "failed"), "an empty object": (sends(b"{}"), 502, "failed"),
    "an error under 200": (sends(b'{"error": "out of memory"}'), 502, "out of memory"),
}


class Failing:
    def __init__(self, speaker):
        self.speaker = speaker

    def __call__(self, reply):
        case = self.speaker.cases[reply.request.headers["x-request-id"]]
        name = case.id.split("/")[0].replace("_", " ")
        FAILURES.get(name, [self.speaker])[0](reply)


def one_backend_a_way(peer):
    """So that no breaker sees more failures than successes."""
    ways = ["-".join(way) for way in WAYS]
    return {**config(peer), "timeouts": {"first_byte": "500ms", "total": "4s"},
            "backends": [{"name": name, "kind": name.split("-")[1], "url": peer.url,
                          **({} if name.endswith("-bdh") else {"models": ["m"]})}
                         for name in ways],
            "aliases": {f"ask-{name}": "auto" for name in ways},
            "routes": [{"name": name, "when": {"model": f"ask-{name}"}, "to": {"backend": name}}
                       for name in ways]}


def ask(match, way, name, stream):
    route = "-".join(way)
    case = Case(f"{name.replace(' ', '_')}/{route}", *way, stream, [Turn("user", "x")], {},
                Answer("ok"), 1, route=route)
    match.speaker.cases[case.id] = case
    return case, match.send(case, DIALECTS[way[0]].path, DIALECTS[way[0]].body(case))


def judge(match, way, name, stream):
    _, status, word = FAILURES[name]
    case, answer = ask(match, way, name, stream)
    said = DIALECTS[way[0]].error(answer) if answer.status != 200 else ""
    if answer.status != status or (word not in said):
        fault(case, f"{name} became {answer.status}", answer)
    if "sk-of-ours" in answer.body.decode():
        fault(case, "a backend's words about our credentials reach the agent", answer)
    if status in (429, 503) and "retry-after" not in answer.headers:
        fault(case, "no retry-after", answer)
    for _ in range(2):
        case, well = ask(match, way, "well", stream)
        if well.status != 200:
            fault(case, f"not well after {name}", well)


def test_every_failure_in_every_dialect(hatchway, backend):
    match = Match(hatchway, backend, one_backend_a_way)
    match.peer.then(Failing(match.speaker))

    def judge_way(way):
        for name in FAILURES:
            for stream in (False, True) if DIALECTS[way[0]].streams else (False,):
                judge(match, way, name, stream)

    match.run(judge_way, WAYS, threads=len(WAYS))

    assert not match.faults, "\n\n".join(match.faults)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_hatchways_own_errors(hatchway, backend, dialect):
    match = Match(hatchway, backend, lambda peer: {
        "backends": [{"name": "o", "kind": "openai", "url": peer.url, "models": ["m"], "roles": ["r"]},
                     {"name": "d", "kind": "ollama", "url": "http://127.0.0.1:1", "models": ["dead"]}],
        "probes": {"interval": 0},
        "roles": {"r": {"keywords": ["zebra"]}}, "limits": {"body": "2KiB"},
        "agents": [{"name": "a", "key": "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97"
                                        "bf527a25b"}],
        "routes": [{"name": "only", "when": {"role": "r"}, "to": {"role": "same"}},
                   {"name": "dead", "when": {"model": "dead"}, "to": {"backend": "d"}}]})
    kind, key = DIALECTS[dialect], {"authorization": "Bearer secret"}
    case = Case("own", dialect, "none", False, [Turn("user", "hello")], {}, Answer("ok"), 1)

    def error(status, body, headers):
        answer = post(match.gateway, kind.path, body, headers=headers)
        assert answer.status == status, answer
        return kind.error(answer)

    body = kind.body(case)
    assert "key" in error(401, body, {})
    assert "key" in error(401, body, {"authorization": "Bearer wrong"})
    assert "ask-none" in error(404, body, key)
    assert "no route" in error(404, body.replace("ask-none", "auto"), key)
    assert "limits.body" in error(413, body.replace("hello", "x" * 4000), key)
    assert error(400, "{", key)
    assert "failed" in error(502, body.replace("ask-none", "dead"), key)
