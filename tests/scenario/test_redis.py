"""Redis is a help and never a need: refused, killed or stopped, no query is lost or late."""
from harness.backend import openai
from harness.client import ask, timed
from harness.policy import openai as openai_backend
from harness.redis import Redis
from harness.wait import until

LATE_SECONDS = 1.0


def with_redis(peer, redis, **cache):
    return {"backends": [openai_backend("peer", peer)], "cache": {"redis": redis.url, **cache}}


def answers_in_time(gateway, text):
    answer, seconds = timed(lambda: ask(gateway, text))
    assert answer.text == "an answer"
    assert seconds < LATE_SECONDS
    return answer


def redis_is_up(gateway, up=1):
    return until(lambda: gateway.metric("hatchway_redis_up") == up or None, 10, f"redis_up {up}")


def test_two_gateways_share_answers(hatchway, backend, redis):
    peer = backend(openai("an answer"))
    one = hatchway(**with_redis(peer, redis))
    redis_is_up(one)
    first = ask(one, "question")
    until(lambda: redis.entries() == 1)

    two = hatchway(**with_redis(peer, redis))
    redis_is_up(two)
    second = ask(two, "question")
    streamed = ask(two, "question", stream=True)

    assert (first.cache, second.cache, streamed.cache) == ("miss", "hit", "hit")
    assert first.text == second.text == streamed.text
    assert len(peer.requests) == 1
    assert two.metric("hatchway_cache_requests_total", result="hit", store="redis") == 1


def test_an_answer_outlives_the_gateway(hatchway, backend, redis):
    peer = backend(openai("an answer"))
    gateway = hatchway(**with_redis(peer, redis, memory=0))
    redis_is_up(gateway)
    ask(gateway, "question")
    until(lambda: redis.entries() == 1)
    gateway.stop()

    again = hatchway(**with_redis(peer, redis, memory=0))
    redis_is_up(again)

    assert ask(again, "question").cache == "hit"


def test_an_answer_expires(hatchway, backend, redis):
    peer = backend(openai("an answer"))
    gateway = hatchway(**with_redis(peer, redis, ttl="1s"))
    redis_is_up(gateway)
    ask(gateway, "question")
    until(lambda: redis.entries() == 1)

    until(lambda: redis.entries() == 0, 5)

    assert ask(gateway, "question").cache == "miss"


def test_refused(hatchway, backend, tmp_path):
    peer = backend(openai("an answer"))
    gateway = hatchway(**with_redis(peer, Redis(tmp_path)))  # never started

    for i in range(20):
        answers_in_time(gateway, f"question {i}")
    assert answers_in_time(gateway, "question 0").cache == "hit"  # memory goes on


def test_killed_and_started_again(hatchway, backend, redis):
    peer = backend(openai("an answer"))
    gateway = hatchway(**with_redis(peer, redis))
    redis_is_up(gateway)
    for i in range(10):
        if i == 5:
            redis.kill()
        answers_in_time(gateway, f"question {i}")
    redis_is_up(gateway, 0)

    redis.start()
    redis_is_up(gateway)
    answers_in_time(gateway, "after")
    until(lambda: redis.entries() == 1)


def test_stopped_in_the_middle(hatchway, backend, redis):
    peer = backend(openai("an answer"))
    gateway = hatchway(**with_redis(peer, redis))
    redis_is_up(gateway)
    answers_in_time(gateway, "before")

    redis.pause()
    for i in range(50):
        answers_in_time(gateway, f"question {i}")
    redis.go_on()

    redis_is_up(gateway)
    answers_in_time(gateway, "after")
    assert gateway.metric("hatchway_redis_timeouts_total") >= 1


def test_stopped_while_nobody_asks(hatchway, backend, redis):
    """It counted as up until a query had to find out."""
    gateway = hatchway(**with_redis(backend(openai("an answer")), redis))
    redis_is_up(gateway)
    asked = gateway.metric("hatchway_cache_requests_total")

    redis.pause()
    redis_is_up(gateway, 0)
    until(lambda: gateway.metric("hatchway_redis_connections_lost_total") >= 1)
    redis.go_on()
    redis_is_up(gateway)

    assert gateway.metric("hatchway_cache_requests_total") == asked
    redis.command("CONFIG", "SET", "maxmemory", "1")
    answers_in_time(gateway, "no room for this")
    until(lambda: gateway.metric("hatchway_redis_errors_total") >= 1)


def test_hostile_entries_are_a_miss(hatchway, backend, redis):
    peer = backend(openai("an answer"))
    gateway = hatchway(**with_redis(peer, redis, memory=0))
    redis_is_up(gateway)
    ask(gateway, "question")
    until(lambda: redis.entries() == 1)
    key = redis.text("RANDOMKEY")

    for value in ("x", '"\\x01"', '"\\x01\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7fgarbage"',
                  '"\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"'):
        redis.command("SET", key, value)
        answers_in_time(gateway, "question")
