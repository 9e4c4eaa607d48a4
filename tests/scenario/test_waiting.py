"""When all that is good is full: what is worth waiting for, and what is not."""
import threading

import pytest

from harness.backend import closes, openai
from harness.client import ask
from harness.policy import openai as openai_backend, ordered, without_cache
from harness.wait import until


def in_background(gateway, text, count=1, **fields):
    """Asks `count` times at once; join() gives the answers."""
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(gateway, text, seconds=60, **fields)))
               for _ in range(count)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join()
        return answers
    return join


@pytest.fixture
def fast_and_slow(hatchway, backend):
    """A gateway that has learned how long each of them takes."""
    fast, slow = backend(openai("fast", pause=0.2)), backend(openai("slow", pause=4))
    gateway = hatchway(backends=[openai_backend("fast", fast, max_inflight=1),
                                 openai_backend("slow", slow, max_inflight=1)],
                       cache={"keep": "none"})
    taught = in_background(gateway, "hello", model="slow")
    for _ in range(3):
        assert ask(gateway, "hello", model="fast").text == "fast"
    assert [answer.text for answer in taught()] == ["slow"]
    return gateway, fast, slow


def test_who_will_have_room_at_once_is_waited_for(fast_and_slow):
    gateway, fast, slow = fast_and_slow

    before = in_background(gateway, "before")
    until(lambda: len(fast.requests) == 4)
    answers = [*in_background(gateway, "behind", count=2)(), *before()]

    assert [answer.backend for answer in answers] == ["fast"] * 3
    assert len(slow.requests) == 1
    assert gateway.metric("hatchway_queries_queued") == 0


def test_a_long_queue_is_not_waited_for(fast_and_slow):
    gateway, _, slow = fast_and_slow

    answers = in_background(gateway, "at once", count=20)()

    assert {answer.status for answer in answers} == {200}
    assert {answer.backend for answer in answers} == {"fast", "slow"}
    assert len(slow.requests) >= 2


def test_a_query_that_was_failed_waits_for_room_too(hatchway, backend):
    dying, busy = backend(closes), backend(openai("I am here", pause=0.5))
    gateway = hatchway(**without_cache(ordered(openai_backend("dying", dying),
                                               openai_backend("busy", busy, max_inflight=1))),
                       limits={"retry_percent": 100})
    holder = in_background(gateway, "first", model="busy")
    until(lambda: len(busy.requests) == 1)

    answer = ask(gateway, "hello")

    assert (answer.status, answer.backend) == (200, "busy")
    assert len(dying.requests) == 1  # and it is not asked again after the wait
    assert holder()[0].status == 200
