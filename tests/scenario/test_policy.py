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


def conversation(gateway, first, turns):
    """Backends that answered, turn by turn."""
    messages, found = [{"role": "user", "content": first}], []
    for turn in range(turns):
        answer = post(gateway, "/v1/chat/completions", {"model": "auto", "messages": messages})
        found.append(answer.backend)
        messages += [{"role": "assistant", "content": answer.text},
                     {"role": "user", "content": f"and then? {turn}"}]
    return found


def test_a_conversation_stays_where_it_began(hatchway, backend):
    gateway = hatchway(backends=[openai_backend(name, backend(openai(name))) for name in "abc"],
                       routes=[{"name": "all", "to": {"by": "affinity"}}], cache={"keep": "none"})

    homes = [conversation(gateway, f"question {i}", 4) for i in range(20)]

    assert all(len(set(each)) == 1 for each in homes)
    assert {each[0] for each in homes} == set("abc")


def test_a_canary_gets_its_share(hatchway, backend):
    gateway = hatchway(backends=[openai_backend("old", backend(openai("old")), weight=90),
                                 openai_backend("new", backend(openai("new")), weight=10)],
                       routes=[{"name": "all", "to": {"by": "weighted"}}], cache={"keep": "none"})

    canary = sum(ask(gateway, f"question {i}").text == "new" for i in range(300))

    assert 10 <= canary <= 55
