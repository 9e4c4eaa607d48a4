"""The policy at work: conditions, choosing, probing, editing, explaining."""
from harness.backend import openai
from harness.client import ask, post
from harness.policy import openai as openai_backend


def named(hatchway, backend, routes, **config):
    """Backends that answer with their own names, and routes to them."""
    names = sorted({name for route in routes for name in [route["to"]["backend"]]})
    return hatchway(backends=[openai_backend(name, backend(openai(name))) for name in names],
                    routes=routes, cache={"keep": "none"}, **config)


def test_conditions_that_nest(hatchway, backend):
    gateway = named(hatchway, backend, [
        {"name": "desk", "when": {"any": [{"header": {"x-team": "desk"}},
                                          {"regex": r"\b[A-Z]{3}-\d+\b", "not": {"stream": True}}]},
         "to": {"backend": "one"}},
        {"name": "rest", "when": {"path": "/v1/*", "hours": "00-24"}, "to": {"backend": "two"}}])

    assert ask(gateway, "hello").text == "two"
    assert ask(gateway, "see ABC-12").text == "one"
    assert ask(gateway, "see ABC-12", stream=True).text == "two"
    assert ask(gateway, "hello", headers={"X-Team": "desk"}).text == "one"
    assert post(gateway, "/api/bdh/ask", {"question": "hello"}).status == 404
