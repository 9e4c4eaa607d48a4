"""`hatchway check` warns of roles that are taught too little, or the same as another."""
import json

import pytest

from harness.gateway import ROOT, run

PEER = '{ name: peer, kind: openai, url: "http://127.0.0.1:9", models: [small], general: true }'
ROWS = [json.loads(line) for line in
        (ROOT / "bench/data/classify/hwu64_role.train20.jsonl").read_text().splitlines()]


def texts(label):
    return [row["text"] for row in ROWS if row["label"] == label]


def warnings(tmp_path, roles, more=""):
    policy = tmp_path / "policy.yaml"
    lines = "".join(f"  {name}: {json.dumps(role)}\n" for name, role in roles.items())
    policy.write_text(f"backends: [{PEER}]\nroles:\n{lines}{more}")
    done = run("check", policy)
    assert done.returncode == 0, done.stderr
    return done.stderr.decode().replace(str(policy), "P").splitlines()


def test_too_few_to_be_learned(tmp_path):
    few, = warnings(tmp_path, {"alarm": {"examples": texts("alarm")[:3]},
                               "news": {"keywords": ["news"]},
                               "email": {"examples": texts("email")[:5]}})
    assert few.startswith("hatchway: P:3:3: warning: roles.alarm: 3 examples teach nothing: a role "
                          "is learned from 5 on")
    assert warnings(tmp_path, {"alarm": {"examples": texts("alarm")[:3]}},
                    "classifier: { learned: false }\n") == []


def test_an_example_in_two_roles(tmp_path):
    alarm, email = texts("alarm"), texts("email")
    twice, = warnings(tmp_path, {"alarm": {"examples": alarm},
                                 "email": {"examples": email + [alarm[0].upper(), email[0]]}})
    assert twice == (f"hatchway: P:4:3: warning: roles.email: its example '{alarm[0].upper()}' is "
                     "one of 'alarm' as well: a query has one role, give it to that one")
    many = warnings(tmp_path, {"alarm": {"examples": alarm[:20]}, "copy": {"examples": alarm[:20]}})
    assert sum("is one of 'alarm' as well" in line for line in many) == 10
    assert any("10 more examples stand in two roles" in line for line in many)


def test_roles_that_are_taken_for_each_other(tmp_path):
    """Nothing tells one half of a role's examples from the other."""
    email, alarm = texts("email"), texts("alarm")
    roles = {"mail": {"examples": email[::2]}, "post": {"examples": email[1::2]},
             "alarm": {"examples": alarm}}
    found = warnings(tmp_path, roles)
    assert any("warning: roles.mail: of 10 examples without a keyword" in line
               and "were taken for 'post'" in line for line in found)
    assert not any("roles.alarm" in line for line in found)


@pytest.mark.parametrize("name", ["fleet.yaml", "hatchway.yaml"])
def test_the_shipped_policies_need_no_warning(name):
    assert run("check", ROOT / "config" / name).stderr == b""
