"""Backends that become slow, and how those that recover are let in again."""
import time

from harness.backend import openai, status
from harness.client import ask, get, post
from harness.policy import in_order, openai as openai_backend
from harness.wait import until

PROMPTLY = openai("a piece ", "and another")


def slowly(reply):
    time.sleep(1.1)
    PROMPTLY(reply)


def shown(gateway, name):
    return {b["name"]: b for b in get(gateway, "/hatchway/backends").json()["backends"]}[name]


def two(hatchway, backend, **breaker):
    one, other = backend(openai("one")), backend(openai("two"))
    gateway = hatchway(backends=[openai_backend("one", one, priority=0),
                                 openai_backend("two", other, priority=1)],
                       routes=in_order("one", "two"), cache={"keep": "none"}, breaker=breaker,
                       probes={"interval": 0}, limits={"retry_percent": 100})
    one.then(status(500))
    until(lambda: [ask(gateway, "hello"), shown(gateway, "one")["breaker"] == "open"][1])
    one.then(openai("one"))
    until(lambda: [ask(gateway, "hello"), shown(gateway, "one")["breaker"] == "closed"][1])
    return gateway


def test_who_recovers_gets_its_queries_back_little_by_little(hatchway, backend):
    gateway = two(hatchway, backend, slow_start="1h")

    answers = [ask(gateway, "hello").text for _ in range(80)]

    assert answers.count("one") < 30 and "two" in answers  # a tenth, by chance
    assert shown(gateway, "one")["slow_start"] == 0.1
    assert shown(gateway, "two")["slow_start"] == 1
    told = post(gateway, "/hatchway/explain", {"query": "hello"}).json()["candidates"]
    assert [(c["backend"], c["slow_start"]) for c in told] == [("one", 0.1), ("two", 1)]


def test_or_at_once(hatchway, backend):
    gateway = two(hatchway, backend, slow_start=0)

    assert {ask(gateway, "hello").text for _ in range(20)} == {"one"}


def test_first_tokens_far_later_than_usual_are_bad_news(hatchway, backend):
    slow = backend(PROMPTLY)
    gateway = hatchway(backends=[openai_backend("only", slow)], cache={"keep": "none"},
                       breaker={"late": 5}, probes={"interval": 0}, loops=1)
    for _ in range(21):
        ask(gateway, "hello", stream=True)
    slow.then(*[slowly] * 5, PROMPTLY)

    # One after the other, for a backend that is full may be late.
    late = [ask(gateway, "hello", stream=True).status for _ in range(5)]

    assert late == [200] * 5
    assert gateway.metric("hatchway_late_answers_total", backend="only") == 5
    only = shown(gateway, "only")
    if only["breaker"] == "open":  # for a second
        assert "far later than usual" in only["why"]
    assert ask(gateway, "hello", stream=True).status == 200  # there is nobody else
