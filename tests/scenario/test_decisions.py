"""The decision log: what it tells of a query, what it must not tell, and that it holds nobody up."""
import base64
import hashlib
import json
import struct

from harness.backend import openai, status
from harness.client import ask, post
from harness.gateway import run
from harness.policy import openai as openai_backend
from harness.wait import until

ROLES = {"trading": {"keywords": ["market"]},
         "legal": {"keywords": ["contract"]}}
ROUTES = [{"name": "desk", "when": {"header": {"x-team": "desk"}}, "to": {"by": "latency"}},
          {"name": "default", "to": {"by": "latency"}}]


def decisions(path, count):
    """In the order of asking: one loop may write before another."""
    def lines():
        whole = path.read_text().splitlines() if path.exists() else []
        return whole if len(whole) >= count else None
    found = [json.loads(line) for line in until(lines, what=f"{count} decisions in {path}")]
    return sorted(found, key=lambda line: line["request_id"])


def start(hatchway, backend, tmp_path, answers=(openai("o", "k"),), roles=ROLES, **more):
    log = tmp_path / "decisions.jsonl"
    gateway = hatchway(backends=[openai_backend("peer", backend(*answers))], roles=roles,
                       routes=ROUTES, decisions={"file": str(log), **more})
    return gateway, log


def test_a_line(hatchway, backend, tmp_path):
    gateway, log = start(hatchway, backend, tmp_path)

    ask(gateway, "how is the market?", max_tokens=9,
        headers={"X-Team": "desk", "x-hatchway-lane": "background", "x-secret": "hush"})
    ask(gateway, "how is the market?", max_tokens=9)
    ask(gateway, "how is the market?", max_tokens=9)
    first, second, third = decisions(log, 3)

    assert first["dialect"] == "openai" and first["path"] == "/v1/chat/completions"
    assert "agent" not in first and first["v"] == 1
    traits = first["traits"]
    assert (traits["role"], traits["role_by"], traits["confidence"]) == ("trading", "keyword", 1)
    assert (traits["lane"], traits["lane_from"]) == ("background", "header")
    assert traits["model"] == "auto" and traits["max_tokens"] == 9
    assert traits["prompt_bytes"] > 10 and traits["prompt_tokens"] > 3
    assert traits["headers"] == {"x-team": "desk"} and traits["deterministic"] is True
    assert second["traits"]["headers"] == {"x-team": None} and "lane_from" not in second["traits"]
    decision = first["decision"]
    assert (decision["route"], decision["backend"], decision["model"]) == ("desk", "peer", "small")
    assert decision["candidates"][0]["backend"] == "peer"
    assert decision["candidates"][0]["expected_ms"] > 0
    assert [line["decision"]["cache"] for line in (first, second, third)] == ["miss", "hit", "hit"]
    outcome = first["outcome"]
    assert outcome["status"] == 200 and outcome["attempts"] == 1 and outcome["finish"] == "stop"
    assert outcome["usage"] is True
    assert (outcome["prompt_tokens"], outcome["output_tokens"]) == (5, 7)
    assert 0 < outcome["ttft_ms"] <= outcome["duration_ms"]
    assert third["decision"]["backend"] == "peer" and "attempts" not in third["outcome"]
    assert "market" not in log.read_text() and "hush" not in log.read_text()
    assert traits["text_bytes"] == len("how is the market?")


def test_what_failed_is_there_too(hatchway, backend, tmp_path):
    gateway, log = start(hatchway, backend, tmp_path, answers=(status(500),))

    assert ask(gateway, "hello").status == 502
    assert ask(gateway, "hello", model="nobody").status == 404
    post(gateway, "/v1/chat/completions", "{")
    ask(gateway, "hello", headers={"x-team": "x" * 1500})
    lines = decisions(log, 3)

    assert [line["outcome"]["status"] for line in lines] == [502, 404, 502]
    assert lines[0]["decision"]["backend"] == "peer" and "finish" not in lines[0]["outcome"]
    assert "route" not in lines[1]["decision"] and lines[1]["traits"]["model"] == "nobody"
    assert "headers" not in lines[2]["traits"]  # too long to tell: as good as not known


def test_text_and_features_only_when_asked_for(hatchway, backend, tmp_path):
    gateway, log = start(hatchway, backend, tmp_path, text="features")
    ask(gateway, "a contract between wolves")
    ask(gateway, "")
    line = decisions(log, 2)[0]
    features = line["traits"]["features"]
    assert (features["version"], features["bits"]) == (3, 16)
    packed = base64.b64decode(features["buckets"])
    buckets = struct.unpack(f"<{len(packed) // 2}H", packed)
    assert len(buckets) > 40 and list(buckets) == sorted(set(buckets))
    assert "wolves" not in log.read_text() and "text" not in line["traits"]
    assert len(line["traits"]["conversation"]) == 16

    # A reload says more, elsewhere.
    full = tmp_path / "full.jsonl"
    config = json.loads(gateway.file.read_text())
    gateway.write({**config, "decisions": {"file": str(full), "text": "full"}})
    until(lambda: "is in force" in gateway.log(), what="the reload")
    ask(gateway, "é" * 9000)
    ask(gateway, "a contract between wolves")
    long, short = decisions(full, 2)
    assert short["traits"]["text"] == "a contract between wolves"
    assert long["traits"]["text_bytes"] == 18000
    assert len(long["traits"]["text"].encode()) == 16384 + 512
    assert len(decisions(log, 2)) == 2

    # And another that is silent.
    gateway.write({**config, "decisions": {}})
    until(lambda: gateway.log().count("is in force") == 2, what="the reload")
    ask(gateway, "not told")
    gateway.stop()
    assert len(decisions(full, 2)) == 2 and len(decisions(log, 2)) == 2


def test_agents_as_the_policy_allows(hatchway, backend, tmp_path):
    agents = [{"name": name, "key": "sha256:" + hashlib.sha256(name.encode()).hexdigest(),
               "label": name == "known", "lane": "realtime"} for name in ("known", "shy")]
    log = tmp_path / "d.jsonl"
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("o", "k")))], agents=agents,
                       decisions={"file": str(log), "agents": "labelled"})

    for name in "known", "shy", "nobody":
        ask(gateway, "hi", headers={"authorization": f"Bearer {name}"})
    known, shy = decisions(log, 2)

    assert known["agent"] == "known" and "agent_hidden" not in known
    assert "agent" not in shy and shy["agent_hidden"] is True
    assert known["traits"]["lane_from"] == "agent" and known["traits"]["lane"] == "realtime"


def test_a_log_that_cannot_be_written_costs_no_query(hatchway, backend, tmp_path):
    gateway, log = start(hatchway, backend, tmp_path)
    config = json.loads(gateway.file.read_text())
    gateway.write({**config, "decisions": {"file": "/nonexistent/decisions.jsonl"}})
    until(lambda: "is in force" in gateway.log(), what="the reload")

    assert ask(gateway, "hello").text == "ok"

    until(lambda: gateway.metric("hatchway_decision_log_dropped_total") == 1)
    assert "/nonexistent/decisions.jsonl" in gateway.log()


def test_a_file_that_cannot_be_opened_at_the_start(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("backends: [{name: a, kind: ollama, url: 'http://127.0.0.1:1', general: true, "
                    "models: [m]}]\ndecisions: {file: /nonexistent/d.jsonl}\n")
    done = run("serve", "-c", file)
    assert done.returncode == 1 and b"/nonexistent/d.jsonl" in done.stderr
