"""What a worker keeps of what it has read: told by how many tokens it has read since its start."""
import os
import signal

import pytest

from harness.client import Stream, chat, post
from harness.gateway import HATCHLING, TINY_MODEL, command_line, run
from harness.policy import bdh, without_cache
from harness.wait import until

SYSTEM = "You answer for the hatchery. " * 10


def start(hatchway, model=HATCHLING, loops=0, **more):
    return hatchway(**without_cache({"backends": [bdh(model=model, **more)], "loops": loops}))


def read(gateway):
    return gateway.metric("hatchway_worker_tokens_total", direction="prompt")


def talk(gateway, *texts, system=None, **fields):
    """Asks the last of a conversation's turns."""
    body = chat("", **fields)
    body["messages"] = [{"role": "system", "content": system}] if system else []
    body["messages"] += [{"role": "assistant" if i % 2 else "user", "content": text}
                         for i, text in enumerate(texts)]
    answer = post(gateway, "/v1/chat/completions", body)
    assert answer.status == 200
    return answer.text.strip()


def test_the_next_turn_reads_only_what_is_new(hatchway):
    gateway = start(hatchway)

    first = talk(gateway, "What is a route?")
    until(lambda: read(gateway) == len("Q: What is a route?\nA: "), seconds=30)
    before = read(gateway)
    second = talk(gateway, "What is a route?", first, "What is a lane?")

    # The newline that ended the first answer was never read.
    until(lambda: read(gateway) - before == len("\nQ: What is a lane?\nA: "), seconds=30)
    assert gateway.metric("hatchway_worker_kept_prompts_total") == 1
    alone = start(hatchway, state_cache=0)
    assert talk(alone, "What is a route?", first, "What is a lane?") == second


def test_conversations_with_one_beginning_read_it_once(hatchway):
    gateway = start(hatchway, model=TINY_MODEL)
    alone = start(hatchway, model=TINY_MODEL, state_cache=0)
    questions = ["When is high tide?", "Who are you?", "Is it warm?"]

    for question in questions:
        asked = {"system": SYSTEM, "max_tokens": 20, "temperature": 1, "seed": 5}
        assert talk(gateway, question, **asked) == talk(alone, question, **asked)

    # Turns are joined by a newline, which belongs to the one behind it.
    new = sum(1 + len(question) for question in questions)
    until(lambda: read(gateway) == len(SYSTEM) + new, seconds=30)
    until(lambda: read(alone) == 3 * len(SYSTEM) + new, seconds=30)
    assert gateway.metric("hatchway_worker_kept_tokens_total") == 2 * len(SYSTEM)
    assert (gateway.metric("hatchway_worker_state_bytes")
            > alone.metric("hatchway_worker_state_bytes"))


def kept(gateway):
    """Tokens that were not read again; once the workers have told of their last query."""
    return gateway.metric("hatchway_worker_kept_tokens_total")


def hold(gateway, text):
    """A query that goes on until its stream is closed."""
    stream = Stream(gateway, text, max_tokens=1_000_000).start()
    stream.next_text()
    return stream


def test_the_next_turn_goes_to_the_worker_that_read_the_first(hatchway):
    gateway = start(hatchway, model=TINY_MODEL, workers=2, loops=1)
    question = "What does the dragon keep? " * 30

    with hold(gateway, "one") as one:
        first = talk(gateway, question, max_tokens=20)  # to the other worker
        with hold(gateway, "two"):                      # there too, or beside "one"
            one.close()
            until(lambda: gateway.inflight() == 1, seconds=30)
            talk(gateway, question, first, "And then?", max_tokens=20)
            until(lambda: kept(gateway) >= len(question) - 1, seconds=30)


def test_conversations_return_to_their_workers_by_way_of_any_loop(hatchway):
    gateway = start(hatchway, workers=2, loops=2, state_cache="256MiB")
    questions = [f"{i} times: " + "what is a route? " * 10 for i in range(6)]

    first = [talk(gateway, question, max_tokens=20) for question in questions]
    assert kept(gateway) == 0
    for question, answer in zip(questions, first):
        talk(gateway, question, answer, "What is a lane?", max_tokens=20)

    until(lambda: kept(gateway) >= sum(len(question) for question in questions), seconds=30)


TEMPLATE = "You are asked to read this and to say what it is about. " * 6
STORY = "Once upon a time there was a dragon. " * 30


@pytest.mark.parametrize("texts", [["What does the dragon keep?"] * 4,
                                   [f"{TEMPLATE}{i} {STORY}" for i in range(4)]],
                         ids=["the same", "one template"])
def test_queries_that_begin_alike_are_spread_over_the_workers(hatchway, texts):
    gateway = start(hatchway, model=TINY_MODEL, workers=2, loops=1)

    streams = [hold(gateway, text) for text in texts]
    os.kill(gateway.workers()[0], signal.SIGKILL)
    until(lambda: gateway.inflight() == 2, seconds=30)

    for stream in streams:
        stream.close()


def test_the_budget_is_the_backends_to_say(hatchway):
    gateway = start(hatchway, model=TINY_MODEL, state_cache="1500KiB")
    first = gateway.workers()
    line = command_line(first[0]).split(b"\0")
    assert line[line.index(b"--state-cache") + 1] == b"2"  # whole MiB

    gateway.write(without_cache({"backends": [bdh(model=TINY_MODEL, state_cache=0)]}))
    gateway.signal(signal.SIGHUP)

    until(lambda: gateway.workers() and gateway.workers() != first and
          all(b"--state-cache\x000\0" in command_line(pid) for pid in gateway.workers()))


def test_the_budget_of_a_worker_by_hand():
    done = run("worker", "--model", TINY_MODEL, "--socket", "s", "--state-cache", "much")

    assert done.returncode == 2
    assert b"--state-cache must be a whole number" in done.stderr
