"""The command line: what it prints, where its errors go, and how it exits."""
import json
import re
import struct
import subprocess

import pytest

from harness.gateway import BINARY, ROOT, TINY_MODEL, VECTORS, environment, run
from harness.wait import until

META = json.loads((VECTORS / "h3_d20_s002" / "meta.json").read_text())
PEER = '{ name: peer, kind: openai, url: "http://127.0.0.1:9", models: [small], general: true }'


def write(folder, text):
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def check(folder, text, **options):
    path = write(folder, text)
    done = run("check", path, **options)
    return path, done.returncode, done.stderr.decode() + done.stdout.decode()


def test_help():
    shown = run("help")
    assert shown.returncode == 0
    for word in "serve", "check", "route", "worker", "bdh":
        assert word in shown.stdout.decode()
        assert run(word, "--help").returncode == 0, word
    for word in "inspect", "generate", "logits", "train":
        assert run("bdh", word, "--help").returncode == 0, word
    assert run("--help").returncode == 0


@pytest.mark.parametrize("arguments", [[], ["sreve"], ["check"], ["route"], ["serve", "--nonsense"],
                                       ["bdh"], ["bdh", "sing"], ["bdh", "inspect"], ["worker"],
                                       ["bdh", "generate", TINY_MODEL, "--max-tokens", "many"]])
def test_usage_errors_exit_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(b"hatchway") or b"usage" in done.stderr
    assert not done.stdout


def test_check_says_what_it_lacks():
    for arguments, said in [((), b"which FILE?"), (("a", "b"), b"b: one FILE is needed"),
                            (("--colour",), b"--colour: one FILE is needed")]:
        done = run("check", *arguments)
        assert done.returncode == 2 and said in done.stderr.splitlines()[0]


def test_check_is_content_with_the_shipped_configurations():
    files = [ROOT / "config" / "fleet.yaml"]
    if (ROOT / "models" / "hatchling.safetensors").exists():
        files.append(ROOT / "config" / "hatchway.yaml")
    for file in files:
        done = run("check", file)
        assert done.returncode == 0, done


def test_check_names_the_place_and_the_right_word(tmp_path):
    path, status, said = check(tmp_path, f"bakends:\n  - {PEER}\nroutes:\n  - {{ name: a, to: {{ kind: olama }} }}\n")

    assert status == 1
    assert f"hatchway: {path}:1:1: " in said and "backends" in said
    assert f"{path}:4:" in said and "ollama" in said


@pytest.mark.parametrize("line,place,words", [
    ("listen: 127.0.0.1", "2:9", ["127.0.0.1:8080"]),
    ("cache: { ttl: 5 parsecs }", "2:15", ["30s"]),
    ("cache: { memory: many }", "2:18", ["MiB"]),
    ("limits: { body: 64KiB, bdoy: 1 }", "2:24", ["body"]),
    ("routes: [ { name: a, to: { backend: pear } } ]", "2:37", ["peer"]),
    ("listen: 0.0.0.0:8080", "2:9", ["agents"]),
    ("agents: [ { name: a, key: secret } ]", "2:27", ["sha256"]),
    ("nonsense: [", "3:1", []),
])
def test_check_says_what_to_write_instead(tmp_path, line, place, words):
    path, status, said = check(tmp_path, f"backends: [ {PEER} ]\n{line}\n")

    assert status == 1
    assert f"{path}:{place}" in said, said
    assert all(word in said for word in words), said


def test_queries_stay_on_the_fleets_own_machines(tmp_path):
    outside = 'backends:\n  - { name: cloud, kind: openai, url: "%s", models: [gpt], general: true }\n'

    for url in "https://api.openai.com", "http://8.8.8.8:80", "http://[2001:4860::8888]":
        path, status, said = check(tmp_path, outside % url)
        assert status == 1
        assert f"{path}:2:39" in said and "egress" in said
        served = run("serve", "-c", path)
        assert served.returncode == 1 and b"egress" in served.stderr
        assert check(tmp_path, outside % url + "egress: any\n")[1] == 0
    assert check(tmp_path, outside % "https://api.openai.com" + "egress: [api.openai.com]\n")[1] == 0
    for url in "http://10.1.2.3", "http://192.168.0.7:11434", "http://127.0.0.1:1", "http://[fd00::1]":
        assert check(tmp_path, outside % url)[1] == 0


def test_secrets_are_not_shown(tmp_path):
    path, status, said = check(
        tmp_path, f'backends:\n  - {PEER[:-2]}, api_key: "${{THE_KEY}}", bogus: 1 }}\n'
        'admin_key: hunter2\n', env={"THE_KEY": "sk-hidden"})

    assert status == 1
    assert "hunter2" not in said and "sk-hidden" not in said


POLICY = """
backends:
  - { name: redfin, kind: ollama, url: "http://127.0.0.1:9", models: [llama], roles: [trading] }
  - { name: helper, kind: openai, url: "http://127.0.0.1:9", models: [small], general: true }
roles:
  trading: { keywords: [market, hedge] }
routes:
  - { name: specialist, when: { role: trading }, to: { role: same } }
  - { name: default, to: { by: latency } }
"""


def test_route_explains(tmp_path):
    path = write(tmp_path, POLICY)

    said = run("route", "-c", path, "hedge the market")
    assert said.returncode == 0
    for word in "trading", "specialist", "redfin":
        assert word in said.stdout.decode()

    told = json.loads(run("route", "-c", path, "--json", "hedge the market").stdout)
    assert told["role"] == "trading" and told["route"] == "specialist"
    assert [c["backend"] for c in told["candidates"]][0] == "redfin"
    other = json.loads(run("route", "-c", path, "--json", "good morning").stdout)
    assert other["route"] == "default" and other["role"] in (None, "none")
    assert [c["backend"] for c in other["candidates"]] == ["helper"]


def test_bdh_inspect():
    said = run("bdh", "inspect", TINY_MODEL)
    assert said.returncode == 0
    text = said.stdout.decode()
    for number in (META["config"]["n_layer"], META["config"]["n_embd"], META["config"]["n_head"],
                   META["config"]["vocab_size"]):
        assert str(number) in text


def test_bdh_logits():
    folder = VECTORS / "h3_d20_s002"
    tokens = (folder / "tokens.u16").read_bytes()
    expected = (folder / "logits_ref64.f32").read_bytes()

    got = run("bdh", "logits", TINY_MODEL, "--tokens", "u16", stdin=tokens)

    assert got.returncode == 0
    assert len(got.stdout) == len(expected) == len(tokens) // 2 * META["vocab"] * 4
    one, other = (struct.unpack(f"<{len(raw) // 4}f", raw) for raw in (got.stdout, expected))
    assert max(abs(a - b) for a, b in zip(one, other)) < 1e-3 * META["logit_absmax"]


def test_bdh_generate():
    def say(*more):
        done = run("bdh", "generate", TINY_MODEL, "--prompt", "hello", "--max-tokens", 20, *more)
        assert done.returncode == 0, done
        return done.stdout

    assert say("--greedy") == say("--greedy")
    assert say("--temperature", 1, "--seed", 1) == say("--temperature", 1, "--seed", 1)
    assert say("--temperature", 1, "--seed", 1) != say("--temperature", 1, "--seed", 2)
    say("--greedy").decode()  # whole characters only


def test_bdh_with_what_is_no_model(tmp_path):
    (tmp_path / "junk.safetensors").write_bytes(b"\xff" * 100)
    for path in tmp_path / "junk.safetensors", tmp_path / "nothing.safetensors", tmp_path:
        for command in ["inspect"], ["generate", "--prompt", "x"], ["logits"]:
            done = run("bdh", command[0], path, *command[1:])
            assert done.returncode == 1, (path, command)
            assert done.stderr.startswith(b"hatchway: "), done


def test_a_reader_that_closes_early_is_no_crash():
    with subprocess.Popen([BINARY, "bdh", "generate", TINY_MODEL, "--prompt", "x", "--max-tokens",
                           "100000", "--greedy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment()) as process:
        process.stdout.read(10)
        process.stdout.close()
        until(lambda: process.poll() is not None, 30, "it ends")
        assert process.returncode in (0, 1, -13), process.stderr.read()
        process.stderr.close()


def test_check_reads_the_heads_of_local_models(tmp_path):
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a model")
    file = tmp_path / "t.yaml"

    def checked(model, memory="1GiB"):
        file.write_text(f"devices: {{ cpu0: {{ class: cpu, memory: {memory} }} }}\n"
                        f"backends:\n- {{ name: hatchling, kind: bdh, model: {model}, device: cpu0, general: true }}\n")
        return run("check", file)

    bad, good = checked(junk), checked(TINY_MODEL)

    assert bad.returncode == 1
    assert re.search(rb"t\.yaml:3:40: error: backends\[0\]\.model: this is no model: .*junk\.safetensors: ",
                     bad.stderr)
    assert good.returncode == 0 and good.stderr == b""
    assert re.search(rb"hatchling: 'model.safetensors' needs 0\.0 GiB \(\dM parameters x 32 bits x 1\.2\), "
                     rb"cpu0 has 1\.0 GiB: one device\n.*ok \(1 backend, 0 roles", good.stdout)


def test_check_holds_long_routes_against_what_models_were_trained_to_hold(tmp_path):
    model, file = tmp_path / "model.safetensors", tmp_path / "t.yaml"

    def checked(when, trained, more="", source=TINY_MODEL):
        assert run("bdh", "convert", source, model, "--trained-context", trained).returncode == 0
        file.write_text(f"backends:\n- {{ name: hatchling, kind: bdh, model: {model}, general: true{more} }}\n"
                        f"routes:\n- {{ name: books, when: {when}, to: {{ kind: bdh }} }}\n"
                        "- { name: rest }\n")
        done = run("check", file)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode(), done.stderr.decode()

    beyond = '{ prompt_tokens: ">8192" }'
    said = checked(beyond, 400)[1]
    assert f"hatchway: {file}:4:3: warning: routes[0]: route 'books' sends prompts of over 8192 tokens " \
           "(32768 bytes) to 'hatchling', whose model was trained to hold 400 bytes: beyond that its " \
           "answers get worse" in said and "context: 400" in said
    decays = VECTORS / "h5_d36_decay" / "model.safetensors"
    assert "what lies further back is forgotten" in checked(beyond, 400, source=decays)[1]
    assert "up to 9000 tokens" in checked('{ prompt_tokens: "8193..9000" }', 32800)[1]

    assert checked(beyond, 32768)[1] == ""
    assert checked(beyond, 400, ", context: 400")[1] == ""
    assert checked("{ tools: true }", 400)[1] == ""
    shown, said = checked(beyond, 0)  # as of any model that somebody else has trained
    assert said == ""
    assert "hatchling: route 'books' sends it prompts of over 8192 tokens (32768 bytes); its file does not say" in shown


def test_check_tells_the_sharding_decision(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("devices: { gpu0: { class: cuda, memory: 12GiB } }\nbackends:\n"
                    "- { name: redfin, kind: ollama, url: 'http://127.0.0.1:1', device: gpu0, general: true,\n"
                    "    models: ['llama3.1:8b', 'qwen2.5:72b'] }\n")

    done = run("check", file)

    assert done.returncode == 0
    assert b"redfin: 'llama3.1:8b' needs 4.5 GiB (8B parameters x 4 bits x 1.2), gpu0 has 12.0 GiB: " \
           b"one device\n" in done.stdout
    assert b"t.yaml:3:3: warning: backends[0]: 'qwen2.5:72b' needs 40.2 GiB" in done.stderr
    assert b"there is 1: smaller specialists instead, to 21.5B parameters a device\n" in done.stderr
