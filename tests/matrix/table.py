"""docs/compatibility.md from the matrix's own results: `HATCHWAY_BINARY=... python3 -m pytest
tests/matrix/test_matrix.py --write-tables`."""
from dialects import DIALECTS
from generator import PROTOCOLS
from judge import NAMED, WORKS
from source import dumps

COLUMNS = {"openai": "kind: openai", "ollama": "kind: ollama", "bdh": "kind: bdh, by url",
           "worker": "kind: bdh, local worker"}
ROWS = {
    "text": "the question's text", "system": "system prompt", "turns": "earlier turns",
    "images": "images, base64", "image_url": "images, by URL", "audio": "audio",
    "document": "documents", "hosted_tool": "tools that OpenAI runs", "verbosity": "`text.verbosity`", "prompts": "several prompts", "texts": "several texts",
    "tokens": "tokens in place of text", "base64": "vectors as base64", "dimensions": "`dimensions`", "tools": "tools",
    "tool_choice": "which tool to call", "parallel": "`parallel_tool_calls`",
    "single_call": "`disable_parallel_tool_use`", "calls": "calls of tools, in earlier turns",
    "results": "their results", "json": "JSON mode", "schema": "JSON schema", "stop": "stop strings",
    "max_tokens": "the answer's length", "effort": "reasoning: how much",
    "think": "reasoning: whether", "summary": "`reasoning.summary`", "logprobs": "log-probabilities", "logit_bias": "`logit_bias`",
    "n": "several answers (`n`)", "num_ctx": "`num_ctx`", "keep_alive": "`keep_alive`",
    "message_name": "a message's `name`", "unknown": "fields that nobody knows"}
ANSWERS = {"text": "text", "reasoning": "reasoning", "calls": "calls of tools",
           "vectors": "vectors", "finish": "why it ended", "usage": "counts of tokens"}
# What an answer of the protocol can hold at all.
SAYS = {"openai": set(ANSWERS), "ollama": set(ANSWERS), "bdh": {"text"},
        "worker": {"text", "finish", "usage"}}

HEAD = """# Compatibility

Every dialect an agent may speak, on the way to every kind of backend: what arrives. This page is written by a
test (`tests/matrix`): it sends each feature on each way through a running gateway, to a backend that speaks every
protocol, and compares what the one side wrote with what the other side read. Write it again with

```sh
HATCHWAY_BINARY=build/release/hatchway /usr/bin/python3 -m pytest -q tests/matrix/test_matrix.py --write-tables
```

- **works**: the backend was told what the agent asked for; or, where it can only be told by a default, does it.
- **dropped**: it could not be carried; the answer's `x-hatchway-dropped` names it, and with
  `x-hatchway-strict: 1` the query gets a 400 that names it.
- **refused**: always 400.
- **-**: the dialect has no word for it.

Where some values of a field are carried and others are not, those that are not are listed. The same test sends
thousands of combinations of these features at random, whole and streamed, and allows no other outcome.
"""


def spelt(value):
    return "`" + dumps(value).replace("|", "\\|") + "`"


def cell(outcomes):
    """outcomes: [(value, outcome)]"""
    kinds = {outcome for _, outcome in outcomes}
    if len(kinds) == 1:
        return kinds.pop()
    lost = [spelt(value) for value, outcome in outcomes if outcome == NAMED]
    return f"{WORKS}; {', '.join(lost)} {NAMED}"


def rows_of(dialect, results):
    """results: [(feature, value, case, outcomes)]"""
    found = {}
    for feature, value, case, outcomes in results:
        if case.dialect == dialect:
            found.setdefault(feature, {}).setdefault(case.protocol, []).append(
                (value, outcomes[feature]))
    for feature in [*ROWS, *sorted(set(found) - set(ROWS))]:
        if feature in found:
            yield [ROWS.get(feature, f"`{feature}`"),
                   *(cell(found[feature][protocol]) for protocol in PROTOCOLS)]


def answer_rows(dialect):
    """What is said of answers is what judge.py compares."""
    kind = DIALECTS[dialect]
    says = {**SAYS, **({"bdh": set(), "worker": set()} if kind.embeds else {})}
    for name, shown in ANSWERS.items():
        if name in kind.answers:
            yield [f"answer: {shown}",
                   *(WORKS if name in says[protocol] else "-" for protocol in PROTOCOLS)]


def page(results):
    lines = [HEAD]
    for name, dialect in DIALECTS.items():
        lines += [f"## `{dialect.path}`", "",
                  "| | " + " | ".join(f"`{COLUMNS[protocol]}`" for protocol in PROTOCOLS) + " |",
                  "|---" * (len(PROTOCOLS) + 1) + "|"]
        lines += ["| " + " | ".join(row) + " |"
                  for row in [*rows_of(name, results), *answer_rows(name)]]
        lines.append("")
    return "\n".join(lines)
