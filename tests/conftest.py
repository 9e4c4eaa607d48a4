"""What every scenario may ask for: a gateway, backends, Redis. All are stopped and judged after it."""
import itertools

import pytest

from harness import gateway as gateways
from harness import redis as redis_server
from harness.backend import Backend


def pytest_addoption(parser):
    parser.addoption("--write-tables", action="store_true",
                     help="write docs/compatibility.md from what tests/matrix finds")


@pytest.fixture
def hatchway(tmp_path, backend):
    """hatchway(backends=[...], ...): starts a gateway with this configuration and waits for it.

    Depends on backend, so that gateways drain while their backends still answer."""
    started = []
    numbers = itertools.count()

    def start(text=None, env=None, wait=True, **config):
        gateway = gateways.Gateway(tmp_path / f"gateway{next(numbers)}", text or config, env)
        started.append(gateway)
        return gateway.wait_ready() if wait else gateway

    yield start
    failures = []
    for gateway in started:
        try:
            gateway.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


@pytest.fixture
def backend():
    """backend(ANSWER...): a scripted backend."""
    started = []

    def start(*answers, **options):
        started.append(Backend(*answers, **options))
        return started[-1]

    yield start
    for one in started:
        one.check()


@pytest.fixture
def redis(tmp_path):
    if not redis_server.installed():
        pytest.skip("redis-server is not installed")
    server = redis_server.Redis(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def sanitized():
    return gateways.sanitized()
