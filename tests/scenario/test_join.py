"""Identical queries in flight: one is asked, the others wait for its answer."""
import hashlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.backend import hangs, openai, openai_chunk, sse, status
from harness.client import Connection, Stream, ask, chat
from harness.policy import bdh, openai as openai_backend
from harness.wait import until


class Gate:
    """Answers wait until it is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, answer):
        def waits(reply):
            assert self.opened.wait(30)
            answer(reply)
        return waits

    def open(self):
        self.opened.set()


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.open()


@pytest.fixture
def crowd():
    """crowd(CALLABLE, ...): futures of what runs side by side."""
    with ThreadPoolExecutor(64) as pool:
        yield lambda *calls: [pool.submit(call) for call in calls]


def following(gateway, count):
    """So many queries wait for another's answer (or for nothing else than that)."""
    until(lambda: gateway.metric("hatchway_queries_active") == count + 1, 15,
          f"{count} queries follow one")


def joined(gateway):
    return gateway.metric("hatchway_cache_requests_total", result="join")


def test_fifty_at_once_are_one_for_the_backend(hatchway, backend, gate, crowd):
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    answers = crowd(*[lambda: ask(gateway, "question")] * 50)
    following(gateway, 49)
    gate.open()
    answers = [answer.result() for answer in answers]

    assert {answer.text for answer in answers} == {"an answer"}
    assert sorted(answer.cache for answer in answers) == ["join"] * 49 + ["miss"]
    assert {answer.backend for answer in answers} == {"peer"}
    assert len(peer.requests) == 1
    assert joined(gateway) == 49
    assert gateway.metric("hatchway_cache_requests_total", result="miss") == 1
    assert gateway.counts(50, "hatchway_requests_total", code="200", route="default")
    assert ask(gateway, "question").cache == "hit"


def test_each_in_its_own_way(hatchway, backend, gate, crowd):
    peer = backend(gate(openai("an ", "answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)], cache={"join": "all"})

    whole, stream = lambda: ask(gateway, "q"), lambda: ask(gateway, "q", stream=True)
    answers = crowd(whole, stream, whole, stream)
    following(gateway, 3)
    gate.open()

    assert {answer.result().text for answer in answers} == {"an answer"}
    assert sorted(answer.result().cache for answer in answers) == ["join"] * 3 + ["miss"]
    assert answers[1].result().headers["content-type"].startswith("text/event-stream")
    assert len(peer.requests) == 1


def test_streams_ask_by_themselves_unless_told_otherwise(hatchway, backend, gate, crowd):
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    off = hatchway(backends=[openai_backend("peer", peer)], cache={"join": "off"})

    streams = crowd(*[lambda: ask(gateway, "question", stream=True)] * 3,
                    *[lambda: ask(off, "question")] * 3)
    until(lambda: len(peer.requests) == 6)
    gate.open()

    assert {stream.result().cache for stream in streams} == {"miss"}


def test_only_what_the_cache_would_share(hatchway, backend, gate, crowd):
    """Neither another agent's answer, nor one by chance, nor what must not come from the cache."""
    keys = [f"key-{i}" for i in range(2)]
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)], agents=[
        {"name": f"agent-{i}", "key": "sha256:" + hashlib.sha256(key.encode()).hexdigest()}
        for i, key in enumerate(keys)])
    auth = [{"authorization": f"Bearer {key}"} for key in keys]

    answers = crowd(lambda: ask(gateway, "question", headers=auth[0]),
                    lambda: ask(gateway, "question", headers=auth[1]),
                    lambda: ask(gateway, "question", headers=auth[0], max_tokens=5),
                    lambda: ask(gateway, "question", headers=auth[0], temperature=1.0),
                    lambda: ask(gateway, "question",
                                headers={**auth[0], "cache-control": "no-cache"}))
    until(lambda: len(peer.requests) == 5)
    gate.open()

    assert all(answer.result().cache in ("miss", "bypass") for answer in answers)


def test_a_failure_is_not_shared(hatchway, backend, gate, crowd):
    peer = backend(gate(status(400)), openai("an answer"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    first, = crowd(lambda: ask(gateway, "question"))
    until(lambda: peer.requests)
    others = crowd(*[lambda: ask(gateway, "question")] * 5)
    following(gateway, 5)
    gate.open()

    assert first.result().status == 400
    assert {other.result().text for other in others} == {"an answer"}
    assert {other.result().cache for other in others} == {"miss"}
    assert len(peer.requests) == 6


def test_what_is_not_kept_is_not_shared(hatchway, backend, gate, crowd):
    """An answer of a fallback is nobody else's."""
    first, second = backend(gate(status(503))), backend(openai("my best guess"))
    gateway = hatchway(
        backends=[openai_backend("first", first), openai_backend("second", second)],
        routes=[{"name": "all", "to": {"backend": "first"}, "fallback": {"backend": "second"}}],
        limits={"retry_percent": 100})

    leader, = crowd(lambda: ask(gateway, "question"))
    until(lambda: first.requests)
    others = crowd(*[lambda: ask(gateway, "question")] * 2)
    following(gateway, 2)
    gate.open()

    answers = [leader.result()] + [other.result() for other in others]
    assert {answer.text for answer in answers} == {"my best guess"}
    assert {answer.cache for answer in answers} == {"miss"}
    assert len(second.requests) == 3


def leave(gateway, text):
    """Asks, to go away later."""
    connection = Connection(gateway)
    connection.send_request("/v1/chat/completions", chat(text))
    return connection


def test_the_first_one_leaves_and_another_takes_its_place(hatchway, backend, gate, crowd):
    peer = backend(hangs, gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    first = leave(gateway, "question")
    until(lambda: peer.requests)
    others = crowd(*[lambda: ask(gateway, "question")] * 5)
    following(gateway, 5)
    first.close()
    until(lambda: peer.left, what="the first query is cancelled")
    until(lambda: len(peer.requests) == 2)
    following(gateway, 4)
    gate.open()

    assert {other.result().text for other in others} == {"an answer"}
    assert sorted(other.result().cache for other in others) == ["join"] * 4 + ["miss"]
    assert len(peer.requests) == 2


def test_one_that_waits_leaves(hatchway, backend, gate, crowd):
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    first, = crowd(lambda: ask(gateway, "question"))
    until(lambda: peer.requests)
    others = crowd(*[lambda: ask(gateway, "question")] * 2)
    following(gateway, 2)
    gone = leave(gateway, "question")
    following(gateway, 3)
    gone.close()
    following(gateway, 2)
    gate.open()

    assert first.result().text == "an answer"
    assert {other.result().cache for other in others} == {"join"}
    assert not peer.left and len(peer.requests) == 1
    assert gateway.metric("hatchway_client_left_total") == 1


def test_each_has_its_own_deadline(hatchway, backend, crowd):
    """The first one's time is up before that of those behind it: they ask by themselves."""
    peer = backend(hangs, openai("an answer"))
    gateway = hatchway(backends=[openai_backend("peer", peer)], timeouts={"total": "1500ms"})

    first, = crowd(lambda: ask(gateway, "question"))
    until(lambda: peer.requests)
    threading.Event().wait(0.7)
    second, = crowd(lambda: ask(gateway, "question"))

    assert first.result().status == 504
    assert (second.result().text, second.result().cache) == ("an answer", "miss")


def test_a_deadline_of_one_that_waits(hatchway, backend, gate, crowd):
    """Its time began when it came, whoever it follows."""
    peer = backend(gate(openai("an answer")))
    config = {"backends": [openai_backend("peer", peer)]}
    gateway = hatchway(**config)
    first, = crowd(lambda: ask(gateway, "question"))
    until(lambda: peer.requests)
    gateway.write({**config, "timeouts": {"total": "300ms"}})
    until(lambda: gateway.metric("hatchway_config_reloads_total", result="ok") == 1)

    assert ask(gateway, "question").status == 504
    gate.open()
    assert first.result().text == "an answer"
    assert len(peer.requests) == 1


def test_nobody_waits_for_a_lower_lane(hatchway, backend, gate, crowd):
    """Background work may stand in a queue for long."""
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    lane = lambda name: ask(gateway, "question", headers={"x-hatchway-lane": name})

    background, = crowd(lambda: lane("background"))
    until(lambda: len(peer.requests) == 1)
    realtime, = crowd(lambda: lane("realtime"))
    until(lambda: len(peer.requests) == 2)
    follower, = crowd(lambda: lane("background"))
    following(gateway, 2)
    gate.open()

    assert background.result().cache == realtime.result().cache == "miss"
    assert follower.result().cache == "join"
    assert len(peer.requests) == 2


def test_nobody_waits_for_a_slow_reader(hatchway, backend, crowd):
    """join: all. What a stream's own agent does not take keeps its backend waiting, and no more."""
    slow = threading.Event()

    def floods(reply):
        model = reply.request.json()["model"]
        reply.head(content_type="text/event-stream")
        for _ in range(3000):
            reply.chunk(sse(openai_chunk(model, {"content": "x" * 10000})))
            slow.set()
        reply.chunk(sse(openai_chunk(model, {}, "stop")))
        reply.chunk(sse(b"[DONE]"))
        reply.end()

    peer = backend(floods, openai("an answer"))
    gateway = hatchway(backends=[openai_backend("peer", peer)], cache={"join": "all"})

    with Stream(gateway, "question") as stream:
        stream.start()
        assert slow.wait(10)
        answer, = crowd(lambda: ask(gateway, "question"))
        assert answer.result().text == "an answer"


def test_a_stream_that_waits_is_kept_alive(hatchway, backend, gate, crowd):
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)], cache={"join": "all"},
                       timeouts={"keepalive_comment": "200ms"})

    first, = crowd(lambda: ask(gateway, "question"))
    until(lambda: peer.requests)
    with Stream(gateway, "question") as stream:
        stream.start()
        assert stream.headers["x-hatchway-cache"] == "join"
        assert stream.read_chunk().startswith(b":")
        gate.open()
        assert stream.next_text() == "an answer"
    assert first.result().text == "an answer"


def test_the_end_comes_for_those_that_wait_too(hatchway, backend, crowd):
    peer = backend(hangs)
    gateway = hatchway(backends=[openai_backend("peer", peer)], drain="300ms")

    answers = crowd(*[lambda: ask(gateway, "question")] * 6)
    following(gateway, 5)
    gateway.signal(signal.SIGTERM)

    assert {answer.result().status for answer in answers} == {503}
    assert gateway.wait_end() == 0


def test_a_worker_is_asked_once(hatchway, crowd):
    gateway = hatchway(backends=[bdh()])

    answers = crowd(*[lambda: ask(gateway, "hello", max_tokens=3000)] * 8)
    until(lambda: gateway.inflight() == 1)
    following(gateway, 7)

    assert len({answer.result().text for answer in answers}) == 1
    assert sorted(answer.result().cache for answer in answers) == ["join"] * 7 + ["miss"]


def test_redis_alone_is_cache_enough(hatchway, backend, redis, gate, crowd):
    peer = backend(gate(openai("an answer")))
    gateway = hatchway(backends=[openai_backend("peer", peer)],
                       cache={"memory": 0, "redis": redis.url})

    answers = crowd(*[lambda: ask(gateway, "question")] * 10)
    following(gateway, 9)
    gate.open()

    assert sorted(answer.result().cache for answer in answers) == ["join"] * 9 + ["miss"]
    until(lambda: ask(gateway, "question").cache == "hit")
    assert len(peer.requests) == 1
