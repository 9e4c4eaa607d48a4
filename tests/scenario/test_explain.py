"""Why a query goes where it goes: `hatchway route` and POST /hatchway/explain, for a text or a whole
request, whoever asks, whenever."""
import json

from harness.backend import openai
from harness.client import ask, post
from harness.gateway import run
from harness.policy import openai as openai_backend

KEY = "sha256:" + 64 * "0"
POLICY = {
    "timezone": "Europe/Berlin",
    "backends": [{"name": name, "kind": "ollama", "url": f"http://127.0.0.{i + 1}:11434",
                  "models": ["llama3.1:8b"], "general": True} for i, name in enumerate("abc")],
    "roles": {"trading": {"keywords": ["market", "hedge"]}, "legal": {"keywords": ["contract"]}},
    "agents": [{"name": "email-jr", "key": KEY, "lane": "background"}],
    "routes": [
        {"name": "tooled", "when": {"tools": True, "json": False}, "to": {"backend": "a"}},
        {"name": "desk", "when": {"header": {"x-team": "desk"}}, "to": {"backend": "b"}},
        {"name": "night", "when": {"hours": "22-06"}, "to": {"backend": "c"}},
        {"name": "hers", "when": {"agent": "email-jr", "lane": "background"}, "lane": "realtime",
         "to": {"backend": "c"}},
        {"name": "claude", "when": {"dialect": "anthropic"}, "to": {"backend": "b"}},
        {"name": "default", "to": {"by": "affinity"}}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def explain(tmp_path, *args, status=0, stdin=b""):
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps(POLICY))
    done = run("route", "-c", file, "--json", *args, stdin=stdin)
    assert done.returncode == status, done
    if status:
        return done.stderr.decode()
    words = run("route", "-c", file, *args, stdin=stdin)
    assert words.returncode == 0
    return json.loads(done.stdout), words.stdout.decode()


def test_a_whole_body_is_read_as_the_gateway_reads_it(tmp_path):
    body = {"model": "llama3.1:8b", "stream": True, "max_tokens": 7, "tools": [TOOL],
            "messages": [{"role": "system", "content": "You are terse."},
                         {"role": "user", "content": "a contract, at last"},
                         {"role": "assistant", "content": "yes?"},
                         {"role": "user", "content": "hedge the market"}]}
    file = tmp_path / "body.json"
    file.write_text(json.dumps(body))

    told, words = explain(tmp_path, "--body", file, "--at", "12:00")

    traits = told["traits"]
    assert (told["route"], told["role"], told["matched_keyword"]) == ("tooled", "trading", "hedge")
    assert traits["tools"] and traits["stream"] and not traits["json"]
    assert (traits["model"], traits["max_tokens"]) == ("llama3.1:8b", 7)
    assert (traits["dialect"], traits["path"]) == ("openai", "/v1/chat/completions")
    assert traits["prompt_bytes"] > 70
    assert told["scores"] == [{"role": "trading", "keywords": 2}]
    assert "trading 2.0 by keywords" in words and "wants    tools a stream" in words
    assert "queue 0, start" in words
    same, _ = explain(tmp_path, "--body", "-", "--at", "12:00", stdin=file.read_bytes())
    assert same == told


def test_other_dialects(tmp_path):
    claude = {"model": "auto", "max_tokens": 5, "system": "short",
              "messages": [{"role": "user", "content": [{"type": "text", "text": "a contract"}]}]}
    told, _ = explain(tmp_path, "--dialect", "anthropic", "--body", "-", "--at", "12:00",
                      stdin=json.dumps(claude).encode())
    assert (told["route"], told["role"], told["traits"]["path"]) == ("claude", "legal", "/v1/messages")
    told, _ = explain(tmp_path, "--path", "/api/generate", "--body", "-", "--at", "12:00",
                      stdin=b'{"model":"auto","prompt":"the market"}')
    assert (told["traits"]["dialect"], told["role"], told["traits"]["stream"]) == ("ollama", "trading", True)
    told, _ = explain(tmp_path, "--dialect", "bdh", "hello", "--at", "12:00")
    assert told["traits"]["path"] == "/api/bdh/ask"


def test_who_when_and_by_which_header(tmp_path):
    at_night = [("2026-11-21T03:00", "2026-11-21T02:00:00.000Z"),   # winter: UTC+1
                ("2026-07-01 23:30", "2026-07-01T21:30:00.000Z"),   # summer: UTC+2
                ("2026-11-21T03:00Z", "2026-11-21T03:00:00.000Z"),
                ("2026-10-25T02:30", "2026-10-25T00:30:00.000Z")]   # comes twice: the first
    for text, time in at_night:
        told, words = explain(tmp_path, "--at", text, "hello")
        assert (told["route"], told["traits"]["time"]) == ("night", time), text
    told, _ = explain(tmp_path, "--at", "2026-11-21T12:00", "hello")
    assert told["route"] == "default"
    assert {"route": "night", "why": "it is sat 12:00, wants 22-06"} in told["routes_passed_over"]

    told, words = explain(tmp_path, "--agent", "email-jr", "--at", "12:00", "hello")
    assert (told["route"], told["lane"], told["traits"]["lane"]) == ("hers", "realtime", "background")
    assert "lane     background, put into realtime by the route" in words
    told, _ = explain(tmp_path, "--agent", "email-jr", "--header", "X-Hatchway-Lane: realtime",
                      "--at", "12:00", "hello")
    assert told["route"] == "default"
    assert {"route": "hers", "why": "lane is realtime, wants background"} in told["routes_passed_over"]
    told, _ = explain(tmp_path, "--header", "X-Team: desk", "--at", "12:00", "hello")
    assert told["route"] == "desk"
    told, _ = explain(tmp_path, "--role", "legal", "the market", "--at", "12:00")
    assert (told["role"], told["role_source"]) == ("legal", "header")


def test_what_the_policy_does_not_have(tmp_path):
    def fails(*args, status=1, stdin=b""):
        return explain(tmp_path, *args, status=status, stdin=stdin)
    assert "there is no agent 'nobody'" in fails("--agent", "nobody", "hello")
    assert "did you mean 'email-jr'" in fails("--agent", "emai-jr", "hello")
    assert "no role 'x'" in fails("--role", "x", "hello")
    assert "no role 'x'" in fails("--header", "x-hatchway-role: x", "hello")
    assert "no lane 'fast'" in fails("--lane", "fast", "hello")
    for time in "2026-03-29T02:30", "2026-13-01T00:00", "25:00", "2026-11-21", "2026-11-21T03:00+1":
        assert "is no time" in fails("--at", time, "hello"), time  # the first: a skipped hour
    assert "no dialect 'x'" in fails("--dialect", "x", "hello")
    said = fails("--body", "-", stdin=b'{"model":1}')
    assert "/v1/chat/completions: model must be a string" in said
    assert "cannot be read" in fails("--body", tmp_path / "none")
    assert "--header" in fails("--header", "nonsense", "hello", status=2)
    fails("--body", "-", "and a text", status=2)
    fails(status=2)


def test_the_gateway_explains_a_body_too(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("o", "k")))],
                       roles=POLICY["roles"],
                       routes=[{"name": "tooled", "when": {"tools": True}, "to": {}},
                               {"name": "desk", "when": {"header": {"x-team": "desk"}}, "to": {}}])
    body = {"model": "auto", "messages": [{"role": "user", "content": "the market"}], "tools": [TOOL]}

    told = post(gateway, "/hatchway/explain", {"body": body}).json()
    assert (told["route"], told["role"]) == ("tooled", "trading")
    told = post(gateway, "/hatchway/explain", {"query": "x", "headers": {"X-Team": "desk"}}).json()
    assert told["route"] == "desk"
    for wrong in ({"body": body, "query": "x"}, {"body": 7}, {"body": {}}, {"query": "x", "headers": 7},
                  {"query": "x", "headers": {"a": 1}}, {"query": "x", "agent": "nobody"},
                  {"query": "x", "at": "never"}):
        answer = post(gateway, "/hatchway/explain", wrong)
        assert answer.status == 400 and answer.json()["error"], wrong
    assert ask(gateway, "the market", headers={"x-team": "desk"}).text == "ok"
