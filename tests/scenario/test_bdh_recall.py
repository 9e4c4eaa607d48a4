"""`hatchway bdh recall`: what the shipped model knows of its corpus, alone and in a conversation."""
import json
import pathlib
import re

from harness.gateway import HATCHLING, run

CORPUS = pathlib.Path(HATCHLING).parent / "hatchling" / "corpus.jsonl"


def some_rows(folder, step):
    rows = CORPUS.read_text().splitlines()[::step]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path, [json.loads(row) for row in rows]


def rates(done):
    trained, asked, held_out, asked_out = map(
        int, re.search(rb"trained: (\d+)/(\d+) .*held-out: (\d+)/(\d+)", done.stdout).groups())
    return trained, asked, held_out, asked_out


def test_the_shipped_model_knows_its_corpus_by_heart(tmp_path):
    path, rows = some_rows(tmp_path, 9)

    done = run("bdh", "recall", HATCHLING, "--data", path)

    trained, asked, held_out, asked_out = rates(done)
    assert done.returncode == 0
    assert asked == sum(len(row["questions"]) for row in rows)
    assert trained >= 0.98 * asked
    assert held_out >= 0.6 * asked_out


def test_and_in_a_long_conversation_too(tmp_path):
    path, _ = some_rows(tmp_path, 19)

    done = run("bdh", "recall", HATCHLING, "--data", path, "--before", "4", "--min-trained", "75")

    assert done.returncode == 0, done.stdout
    assert run("bdh", "recall", HATCHLING, "--data", path, "--before", "4", "--min-trained",
               "100").returncode == 1


def test_recall_refuses_what_it_cannot_ask():
    assert run("bdh", "recall", HATCHLING).returncode == 2
    assert run("bdh", "recall", HATCHLING, "--data", CORPUS, "--before", "65").returncode == 2
    missing = run("bdh", "recall", HATCHLING, "--data", "/nowhere.jsonl")
    assert missing.returncode == 1
    assert b"/nowhere.jsonl" in missing.stderr
