#!/usr/bin/env python3
"""The load in a decision log (docs/decision-log.md), as `bench/simulate --load` reads it.

    bench/load_of_log.py decisions.jsonl > load.txt

A line a query that a backend answered: milliseconds since the first, bytes of prompt, bytes of
answer. Cache hits and what failed cost no backend its time, and are left out.
"""
import datetime
import json
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = []
    with open(sys.argv[1], encoding="utf-8") as log:
        for number, line in enumerate(log, 1):
            try:
                row = json.loads(line)
                output = row.get("outcome", {}).get("output_bytes", 0)
                if output == 0 or row.get("decision", {}).get("cache") == "hit":
                    continue
                time = datetime.datetime.fromisoformat(row["time"].replace("Z", "+00:00"))
                rows.append((time, row["traits"].get("prompt_bytes", 0), output))
            except (ValueError, KeyError, AttributeError) as wrong:
                sys.exit(f"load_of_log: {sys.argv[1]}:{number}: no line of a decision log: {wrong!r}")
    if not rows:
        sys.exit(f"load_of_log: {sys.argv[1]}: no query in it was answered by a backend")
    rows.sort()
    for time, prompt, output in rows:
        print(f"{(time - rows[0][0]).total_seconds() * 1000:.0f} {prompt} {output}")


if __name__ == "__main__":
    main()
