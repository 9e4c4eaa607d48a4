"""The SDKs that agents are written with, from npm, against the real binary.

A client's scenarios (CLIENT.mjs) run in one node process, each for every kind of backend that can
play it; here each is a test of its own."""
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import live
from harness.backend import Backend
from harness.gateway import Gateway
from harness.policy import bdh, ollama, openai
from scripted_model import Model, Ollama, OpenAI

FOLDER = pathlib.Path(__file__).resolve().parent
CLIENTS = sorted(path.stem for path in FOLDER.glob("*.mjs") if path.stem != "runner")
KINDS = {"everyBackend": ["openai", "ollama", "bdh", "live"], "transformers": ["openai", "ollama"],
         "speakers": ["openai", "ollama", "live"], "embedders": ["openai", "ollama", "embedder"],
         "gateway": ["gateway"]}
LIVE = ("live", "embedder")  # a real Ollama
KEY = "hk-of-the-clients"
NODE_MAJOR = 18
CLIENT_SECONDS = 240 if live.why_not() else 3600
END = ("a clean end", "gateway")  # no leak, no finding of a sanitizer, nobody left waiting


def scenarios(client):
    text = (FOLDER / f"{client}.mjs").read_text()
    return [(name, kind) for name, kinds in re.findall(r'^scenario\("([^"]+)", (\w+)', text, re.M)
            for kind in KINDS[kinds]]


def why_not():
    """None when the clients can run."""
    node = shutil.which("node")
    if node is None:
        return "node is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version[1:].split(".")[0]) < NODE_MAJOR:
        return f"the clients need Node {NODE_MAJOR}, this is {version.strip()}"
    # npm writes it last.
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        return "tests/clients/node_modules is missing: npm ci has not been run, or had no registry"
    return None


def play(client, folder):
    """What became of a client's scenarios: None, or what was wrong. That of END is ours."""
    peers = [Backend(Model(OpenAI)), Backend(Model(Ollama))]
    real = None if live.why_not() else live.find()
    gateway = Gateway(folder, {
        "backends": [openai("transformer", peers[0]), ollama("redfin", peers[1]), bdh(),
                     *([real.backend()] if real else [])],
        **({"egress": "any", "timeouts": {"total": "1h"}} if real else {}),
        "agents": [{"name": "client",
                    "key": "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()}]})
    outcomes = {END: None}
    try:
        gateway.wait_ready()
        done = subprocess.run(["node", f"{client}.mjs"], cwd=FOLDER, capture_output=True, text=True,
                              timeout=CLIENT_SECONDS, check=False,
                              env={"PATH": os.environ["PATH"], "HATCHWAY_URL": gateway.url,
                                   "HATCHWAY_KEY": KEY,
                                   **({"HATCHWAY_LIVE_MODEL": real.model,
                                       "HATCHWAY_LIVE_EMBEDDER": real.embedder} if real else {})})
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        outcomes.update({(line["scenario"], line["kind"]): line["error"] for line in lines})
        assert done.returncode == 0, done.stderr
        assert all(peer.left for peer in peers), "a backend was not told that its agent had left"
        gateway.stop()
        for peer in peers:
            peer.check()
    except Exception as failure:
        outcomes[END] = repr(failure)
    finally:
        if not gateway.stopped:
            gateway.process.kill()
        for peer in peers:
            peer.kill()
    return outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """outcomes(CLIENT): plays its scenarios, at the first time."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return functools.cache(lambda client: play(client, tmp_path_factory.mktemp(client)))


@pytest.mark.parametrize("client, scenario, kind",
                         [pytest.param(client, *each, id=f"{client}: {', '.join(each)}")
                          for client in CLIENTS for each in [*scenarios(client), END]])
def test_client(outcomes, client, scenario, kind):
    if kind in LIVE and live.why_not():
        pytest.skip(live.why_not())
    error = outcomes(client).get((scenario, kind), "it did not run")
    if error:
        pytest.fail(error, pytrace=False)
