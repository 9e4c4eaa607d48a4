"""`hatchway policy train --log`: learning from the decision log, which has no labels."""
import json

import pytest

from harness.backend import openai
from harness.client import ask
from harness.gateway import ROOT, run
from harness.policy import openai as openai_backend
from harness.wait import until

EXAMPLES = ROOT / "bench/data/classify/hwu64_role.train20.jsonl"
QUERIES = ROOT / "bench/data/classify/hwu64_role.train.jsonl"
PEER = '{ name: peer, kind: openai, url: "http://127.0.0.1:9", models: [small], general: true }'


def texts(count):
    """Asked queries, of all roles."""
    lines = QUERIES.read_text().splitlines()
    return [json.loads(line)["text"] for line in lines[::len(lines) // count][:count]]


def line(asked, **traits):
    seen = {"text_bytes": len(asked.encode()), **traits}
    return json.dumps({"v": 1, "time": "2026-11-21T09:00:00.000Z", "request_id": "q",
                       "dialect": "openai", "path": "/v1/chat/completions",
                       "traits": seen, "decision": {}, "outcome": {"status": 200}})


def write_log(tmp_path, lines):
    log = tmp_path / "decisions.jsonl"
    log.write_text("".join(one + "\n" for one in lines))
    return log


def train(*arguments, parts="2"):
    more = ("--cross-validate", parts) if parts else ()
    done = run("policy", "train", *arguments, *more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path, [line(text, text=text) for text in texts(400)])


def write_policy(tmp_path, roles, **more):
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"backends: [{PEER}]\nroles:\n{roles}" + "".join(
        f"{key}: {value}\n" for key, value in more.items()))
    return policy


def test_it_reports_and_writes_only_what_is_asked_for(tmp_path, log):
    before = sorted(tmp_path.iterdir())
    code, said, _ = train("--data", EXAMPLES, "--log", log, parts=None)
    assert code == 0
    assert sorted(tmp_path.iterdir()) == before
    first, verdict, *roles = said.splitlines()
    assert first.startswith("400 queries in the log, 3")
    assert "cross-validated in 5 parts, 260 examples: " in verdict and " gained, " in verdict
    assert len(roles) == 13 and all("20 examples" in role for role in roles)


def test_what_was_labelled_can_be_named_by_a_policy(tmp_path, log):
    rows, model = tmp_path / "rows.jsonl", tmp_path / "model"
    code, said, _ = train("--data", EXAMPLES, "--log", log, "--log", log, "--rows", rows,
                          "--out", model)
    assert code == 0 and said.startswith("800 queries in the log, 3")
    labelled = [json.loads(row) for row in rows.read_text().splitlines()]
    assert 150 < len(labelled) <= 250  # 60 % at most
    assert f"{rows}: {len(labelled)} rows" in said
    asked = {json.loads(row)["text"]: json.loads(row)["label"]
             for row in QUERIES.read_text().splitlines()}
    right = sum(asked[row["text"]] == row["label"] for row in labelled)
    assert right / len(labelled) > 0.85
    assert run("policy", "classify", "--model", model, "--data", rows).returncode == 0
    names = sorted({row["label"] for row in labelled})
    roles = "".join(f"  {name}: {{ examples_file: {rows} }}\n" for name in names)
    assert run("check", write_policy(tmp_path, roles)).returncode == 0


def test_a_policy_begins_with_its_own_examples(tmp_path, log):
    """Its keywords have their say first, and roles without examples have nothing to begin with."""
    names = sorted({json.loads(row)["label"] for row in EXAMPLES.read_text().splitlines()})
    roles = "".join(f"  {name}: {{ examples_file: {EXAMPLES} }}\n" for name in names)
    policy = write_policy(tmp_path, roles + "  trading: { keywords: [please] }\n")
    rows = tmp_path / "rows.jsonl"
    code, said, _ = train("-c", policy, "--log", log, "--rows", rows)
    assert code == 0 and " decided by keywords" in said.splitlines()[0]
    assert "please" not in rows.read_text().split() and "trading" not in rows.read_text()

    few = write_policy(tmp_path, '  a: { examples: [one, two] }\n  b: { keywords: [x] }\n')
    code, said, why = train("-c", few, "--log", log)
    assert (code, said) == (1, "") and "fewer than two roles have 5 examples" in why


def test_features_are_enough_to_learn_but_not_to_write_rows(hatchway, backend, tmp_path):
    log, rows, model = (tmp_path / name for name in ("d.jsonl", "rows", "model"))
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("ok")))],
                       decisions={"file": str(log), "text": "features"})
    for text in texts(40):
        assert ask(gateway, text).status == 200
    until(lambda: log.exists() and len(log.read_text().splitlines()) >= 40, what="40 decisions")
    assert '"text"' not in log.read_text()
    code, said, why = train("--data", EXAMPLES, "--log", log, "--rows", rows)
    assert code == 1 and "decisions: { text: full }" in why and not rows.exists()
    code, said, _ = train("--data", EXAMPLES, "--log", log, "--out", model)
    assert code == 0 and said.startswith("40 queries in the log, ") and model.exists()


@pytest.mark.parametrize("lines, complaint", [
    ([line("how are you", role="trading")], "neither text nor features"),
    ([], "is `decisions` on?"),
    (["{}"], ":1: "),
    ([json.dumps({"text": "a row", "label": "x"})], "decision log"),
])
def test_a_log_that_teaches_nothing(tmp_path, lines, complaint):
    out = tmp_path / "model"
    code, said, why = train("--data", EXAMPLES, "--log", write_log(tmp_path, lines), "--out", out)
    assert (code, said) == (1, "") and complaint in why and not out.exists()


def test_lines_that_are_none_are_told_and_passed_over(tmp_path):
    lines = [line(text, text=text) for text in texts(20)]
    log = write_log(tmp_path, ["no json", *lines, '{"v":1', line("x")])
    code, said, _ = train("--data", EXAMPLES, "--log", log)
    assert code == 0
    assert "1 without text and features; 2 lines that cannot be read, the first: " in said
    assert f"{log}:1: " in said


@pytest.mark.parametrize("arguments", [
    ["--log", "x"], ["--data", "x", "-c", "y", "--log", "z"], ["-c", "x", "--out", "y"],
    ["--data", "x", "--out", "y", "--rows", "z"], ["--data", "x", "--log", "y", "--difficulty"],
    ["--data", "x", "--log", "y", "--share", "0%"], ["--data", "x", "--log", "y", "--share", "5"],
    ["--data", "x", "--log", "y", "--confidence", "100%"],
])
def test_usage(arguments):
    code, said, why = train(*arguments)
    assert (code, said) == (2, "") and why
