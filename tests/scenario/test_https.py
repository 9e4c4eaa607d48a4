"""Backends behind https: the same answers, and certificates are checked."""
import shutil
import subprocess
import time

import pytest

from harness.backend import goes_on, hangs, openai
from harness.client import Stream, ask
from harness.policy import openai as openai_backend, without_cache
from harness.wait import until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    return str(cert), str(key)


def trusting(hatchway, certificate, peer, **more):
    return hatchway(**without_cache({"backends": [openai_backend("peer", peer, **more)]}),
                    env={"SSL_CERT_FILE": certificate[0]})


def test_whole_and_streamed(hatchway, backend, certificate):
    peer = backend(openai("over", " tls"), tls=certificate)
    gateway = trusting(hatchway, certificate, peer)

    for stream in False, True, False, True:
        assert ask(gateway, "hello", stream=stream).text == "over tls"
    assert "expect" not in peer.requests[0].headers


def test_a_large_body(hatchway, backend, certificate):
    peer = backend(openai("ok"), tls=certificate)
    gateway = trusting(hatchway, certificate, peer)
    text = "long " * 400_000

    assert ask(gateway, text).text == "ok"
    assert peer.requests[0].json()["messages"][0]["content"] == text


def test_an_unknown_certificate_is_refused(hatchway, backend, certificate):
    peer = backend(openai("ok"), tls=certificate)
    gateway = hatchway(backends=[openai_backend("peer", peer)])

    answer = ask(gateway, "hello")

    assert answer.status == 502
    assert "certificate" in answer.error
    assert not peer.requests


def test_the_proxy_of_the_environment_is_not_used(hatchway, backend, certificate):
    peer = backend(openai("direct"), tls=certificate)
    gateway = hatchway(backends=[openai_backend("peer", peer)],
                       env={"SSL_CERT_FILE": certificate[0], "https_proxy": "http://127.0.0.1:9"})

    assert ask(gateway, "hello").text == "direct"


def test_it_hangs(hatchway, backend, certificate):
    peer = backend(hangs, tls=certificate)
    gateway = trusting(hatchway, certificate, peer, timeouts={"first_byte": "200ms"})

    assert ask(gateway, "hello", stream=True).status == 504


def test_an_agent_that_leaves(hatchway, backend, certificate):
    peer = backend(goes_on(), tls=certificate)
    gateway = trusting(hatchway, certificate, peer)

    stream = Stream(gateway, "hello").start()
    stream.next_text()
    left_at = time.monotonic()
    stream.close()

    until(lambda: peer.left)
    assert peer.left[0] - left_at < 0.5
    until(lambda: gateway.inflight() == 0)
