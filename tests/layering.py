#!/usr/bin/env python3
"""Who includes whom: refuses an #include that runs up the house (ARCHITECTURE.md), and anything in
policies/ that would do I/O, read a clock or draw a random number.

    tests/layering.py [ROOT]      exit 0: in order; 1: each offence on a line of its own
"""
import pathlib
import re
import sys

# A folder may include itself and what is named here; "hatchway/" (include/hatchway) always.
MAY_KNOW = {
    "config": [],
    "engine": [],
    "cache": [],
    "policies": ["config/"],
    "router": ["policies/", "cache/", "config/", "engine/frame.h"],
}
ANYTHING = {"router/main.c"}  # the composition root

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')

IMPURE_HEADERS = re.compile(
    r"(uv|time|unistd|fcntl|poll|netdb|pthread|threads|signal)\.h|(sys|netinet|arpa|linux)/.*|sodium.*")
IMPURE_CALLS = re.compile(
    r"\b(time|clock|clock_\w+|gettimeofday|timespec_get|rand|random|s?rand48|drand48|getrandom|"
    r"randombytes_\w+|fopen|freopen|open|read|write|printf|fprintf|puts|perror|getenv|socket|"
    r"system|popen|uv_\w+)\s*\(")


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def blank(match):
    """Keeps the lines, so that what is found behind a comment has its right number."""
    return re.sub(r"[^\n]", " ", match.group())


def allowed(path, folder, included):
    if included.startswith("hatchway/") or str(path) in ANYTHING:
        return True
    return any(included.startswith(known) for known in [folder + "/", *MAY_KNOW[folder]])


def offences(root, path):
    folder = path.parts[0]
    text = COMMENT.sub(blank, (root / path).read_text(encoding="utf-8"))
    for match in INCLUDE.finditer(text):
        included, line = match.group(2), line_of(text, match.start(2))
        if match.group(1) == '"' and not allowed(path, folder, included):
            known = ", ".join([folder + "/", *MAY_KNOW[folder], "hatchway/"])
            yield f'{path}:{line}: may not include "{included}"; {folder} knows {known}'
        if match.group(1) == "<" and folder == "policies" and IMPURE_HEADERS.fullmatch(included):
            yield f"{path}:{line}: policies is pure, <{included}> is not; hand the value in"
    if folder == "policies":
        for match in IMPURE_CALLS.finditer(STRING.sub(blank, text)):
            yield f"{path}:{line_of(text, match.start())}: policies is pure, {match.group(1)}() is not"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    root = root if len(sys.argv) > 1 else root.parent.parent
    found, files = [], 0
    for folder in MAY_KNOW:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".c", ".h", ".inc"):
                files += 1
                found += offences(root, path.relative_to(root))
    for offence in found:
        print(offence)
    print(f"layering: {files} files, {len(found)} offences")
    return 1 if found or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
