"""Sums JUnit files into the one line that ./test ends with. count.py FOLDER

Exit status 1 when a test failed or a run left no results (a crash before its end must not pass)."""
import pathlib
import sys
import xml.etree.ElementTree as ET

RUNS = ["ctest-release", "ctest-asan", "ctest-tsan", "ctest-arm64", "pytest-release",
        "pytest-asan"]


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        return "skipped"
    return "passed"


def main(folder):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    complete = True
    for run in RUNS:
        path = pathlib.Path(folder, run + ".xml")
        try:
            cases = list(ET.parse(path).iter("testcase"))
        except (OSError, ET.ParseError) as error:
            print(f"{run}: no results ({error})")
            complete = False
            continue
        for case in cases:
            result = outcome(case)
            counts[result] += 1
            if result == "failed":
                print(f"failed in {run}: {case.get('classname')} {case.get('name')}")
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    return 0 if complete and counts["failed"] == 0 and counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
