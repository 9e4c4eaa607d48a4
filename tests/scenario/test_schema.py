"""The JSON Schema that editors check a configuration by: the tables' own, and of one mind with `check`."""
import json
import pathlib

import pytest
import yaml

from harness.gateway import ROOT, TINY_MODEL, run

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = ROOT / "config" / "hatchway.schema.json"
SHIPPED = sorted(file for file in (ROOT / "config").glob("*.yaml")
                 if not file.name.endswith(".test.yaml"))  # those are expectations
BACKENDS = "backends: [{name: a, kind: ollama, url: 'http://127.0.0.1:1', models: [m], general: true}]\n"


class Loader(yaml.SafeLoader):
    """Words that YAML 1.1 takes for more than words are words to Hatchway."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", __import__("re").compile("^(true|false)$"), "tf")


def validator():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def mistakes(text):
    return [f"{list(e.absolute_path)}: {e.message}" for e in
            validator().iter_errors(yaml.load(text, Loader))]


def check(tmp_path, text):
    file = tmp_path / "t.yaml"
    file.write_text(text)
    return run("check", file)


def test_the_committed_schema_is_the_programs_own():
    """After a change of keys: hatchway check --schema > config/hatchway.schema.json"""
    assert run("check", "--schema").stdout.decode() == SCHEMA.read_text()


@pytest.mark.parametrize("file", SHIPPED, ids=[file.name for file in SHIPPED])
def test_what_is_shipped_is_valid_and_says_where_its_schema_is(file):
    text = file.read_text()

    assert mistakes(text) == []
    assert text.startswith("# yaml-language-server: $schema=hatchway.schema.json\n")


VALID = [
    BACKENDS,
    BACKENDS + "listen: 127.0.0.1:0\nloops: 2\ndrain: 0\nwatch: off\ncache: {memory: 1024, ttl: 30 s}\n",
    BACKENDS + "roles: {x: , y: {keywords: word, examples: [a, 42, 1.5, true]}}\naliases: {gpt: x, o: auto}\n",
    BACKENDS + "agents: [{name: x, key: 'sha256:%s', lane: realtime, label: true}]\n" % ("0" * 64),
    BACKENDS + "roles: {x: }\nroutes:\n- {name: r, when: {role: x, prompt_tokens: 7}, to: {role: same, by: cost}}\n"
               "- {name: s, when: {any: [{tools: true}, {not: {days: [sat, sun], hours: 22-06}}]}, lane: background}\n"
               "- {name: t, when: {header: {x-team: [a, b], x-any: '*'}, regex: '^a'}, fallback: {device: cpu}}\n"
               "- {name: u, when: {all: {prompt_tokens: '>8192', model: [a, b]}}, cache: none, strict: true, overflow: wait}\n"
               "- {name: v}\n",
    f"backends:\n- {{name: a, kind: bdh, model: '{TINY_MODEL}', workers: 2, quality: -1, cost: 0.5, general: yes}}\n",
    f"backends:\n- {{name: a, kind: bdh, model: '${{HATCHWAY_T_MODEL}}', workers: '${{HATCHWAY_T_COUNT}}', general: yes}}\n",
]


@pytest.mark.parametrize("text", VALID, ids=range(len(VALID)))
def test_what_can_be_served_is_valid(tmp_path, text):
    file = tmp_path / "t.yaml"
    file.write_text(text)
    done = run("check", file, env={"HATCHWAY_T_MODEL": TINY_MODEL, "HATCHWAY_T_COUNT": "2"})

    assert done.returncode == 0, done.stderr.decode()
    assert mistakes(text) == []


INVALID = [
    "bakends: []\n", "- a\n", "backends: {a: b}\n", "backends: [{kind: bdh}]\n",
    "backends: [{name: a, kind: olama}]\n",
    BACKENDS + "cache: {size: 1}\n", BACKENDS + "cache: {keep: al}\n", BACKENDS + "cache: true\n",
    BACKENDS + "cache: {memory: big}\n", BACKENDS + "cache: {redis: 'http://127.0.0.1'}\n",
    BACKENDS + "loops: [1]\n", BACKENDS + "loops: -1\n", BACKENDS + "loops: 257\n", BACKENDS + "loops: 1.5\n",
    BACKENDS + "drain: 30\n", BACKENDS + "drain:\n", BACKENDS + "drain: 3 weeks\n", BACKENDS + "watch: maybe\n",
    BACKENDS + "listen: 8080\n", BACKENDS + "worker_dir: tmp\n", BACKENDS + "admin_key: letmein\n",
    BACKENDS + "watts: {gpu: 1}\n", BACKENDS + "roles: {x: {keyword: a}}\n", BACKENDS + "roles: [x]\n",
    BACKENDS + "agents: [{name: x}]\n", BACKENDS + "agents: [{name: 'x y', key: k}]\n",
    BACKENDS + "routes: [{to: {}}]\n", BACKENDS + "routes: [{name: r, to: {by: speed}}]\n",
    BACKENDS + "routes: [{name: r, to: {device: gpu}}]\n", BACKENDS + "routes: [{name: r, wen: {}}]\n",
    BACKENDS + "routes: [{name: r, when: {prompt_tokens: many}}]\n",
    BACKENDS + "routes: [{name: r, when: {dialect: opnai}}]\n",
    BACKENDS + "routes: [{name: r, when: {days: monday}}]\n", BACKENDS + "routes: [{name: r, when: {tools: 2}}]\n",
    BACKENDS + "routes: [{name: r, when: {any: [{lane: fast}]}}]\n",
    BACKENDS + "routes: [{name: r, when: {not: {any: {keywrd: x}}}}]\n",
    BACKENDS + "devices: {g: {class: cuda, shares: [a]}}\n", BACKENDS + "routes: [{name: r, overflow: stay}]\n", BACKENDS + "routes: [{name: r, strict: 1}]\n", BACKENDS + "classifier: {abstain: 2}\n",
    BACKENDS + "devices: {g: {memory: 12GiB}}\n", BACKENDS + "timeouts: {connect: 1x}\n",
    BACKENDS.replace("http:", "ftp:"), BACKENDS.replace("models: [m]", "lanes: [fast]"),
    BACKENDS.replace("models: [m]", "lanes: {fast: any}"), BACKENDS.replace("models: [m]", "models: {a: b}"),
    BACKENDS.replace("models: [m]", "cost: -1"), BACKENDS.replace("models: [m]", "weight: 10001"),
]


def test_mistakes_are_mistakes_to_both(tmp_path):
    for text in INVALID:
        assert check(tmp_path, text).returncode == 1, text
        assert mistakes(text), text
