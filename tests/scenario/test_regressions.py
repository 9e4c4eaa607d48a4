"""Faults that were found once, each told as shortly as it can be."""
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

from harness.backend import ollama, openai, openai_whole
from harness.client import Connection, ask, chat, get, post, request, timed
from harness.gateway import BINARY, environment, run
from harness.policy import bdh, ordered, without_cache
from harness.policy import ollama as ollama_backend
from harness.policy import openai as openai_backend
from harness.wait import free_port, until


def asked_at_once(count, call):
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(call, i) for i in range(count)]]


def fails_after(seconds):
    def answer(reply):
        time.sleep(seconds)
        reply.whole({"error": {"message": "scripted", "type": "scripted"}}, status=500)
    return answer


def test_waiters_of_a_backend_whose_breaker_opens_are_told_and_the_loop_goes_on(hatchway, backend):
    """They handed its slots around among themselves for ever."""
    broken = backend(fails_after(0.05))
    gateway = hatchway(**without_cache({"loops": 1, "backends": [
        openai_backend("broken", broken, max_inflight=2)]}))

    answers = asked_at_once(20, lambda i: ask(gateway, f"hello {i}"))

    assert {answer.status for answer in answers} == {502, 503}
    assert get(gateway, "/health", seconds=2).status == 200
    assert gateway.inflight() == 0 and gateway.metric("hatchway_queries_queued") == 0


def test_a_full_candidate_beside_one_that_is_refused_is_waited_for_at_rest(hatchway, backend):
    """Waiting for both ended at once, again and again: a core was busy with one query."""
    slow, broken = backend(openai("done", pause=1.0)), backend(fails_after(0))
    gateway = hatchway(**without_cache({**ordered(
        openai_backend("slow", slow, max_inflight=1), openai_backend("broken", broken)),
        "loops": 1, "limits": {"retry_percent": 0}}))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, gateway, "first")
        until(lambda: slow.requests, what="the first query is on its way")
        for i in range(5):  # opens the breaker of the second candidate
            ask(gateway, f"fails {i}")
        before = cpu_seconds(gateway.pid)
        second = pool.submit(ask, gateway, "second")
        assert first.result().status == 200 and second.result().status == 200

    assert cpu_seconds(gateway.pid) - before < 0.5


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_queries_wait_for_a_worker_that_starts_even_beyond_its_max_inflight(hatchway):
    """The second waited for nobody, until its whole time was up."""
    gateway = hatchway(wait=False, **without_cache({"backends": [bdh(max_inflight=1)]}))
    until(lambda: listens(gateway), what="it listens")

    answers, seconds = timed(lambda: asked_at_once(3, lambda i: ask(gateway, "ab", max_tokens=4)))

    assert [answer.status for answer in answers] == [200] * 3, answers
    assert seconds < 10


def listens(gateway):
    try:
        return get(gateway, "/health", seconds=2).status == 200
    except OSError:
        return False


def test_queries_that_die_with_their_worker_do_not_close_the_door_to_its_successor(hatchway):
    """Five failures in a row opened the breaker, of a worker that was back in 50 ms."""
    gateway = hatchway(**without_cache({"backends": [bdh()], "limits": {"retry_percent": 100}}))
    worker = gateway.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, gateway, "ab", max_tokens=4) for _ in range(8)]
        until(lambda: gateway.inflight() == 8, what="all are with the worker")
        os.kill(worker, signal.SIGKILL)
        answers = [one.result() for one in asked]

    assert [answer.status for answer in answers] == [200] * 8, answers


def test_a_query_that_waited_still_moves_on_when_its_attempt_fails(hatchway, backend):
    """Who had waited for room had no second candidate."""
    gate = threading.Event()

    def held_then_broken(reply):
        if len(reply.backend.requests) == 1:
            gate.wait(10)
            reply.whole(openai_whole("small", "first"))
        else:
            fails_after(0.3)(reply)

    first, second = backend(held_then_broken), backend(openai("second", pause=0.2))
    gateway = hatchway(**without_cache({**ordered(
        openai_backend("first", first, max_inflight=1),
        openai_backend("second", second, max_inflight=1)), "limits": {"retry_percent": 100}}))
    with ThreadPoolExecutor(3) as pool:
        held = pool.submit(ask, gateway, "takes the first")
        until(lambda: first.requests, what="the first backend is busy")
        slow = pool.submit(ask, gateway, "takes the second")
        until(lambda: second.requests, what="the second backend is busy")
        waits = pool.submit(ask, gateway, "waits")
        until(lambda: gateway.metric("hatchway_queries_queued") == 1 or waits.done(), what="it waits")
        gate.set()
        answers = [one.result() for one in (held, slow, waits)]

    assert [answer.status for answer in answers] == [200] * 3, answers


def test_what_connected_just_before_sigterm_is_answered(hatchway, backend):
    """An idle gateway stopped at once, by a count of connections that was 100 ms old."""
    gateway = hatchway(backends=[openai_backend("one", backend(openai("hello")))])
    time.sleep(0.3)
    agents = [Connection(gateway) for _ in range(6)]
    gateway.signal(signal.SIGTERM)
    for i, agent in enumerate(agents):
        agent.send_request("/v1/chat/completions", chat(f"hello {i}"))

    assert [agent.read_answer().status for agent in agents] == [200] * 6
    assert gateway.wait_end() == 0


def test_no_cache_is_heard_among_other_words(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("one", backend(openai("hello")))])
    ask(gateway, "hello")

    assert ask(gateway, "hello").cache == "hit"
    assert ask(gateway, "hello", headers={"cache-control": "max-age=0, No-Cache"}).cache == "bypass"


def test_a_second_gateway_does_not_take_half_of_the_queries(hatchway, backend):
    """Listeners may share a port, so it started, and nobody was told."""
    first = hatchway(backends=[openai_backend("one", backend(openai("hello")))])

    second = run("serve", "-c", first.file)

    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {first.port}" in second.stderr.decode()


def test_sigterm_while_it_starts_leaves_nothing_behind(hatchway):
    """Signals were heard only after the workers had been started."""
    with tempfile.TemporaryDirectory(prefix="hatchway-test-") as folder:
        for pause in range(8):
            gateway = hatchway(wait=False, worker_dir=folder, backends=[bdh(workers=2)])
            until(lambda: os.listdir(folder), what="the folder of the sockets")
            time.sleep(pause / 1000)
            gateway.stop()
            assert not os.listdir(folder)


def test_a_log_that_nobody_reads_does_not_keep_the_gateway_from_ending(tmp_path):
    """The writer of the access log waited for ever in write(2)."""
    file, port = tmp_path / "hatchway.yaml", free_port()
    file.write_text(f"listen: 127.0.0.1:{port}\nloops: 1\nbackends:\n"
                    "  - { name: one, kind: openai, url: 'http://127.0.0.1:1', general: true }\n")
    gateway = types.SimpleNamespace(port=port)
    with subprocess.Popen([BINARY, "serve", "-c", file], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, env=environment()) as process:
        until(lambda: listens(gateway), what="it listens")
        with Connection(gateway) as agent:
            for _ in range(400):  # more lines than a pipe holds
                agent.send_request("/v1/chat/completions", b"{" + b" " * 200)
                assert agent.read_answer().status == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_operations_are_not_for_a_page_whose_name_was_made_to_lead_here(hatchway, backend):
    """DNS rebinding: its requests come from loopback, and its origin is the host that it asks."""
    gateway = hatchway(backends=[openai_backend("one", backend(openai("hello")))])

    for host in f"evil.example:{gateway.port}", "10.0.0.1.evil.example", "localhost.evil.example":
        headers = {"host": host, "origin": f"http://{host}"}
        assert request(gateway, "POST", "/hatchway/reload", "", headers).status == 403
        assert get(gateway, "/hatchway/backends", headers={"host": host}).status == 403
    for host in "localhost", f"localhost:{gateway.port}", "127.0.0.1:9", "[::1]:8080":
        assert get(gateway, "/hatchway/backends", headers={"host": host}).status == 200


def test_a_block_of_a_kind_that_anthropic_has_not_is_no_text(hatchway, backend):
    """OpenAI's refusal among Anthropic's blocks was not measured, but written into the text."""
    peer = backend(openai("hello"))
    gateway = hatchway(backends=[openai_backend("one", peer)])
    blocks = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no " * 100000}]

    for content in blocks, [{"type": "tool_result", "tool_use_id": "t", "content": blocks}]:
        answer = post(gateway, "/v1/messages", {"model": "auto", "max_tokens": 5, "messages": [
            {"role": "user", "content": content}]})
        assert answer.status == 200 and answer.headers["x-hatchway-dropped"], answer
        assert b"no " not in peer.requests[-1].body


def test_answers_of_tools_do_not_go_through_a_large_call_again_and_again(hatchway, backend):
    """66,000 of them behind a call of megabytes kept a loop busy for minutes."""
    gateway = hatchway(loops=1, backends=[
        openai_backend("one", backend(openai("hello"))),
        ollama_backend("two", backend(ollama("hello")), models=["m"])])
    text = '"' * (1 << 20)
    function = {"name": "file", "arguments": {"text": text}}

    def seconds_for(path, model, call, result):
        messages = [{"role": "assistant", "content": "", "tool_calls": [call]}, *[result] * 30000]
        start = time.monotonic()
        answer = post(gateway, path, {"model": model, "stream": False, "messages": messages})
        assert answer.status == 200, answer
        return time.monotonic() - start

    assert seconds_for("/api/chat", "small", {"function": function},
                       {"role": "tool", "content": ""}) < 20
    function = {**function, "arguments": json.dumps({"text": text})}
    call = {"id": "a", "type": "function", "function": function}
    assert seconds_for("/v1/chat/completions", "m", call,
                       {"role": "tool", "content": "", "tool_call_id": "b"}) < 20
