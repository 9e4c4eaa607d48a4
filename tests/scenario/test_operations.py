"""What operators see and do: logs, metrics, reload, drain."""
import json
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.backend import hangs, ollama, openai, status
from harness.client import Connection, Stream, ask, get, post, request, request_bytes
from harness.gateway import ROOT
from harness.policy import bdh, ollama as ollama_backend, openai as openai_backend
from harness.wait import until

# DESIGN's contract.
METRICS = ["requests_total", "attempts_total", "classified_total", "request_duration_seconds_bucket",
           "time_to_first_token_seconds_bucket", "inter_token_seconds_bucket", "tokens_total",
           "cache_requests_total", "backend_up", "backend_inflight", "breaker_state",
           "config_reloads_total"]


def busy(hatchway, backend, **more):
    """A gateway that has seen a bit of everything."""
    gateway = hatchway(
        backends=[bdh(), openai_backend("peer", backend(openai("o", "k"))),
                  ollama_backend("redfin", backend(ollama("o", "k")), roles=["trading"])],
        roles={"trading": {"keywords": ["market"]}}, **more)
    for model in "hatchling", "small", "llama3.1:8b":
        for stream in False, True, False:
            assert ask(gateway, "the market", model=model, stream=stream, max_tokens=8).text
    ask(gateway, "hello", model="nobody")
    get(gateway, "/v1/nothing")
    return gateway


def test_metrics_please_promtool(hatchway, backend):
    gateway = busy(hatchway, backend)
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")

    text = get(gateway, "/metrics").body
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          check=False)

    assert lint.returncode == 0 and not lint.stdout and not lint.stderr, lint


def test_metrics_have_the_promised_names(hatchway, backend):
    gateway = busy(hatchway, backend)

    samples = gateway.metrics()

    for name in METRICS:
        assert any(sample.startswith(f"hatchway_{name}{{") for sample in samples), name
    assert gateway.counts(9, "hatchway_requests_total", dialect="openai", code="200")
    assert gateway.metric("hatchway_requests_total", code="404") >= 1
    assert gateway.metric("hatchway_classified_total", role="trading") >= 6
    assert gateway.metric("hatchway_attempts_total", backend="hatchling", result="ok") == 1
    assert gateway.metric("hatchway_tokens_total", direction="output") >= 8
    assert gateway.metric("hatchway_backend_up") == 3, samples
    assert "nobody" not in str(samples)


def test_an_access_log_line(hatchway, backend):
    gateway = busy(hatchway, backend)

    lines = gateway.access_log(10)

    line = lines[0]
    assert line["backend"] == "hatchling" and line["status"] == 200 and line["cache"] == "miss"
    assert line["dialect"] == "openai" and line["path"] == "/v1/chat/completions"
    assert line["route"] == "default" and line["stream"] is False
    assert line["attempts"] == 1 and line["output_tokens"] == 8
    assert line["request_id"] and line["peer"] == "127.0.0.1"
    assert line["bytes_in"] > 50 and line["bytes_out"] > 50
    assert lines[2]["cache"] == "hit" and lines[2]["attempts"] == 0
    assert any(line["status"] == 404 and "nobody" in line["error"] for line in lines)
    assert all("the market" not in str(line) for line in lines)  # what was asked is nobody's business


def test_models(hatchway, backend):
    gateway = busy(hatchway, backend, aliases={"gpt-4o": "auto"})

    listed = get(gateway, "/v1/models").json()

    ids = [model["id"] for model in listed["data"]]
    assert listed["object"] == "list"
    assert {"auto", "trading", "gpt-4o", "small", "llama3.1:8b"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert get(gateway, "/v1/models/small").json()["id"] == "small"
    assert get(gateway, "/v1/models/llama3.1:8b").json()["object"] == "model"


def test_backends(hatchway, backend):
    gateway = busy(hatchway, backend)

    listed = {one["name"]: one for one in get(gateway, "/hatchway/backends").json()["backends"]}

    assert set(listed) == {"hatchling", "peer", "redfin"}
    assert listed["hatchling"]["workers"]["pids"] == gateway.workers()
    assert listed["redfin"]["kind"] == "ollama" and listed["redfin"]["up"] is True


def test_not_ready_before_a_backend_is_up(hatchway, tmp_path):
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a model")
    gateway = hatchway(backends=[bdh(model=str(junk))], wait=False)

    def alive():
        try:
            return get(gateway, "/health").status == 200
        except OSError:
            return False
    until(alive, 20)
    assert get(gateway, "/ready").status == 503
    assert ask(gateway, "hello").status in (502, 503)
    assert "junk.safetensors" in gateway.log()


# --- reload --------------------------------------------------------------------------------------

def by_name(*names):
    return [{"name": "to-" + names[0], "to": {"backend": list(names)}}]


def reloads(gateway, result):
    return gateway.metric("hatchway_config_reloads_total", result=result)


def reloadable(hatchway, backend):
    backends = [openai_backend(name, backend(openai(name))) for name in ("one", "two")]
    config = {"backends": backends, "cache": {"keep": "none"}, "loops": 4}
    return hatchway(**config, routes=by_name("one")), config


def test_reload_by_signal(hatchway, backend):
    gateway, config = reloadable(hatchway, backend)
    assert ask(gateway, "hello").text == "one"

    gateway.write({**config, "routes": by_name("two")})
    gateway.signal(signal.SIGHUP)

    until(lambda: reloads(gateway, "ok") >= 1)
    until(lambda: ask(gateway, "hello").text == "two", 1)


def test_reload_by_request(hatchway, backend):
    gateway, config = reloadable(hatchway, backend)

    # Every query after the answer is answered by the new policy, whichever loop takes it.
    for name in ("two", "one") * 10:
        gateway.write({**config, "routes": by_name(name)})
        assert request(gateway, "POST", "/hatchway/reload", "").status == 200
        assert {ask(gateway, "hello").text for _ in range(8)} == {name}


def test_a_burst_of_writes_is_one_reload(hatchway, backend):
    """An editor's steps, or a script's: a file is read when its folder has been quiet."""
    gateway, config = reloadable(hatchway, backend)

    for name in ("two", "one") * 9 + ("two",):
        gateway.write({**config, "routes": by_name(name)})
        time.sleep(0.01)
    until(lambda: ask(gateway, "hello").text == "two")
    until(lambda: reloads(gateway, "ok") >= 1)

    assert reloads(gateway, "ok") <= 3  # one, where nothing holds the writer up between two writes


def test_many_want_a_reload_at_once_and_some_leave(hatchway, backend):
    gateway, config = reloadable(hatchway, backend)
    gateway.write({**config, "routes": by_name("two")})
    answers = []

    def post():
        answers.append(request(gateway, "POST", "/hatchway/reload", "").status)
    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
        with socket.create_connection(("127.0.0.1", gateway.port)) as leaver:
            leaver.sendall(b"POST /hatchway/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    for thread in threads:
        thread.join(30)

    assert answers == [200] * 20
    assert ask(gateway, "hello").text == "two"
    assert 1 <= reloads(gateway, "ok") <= 40  # one serves all who wait for it


def test_a_bad_file_changes_nothing(hatchway, backend):
    gateway, config = reloadable(hatchway, backend)

    gateway.write('backends:\n  - { name: one, kind: opnai, url: "http://127.0.0.1:1" }\n')
    gateway.signal(signal.SIGHUP)
    until(lambda: reloads(gateway, "failed") == 1)
    refused = request(gateway, "POST", "/hatchway/reload", "")

    assert refused.status in (400, 409, 422)
    assert "2:24" in refused.body.decode() and "openai" in refused.body.decode()
    assert f"{gateway.file}:2:24" in gateway.log()
    assert gateway.metric("hatchway_config_last_reload_successful") == 0
    assert ask(gateway, "hello").text == "one"
    gateway.write({**config, "routes": by_name("two")})
    gateway.signal(signal.SIGHUP)
    until(lambda: ask(gateway, "hello").text == "two")
    assert gateway.metric("hatchway_config_last_reload_successful") == 1


def test_reload_changes_workers(hatchway, backend):
    gateway = hatchway(backends=[bdh()], cache={"keep": "none"})
    kept = gateway.workers()

    gateway.write({"backends": [bdh(), bdh("second", workers=2)], "cache": {"keep": "none"}})
    gateway.signal(signal.SIGHUP)
    until(lambda: len(gateway.workers()) == 3, 10)
    until(lambda: ask(gateway, "hello", model="second", max_tokens=3).status == 200, 10)
    assert set(kept) < set(gateway.workers())

    gateway.write({"backends": [bdh()], "cache": {"keep": "none"}})
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.workers() == kept, 10)
    assert ask(gateway, "hello", max_tokens=3).text


def test_a_policy_that_learns_a_lot_holds_nobody_up(hatchway, backend):
    """64 roles learn from 8,960 examples; the only loop goes on answering meanwhile."""
    rows = ROOT / "bench/data/classify/hwu64_intent.train.jsonl"
    names = sorted({json.loads(line)["label"] for line in rows.open(encoding="utf-8")})
    config = {"backends": [openai_backend("one", backend(openai("one")))], "loops": 1}
    gateway = hatchway(**config)
    assert ask(gateway, "hello").text == "one"

    gateway.write({**config, "roles": {name: {"examples_file": str(rows)} for name in names}})
    gateway.signal(signal.SIGHUP)
    answered = 0
    while "is in force" not in gateway.log():
        assert ask(gateway, "hello").text == "one"
        answered += 1
    assert answered >= 10  # a loop that learns itself answers one or two

    # The newest of several reloads is what stays, however they overlap.
    for signum in range(3):
        gateway.signal(signal.SIGHUP)
    gateway.write({**config, "routes": [{"name": "newest", "to": {"by": "latency"}}]})
    assert request(gateway, "POST", "/hatchway/reload", "").status == 200
    assert ask(gateway, "hello", max_tokens=9).headers["x-hatchway-route"] == "newest"

    # Who waits for a reload does not hold up the end.
    with socket.create_connection(("127.0.0.1", gateway.port)) as waits:
        waits.sendall(b"POST /hatchway/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        gateway.signal(signal.SIGTERM)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_end(30) == 0


def test_reload_in_the_middle_of_a_stream(hatchway, backend):
    one, two = backend(openai(*"slowly", pause=0.1)), backend(openai("two"))
    gateway = hatchway(backends=[openai_backend("one", one)])

    with Stream(gateway, "hello") as stream:
        stream.start()
        gateway.write({"backends": [openai_backend("two", two)]})
        gateway.signal(signal.SIGHUP)
        until(lambda: ask(gateway, "other").text == "two", 5)
        assert stream.rest()[-1] == "[DONE]"


# --- the end -------------------------------------------------------------------------------------

def test_sigterm_lets_streams_finish(hatchway, backend):
    peer = backend(openai(*"to the very end", pause=0.1))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    with Stream(gateway, "hello") as stream, Connection(gateway) as idle:
        stream.start().next_text()
        idle.send(request_bytes("/health", method="GET"))
        idle.read_answer()
        gateway.signal(signal.SIGTERM)
        assert idle.is_closed()
        until(lambda: refused(gateway), what="new connections are refused")
        assert stream.rest()[-1] == "[DONE]"
    assert gateway.wait_end(10) == 0


def refused(gateway):
    try:
        socket.create_connection(("127.0.0.1", gateway.port), timeout=1).close()
        return False
    except ConnectionError:
        return True


def test_sigterm_has_a_deadline(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(openai(*"slowly on", pause=0.5)))],
                       drain="500ms")

    with Stream(gateway, "hello") as stream:
        stream.start().next_text()
        gateway.signal(signal.SIGTERM)
        assert set(stream.rest()[-1]) == {"error"}
    assert gateway.wait_end(10) == 0


def test_a_second_sigterm_does_not_wait(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(hangs))])

    waiting = threading.Thread(target=lambda: ask(gateway, "hello"))
    waiting.start()
    until(lambda: gateway.inflight() == 1)
    gateway.signal(signal.SIGTERM)
    until(lambda: "draining" in gateway.log())
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_end(10) == 0
    waiting.join()


def test_idle_sigint_and_sigterm(hatchway):
    for number in signal.SIGINT, signal.SIGTERM:
        gateway = hatchway(backends=[bdh()])
        ask(gateway, "hello", max_tokens=3)
        gateway.signal(number)
        assert gateway.wait_end(5) == 0


def test_queries_that_come_while_it_drains_on_open_connections(hatchway, backend):
    peer = backend(openai("a", "b", pause=0.4))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    with Stream(gateway, "hello") as stream:
        stream.start()
        gateway.signal(signal.SIGTERM)
        assert stream.rest()[-1] == "[DONE]"
        assert stream.is_closed()
    assert gateway.wait_end(10) == 0


def test_the_port_is_taken(hatchway, backend):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = hatchway(backends=[openai_backend("peer", backend(openai("ok")))], wait=False)
        gateway.process.kill()
        gateway.wait_end()
        gateway.port = taken.getsockname()[1]
        gateway.write({"backends": [{"name": "peer", "kind": "openai", "url": "http://127.0.0.1:9",
                                     "general": True}]})
        from harness.gateway import run
        ended = run("serve", "-c", gateway.file, seconds=20)
    assert ended.returncode == 1
    assert str(taken and gateway.port) in ended.stderr.decode()


def test_a_503_says_why(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(status(503)), general=False)],
                       routes=[{"name": "nobody", "to": {"kind": "bdh"}}])

    answer = post(gateway, "/v1/chat/completions",
                  {"model": "auto", "messages": [{"role": "user", "content": "x"}]})

    assert answer.status == 503 and "nobody" in answer.error
