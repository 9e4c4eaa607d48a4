"""`hatchway bdh recall`: what the shipped model knows of its corpus, alone and in a conversation."""
import json
import pathlib
import re

from harness.gateway import HATCHLING, run

CORPUS = pathlib.Path(HATCHLING).parent / "hatchling" / "corpus.jsonl"


def some_rows(folder, step, held_out=1):
    """One trained phrasing of every step-th row. Few do: what breaks the reading breaks all."""
    rows = [json.loads(line) for line in CORPUS.read_text().splitlines()[::step]]
    for row in rows:
        row["questions"] = row["questions"][:1]
        row["held_out"] = row["held_out"][:held_out]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, rows


def without_decay(folder):
    """The shipped model as an engine would run it that knows no decay."""
    path = folder / "undying.safetensors"
    model = pathlib.Path(HATCHLING).read_bytes()
    decay = re.search(rb'"hatchway.decay":"([0-9.]+)"', model).span(1)
    path.write_bytes(model[:decay[0]] + b"0" * (decay[1] - decay[0]) + model[decay[1]:])
    return path


def rates(done):
    trained, asked, held_out, asked_out = map(
        int, re.search(rb"trained: (\d+)/(\d+) .*held-out: (\d+)/(\d+)", done.stdout).groups())
    return trained, asked, held_out, asked_out


def test_the_shipped_model_knows_its_corpus_by_heart(tmp_path):
    path, rows = some_rows(tmp_path, 18)

    done = run("bdh", "recall", HATCHLING, "--data", path)

    trained, asked, held_out, asked_out = rates(done)
    assert done.returncode == 0
    assert (asked, asked_out) == (len(rows), len(rows))
    assert trained >= 0.95 * asked
    assert held_out >= 0.6 * asked_out


def test_and_in_a_long_conversation_too(tmp_path):
    """Measured: 6 of 7 with the decay, none without. That none are right without it says that the
    turns before a question are really there; what stands between turns is test_prompt.c's."""
    path, rows = some_rows(tmp_path, 60, held_out=0)
    asked = ["--data", path, "--before", "3", "--min-trained", "50"]

    done = run("bdh", "recall", HATCHLING, *asked)

    assert done.returncode == 0, done.stdout
    assert rates(done)[1] == len(rows)
    undying = run("bdh", "recall", without_decay(tmp_path), *asked)
    assert undying.returncode == 1, undying.stdout


def test_a_rate_that_is_not_reached_is_an_exit_status(tmp_path):
    path, rows = some_rows(tmp_path, 181)
    rows[0]["answer"] = "Something else."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = 100 * (len(rows) - 1) // len(rows)

    for least, status in (trained, 0), (trained + 1, 1):
        asked = run("bdh", "recall", HATCHLING, "--data", path, "--min-trained", least)
        assert asked.returncode == status, asked.stdout


def test_recall_refuses_what_it_cannot_ask():
    assert run("bdh", "recall", HATCHLING).returncode == 2
    assert run("bdh", "recall", HATCHLING, "--data", CORPUS, "--before", "65").returncode == 2
    missing = run("bdh", "recall", HATCHLING, "--data", "/nowhere.jsonl")
    assert missing.returncode == 1
    assert b"/nowhere.jsonl" in missing.stderr
