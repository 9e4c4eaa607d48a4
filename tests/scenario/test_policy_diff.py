"""What an edit would do to yesterday's queries: `hatchway policy diff`."""
import json

from harness.backend import openai
from harness.client import ask
from harness.gateway import run
from harness.policy import openai as openai_backend
from harness.wait import until

BACKENDS = [{"name": name, "kind": "ollama", "url": f"http://127.0.0.{i + 1}:11434", "device": device,
             "models": ["llama3.1:8b"], "general": True, "max_inflight": 4}
            for i, (name, device) in enumerate([("redfin", "cuda"), ("bluefin", "cuda"),
                                                ("slow", "cpu")])]
DEFAULT = {"name": "default", "to": {"backend": ["redfin", "slow"]}}


def policy(tmp_path, name, routes, **more):
    file = tmp_path / name
    file.write_text(json.dumps({"backends": BACKENDS, "routes": routes, **more}))
    return file


def record(second, text=None, traits=None, outcome=None, **more):
    seen = {"model": "auto", "lane": "interactive", "prompt_bytes": 400, "prompt_tokens": 100,
            "keepable": True, **(traits or {})}
    if text is not None:
        seen.update(text=text, text_bytes=len(text))
    return {"v": 1, "time": f"2026-11-21T09:{second // 60:02}:{second % 60:02}.000Z",
            "request_id": f"q{second}", "dialect": "openai", "path": "/v1/chat/completions",
            "traits": seen,
            "decision": {"route": "default", "backend": "redfin", "cache": "bypass"},
            "outcome": {"status": 200, "attempts": 1, "duration_ms": 900, "ttft_ms": 100,
                        "decode_ms": 800, "output_bytes": 400, "finish": "stop", **(outcome or {})},
            **more}


def write_log(tmp_path, lines, name="d.jsonl"):
    log = tmp_path / name
    log.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n"
                           for line in lines))
    return log


def diff(old, new, log):
    done = run("policy", "diff", old, new, "--log", log, "--json")
    assert done.returncode == 0, done.stderr
    words = run("policy", "diff", old, new, "--log", log)
    assert words.returncode == 0 and words.stdout, words
    return json.loads(done.stdout), words.stdout.decode()


def moves(found):
    return {(move["from"].get("backend", move["from"]["end"]), move["to"].get("route", "-"),
             move["to"].get("backend", move["to"]["end"])): move["count"]
            for move in found["moves"] if not move["by_load"]}


def test_a_keyword_moves_its_queries_and_their_load(tmp_path):
    old = policy(tmp_path, "old.yaml", [DEFAULT])
    new = policy(tmp_path, "new.yaml", [{"name": "markets", "when": {"keyword": "market"},
                                         "to": {"backend": "bluefin"}}, DEFAULT])
    log = write_log(tmp_path, [record(10 * i, "the market is open" if i % 4 == 0 else "hello")
                               for i in range(40)])

    found, words = diff(old, new, log)

    assert (found["queries"], found["stayed"], found["moved"]) == (40, 30, 10)
    assert moves(found) == {("redfin", "markets", "bluefin"): 10}
    assert found["moves"][0]["examples"][0] == {"request_id": "q0", "what": "the market is open"}
    assert found["agreement"] == 1 and found["unknown"]["queries"] == 0
    loads = {backend["name"]: backend for backend in found["backends"]}
    assert loads["redfin"]["measured_by"] == 40 and loads["bluefin"]["measured_by"] == 0
    assert (loads["redfin"]["old"]["queries"], loads["redfin"]["new"]["queries"]) == (40, 30)
    assert loads["bluefin"]["new"]["queries"] == 10 and loads["slow"]["new"]["queries"] == 0
    # 400 bytes at the measured 500 bytes a second, 100 ms before that: whatever the exact figures.
    assert 500 < loads["redfin"]["old"]["mean_ms"] < 1500
    assert 0.01 < loads["redfin"]["new"]["load"] < loads["redfin"]["old"]["load"] < 0.1
    assert "10 (25.0 %) move" in words and "default -> redfin  =>  markets -> bluefin" in words
    assert "bluefin" in words and "*" in words  # nobody measured it


def test_nothing_moves_between_two_of_the_same(tmp_path):
    old = policy(tmp_path, "old.yaml", [DEFAULT])
    log = write_log(tmp_path, [record(i // 10, "hello") for i in range(400)])
    found, words = diff(old, old, log)
    assert found["stayed"] == 400 and found["moves"] == []
    assert found["all"]["old"] == found["all"]["new"]
    assert "400 (100.0 %) stay" in words


def test_without_the_text_it_counts_what_it_cannot_know(tmp_path):
    old = policy(tmp_path, "old.yaml", [DEFAULT])
    new = policy(tmp_path, "new.yaml", [
        {"name": "night", "when": {"keyword": "market", "lane": "background"},
         "to": {"backend": "slow"}},
        {"name": "short", "when": {"prompt_tokens": "<50"}, "to": {"backend": "bluefin"}},
        {"name": "pattern", "when": {"regex": "a+"}, "to": {"backend": "slow"}}, DEFAULT])
    log = write_log(tmp_path, [record(1), record(2, traits={"prompt_tokens": 10}),
                               record(3, traits={"lane": "background", "lane_from": "header"}),
                               record(4, "b"), record(5, "aa")])

    found, words = diff(old, new, log)

    # The first hangs on the pattern, the third already on the keyword; the rest is known.
    assert found["unknown"] == {"queries": 2, "text": 2, "role": 0, "agent": 0, "header": 0,
                                "model": 0}
    assert moves(found) == {("redfin", "short", "bluefin"): 1, ("redfin", "pattern", "slow"): 1}
    assert found["stayed"] == 1
    assert "2 (40.0 %) cannot be told" in words and "text: full" in words


def test_headers_and_agents_that_were_not_logged(tmp_path):
    key = "sha256:" + 64 * "0"
    agents = [{"name": "ann", "key": key, "lane": "background"}]
    old = policy(tmp_path, "old.yaml", [DEFAULT])
    new = policy(tmp_path, "new.yaml", [
        {"name": "desk", "when": {"header": {"x-team": "desk"}}, "to": {"backend": "bluefin"}},
        {"name": "hers", "when": {"agent": "ann"}, "to": {"backend": "slow"}}, DEFAULT], agents=agents)
    log = write_log(tmp_path, [
        record(1, agent="ann", traits={"headers": {"x-team": "desk"}}),
        record(2, agent="ann", traits={"headers": {"x-team": None}}),
        record(3, agent="ann"),
        record(4, agent_hidden=True, traits={"headers": {"x-team": "other"}}),
        record(5, agent="bob", traits={"headers": {"x-team": "desk"}}),
        record(6, traits={"model": "qwen9"}, agent="ann")])

    found, words = diff(old, new, log)

    assert moves(found) == {("redfin", "desk", "bluefin"): 1, ("redfin", "hers", "slow"): 1,
                            ("redfin", "-", "no agent of that name"): 1}
    assert found["unknown"] == {"queries": 2, "text": 0, "role": 0, "agent": 1, "header": 1,
                                "model": 0}
    assert found["stayed"] == 1  # neither has that model
    assert "who asked" in words and "header" in words


def test_an_outage_in_the_log_and_a_cache_hit(tmp_path):
    old = policy(tmp_path, "old.yaml", [DEFAULT])
    new = policy(tmp_path, "new.yaml", [{**DEFAULT, "cache": "none"}])
    hit = record(1, "a", traits={"deterministic": True}, outcome={"duration_ms": 1, "attempts": 0})
    hit["decision"]["cache"] = "hit"
    failed = record(2, "b", outcome={"status": 502, "output_bytes": 0, "finish": None})
    found, _ = diff(old, new, write_log(tmp_path, [hit, failed]))
    assert moves(found) == {("cache hit", "default", "redfin"): 1}
    assert found["backends"][0]["measured_by"] == 0  # neither tells how fast redfin is
    assert found["all"]["old"]["queries"] == 2


def test_a_model_that_only_a_running_gateway_knows(tmp_path):
    finding = {"name": "finds", "kind": "ollama", "url": "http://127.0.0.9:11434", "general": True,
               "discover": True}
    file = tmp_path / "finds.yaml"
    file.write_text(json.dumps({"backends": [finding]}))
    log = write_log(tmp_path, [record(1, "hi", traits={"model": "qwen9"}), record(2, "hi")])
    found, words = diff(file, file, log)
    assert found["unknown"]["model"] == 1 and found["stayed"] == 1
    assert "may be found to have" in words


def test_a_real_log_without_text_keeps_roles_while_they_are_the_same(hatchway, backend, tmp_path):
    log = tmp_path / "decisions.jsonl"
    roles = {"trading": {"keywords": ["market"]}, "legal": {"keywords": ["contract"]}}
    config = {"roles": roles, "decisions": {"file": str(log)},
              "backends": [openai_backend("one", backend(openai("o", "k"))),
                           openai_backend("two", backend(openai("o", "k")))],
              "routes": [{"name": "default", "to": {"backend": "one"}}]}
    gateway = hatchway(**config)
    for text in "the market", "a contract", "neither":
        ask(gateway, text)
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 3)

    def write(name, **changes):
        file = tmp_path / name
        file.write_text(json.dumps({**config, **changes}))
        return file
    routes = [{"name": "law", "when": {"role": "legal"}, "to": {"backend": "two"}}, *config["routes"]]
    found, _ = diff(gateway.file, write("a.yaml", routes=routes), log)
    assert moves(found) == {("one", "law", "two"): 1} and found["stayed"] == 2
    assert found["agreement"] == 1

    other = {**roles, "legal": {"keywords": ["contract", "neither"]}}
    found, words = diff(gateway.file, write("b.yaml", routes=routes, roles=other), log)
    assert found["unknown"]["role"] == 3 and found["moved"] == 0
    assert "hang on the role" in words


def test_hostile_and_useless_logs(tmp_path):
    old = policy(tmp_path, "old.yaml", [DEFAULT])
    lines = ["{", "[]", '{"v":1}', "\xff\x00", '"' + "x" * 300000 + '"', record(1, "hi")]
    found, words = diff(old, old, write_log(tmp_path, lines))
    assert found["queries"] == 1 and found["unreadable"] == 5
    assert "5 lines are no records, the first: " in words and "d.jsonl:1" in words

    def fails(*args, status=1):
        done = run("policy", "diff", *args)
        assert done.returncode == status and not done.stdout, done
        return done.stderr.decode()
    assert "d.jsonl:1" in fails(old, old, "--log", write_log(tmp_path, ["{", "["]))
    assert "no queries" in fails(old, old, "--log", write_log(tmp_path, []))
    assert "no plain file" in fails(old, old, "--log", tmp_path)
    assert "cannot be read" in fails(old, old, "--log", tmp_path / "nothing")
    bad = tmp_path / "bad.yaml"
    bad.write_text("bakends: []\n")
    assert "bad.yaml:1:1" in fails(old, bad, "--log", tmp_path / "nothing")
    assert "--log" in fails(old, old, status=2)
    fails(old, "--log", old, status=2)
    fails("--nonsense", status=2)
    assert run("policy", "diff", "--help").stdout.startswith(b"usage: hatchway policy diff")
