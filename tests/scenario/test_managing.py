"""Calls that manage models: refused unless the operator allows them; /api/show asks the backend."""
import hashlib
import json
import time

from harness.backend import ndjson, ollama
from harness.client import Connection, ask, post, request
from harness.gateway import run
from harness.policy import ollama as listed
from harness.wait import until
from test_discovery import found, has, says, wait_for

PULL = {"model": "qwen2.5:14b"}


def hashed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def pulls(*lines):
    """Each managing call is answered by these lines."""
    def answer(reply):
        reply.head(content_type="application/x-ndjson")
        for line in lines:
            reply.chunk(ndjson(line))
            time.sleep(0.01)
        reply.end()
    return answer


def test_refused_unless_allowed(hatchway, backend):
    peer = backend(ollama("never"))
    gateway = hatchway(backends=[listed("redfin", peer, manage=["pull"])])
    for call, method in [("push", "POST"), ("create", "POST"), ("copy", "POST"),
                         ("delete", "DELETE"), ("blobs/sha256:0", "POST")]:
        answer = request(gateway, method, f"/api/{call}", PULL)
        assert answer.status == 403 and "manage" in answer.json()["error"], call
    assert request(gateway, "GET", "/api/pull").status == 405
    assert not peer.requests


def test_an_allowed_call_is_passed_on_as_it_is(hatchway, backend):
    peer = backend(pulls({"status": "pulling manifest"}, {"status": "success"}))
    gateway = hatchway(backends=[listed("redfin", peer, manage=["pull", "delete"])])
    body = b'{ "model":"qwen2.5:14b", "insecure": 1e400 }'
    answer = post(gateway, "/api/pull", body)
    assert answer.status == 200 and answer.backend == "redfin"
    assert [json.loads(line)["status"] for line in answer.body.splitlines()] == \
        ["pulling manifest", "success"]
    assert (peer.requests[0].path, peer.requests[0].body) == ("/api/pull", body)
    request(gateway, "DELETE", "/api/delete", PULL)
    assert (peer.requests[1].method, peer.requests[1].path) == ("DELETE", "/api/delete")


def test_a_backends_refusal_is_the_answer(hatchway, backend):
    def refuses(reply):
        reply.whole({"error": "no such model"}, status=404)

    gateway = hatchway(backends=[listed("redfin", backend(refuses), manage="delete")])
    answer = request(gateway, "DELETE", "/api/delete", PULL)
    assert answer.status == 404 and answer.json() == {"error": "no such model"}


def test_which_backend(hatchway, backend):
    one, two = backend(pulls({"status": "one"})), backend(pulls({"status": "two"}))
    gateway = hatchway(backends=[listed("one", one, manage=["pull"]),
                                 listed("two", two, manage=["pull"]), listed("three", two)])
    answer = post(gateway, "/api/pull", PULL)
    assert answer.status == 400 and "one, two" in answer.json()["error"]
    answer = post(gateway, "/api/pull", PULL, {"x-hatchway-backend": "two"})
    assert answer.backend == "two" and b"two" in answer.body
    answer = post(gateway, "/api/pull", PULL, {"x-hatchway-backend": "three"})
    assert answer.status == 400 and not one.requests


def test_only_operators_manage(hatchway, backend):
    """An agent with a key, of a web page: neither it nor a stranger."""
    peer = backend(pulls({"status": "success"}))
    gateway = hatchway(backends=[listed("redfin", peer, manage=["pull"])],
                       agents=[{"name": "email", "key": hashed("hk-agent")}],
                       admin_key=hashed("hk-admin"))
    page = {"origin": "http://evil.example"}
    as_agent = {"authorization": "Bearer hk-agent", **page}
    assert post(gateway, "/api/pull", PULL, page).status == 401
    refused = post(gateway, "/api/pull", PULL, as_agent)
    assert refused.status == 403 and "admin key" in refused.json()["error"]
    assert not peer.requests
    assert post(gateway, "/api/pull", PULL, {"authorization": "Bearer hk-admin"}).status == 200


def test_an_agent_that_leaves_ends_the_pull(hatchway, backend):
    def goes_on(reply):
        reply.head(content_type="application/x-ndjson")
        while not reply.backend.closed:
            reply.chunk(ndjson({"status": "pulling"}))
            if reply.wait_left(0.02):
                return

    peer = backend(goes_on)
    gateway = hatchway(backends=[listed("redfin", peer, manage=["pull"])],
                       admin_key=hashed("hk-admin"))
    connection = Connection(gateway)
    connection.send_request("/api/pull", PULL, ["Authorization: Bearer hk-admin"])
    until(lambda: peer.requests)
    connection.sock.close()
    until(lambda: peer.left, what="the backend's work is cancelled")


def test_a_dead_backend(hatchway, backend):
    peer = backend(ollama("x"))
    gateway = hatchway(backends=[listed("redfin", peer, manage=["pull"])])
    peer.kill()
    answer = post(gateway, "/api/pull", PULL)
    assert answer.status == 502 and "redfin failed" in answer.json()["error"]


def test_what_was_pulled_can_be_asked_for(hatchway, backend):
    peer = backend(says("hello"))
    has(peer, "a:1b")
    gateway = hatchway(backends=[found("redfin", peer, manage=["pull"])],
                       discover={"interval": "1h"})
    wait_for(gateway, 1)
    assert ask(gateway, "hello", "b:1b").status == 404
    has(peer, "a:1b", "b:1b")
    peer.answers = [pulls({"status": "success"}), says("hello")]
    assert post(gateway, "/api/pull", {"model": "b:1b"}).status == 200
    wait_for(gateway, 2)
    assert ask(gateway, "hello", "b:1b").status == 200


def test_show_asks_the_backend(hatchway, backend):
    def shows(reply):
        assert reply.request.path == "/api/show"
        assert reply.request.json() == {"model": "llama3.1:8b"}
        reply.whole({"modelfile": "FROM x", "template": "{{ .Prompt }}",
                     "model_info": {"general.parameter_count": 8030261312}})

    peer = has(backend(shows), "llama3.1:8b")
    gateway = hatchway(backends=[found("redfin", peer)])
    wait_for(gateway, 1)
    shown = post(gateway, "/api/show", {"model": "LLAMA3.1:8b"}).json()
    assert shown["template"] == "{{ .Prompt }}" and shown["backends"] == ["redfin"]
    assert shown["model_info"]["general.parameter_count"] == 8030261312
    peer.kill()  # what is known without it
    shown = post(gateway, "/api/show", {"model": "llama3.1:8b"}).json()
    assert shown["details"]["parameter_size"] == "8.0B" and shown["backends"] == ["redfin"]


def test_mistakes_in_the_configuration(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text('backends:\n  - { name: a, kind: openai, url: "http://127.0.0.1:1", general: true,'
                    ' manage: [pull] }\n  - { name: b, kind: ollama, url: "http://127.0.0.1:1",'
                    ' manage: [pul] }\n')
    said = run("check", file).stderr.decode()
    assert "only an ollama backend" in said and "pull" in said and "bad.yaml:2:" in said
