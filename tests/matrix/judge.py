"""Plays cases through a gateway and judges them: what the backend read and what the agent read must
be what the other side wrote, or the loss must have been named."""
import re
import threading

from agent_embeddings import float32
from canon import Answer
from dialects import DIALECTS
from generator import NEEDS_TOOLS, PROTOCOLS
from harness.client import Connection
from harness.policy import bdh
from source import dumps, loads, number
from speech import READERS, Speaker

WORKS, NAMED, REFUSED = "works", "dropped", "refused"
COUNTS = ("max_tokens", "top_k", "seed", "n", "logprobs")  # equal when they count the same
RAW = {("openai", "openai"), ("completions", "openai"), ("ollama", "ollama"), ("generate", "ollama"),
       ("embeddings", "openai"), ("embed", "ollama"), ("old_embeddings", "ollama")}
# What a worker makes use of (router/api/to_worker.c; tests/unit/router/test_openai.c looks into it).
WORKER = {"temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "stop", "system", "turns",
          "results", "logprobs"}


class Fault(AssertionError):
    pass


def fault(case, text, *details):
    raise Fault("\n  ".join([f"{case.id} {case.dialect} to {case.protocol}"
                             f"{' streamed' if case.stream else ''}: {text}", *map(str, details)]))


def config(peer):
    """One backend a protocol, all of them the same peer."""
    remote = [{"name": kind, "kind": kind, "url": peer.url, "general": True,
               **({} if kind == "bdh" else {"models": [kind]})}
              for kind in ("openai", "ollama", "bdh")]
    return {"backends": [*remote, bdh("worker")], "cache": {"keep": "none"},
            "limits": {"retry_percent": 100}, "probes": {"interval": 0}, "access_log": "off",
            "aliases": {f"ask-{kind}": "auto" for kind in PROTOCOLS},
            "routes": [{"name": kind, "when": {"model": f"ask-{kind}"}, "to": {"backend": kind}}
                       for kind in PROTOCOLS]}


# --- the query ------------------------------------------------------------------------------------

def plain(feature, value):
    if value is None:
        return None
    if feature in COUNTS:
        return number(value)
    return loads(dumps(value)) if feature == "unknown" else value


def refusal(case):
    """A word of why the query is always refused; None: it is not."""
    if "prompts" in case.fields:
        return "prompt"
    if DIALECTS[case.dialect].embeds and case.protocol in ("bdh", "worker"):
        return "embeddings"
    return "as text" if "tokens" in case.fields and case.protocol == "ollama" else None


def carried(case, seen, feature):
    """Whether the backend was told what the agent asked for."""
    wanted, got = plain(feature, case.fields[feature]), plain(feature, seen.get(feature))
    if feature in ("tool_choice", "tools") and case.fields.get("tool_choice") == "none":
        if seen.get("tools") is None:
            return True  # nothing to call is what it asked for
    if feature in ("tool_choice", "parallel") and got is None and wanted in ("auto", True):
        return True  # the default
    if feature == "base64":
        return True  # Hatchway writes vectors so
    if feature == "truncate" and not wanted and case.protocol == "openai" and \
            DIALECTS[case.dialect].embeds:
        return True  # such a backend refuses what is too long
    if feature == "summary" and case.protocol in ("openai", "ollama"):
        return True  # it is Hatchway that writes thoughts so
    if feature == "think" and wanted is False and case.protocol in ("bdh", "worker"):
        return True  # they never do
    return wanted == got


def conversation(case):
    """feature -> its part of the conversation, of those that the case has."""
    return {name: part for name, part in parts_of(case.turns).items() if part}


def parts_of(turns):
    return {"system": [turn.text for turn in turns if turn.role == "system"],
            "text": [turn.text for turn in turns if turn.role == "user"][-1:],
            "turns": [(turn.role, turn.text) for turn in turns
                      if turn.role in ("user", "assistant")][:-1],
            "images": [(i, turn.images) for i, turn in enumerate(turns) if turn.images],
            "calls": [(i, call.name, call.arguments) for i, turn in enumerate(turns)
                      for call in turn.calls],
            "results": [(i, turn.text, turn.result_of) for i, turn in enumerate(turns)
                        if turn.role == "tool"]}


def named(dialect, feature, dropped):
    for name in dialect.fields.get(feature, []):
        if name.endswith("[]"):
            if any(one.startswith(name[:-1]) for one in dropped):
                return True
        elif name in dropped:
            return True
    return False


def judge_query(case, asked, dropped):
    """feature -> WORKS or NAMED."""
    dialect, outcome, seen, there = DIALECTS[case.dialect], {}, {}, {}
    wanted = conversation(case)
    if case.protocol != "worker":
        path, body = asked
        turns, seen = READERS[path](loads(body))
        there = parts_of(turns)
        if (case.dialect, case.protocol) in RAW:
            expected = dialect.body(case).replace(f'"{case.model}"', f'"{case.protocol}"', 1)
            if body.decode() != expected:
                fault(case, "the body was changed on its way", expected, body.decode())
    for feature in [*wanted, *case.fields]:
        if case.protocol == "worker":
            there_too = feature in WORKER or feature == "text"
            there_too = there_too or (feature in case.fields and carried(case, {}, feature))
        elif (case.dialect, case.protocol) in RAW:
            there_too = True  # byte by byte, see above
        elif feature in wanted:
            there_too = wanted[feature] == there.get(feature)
        else:
            there_too = carried(case, seen, feature)
        told = named(dialect, feature, dropped)
        if feature in NEEDS_TOOLS and named(dialect, "tools", dropped):
            there_too, told = False, True
        if not there_too and not told:
            fault(case, f"{feature} is lost without a word", case.fields.get(feature),
                  wanted.get(feature), there.get(feature), seen.get(feature), dialect.body(case),
                  asked, dropped)
        outcome[feature] = WORKS if there_too else NAMED
    explained = {name for feature in [*wanted, *case.fields]
                 for name in dialect.fields.get(feature, [])}
    for name in dropped:
        if re.sub(r"^(messages|input|tools|include)\[(?!0\].name).*", r"\1[]", name) not in explained:
            fault(case, f"{name} is named as dropped, but was not asked for", dialect.body(case))
    return outcome


# --- the answer -----------------------------------------------------------------------------------

def expected_answer(case):
    said, places = case.answer, DIALECTS[case.dialect].answers
    finish = "tool" if said.calls and said.finish == "stop" else said.finish
    if "finish" not in places or case.protocol == "bdh":
        finish = "stop"
    if case.dialect in ("ollama", "generate") and finish == "filter":
        finish = "stop"  # the dialect has no word for it
    return Answer(said.text, said.reasoning, said.calls, finish,
                  said.usage and tuple(map(number, said.usage)), said.logprobs, said.vectors)


def judge_answer(case, found, outcome):
    wanted, places = expected_answer(case), DIALECTS[case.dialect].answers
    for name in "text", "reasoning", "finish":
        if getattr(found, name) != getattr(wanted, name):
            fault(case, f"the answer's {name}", f"said {getattr(wanted, name)!r}",
                  f"read {getattr(found, name)!r}", case.answer, case.style)
    if [(call.id, call.name, call.arguments) for call in found.calls] != \
            [(call.id, call.name, call.arguments) for call in wanted.calls]:
        fault(case, "the answer's calls", wanted.calls, found.calls)
    vectors = wanted.vectors
    if vectors and "base64" in case.fields:
        vectors = [[float32(value) for value in vector] for vector in vectors]
    if found.vectors != vectors:
        fault(case, "the answer's vectors", vectors, found.vectors)
    told = not case.stream or case.usage_asked or case.dialect not in ("openai", "completions")
    told = told and "usage" in places and case.protocol != "bdh"
    raw = (case.dialect, case.protocol) in RAW
    if wanted.usage is not None and (told or (raw and found.usage)):
        if found.usage != wanted.usage:
            fault(case, "the answer's usage", wanted.usage, found.usage)
    elif "usage" in places and case.dialect != "anthropic" and found.usage is not None:
        fault(case, "a usage that nobody counted", found.usage)
    if wanted.logprobs and outcome.get("logprobs") == WORKS:
        tokens = [entry["token"] for entry in found.logprobs or []]
        if "".join(tokens) != wanted.text or any(entry["logprob"] != "-0.10"
                                                 for entry in found.logprobs or []):
            fault(case, "the answer's log-probabilities", found.logprobs)


def judge_worker_logprobs(case, found, outcome):
    """A token is a byte, and they add up to the text."""
    if outcome.get("logprobs") != WORKS or "bytes" not in (found.logprobs or [{}])[0]:
        return
    told = bytes(int(number) for entry in found.logprobs for number in entry["bytes"])
    if told.decode(errors="replace") != found.text:
        fault(case, "the worker's log-probabilities", told, found.text)


# --- playing --------------------------------------------------------------------------------------

class Match:
    """One gateway, one backend, and the cases played between them."""

    def __init__(self, hatchway, backend, config=config):
        self.speaker = Speaker()
        self.peer = backend(self.speaker)
        self.gateway = hatchway(**config(self.peer))
        self.local = threading.local()
        self.results = {}  # case id -> what became of each of its features
        self.faults = []

    def send(self, case, path, body, strict=False):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = Connection(self.gateway, seconds=60)
        headers = [f"x-request-id: {case.id}"] + ["x-hatchway-strict: 1"] * strict
        connection.send_request(path, body.encode(), headers)
        return connection.read_answer()

    def play(self, case):
        dialect = DIALECTS[case.dialect]
        self.speaker.cases[case.id] = case
        body = dialect.body(case)
        answer = self.send(case, dialect.path, body)
        dropped = [name for name in answer.headers.get("x-hatchway-dropped", "").split(", ") if name]
        why = refusal(case)
        if why:
            if answer.status != 400 or why not in dialect.error(answer):
                fault(case, f"not refused for {why}", answer, body)
            return {feature: REFUSED for feature in [*conversation(case), *case.fields]}
        if answer.status != 200:
            fault(case, "refused", answer, body)
        asked = self.speaker.asked.get(case.id, [None])[-1]
        if (asked is None) != (case.protocol == "worker"):
            fault(case, "answered by another backend", answer.headers)
        outcome = judge_query(case, asked, dropped)
        if case.protocol == "worker":
            # Its form is read; what it says is chance.
            judge_worker_logprobs(case, dialect.read(case, answer), outcome)
        else:
            self.judge_answer(case, answer, outcome)
            self.judge_bytes(case, answer)
        if case.style % 3 == 0 or dropped:
            self.judge_strict(case, body, dropped)
        return outcome

    def judge_answer(self, case, answer, outcome):
        judge_answer(case, DIALECTS[case.dialect].read(case, answer), outcome)

    def judge_bytes(self, case, answer):
        calls_end_in_stop = case.answer.calls and case.answer.finish == "tool"
        said = self.speaker.said[case.id]
        if (case.dialect, case.protocol) in RAW and not calls_end_in_stop and answer.body != said:
            at = next((i for i, (a, b) in enumerate(zip(said, answer.body)) if a != b),
                      min(len(said), len(answer.body)))
            fault(case, f"the answer was changed at byte {at}", said[at - 50:], answer.body[at - 50:])

    def judge_strict(self, case, body, dropped):
        before = len(self.speaker.asked.get(case.id, []))
        answer = self.send(case, DIALECTS[case.dialect].path, body, strict=True)
        if not dropped:
            if answer.status != 200:
                fault(case, "refused for what is not lost", answer)
        elif answer.status != 400 or len(self.speaker.asked.get(case.id, [])) != before:
            fault(case, "strict, yet something was dropped", dropped, answer)
        elif not all(name in DIALECTS[case.dialect].error(answer) for name in dropped):
            fault(case, "the refusal does not name what would be lost", dropped, answer)

    def play_all(self, cases):
        def judge(case):
            self.results[case.id] = self.play(case)

        self.run(judge, cases)

    def run(self, judge, cases, threads=3):
        """judge(case) for each, until there are faults enough to look at."""
        cases, lock = iter(cases), threading.Lock()

        def work():
            while len(self.faults) < 20:
                with lock:
                    case = next(cases, None)
                if case is None:
                    return
                try:
                    judge(case)
                except Exception as found:
                    self.faults.append(str(found) if isinstance(found, Fault)
                                       else f"{case}: {found!r}")
                    self.local.connection = None

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
