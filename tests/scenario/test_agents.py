"""Agents with keys: who may ask, and keys are never seen again."""
import hashlib

from harness.backend import openai
from harness.client import ask, chat, get, post, request
from harness.policy import openai as openai_backend

KEY = "hk-2f9c-very-secret"
ADMIN = "hk-admin-also-secret"


def hashed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def with_agents(peer, **more):
    return {"backends": [openai_backend("peer", peer)],
            "agents": [{"name": "email", "key": hashed(KEY)},
                       {"name": "dreamers", "key": hashed("other"), "lane": "background"}], **more}


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def test_without_the_key_nothing_is_answered(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(**with_agents(peer))

    for headers in ({}, bearer("wrong"), bearer(""), bearer(KEY[:-1]), bearer(KEY + "x"),
                    {"authorization": f"Basic {KEY}"}, {"authorization": KEY}):
        answer = ask(gateway, "hello", headers=headers)
        assert answer.status == 401, headers
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert get(gateway, "/v1/models", headers=headers).status == 401
    refused = post(gateway, "/api/bdh/ask", {"question": "hello"})
    assert refused.status == 401 and isinstance(refused.json()["error"], str)
    assert not peer.requests
    assert get(gateway, "/health").status == 200


def test_with_the_key(hatchway, backend):
    peer = backend(openai("ok"))
    gateway = hatchway(**with_agents(peer))

    assert ask(gateway, "hello", headers=bearer(KEY)).text == "ok"
    assert get(gateway, "/v1/models", headers=bearer(KEY)).status == 200
    assert "authorization" not in peer.requests[0].headers
    assert ask(gateway, "dream", headers=bearer("other")).text == "ok"
    lines = gateway.access_log(2)
    assert (lines[0]["agent"], lines[1]["agent"]) == ("email", "dreamers")
    assert lines[1]["lane"] == "background"


def test_keys_are_in_no_log(hatchway, backend):
    gateway = hatchway(**with_agents(backend(openai("ok"))), env={"HATCHWAY_TRACE": "all"})

    ask(gateway, "hello", headers=bearer(KEY))
    ask(gateway, "hello", headers=bearer(KEY + "x"))
    request(gateway, "GET", "/nothing", headers=bearer(KEY))
    gateway.access_log(2)
    metrics = str(gateway.metrics())
    gateway.stop()

    for text in gateway.log(), gateway.stdout.read_text(), metrics:
        assert KEY not in text
        assert hashed(KEY)[7:] not in text


def test_agents_are_no_labels(hatchway, backend):
    gateway = hatchway(**with_agents(backend(openai("ok"))))

    ask(gateway, "hello", headers=bearer(KEY))

    assert not [sample for sample in gateway.metrics() if "email" in sample]


def test_operations_want_the_admin_key(hatchway, backend):
    gateway = hatchway(**with_agents(backend(openai("ok")), admin_key=hashed(ADMIN)))

    assert get(gateway, "/hatchway/backends", headers=bearer(ADMIN)).status == 200
    answer = get(gateway, "/hatchway/backends", headers={"origin": "http://evil.example"})
    assert answer.status == 403


def test_a_web_page_cannot_reload(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("peer", backend(openai("ok")))])

    refused = request(gateway, "POST", "/hatchway/reload", "",
                      {"origin": "http://evil.example"})

    assert refused.status == 403
    assert request(gateway, "POST", "/hatchway/reload", "").status == 200


def test_routes_by_agent(hatchway, backend):
    mine, others = backend(openai("mine")), backend(openai("others"))
    gateway = hatchway(
        backends=[openai_backend("mine", mine), openai_backend("others", others)],
        agents=[{"name": "email", "key": hashed(KEY)}, {"name": "legal", "key": hashed("other")}],
        routes=[{"name": "email", "when": {"agent": "email"}, "to": {"backend": "mine"}},
                {"name": "rest", "to": {"backend": "others"}}])

    assert ask(gateway, "hello", headers=bearer(KEY)).text == "mine"
    assert ask(gateway, "hello", headers=bearer("other")).text == "others"
    assert post(gateway, "/v1/chat/completions", chat("hello"), bearer(KEY)).cache == "hit"
