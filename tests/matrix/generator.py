"""Queries at random, from a seed: each case is a dialect, a protocol, features and an answer."""
import random

from canon import Answer, Call, Case, Turn
from dialects import DIALECTS
from source import Num, Raw

PROTOCOLS = ["openai", "ollama", "bdh", "worker"]

WORDS = ["gold", "tin", "Grüße", "世界", "🐉", "a\nb", "tab\t", '"quoted"', "back\\slash", "</s>",
         "e\u0301", "\u2028", "\x7f", "data: x", "{\"a\":1}", "½", "  ", "\U0001f468\u200d\U0001f469"]
SYSTEM = "You are terse."
IMAGES = ["iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5Er"
          "kJggg==", "iVBORw0KGgo" + "A" * 64 + "=="]
ARGUMENTS = [{}, {"of": "gold"}, {"deep": {"list": [Num("1"), Num("0.10"), None, True]}},
             {"big": Num("9007199254740993"), "odd": Num("1E-2"), "text": "ü \"x\" \\ \n 🐉"},
             {"huge": Num("1e400"), "": ""}]
SCHEMA = {"type": "object", "properties": {"lots": {"type": "integer", "maximum": Num("1.50")}},
          "required": ["lots"]}
TOOLS = [{"name": "price", "description": "what it costs: \"ü\"",
          "parameters": {"type": "object", "properties": {"of": {"type": "string"}}}},
         {"name": "spread", "description": "", "parameters": SCHEMA}]

VECTOR = [Num("0.10"), Num("-2.5e-3"), Num("1E+2"), Num("0"), Num("0.30000000000000004"), Num("-7")]

VALUES = {
    "temperature": [Num("0"), Num("0.10"), Num("1e0"), Num("7E-1"), Num("0.30000000000000004")],
    "top_p": [Num("0.90"), Num("1"), Num("5e-1")],
    "top_k": [Num("40"), Num("1")],
    "min_p": [Num("0.05"), Num("1E-2")],
    "seed": [Num("7"), Num("0"), Num("9007199254740993"), Num("18446744073709551615")],
    "presence_penalty": [Num("-0.50"), Num("1.0")],
    "frequency_penalty": [Num("0.25"), Num("-2e0")],
    "max_tokens": [Num("64"), Num("1")],
    "stop": [["END"], ["\n\n", "ü\"", "</s>"]],
    "tools": [TOOLS, TOOLS[:1]],
    "tool_choice": ["auto", "none", "required", ("tool", "price")],
    "json": [True],
    "schema": [SCHEMA],
    "effort": ["low", "medium", "high"],
    "think": [True, False],
    "logprobs": [Num("3")],
    "n": [Num("2")],
    "unknown": [Num("1e400"), {"deep": [Num("0.10")]}, "x", False, [Raw('"\\u00fc"')]],
    "logit_bias": [{"42": Num("-100")}],
    "num_ctx": [Num("8192")],
    "keep_alive": ["5m", Num("0")],
    "parallel": [False, True],
    "message_name": ["bob"],
    "suffix": ["the end"],
    "mirostat": [Num("1")],
    "truncate": [False],
    "raw": [True],
    "single_call": [True],
    "document": ["a text"],
    "image_url": ["http://images.test/a.png"],
    "audio": ["UklGRg=="],
    "prompts": [["a", "b"]],
    "texts": [["tin ü", "🐉"], ["tin"]],
    "tokens": [[Num("1"), Num("2")]],
    "dimensions": [Num("3")],
    "base64": [True],
    "verbosity": ["low"],
    "summary": ["auto"],
    "truncation": ["auto"],
    "hosted_tool": ["web_search"],
    "include": ["reasoning.encrypted_content"],
}
PARTS = ("document", "image_url", "audio")  # of the last message
PLAIN = ("max_tokens", "temperature", "dimensions", "keep_alive")
NEEDS_TOOLS = ("tool_choice", "single_call", "parallel")  # and are told with them


def words(rng, least=1):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, 6)))


def make_turns(rng, dialect):
    if not dialect.has_turns:
        turns = []
        if "system" in dialect.fields and rng.random() < 0.3:
            turns.append(Turn("system", SYSTEM))
        images = rng.sample(IMAGES, 1) if "images" in dialect.fields and rng.random() < 0.2 else []
        return [*turns, Turn("user", words(rng), images)]
    turns = [Turn("system", SYSTEM)] if rng.random() < 0.4 else []
    turns.append(Turn("user", words(rng)))
    count = 0
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        if rng.random() < 0.5:
            calls = [Call(f"call_{count + i}", rng.choice(["price", "spread"]),
                          rng.choice(ARGUMENTS)) for i in range(rng.randint(1, 3))]
            turns.append(Turn("assistant", rng.choice(["", words(rng)]), calls=calls))
            turns += [Turn("tool", words(rng), result_of=count + i) for i in range(len(calls))]
            count += len(calls)
            if rng.random() < 0.5:
                turns.append(Turn("assistant", words(rng)))
                turns.append(Turn("user", words(rng)))
        else:
            turns += [Turn("assistant", words(rng)), Turn("user", words(rng))]
    users = [turn for turn in turns if turn.role == "user"]
    if rng.random() < 0.2:
        rng.choice(users).images = rng.sample(IMAGES, rng.randint(1, 2))
    return turns


def make_vectors(rng, case):
    count = 1 + len(case.fields.get("texts", ()))
    answer = Answer(vectors=[rng.sample(VECTOR, 3) for _ in range(count)])
    if rng.random() < 0.8:
        answer.usage = (Num(rng.randint(1, 9999)), Num(0))
    return answer


def make_answer(rng, case):
    kinds = DIALECTS[case.dialect].answers
    if DIALECTS[case.dialect].embeds:
        return make_vectors(rng, case)
    answer = Answer(text=words(rng))
    if case.protocol == "bdh":
        answer.text = "So: " + answer.text  # an answer that begins with its question is cut
        return answer
    answer.finish = rng.choice(["stop", "stop", "length", "filter"])
    if case.protocol == "ollama" and answer.finish == "filter":
        answer.finish = "stop"
    if "reasoning" in kinds and rng.random() < 0.3:
        answer.reasoning = words(rng)
    if "calls" in kinds and rng.random() < 0.4:
        answer.calls = [Call(f"call_{chr(97 + i)}", rng.choice(["price", "spread"]),
                             rng.choice(ARGUMENTS)) for i in range(rng.randint(1, 3))]
        answer.finish = rng.choice(["tool", "tool", "length"])
        answer.text = rng.choice(["", words(rng)])
    if rng.random() < 0.8:
        answer.usage = (Num(rng.randint(1, 9999)), Num(rng.randint(1, 9999)))
    if "logprobs" in case.fields and "logprobs" in kinds:
        answer.logprobs = [True]
    return answer


def make_case(seed, number, dialect, protocol, only=None):
    """only: (feature, value), and no other feature."""
    rng = random.Random(f"{seed}/{number}")
    kind = DIALECTS[dialect]
    names = [name for name in VALUES if name in kind.fields]
    chosen = [] if only else rng.sample(names, rng.randint(0, min(5, len(names))))
    fields = dict([only]) if only else {name: rng.choice(VALUES[name]) for name in chosen}
    if any(name in fields for name in NEEDS_TOOLS):
        fields = {"tools": TOOLS, **fields}
    if "json" in fields:
        fields.pop("schema", None)
    if "think" in fields:
        fields.pop("effort", None)
    if "tokens" in fields:
        fields.pop("texts", None)
    if dialect == "anthropic":
        fields.setdefault("max_tokens", Num("1024"))  # the dialect demands it
    turns = [Turn("user", words(rng))] if only else make_turns(rng, kind)
    case = Case(f"m{seed}-{number}", dialect, protocol, rng.random() < 0.5 and kind.streams,
                turns, fields, None, rng.randrange(420), rng.random() < 0.3, rng.random() < 0.7)
    if turns[-1].role == "tool" and any(name in fields for name in PARTS):
        turns.append(Turn("user", words(rng)))
    if "message_name" in fields:
        case.turns = [turn for turn in case.turns if turn.role != "system"]
    if "tokens" in fields:
        case.turns = [Turn("user", "")]  # they are what is asked
    case.answer = make_answer(rng, case)
    return case


def conversations():
    """feature -> the smallest conversation that has it."""
    user, call = Turn("user", "hello"), Call("call_0", "price", {"of": "gold"})
    called = Turn("assistant", "", calls=[call])
    return {"text": [user], "system": [Turn("system", SYSTEM), user],
            "turns": [user, Turn("assistant", "hi"), Turn("user", "and?")],
            "images": [Turn("user", "what is it?", [IMAGES[0]])],
            "calls": [user, called, Turn("user", "well?")],
            "results": [user, called, Turn("tool", "7", result_of=0)]}


def make_table_cases():
    """Each feature alone, with each of its values, on every way: what the table is made of. As
    (feature, value, case)."""
    talks = conversations()
    for dialect, kind in DIALECTS.items():
        for protocol in PROTOCOLS:
            for feature, turns in talks.items():
                if feature == "text" or feature in kind.fields:
                    beside = next(name for name in PLAIN if name in kind.fields)
                    case = make_case(0, f"{dialect}-{protocol}-{feature}", dialect, protocol,
                                     (beside, VALUES[beside][0]))
                    case.turns = turns
                    yield feature, None, case
            for feature in VALUES:
                for i, value in enumerate(VALUES[feature] if feature in kind.fields else ()):
                    yield feature, value, make_case(0, f"{dialect}-{protocol}-{feature}-{i}",
                                                    dialect, protocol, (feature, value))


def make_cases(seed, count):
    rng = random.Random(seed)
    return [make_case(seed, i, rng.choice(list(DIALECTS)), rng.choice(PROTOCOLS))
            for i in range(count)]
