"""Expectations beside a policy: `hatchway policy test`."""
import json

import pytest

from harness.gateway import ROOT, run

POLICY = {
    "backends": [{"name": name, "kind": "ollama", "url": f"http://127.0.0.{i + 1}:11434",
                  "models": ["llama3.1:8b"], "general": True, "priority": i}
                 for i, name in enumerate(["redfin", "bluefin", "sasass"])],
    "roles": {"trading": {"keywords": ["market"]}, "legal": {"keywords": ["contract"]}},
    "routes": [{"name": "law", "when": {"role": "legal"}, "to": {"backend": "sasass"}, "cache": "all"},
               {"name": "night", "when": {"hours": "22-06"}, "to": {"backend": "bluefin"}},
               {"name": "tools", "when": {"tools": True}, "to": {"backend": "bluefin"}},
               {"name": "team", "when": {"header": {"x-team": "desk"}}, "to": {"backend": "bluefin"}},
               {"name": "trade", "when": {"role": "trading"},
                "to": {"backend": ["redfin", "bluefin"], "by": "priority"}}]}


def hold(tmp_path, text, name="p.test.yaml", args=()):
    (tmp_path / "p.yaml").write_text(json.dumps(POLICY))
    (tmp_path / name).write_text(text)
    done = run("policy", "test", tmp_path / name, *args)
    said = done.stdout.decode() + done.stderr.decode()
    return done.returncode, said.replace(f"{tmp_path}/", "")


def test_all_hold(tmp_path):
    status, said = hold(tmp_path, """
at: "12:00"
queries:
  - query: how is the market?
    expect: { role: trading, route: trade, backend: redfin, not: { backend: sasass, route: law } }
  - { query: how is the market?, down: redfin, expect: { backend: [redfin, bluefin] } }
  - { query: how is the market?, down: [redfin, bluefin], expect: { backend: none } }
  - { query: hello, expect: { role: none, route: none, backend: none } }
  - { query: hello, at: "23:00", expect: { route: night } }
  - { query: hello, headers: { X-Team: desk }, expect: { route: team } }
  - { query: hello, headers: { x-hatchway-role: legal }, expect: { role: legal, cache: yes } }
  - { query: hello, model: legal, expect: { route: law, not: { role: trading } } }
  - query: "a contract\\nof several lines"
    expect: { cache: true }
  - body: |
      {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 0,
       "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}
    expect: { route: tools, cache: true }
  - body: '{"question": "the market"}'
    dialect: bdh
    expect: { role: trading }
""")
    assert (status, said) == (0, "p.test.yaml: all 11 expectations hold for p.yaml\n")


def test_a_failure_says_where_what_and_why(tmp_path):
    status, said = hold(tmp_path, """at: "12:00"
queries:
  - query: how is the market?
    expect:
      role: legal
      backend: [bluefin, sasass]
      not: { route: [law, trade], backend: bluefin }
      cache: true
  - { query: fine, expect: { role: none } }
""")
    assert status == 1
    lines = said.splitlines()
    assert lines[:5] == [
        "p.test.yaml:5:13: role is trading, expected legal",
        "p.test.yaml:6:17: backend is redfin, expected bluefin or sasass",
        "p.test.yaml:7:27: route is trade, which it must not be",
        "p.test.yaml:7:44: backend bluefin may be tried (it is candidate 2), which must not be",
        "p.test.yaml:3:5: its answer would not be kept, expected cache: true"]
    assert "    how is the market?" in lines
    assert "    role     trading (by keyword: market, confidence 1.00)" in lines
    assert any(line.startswith("    route    not law: role is trading, wants legal") for line in lines)
    assert any(line.startswith("    backend  redfin, expected") for line in lines)
    assert lines[-1] == "p.test.yaml: 1 of 2 expectations fail for p.yaml"


@pytest.mark.parametrize("text, says", [
    ("queries:\n  - { query: x, expect: { role: tradng } }\n",
     "p.test.yaml:2:33: the policy has no role 'tradng'; did you mean 'trading'?"),
    ("queries:\n  - { query: x, expect: { not: { backend: pear } } }\n",
     "p.test.yaml:2:43: the policy has no backend 'pear'"),
    ("queries:\n  - { query: x, down: redfn, expect: { role: none } }\n",
     "p.test.yaml:2:23: the policy has no backend 'redfn'; did you mean 'redfin'?"),
    ("queries:\n  - { query: x, agent: ann, expect: { role: none } }\n",
     "p.test.yaml:2:5: it cannot be asked: there is no agent 'ann'"),
    ("queries:\n  - { body: '{', expect: { role: none } }\n", "p.test.yaml:2:5: it cannot be asked: "),
    ("queries:\n  - { query: x, at: never, expect: { role: none } }\n", "'never' is no time"),
    ("queries:\n  - { query: x }\n", "p.test.yaml:2:5: error: queries[0]: the key 'expect' is missing"),
    ("queries:\n  - { query: x, expect: {} }\n", "queries[0]: nothing is expected of it"),
    ("queries:\n  - { expect: { role: none } }\n", "queries[0]: write query, the text that is asked"),
    ("queries:\n  - { query: x, body: '{}', expect: { role: none } }\n", "queries[0]: write query"),
    ("queries:\n  - { body: { model: auto }, expect: { role: none } }\n",
     "queries[0].body: write it as text"),
    ("queries:\n  - { query: x, expct: { role: none } }\n",
     "unknown key 'expct'; did you mean 'expect'?"),
    ("queries:\n  - { query: x, expect: { rolle: none } }\n",
     "queries[0].expect: unknown key 'rolle'; did you mean 'role'?"),
    ("queries: []\n", "p.test.yaml:1:1: error: there are no queries"),
    ("queries:\n\t- x\n", "a tab cannot indent YAML"),
    ("", "the key 'queries' is missing"),
])
def test_mistakes_in_the_file(tmp_path, text, says):
    status, said = hold(tmp_path, text)
    assert status == 1 and says in said, said


def test_which_policy(tmp_path):
    text = "policy: p.yaml\nqueries:\n  - { query: the market, expect: { role: trading } }\n"
    assert hold(tmp_path, text, "other.yaml")[0] == 0
    status, said = hold(tmp_path, text.replace("policy: p.yaml\n", ""), "other.yaml")
    assert status == 1 and "the key 'policy' is missing" in said
    status, said = hold(tmp_path, text, args=["-c", tmp_path / "none.yaml"])
    assert status == 1 and "none.yaml: error: cannot be read" in said
    status, said = hold(tmp_path, text, args=["--verbose"])
    assert status == 0 and "p.test.yaml:3:5: holds" in said and "role     trading" in said
    assert run("policy", "test").returncode == 2
    assert run("policy", "test", tmp_path / "nothing.test.yaml").returncode == 1
    assert run("policy", "test", "--help").stdout.startswith(b"usage: hatchway policy test")


def test_the_fleets_expectations_hold():
    done = run("policy", "test", ROOT / "config" / "fleet.test.yaml")
    assert done.returncode == 0, done.stdout
