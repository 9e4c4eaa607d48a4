"""`hatchway policy` and what is learned from a policy's examples."""
import json

import pytest

from harness.gateway import ROOT, run

DATA = ROOT / "bench/data/classify"
PEER = '{ name: peer, kind: openai, url: "http://127.0.0.1:9", models: [small], general: true }'


def rows(name):
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "roles"
    done = run("policy", "train", "--data", DATA / "hwu64_role.train20.jsonl", "--out", path,
               "--cross-validate", "3")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "cross-validated in 3 parts, 260 rows: accuracy" in said
    assert "13 labels from 260 examples" in said
    return path


def test_a_line_a_row_in_order(model):
    done = run("policy", "classify", "--model", model, "--data", DATA / "hwu64_role.test.jsonl")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    tried = rows("hwu64_role.test.jsonl")
    assert len(lines) == len(tried)
    labels = {row["label"] for row in tried} - {"oos"}
    right = 0
    for fields, row in zip(lines, tried):
        assert 0 <= float(fields[1]) <= 1
        assert len(fields) == (3 if fields[0] == "-" else 2)
        assert (fields[2] if fields[0] == "-" else fields[0]) in labels
        right += fields[0] == row["label"]
    assert right / sum(row["label"] != "oos" for row in tried) > 0.79
    assert any(fields[0] == "-" for fields in lines)


def test_the_same_rows_give_the_same_model(model, tmp_path):
    again = tmp_path / "again"
    run("policy", "train", "--data", DATA / "hwu64_role.train20.jsonl", "--out", again)
    assert again.read_bytes() == model.read_bytes()


@pytest.mark.parametrize("text, complaint", [
    ('{"text": "a"}\n', ":1: this row has no label"),
    ('{"text": "a", "label": "x"}\n{"text": 1}\n', ":2: expected"),
    ('{"text": "a", "label": "-"}\n', "no row has a label"),
    ('{"text": "a", "label": "a\\tb"}\n', "no control characters"),
    ("", "no row has a label"),
])
def test_rows_that_teach_nothing(tmp_path, text, complaint):
    data, out = tmp_path / "rows.jsonl", tmp_path / "model"
    data.write_text(text)
    done = run("policy", "train", "--data", data, "--out", out)
    assert done.returncode == 1
    assert complaint in done.stderr.decode()
    assert not out.exists()


def test_a_file_that_is_no_model(tmp_path, model):
    cut = tmp_path / "cut"
    cut.write_bytes(model.read_bytes()[:5000])
    for path in cut, DATA / "README.md", tmp_path / "nowhere":
        done = run("policy", "classify", "--model", path, "--data", DATA / "hwu64_role.test.jsonl")
        assert done.returncode == 1
        assert str(path) in done.stderr.decode() and done.stdout == b""


@pytest.mark.parametrize("arguments", [
    [], ["learn"], ["train"], ["train", "--data", "x"], ["classify", "--data", "x"],
    ["train", "--data", "x", "--out", "y", "--cross-validate", "1"],
    ["train", "--data", "x", "--out", "y", "--abstain", "2"],
    ["train", "--data", "x", "--out", "y", "--seed", "nan"],
    ["train", "--data", "x", "--out", "y", "more"],
])
def test_usage(arguments):
    done = run("policy", *arguments)
    assert done.returncode == 2
    assert done.stderr


def test_route_tells_the_words(tmp_path):
    """Roles without a keyword, taught by one file of examples."""
    names = sorted({row["label"] for row in rows("hwu64_role.train20.jsonl")})
    policy = tmp_path / "policy.yaml"
    roles = "".join(f"  {name}: {{ examples_file: {DATA}/hwu64_role.train20.jsonl }}\n"
                    for name in names)
    policy.write_text(f"backends: [{PEER}]\nroles:\n{roles}")
    query = "please set an alarm for seven tomorrow"
    said = json.loads(run("route", "-c", policy, "--json", query).stdout)
    assert (said["role"], said["role_source"]) == ("alarm", "learned")
    assert said["confidence"] > 0.5
    assert "alarm" in said["words"].split(", ")
    assert "role     alarm (by learned: " in run("route", "-c", policy, query).stdout.decode()
    policy.write_text(policy.read_text() + "classifier: { learned: false }\n")
    said = json.loads(run("route", "-c", policy, "--json", query).stdout)
    assert (said["role"], said["words"]) == ("none", "")


def test_difficulty_is_learned_and_routed(tmp_path):
    """Half of the recorded queries were too hard for the weak model: they all ask for a proof."""
    outcomes, policy = tmp_path / "outcomes.jsonl", tmp_path / "policy.yaml"
    outcomes.write_text("".join(
        json.dumps({"text": f"prove lemma {i} of the theory" if i % 2 else f"say hello {i} times",
                    "weak": 1 - i % 2, "strong": 1}) + "\n" for i in range(100)))
    policy.write_text(f"""backends: [{PEER}]
difficulty: {{ examples_file: outcomes.jsonl, strong_share: 55% }}
routes: [{{ name: hard, when: {{ difficult: true }}, to: {{ by: latency }} }},
         {{ name: easy, to: {{ by: latency }} }}]
""")
    said = json.loads(run("route", "-c", policy, "--json", "prove lemma 4 of the theory").stdout)
    assert (said["route"], said["difficult"]) == ("hard", True) and said["difficulty"] > 0.4
    said = run("route", "-c", policy, "say hello 4 times").stdout.decode()
    assert "difficult no: " in said and "route    easy" in said
    assert "not hard: difficult is false, wants true (" in said
    done = run("policy", "train", "--difficulty", "--data", outcomes, "--try", outcomes)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "cross-validated, 100 rows: weak 50.0 % right, strong 100.0 %" in said
    assert "   50 % to the strong model: 100.0 % right, 100 % of what it can gain" in said
    outcomes.write_text("".join(outcomes.read_text().splitlines(True)[:9]) + '{"text": "a"}\n')
    done = run("policy", "train", "--difficulty", "--data", outcomes)
    assert done.returncode == 1
    assert 'outcomes.jsonl:10: this row has no "weak" and "strong"' in done.stderr.decode()
    for arguments in (["--difficulty"], ["--difficulty", "--data", outcomes, "--out", "x"]):
        assert run("policy", "train", *arguments).returncode == 2
