#!/usr/bin/env python3
"""How well the learned classifier tells queries apart, on public sets that lie beside it.

    bench/classify.py [--binary build/release/hatchway] [--table] [--self-training] [--timing]

Trains with `hatchway policy train`, tries with `hatchway policy classify`, and prints Markdown
tables: accuracy, what the threshold keeps and refuses, the area under the ROC curve of the
confidence against texts of no role. --table adds the accuracy by examples per role (five draws
each), --self-training what 3,000 logged queries without labels add to that, --timing what a
classification costs. Downloads nothing: see data/classify/README.md.
"""
import argparse
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "bench/data/classify"
OUT_OF_SCOPE = "oos"


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def run(binary, *arguments):
    done = subprocess.run([binary, "policy", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"hatchway policy {' '.join(map(str, arguments))}: {done.stderr}")
    return done


def area(inside, outside):
    """Chance that a text of a role has a higher confidence than one of none; ties count half."""
    ranked = sorted([(value, 1) for value in inside] + [(value, 0) for value in outside])
    ranks, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        mean_rank = (at + end + 1) / 2
        ranks += mean_rank * sum(is_in for _, is_in in ranked[at:end])
        at = end
    n, m = len(inside), len(outside)
    return (ranks - n * (n + 1) / 2) / (n * m)


class Result:
    """What classify printed, beside what the rows say."""

    def __init__(self, output, tried):
        inside, outside, right, kept, refused = [], [], 0, 0, 0
        for line, row in zip(output.splitlines(), tried, strict=True):
            fields = line.split("\t")
            nearest = fields[2] if fields[0] == "-" else fields[0]
            if row["label"] == OUT_OF_SCOPE:
                outside.append(float(fields[1]))
                refused += fields[0] == "-"
            else:
                inside.append(float(fields[1]))
                right += nearest == row["label"]
                kept += fields[0] == row["label"]
        self.accuracy = 100 * right / len(inside)
        self.kept = 100 * kept / len(inside)
        self.refused = 100 * refused / len(outside) if outside else None
        self.auroc = 100 * area(inside, outside) if outside else None


def measure(binary, train, test, *, abstain="2%", timing=False):
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "model"
        trained = run(binary, "train", "--data", train, "--out", model, "--abstain", abstain)
        extra = ["--timing"] if timing else []
        tried = run(binary, "classify", "--model", model, "--data", test, *extra)
    result = Result(tried.stdout, rows(test))
    result.seconds = float(re.search(r"in ([0-9.]+) s", trained.stdout).group(1))
    result.timing = tried.stderr.splitlines()[-1] if timing else ""
    return result


def shown(value):
    return "" if value is None else f"{value:.1f}"


def print_sets(binary, timing):
    print("| examples | accuracy | AUROC | kept right, 2 % | refused, 2 % | kept right, 5 % "
          "| refused, 5 % | learned in |")
    print("|---|---|---|---|---|---|---|---|")
    costs = []
    for name, train, test in [
            ("64 intents, all (8,960)", "hwu64_intent.train", "hwu64_intent.test"),
            ("64 intents, 10 each", "hwu64_intent.train10", "hwu64_intent.test"),
            ("13 roles, all (7,321)", "hwu64_role.train", "hwu64_role.test"),
            ("13 roles, 20 each", "hwu64_role.train20", "hwu64_role.test")]:
        paths = DATA / f"{train}.jsonl", DATA / f"{test}.jsonl"
        two = measure(binary, *paths, timing=timing)
        five = measure(binary, *paths, abstain="5%")
        print(f"| {name} | {two.accuracy:.1f} | {shown(two.auroc)} | {two.kept:.1f} "
              f"| {shown(two.refused)} | {five.kept:.1f} | {shown(five.refused)} "
              f"| {two.seconds:.2f} s |", flush=True)
        costs.append(f"{name}: {two.timing}")
    if timing:
        print("\n" + "\n".join(costs))


def draw(source, per_label, seed):
    """The first per_label rows of each label, in an order of the dice."""
    shuffled, counts, drawn = source[:], {}, []
    random.Random(seed).shuffle(shuffled)
    for row in shuffled:
        counts[row["label"]] = counts.get(row["label"], 0) + 1
        if counts[row["label"]] <= per_label:
            drawn.append(row)
    return drawn


def print_table(binary, draws):
    print("\n| examples a role | accuracy | AUROC | kept right, 2 % | refused, 2 % |")
    print("|---|---|---|---|---|")
    source = rows(DATA / "hwu64_role.train.jsonl")
    for count in (5, 10, 20, 50, 100, 300):
        results = []
        for seed in range(draws):
            with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
                for row in draw(source, count, seed):
                    file.write(json.dumps(row) + "\n")
                file.flush()
                results.append(measure(binary, file.name, DATA / "hwu64_role.test.jsonl"))
        mean = {key: statistics.mean(getattr(result, key) for result in results)
                for key in ("accuracy", "auroc", "kept", "refused")}
        spread = statistics.stdev(result.accuracy for result in results)
        print(f"| {count} | {mean['accuracy']:.1f} ± {spread:.1f} | {mean['auroc']:.1f} "
              f"| {mean['kept']:.1f} | {mean['refused']:.1f} |", flush=True)


def log_line(text):
    """As the decision log has it, of what learning looks at."""
    return json.dumps({"v": 1, "time": "2026-11-21T09:00:00.000Z", "request_id": "x",
                       "dialect": "openai", "path": "/v1/chat/completions", "traits": {"text": text, "text_bytes": len(text.encode())},
                       "decision": {}, "outcome": {}}) + "\n"


def self_train(binary, examples, logged, test):
    with tempfile.TemporaryDirectory() as folder:
        data, log, model = (pathlib.Path(folder) / name for name in ("data", "log", "model"))
        data.write_text("".join(json.dumps(row) + "\n" for row in examples))
        log.write_text("".join(map(log_line, logged)))
        run(binary, "train", "--data", data, "--log", log, "--out", model)
        tried = run(binary, "classify", "--model", model, "--data", test)
        return measure(binary, data, test), Result(tried.stdout, rows(test))


def print_self_training(binary, draws, queries=3000):
    """The log: queries of the roles, and the same with texts of no role among them."""
    print(f"\n| examples a role | accuracy | with {queries:,} queries | refused, 2 % "
          "| and texts of no role | refused, 2 % |")
    print("|---|---|---|---|---|---|")
    source, test = rows(DATA / "hwu64_role.train.jsonl"), DATA / "hwu64_role.test.jsonl"
    foreign = [row["text"] for row in rows(DATA / "hwu64_role.val.jsonl")
               if row["label"] == OUT_OF_SCOPE]
    for count in (5, 10, 20, 50, 100):
        results = []
        for seed in range(draws):
            examples = draw(source, count, seed)
            taken = {row["text"] for row in examples}
            others = [row["text"] for row in source if row["text"] not in taken]
            random.Random(seed).shuffle(others)
            before, clean = self_train(binary, examples, others[:queries], test)
            _, mixed = self_train(binary, examples, others[:queries] + foreign, test)
            results.append((before, clean, mixed))
        accuracy = [f"{statistics.mean(one.accuracy for one in column):.1f} ± "
                    f"{statistics.stdev(one.accuracy for one in column):.1f}"
                    for column in zip(*results)]
        refused = [shown(statistics.mean(one.refused for one in column))
                   for column in zip(*results)]
        print(f"| {count} | {accuracy[0]} | {accuracy[1]} | {refused[1]} | {accuracy[2]} "
              f"| {refused[2]} |", flush=True)
    print(f"\n{len(foreign)} texts of no role.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=ROOT / "build/release/hatchway")
    parser.add_argument("--table", action="store_true", help="accuracy by examples per role")
    parser.add_argument("--self-training", action="store_true",
                        help="what queries without labels add")
    parser.add_argument("--timing", action="store_true", help="what a classification costs")
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    print_sets(options.binary, options.timing)
    if options.table:
        print_table(options.binary, options.draws)
    if options.self_training:
        print_self_training(options.binary, options.draws)


if __name__ == "__main__":
    main()
