"""The corpus of the shipped model: well formed, and nothing in it that would teach two answers.

A 3M-parameter model on bytes keeps apart what differs in a key word; questions of two rows that
differ by a letter would be noise to it, so they are refused here.
"""
import json
import os
import re

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "models", "hatchling",
                      "corpus.jsonl")
KEYS = ["id", "topic", "questions", "held_out", "answer"]
MIN_ROWS = 300


def rows():
    with open(CORPUS, encoding="ascii") as f:
        return [json.loads(line) for line in f]


def plain(question):
    """What is left of a question when case and punctuation are taken away."""
    return " ".join(re.findall(r"[a-z0-9]+", question.lower()))


def phrasings(row):
    return row["questions"] + row["held_out"]


def numbers(text):
    return re.findall(r"[0-9]+", text)


def distance_at_most(a, b, limit):
    """Is the edit distance of a and b at most limit?"""
    if abs(len(a) - len(b)) > limit:
        return False
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        for j, y in enumerate(b, 1):
            current.append(min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (x != y)))
        if min(current) > limit:
            return False
        previous = current
    return previous[-1] <= limit


def test_rows_are_well_formed():
    corpus = rows()
    assert len(corpus) >= MIN_ROWS
    assert len({row["id"] for row in corpus}) == len(corpus)
    for row in corpus:
        assert list(row) == KEYS, row
        assert re.fullmatch(r"[a-z0-9-]+", row["id"]), row
        assert 3 <= len(row["questions"]) <= 6, row
        assert 1 <= len(row["held_out"]) <= 2, row
        assert 30 <= len(row["answer"]) <= 140, row
        for text in phrasings(row) + [row["answer"]]:
            assert text == text.strip() and text.isprintable() and text.isascii(), row
        assert all(2 <= len(question) <= 90 for question in phrasings(row)), row
        assert row["answer"].endswith((".", "!", "?")), row


def test_the_question_of_the_readme_comes_first():
    assert rows()[0]["questions"][0] == "What is Hatchway?"


def test_no_two_rows_share_an_answer():
    answers = [row["answer"] for row in rows()]
    assert len(set(answers)) == len(answers)


def test_held_out_phrasings_are_not_trained():
    trained = {plain(question) for row in rows() for question in row["questions"]}
    assert [q for row in rows() for q in row["held_out"] if plain(q) in trained] == []


def test_no_question_is_close_to_another_rows():
    asked = [(plain(q), row["id"]) for row in rows() for q in phrasings(row)]
    asked.sort(key=lambda item: len(item[0]))
    close = []
    for i, (text, row_id) in enumerate(asked):
        for other, other_id in asked[i + 1:]:
            if len(other) > len(text) + 1:
                break
            if row_id == other_id or numbers(text) != numbers(other):
                continue
            # Short greetings differ by little and mean it, as numbers do (404, 405).
            if distance_at_most(text, other, 1 if len(text) >= 12 else 0):
                close.append((text, row_id, other, other_id))
    assert close == []
