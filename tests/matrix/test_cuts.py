"""A backend's stream cut at every byte: into two reads it is the same answer, and where it ends
there, the agent is told so, once."""
import time

from canon import Answer, Call, Case, Turn
from dialects import DIALECTS
from judge import RAW, Match, config, fault
from source import Num
from speech import framed, ollama_answer, openai_answer

EVERY_BYTE = [("openai", "openai"), ("completions", "openai"), ("ollama", "ollama"),
              ("generate", "ollama"), ("anthropic", "openai"), ("openai", "ollama")]
WAYS = [*EVERY_BYTE, ("ollama", "openai"), ("generate", "openai"), ("completions", "ollama"),
        ("anthropic", "ollama"), ("responses", "openai"), ("responses", "ollama")]
PAUSE_SECONDS = 0.001


def make_case(dialect, protocol, at):
    answer = Answer("ü🐉", finish="stop", usage=(Num("5"), Num("7")))
    if "calls" in DIALECTS[dialect].answers:
        answer.calls, answer.finish = [Call("call_a", "price", {"of": "ü"})], "tool"
    return Case(f"cut-{dialect}-{protocol}-{at}", dialect, protocol, True, [Turn("user", "x")], {},
                answer, 13, usage_asked=True)


def stream_of(case, path):
    """The backend's stream as it is sent, chunk by chunk."""
    answer = ollama_answer if path.startswith("/api/") else openai_answer
    parts = framed(case, answer(case, path, True), path)
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Cutter:
    """A backend that cuts its answer where the case's id says."""

    def __init__(self, speaker, dies):
        self.speaker, self.dies = speaker, dies

    def __call__(self, reply):
        case = self.speaker.cases[reply.request.headers["x-request-id"]]
        path, at = reply.request.path, int(case.id.rpartition("-")[2])
        data = stream_of(case, path)
        reply.head(content_type="application/x-ndjson" if path.startswith("/api/")
                   else "text/event-stream")
        if at > 0:
            reply.send(data[:at])
        if self.dies:
            reply.close()
            return
        time.sleep(PAUSE_SECONDS)
        reply.send(data[at:])


def length_of(dialect, protocol):
    path = DIALECTS[dialect].path if (dialect, protocol) in RAW else {
        "openai": "/v1/chat/completions", "ollama": "/api/chat"}[protocol]
    return len(stream_of(make_case(dialect, protocol, 0), path))


def make_cases(dialect, protocol, step):
    return [make_case(dialect, protocol, at)
            for at in range(0, length_of(dialect, protocol) + 1, step)]


def ask(match, case):
    match.speaker.cases[case.id] = case
    return match.send(case, DIALECTS[case.dialect].path, DIALECTS[case.dialect].body(case))


def test_a_stream_in_two_reads_is_the_same_answer(hatchway, backend, sanitized):
    match = Match(hatchway, backend)
    match.peer.then(Cutter(match.speaker, dies=False))
    cases = [case for way in WAYS
             for case in make_cases(*way, 7 if sanitized else 1 if way in EVERY_BYTE else 7)]

    match.run(lambda case: match.judge_answer(case, ask(match, case), {}), cases, threads=8)

    assert not match.faults, "\n\n".join(match.faults)


def judge_death(match, case):
    """One terminal event: the answer's own, where all of it had come, or the error."""
    dialect, answer = DIALECTS[case.dialect], ask(match, case)
    if answer.status == 200:
        try:
            match.judge_answer(case, answer, {})
        except (AssertionError, KeyError):
            assert "broke off" in dialect.stream_error(answer)
    elif answer.status != 502 or "failed" not in dialect.error(answer):
        fault(case, "an answer that broke off", answer)


def one_backend_a_way(peer):
    """So that no breaker sees more failures than successes, whatever the order."""
    names = ["-".join(way) for way in WAYS]
    return {**config(peer),
            "backends": [{"name": name, "kind": way[1], "url": peer.url, "models": [way[1]]}
                         for name, way in zip(names, WAYS)],
            "aliases": {f"ask-{name}": "auto" for name in names},
            "routes": [{"name": name, "when": {"model": f"ask-{name}"}, "to": {"backend": name}}
                       for name in names]}


def test_a_stream_that_ends_early_says_so_once(hatchway, backend, sanitized):
    match = Match(hatchway, backend, one_backend_a_way)
    match.peer.then(Cutter(match.speaker, dies=True))

    def judge(way):
        for case in make_cases(*way, 31 if sanitized else 7):
            case.route = "-".join(way)
            judge_death(match, case)
            for _ in range(2):  # well again, for the breaker
                whole = make_case(*way, length_of(*way))
                whole.route = case.route
                judge_death(match, whole)

    match.run(judge, WAYS, threads=len(WAYS))

    assert not match.faults, "\n\n".join(match.faults)
