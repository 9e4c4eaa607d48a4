#!/usr/bin/env python3
"""A decision log becomes a load that the simulator runs; what is wrong with either is said."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

CONVERTER = pathlib.Path(__file__).parent / "load_of_log.py"
SIMULATE = os.environ["SIMULATE"]


def line(second, output, cache="miss"):
    return json.dumps({"v": 1, "time": f"2026-08-01T12:{second // 60:02}:{second % 60:02}.250Z",
                       "traits": {"prompt_bytes": 200}, "decision": {"cache": cache},
                       "outcome": {"status": 200, "output_bytes": output}})


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main():
    folder = pathlib.Path(tempfile.mkdtemp())
    log, load = folder / "decisions.jsonl", folder / "load.txt"

    log.write_text("\n".join([line(0, 90, "hit"), *(line(i, 100) for i in range(200)), line(7, 0)]))
    made = run(sys.executable, CONVERTER, log)
    rows = made.stdout.splitlines()
    assert made.returncode == 0 and len(rows) == 200, made
    assert rows[0] == "0 200 100" and rows[-1] == "199000 200 100", rows
    load.write_text(made.stdout)
    done = run(SIMULATE, "--load", load)
    assert done.returncode == 0 and "| recorded | " in done.stdout and "grows" not in done.stdout, done

    log.write_text("not json")
    broken = run(sys.executable, CONVERTER, log)
    assert broken.returncode == 1 and "decisions.jsonl:1:" in broken.stderr, broken
    load.write_text("0 200 100\n5 x 100\n")
    broken = run(SIMULATE, "--load", load)
    assert broken.returncode == 1 and "load.txt:2:" in broken.stderr, broken


if __name__ == "__main__":
    main()
