"""Back-pressure, limits and connections: what one agent does costs the others nothing."""
import json
import time

from harness.backend import openai, openai_chunk, sse
from harness.client import Connection, Stream, ask, chat, get, request_bytes
from harness.policy import openai as openai_backend, without_cache
from harness.wait import until

PIECE = "x" * 50_000


def pours(megabytes, poured):
    """Streams this much as fast as it is taken; poured[0] is what has been taken."""
    def answer(reply):
        reply.head(content_type="text/event-stream")
        for _ in range(megabytes * 20):
            reply.chunk(sse(openai_chunk("small", {"content": PIECE})))
            poured[0] += len(PIECE)
        reply.chunk(sse(openai_chunk("small", {}, "stop")))
        reply.chunk(sse(b"[DONE]"))
        reply.end()
    return answer


def test_an_agent_that_does_not_read_stops_its_backend(hatchway, backend, sanitized):
    poured = [0]
    gateway = hatchway(**without_cache({"backends": [openai_backend("peer", backend(pours(50, poured)))]}))
    before = gateway.rss_bytes()

    with Stream(gateway, "hello") as slow:
        slow.start()
        until(lambda: poured[0] > 0)
        time.sleep(1)
        stopped_at = poured[0]
        assert stopped_at < 25_000_000  # what kernels and gateway hold, not all of it
        time.sleep(0.5)
        assert poured[0] == stopped_at
        assert gateway.rss_bytes() - before < (60 if sanitized else 8) << 20
        rest = slow.rest()  # reads on: everything arrives
    assert rest[-1] == "[DONE]"
    assert sum(len(event["choices"][0]["delta"].get("content", "")) for event in rest[:-1]) == 50_000_000


def test_a_slow_agent_blocks_nobody(hatchway, backend):
    poured = [0]
    peer = backend(pours(50, poured), openai("quick"))
    gateway = hatchway(loops=1, **without_cache({"backends": [openai_backend("peer", peer)]}))

    with Stream(gateway, "hello") as slow:
        slow.start()
        until(lambda: poured[0] > 1_000_000)
        for _ in range(20):
            assert ask(gateway, "hello", seconds=2).text == "quick"


def test_room_is_waited_for_and_handed_over(hatchway, backend):
    peer = backend(openai("one ", "after the other", pause=0.1))
    gateway = hatchway(**without_cache({"backends": [openai_backend("peer", peer, max_inflight=2)]}))

    streams = [Stream(gateway, f"hello {i}") for i in range(8)]
    until(lambda: gateway.metric("hatchway_queries_queued") >= 1)
    assert gateway.inflight() <= 2
    for stream in streams:
        stream.start()
        assert stream.status == 200
        assert stream.rest()[-1] == "[DONE]"
        stream.close()
    assert gateway.inflight() == 0 and gateway.metric("hatchway_queries_queued") == 0


def test_too_many_wait(hatchway, backend):
    peer = backend(openai("a", "b", pause=0.5))
    gateway = hatchway(**without_cache({"backends": [openai_backend("peer", peer, max_inflight=1)]}),
                       limits={"queued": 1})

    streams = [Stream(gateway, f"hello {i}") for i in range(3)]
    refused = []
    for stream in streams:
        stream.start()
        if stream.status == 503:
            refused.append(json.loads(stream.read_exactly(int(stream.headers["content-length"]))))
        stream.close()

    assert len(refused) == 1
    assert "busy" in refused[0]["error"]["message"]


def test_a_realtime_query_goes_first(hatchway, backend):
    peer = backend(openai("a", "b", pause=0.2))
    gateway = hatchway(loops=1, **without_cache(
        {"backends": [openai_backend("peer", peer, max_inflight=1)]}))

    def waiting(count):
        until(lambda: gateway.metric("hatchway_queries_queued") == count)

    with Stream(gateway, "running") as running:
        running.start()
        with Stream(gateway, "dream", headers=["x-hatchway-lane: background"]) as dream:
            waiting(1)
            with Stream(gateway, "now!", headers=["x-hatchway-lane: realtime"]) as urgent:
                waiting(2)
                for stream in urgent, dream:
                    stream.start().rest()
    assert [request.json()["messages"][0]["content"] for request in peer.requests] == [
        "running", "now!", "dream"]


def test_keep_alive_and_pipelining(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    one = request_bytes("/v1/chat/completions", json.dumps(chat("hello")).encode())
    other = request_bytes("/health", method="GET")

    with Connection(gateway) as agent:
        agent.send((one + other) * 20)
        for _ in range(20):
            assert agent.read_answer().text == "ok"
            assert agent.read_answer().json() == {"status": "ok"}
        agent.send(request_bytes("/health", method="GET", headers=["Connection: close"]))
        assert agent.read_answer().headers["connection"] == "close"
        assert agent.is_closed()


def test_requests_cut_at_every_byte(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)])
    request = request_bytes("/v1/chat/completions", json.dumps(chat("hello")).encode())

    with Connection(gateway) as agent:
        for i in range(1, len(request)):
            agent.send(request[:i])
            time.sleep(0.001)
            agent.send(request[i:])
            assert agent.read_answer().text == "ok"


def test_a_head_that_never_ends_is_cut_off(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(backends=[openai_backend("peer", peer)], limits={"header_timeout": "300ms"})

    with Connection(gateway) as agent:
        began = time.monotonic()
        try:
            for byte in b"GET /health HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 200:
                agent.send(bytes([byte]))
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass
        agent.read_to_end()
        assert time.monotonic() - began < 5
    until(lambda: gateway.metric("hatchway_connections_cut_total", reason="timeout") >= 1)


def test_more_connections_than_allowed(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(loops=1, backends=[openai_backend("peer", peer)], limits={"connections": 4})

    def agent_with_a_place():  # those that asked whether it is ready may still be on their way out
        agent = Connection(gateway)
        agent.send(request_bytes("/health", method="GET"))
        return agent if agent.read_answer().status == 200 else agent.close()

    agents = [until(agent_with_a_place) for _ in range(4)]
    with Connection(gateway) as one_more:
        one_more.send(request_bytes("/health", method="GET"))
        assert one_more.read_answer().status == 503
    for agent in agents:
        agent.close()
    until(lambda: get(gateway, "/health").status == 200)
    until(lambda: gateway.metric("hatchway_connections_cut_total", reason="refused") >= 1)
    assert gateway.metric("hatchway_connections_accepted_total") >= 5
