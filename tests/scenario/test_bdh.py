"""Queries answered by BDH: by a worker process on this machine, and by a node's ask service."""
import os
import signal
import time

from harness.backend import bdh_node, closes, openai
from harness.client import Stream, ask, chat, post, timed
from harness.gateway import command_line, seconds_until_free
from harness.policy import bdh, ordered, without_cache
from harness.policy import openai as openai_backend
from harness.wait import until

# A stream that goes on for as long as a test needs it.
ENDLESS = {"max_tokens": 1_000_000}


def test_a_worker_answers(hatchway):
    gateway = hatchway(backends=[bdh()])

    answer = ask(gateway, "hello", max_tokens=20)

    assert answer.text
    assert answer.backend == "hatchling"
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    assert answer.json()["usage"]["completion_tokens"] == 20
    assert answer.headers["x-hatchway-route"] == "default"
    assert answer.headers["x-hatchway-role"] == "none"


def test_a_worker_streams_the_same_text(hatchway):
    gateway = hatchway(**without_cache({"backends": [bdh()]}))

    whole = ask(gateway, "hello", max_tokens=50)
    streamed = ask(gateway, "hello", max_tokens=50, stream=True)

    assert streamed.text == whole.text
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert len(streamed.events) > 10


def test_how_a_worker_samples(hatchway):
    gateway = hatchway(**without_cache({"backends": [bdh()]}))

    def text(**fields):
        answer = ask(gateway, "hello", max_tokens=40, seed=4, **fields)
        assert answer.status == 200
        assert "x-hatchway-dropped" not in answer.headers
        return answer.text

    greedy = text()
    assert text(temperature=2) != greedy
    assert text(temperature=2) == text(temperature=2)
    # No token is as likely as the likeliest.
    assert text(temperature=2, min_p=1) == greedy
    assert text(repetition_penalty=1.5) != greedy
    assert text(repetition_penalty=1) == greedy


def test_a_worker_tells_log_probabilities(hatchway):
    """Of each byte of the text, whole and streamed the same; a piece of a character is a number."""
    gateway = hatchway(backends=[bdh()])
    query = {"model": "auto", "messages": [{"role": "user", "content": "the river"}],
             "max_tokens": 24, "temperature": 0, "logprobs": True, "top_logprobs": 3}

    whole = post(gateway, "/v1/chat/completions", query)
    assert "x-hatchway-dropped" not in whole.headers and whole.headers["x-hatchway-cache"] == "bypass"
    choice = whole.json()["choices"][0]
    told = choice["logprobs"]["content"]
    assert len(told) == whole.json()["usage"]["completion_tokens"] == 24
    text = bytes(entry["bytes"][0] for entry in told).decode(errors="replace")
    assert text == choice["message"]["content"]
    for entry in told:
        top = entry["top_logprobs"]
        assert len(top) == 3 and top[0]["logprob"] == entry["logprob"] <= 0  # greedy
        assert top[0]["logprob"] >= top[1]["logprob"] >= top[2]["logprob"]
        byte = entry["bytes"][0]
        assert entry["token"] == (chr(byte) if byte < 128 else f"\\x{byte:02x}")

    streamed = []
    stream = Stream(gateway, "the river", max_tokens=24, temperature=0, logprobs=True,
                    top_logprobs=3)
    for event in stream.start().rest():
        if event != "[DONE]" and event["choices"][0]["logprobs"]:
            streamed += event["choices"][0]["logprobs"]["content"]
    assert streamed == told

    answer = post(gateway, "/api/chat", {
        "model": "auto", "messages": query["messages"], "stream": False, "logprobs": True,
        "options": {"num_predict": 24, "temperature": 0}, "top_logprobs": 3})
    assert answer.json()["logprobs"] == told


def test_log_probabilities_leave_the_stop_string_out(hatchway):
    gateway = hatchway(backends=[bdh()])
    query = {"model": "auto", "messages": [{"role": "user", "content": "the river"}],
             "max_tokens": 200, "temperature": 0, "logprobs": True}
    told = post(gateway, "/v1/chat/completions", query).json()["choices"][0]["logprobs"]["content"]
    at = next(i for i in range(8, 198) if all(0x20 < e["bytes"][0] < 0x7f for e in told[i:i + 2]))
    stop = "".join(entry["token"] for entry in told[at:at + 2])

    stopped = post(gateway, "/v1/chat/completions", {**query, "stop": stop}).json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    first = next(i for i in range(200) if "".join(e["token"] for e in told[i:i + 2]) == stop)
    assert stopped["logprobs"]["content"] == told[:first]


def test_the_bdh_dialect(hatchway):
    gateway = hatchway(backends=[bdh(device="cpu")])

    answer = post(gateway, "/api/bdh/ask", {"question": "hello"})

    assert answer.status == 200
    assert set(answer.json()) == {"answer", "model", "device", "source"}
    assert answer.json()["source"] == "dragon_hatchling"
    assert answer.json()["device"] == "cpu"
    again = post(gateway, "/api/bdh/ask", {"question": "hello"})
    assert again.json() == answer.json()
    assert again.cache == "hit"


def test_a_node_of_the_fleet_is_asked_as_it_is(hatchway, backend):
    node = backend(bdh_node("What is a dragon? It hatches."))
    gateway = hatchway(backends=[{"name": "sasass2", "kind": "bdh", "url": node.url,
                                  "device": "mps", "general": True}])

    answer = ask(gateway, "What is a dragon?")

    assert node.requests[0].path == "/api/bdh/ask"
    assert node.requests[0].json() == {"question": "What is a dragon?"}
    assert answer.text == "It hatches."  # the echo of the question is taken off
    assert "temperature" in answer.headers["x-hatchway-dropped"]
    asked = post(gateway, "/api/bdh/ask", {"question": "What is a dragon?"})
    assert asked.json()["device"] == "mps"
    assert "It hatches." in asked.json()["answer"]


def test_queries_share_a_worker(hatchway):
    gateway = hatchway(backends=[bdh()])

    with Stream(gateway, "one", **ENDLESS) as one, Stream(gateway, "two", **ENDLESS) as two:
        one.start(), two.start()
        for _ in range(5):
            one.next_text(), two.next_text()
        assert gateway.inflight() == 2
        assert ask(gateway, "three", max_tokens=5).text


def test_an_agent_that_leaves_frees_the_worker(hatchway):
    gateway = hatchway(backends=[bdh()])

    stream = Stream(gateway, "hello", **ENDLESS).start()
    stream.next_text()
    assert gateway.inflight() == 1
    stream.close()

    assert seconds_until_free(gateway) < 0.1


def test_an_agent_that_leaves_before_the_first_token_frees_the_worker(hatchway):
    gateway = hatchway(backends=[bdh()])
    worker = gateway.workers()[0]
    os.kill(worker, signal.SIGSTOP)

    stream = Stream(gateway, "hello", **ENDLESS)
    until(lambda: gateway.inflight() == 1)
    stream.close()

    assert seconds_until_free(gateway) < 0.1
    os.kill(worker, signal.SIGCONT)
    assert ask(gateway, "hello", max_tokens=5).text


def test_a_killed_worker_is_back_within_a_second(hatchway):
    gateway = hatchway(backends=[bdh()])
    ask(gateway, "hello", max_tokens=5)
    killed = gateway.workers()[0]

    os.kill(killed, signal.SIGKILL)
    answer, seconds = timed(lambda: ask(gateway, "are you back?", max_tokens=5))

    assert answer.text
    assert seconds < 1
    assert killed not in gateway.workers() and len(gateway.workers()) == 1
    assert gateway.metric("hatchway_worker_restarts_total", backend="hatchling") == 1


def test_an_unstarted_query_of_a_killed_worker_is_answered_by_its_successor(hatchway):
    gateway = hatchway(backends=[bdh()])
    worker = gateway.workers()[0]
    os.kill(worker, signal.SIGSTOP)  # it will read nothing more

    with Stream(gateway, "hello", max_tokens=5) as stream:
        until(lambda: gateway.inflight() == 1)
        os.kill(worker, signal.SIGKILL)
        stream.start()
        assert stream.status == 200
        assert stream.rest()[-1] == "[DONE]"


def test_an_unstarted_query_of_a_killed_worker_is_answered_by_another_candidate(hatchway, backend):
    other = backend(openai("I am here"))
    gateway = hatchway(**ordered(bdh(), openai_backend("other", other)))
    worker = gateway.workers()[0]
    os.kill(worker, signal.SIGSTOP)

    with Stream(gateway, "hello", max_tokens=5) as stream:
        until(lambda: gateway.inflight() == 1)
        os.kill(worker, signal.SIGKILL)
        stream.start()
        assert stream.headers["x-hatchway-backend"] == "other"
        assert stream.next_text() == "I am here"


def test_a_started_stream_of_a_killed_worker_ends_with_the_error_event(hatchway):
    gateway = hatchway(backends=[bdh()])

    with Stream(gateway, "hello", **ENDLESS) as stream:
        stream.start().next_text()
        os.kill(gateway.workers()[0], signal.SIGKILL)
        rest = stream.rest()

    assert "[DONE]" not in rest
    assert set(rest[-1]) == {"error"}
    assert rest[-1]["error"]["message"]
    assert all("error" not in event for event in rest[:-1])


def test_a_killed_worker_leaves_the_others_alone(hatchway):
    gateway = hatchway(backends=[bdh(workers=2)], loops=1)
    first, second = gateway.workers()

    with Stream(gateway, "one", **ENDLESS) as one, Stream(gateway, "two", **ENDLESS) as two:
        one.start().next_text(), two.start().next_text()
        os.kill(first, signal.SIGKILL)
        ended = []
        until(lambda: gateway.inflight() == 1, what="one stream ends")
        for stream in one, two:
            stream.sock.settimeout(0.5)
            began = time.monotonic()
            while time.monotonic() - began < 1 and stream not in ended:
                event = stream.next_event()
                if event is None or "error" in event:
                    ended.append(stream)
        assert len(ended) == 1
        assert second in gateway.workers()
    until(lambda: len(gateway.workers()) == 2, 2)


def test_no_worker_outlives_its_gateway(hatchway):
    gateway = hatchway(backends=[bdh(workers=2)])
    workers = gateway.workers()
    assert len(workers) == 2

    gateway.process.kill()
    gateway.wait_end()

    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), 2, "workers end")


def test_a_long_answer_waits_for_a_slow_agent(hatchway):
    """The agent reads nothing: the worker is stopped by its credit, others are served."""
    gateway = hatchway(backends=[bdh()])

    with Stream(gateway, "hello", **ENDLESS) as slow:
        slow.start().next_text()
        time.sleep(0.5)
        before = gateway.rss_bytes()
        assert ask(gateway, "quick", max_tokens=5).text
        time.sleep(1)
        assert gateway.rss_bytes() - before < 4 << 20


def test_a_chat_goes_on(hatchway):
    gateway = hatchway(backends=[bdh()])
    body = chat("and now?", max_tokens=10)
    body["messages"] = [{"role": "system", "content": "be brief"},
                        {"role": "user", "content": "hello"},
                        {"role": "assistant", "content": "hi"}] + body["messages"]

    answer = post(gateway, "/v1/chat/completions", body)

    assert answer.text
    assert answer.text != ask(gateway, "and now?", max_tokens=10).text


def test_another_precision_is_another_worker_and_another_answer_to_keep(hatchway):
    gateway = hatchway(backends=[bdh()])
    first = gateway.workers()
    assert b"fast" not in command_line(first[0])
    assert ask(gateway, "hello", max_tokens=10).headers["x-hatchway-cache"] == "miss"

    gateway.write({"backends": [bdh(precision="fast")]})
    gateway.signal(signal.SIGHUP)

    until(lambda: gateway.workers() and gateway.workers() != first and
          all(b"fast" in command_line(pid) for pid in gateway.workers()))
    gateway.wait_ready()
    assert ask(gateway, "hello", max_tokens=10).headers["x-hatchway-cache"] == "miss"
    assert ask(gateway, "hello", max_tokens=10).headers["x-hatchway-cache"] == "hit"


def test_a_checkpoint_has_one_name_however_it_is_asked_for(hatchway):
    gateway = hatchway(backends=[bdh()])

    names = {ask(gateway, "hello", max_tokens=5, model=model).json()["model"]
             for model in ("auto", "model", "model.safetensors", "hatchling")}

    assert names == {"model"}


def test_a_node_that_closes_without_a_word(hatchway, backend):
    node = backend(closes)
    gateway = hatchway(backends=[{"name": "node", "kind": "bdh", "url": node.url, "general": True}])

    answer = post(gateway, "/api/bdh/ask", {"question": "hello?"})

    assert answer.status == 502
    assert "node" in answer.json()["error"]
