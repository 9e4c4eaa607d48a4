"""Every dialect to every protocol with every feature: the same on both sides, or the loss is named."""
from generator import make_cases, make_table_cases
from harness.gateway import ROOT
from judge import Match
from table import page

SEED = 1
CASES = 3000
CASES_SANITIZED = 1000


def test_the_table_is_what_happens(hatchway, backend, write_tables):
    match = Match(hatchway, backend)
    cases = list(make_table_cases())

    match.play_all(case for _, _, case in cases)

    assert not match.faults, "\n\n".join(match.faults)
    text = page([(*each, match.results[each[2].id]) for each in cases])
    file = ROOT / "docs" / "compatibility.md"
    if write_tables:
        file.write_text(text)
    assert file.read_text() == text, "docs/compatibility.md is out of date: see its head"


def test_thousands_at_random(hatchway, backend, sanitized):
    match = Match(hatchway, backend)

    match.play_all(make_cases(SEED, CASES_SANITIZED if sanitized else CASES))

    assert not match.faults, "\n\n".join(match.faults)
