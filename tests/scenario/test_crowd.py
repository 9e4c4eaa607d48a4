"""Many at once, some of them rude: nothing is lost, nothing crashes, nothing is left behind."""
import json
import random
import threading

from harness.backend import byte_by_byte, closes, dies_after, ollama, openai, status
from harness.client import Answer, Connection, chat, events
from harness.policy import bdh, ollama as ollama_backend, openai as openai_backend
from harness.wait import until

AGENTS = 200


def is_in_order(answer):
    """A complete answer, an honest error, or a stream that ends with one."""
    if answer.status != 200:
        return answer.status in (400, 429, 502, 503, 504) and bool(answer.error)
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return bool(answer.json()["choices"])
    found = events(answer.body)
    return (found[-1] == "[DONE]") != ("error" in found[-1])


def one_agent(gateway, number, failures):
    dice = random.Random(number)
    model = dice.choice(["auto", "auto", "hatchling", "small", "llama3.1:8b", "market"])
    text = dice.choice(["the market", "hello", f"question {number}", "x" * dice.randrange(4000)])
    body = json.dumps({**chat(text, model), "stream": dice.random() < 0.5,
                       "max_tokens": dice.choice([1, 10, 100]),
                       "temperature": dice.choice([0, 1])}).encode()
    try:
        with Connection(gateway, seconds=60) as agent:
            agent.send_request("/v1/chat/completions", body)
            if dice.random() < 0.3:  # leaves, at any moment
                agent.sock.settimeout(dice.random() * 0.3)
                try:
                    agent.read_to_end()
                except TimeoutError:
                    pass
                return
            answer = agent.read_answer()
            assert isinstance(answer, Answer) and is_in_order(answer), answer
    except Exception as failure:
        failures.append((number, failure))


def test_a_crowd(hatchway, backend):
    peer = backend(openai("a", "b"), byte_by_byte(openai("c")), closes, openai(*"slowly", pause=0.02),
                   status(500), dies_after("half"), *[openai("d", pause=0.01)] * 40, openai("e"))
    redfin = backend(ollama("x", "y", pause=0.02), status(503), ollama("z"))
    gateway = hatchway(
        backends=[bdh(workers=2), openai_backend("peer", peer, max_inflight=20),
                  ollama_backend("redfin", redfin, roles=["market"], max_inflight=4)],
        roles={"market": {"keywords": ["market"]}}, cache={"memory": "1MiB"})
    failures = []

    for _ in range(2):
        agents = [threading.Thread(target=one_agent, args=(gateway, i, failures))
                  for i in range(AGENTS)]
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.join()

    assert not failures
    until(lambda: gateway.inflight() == 0, 10)
    until(lambda: gateway.metric("hatchway_queries_active") == 0, 10)
    assert gateway.metric("hatchway_queries_queued") == 0
    assert len(gateway.workers()) == 2
