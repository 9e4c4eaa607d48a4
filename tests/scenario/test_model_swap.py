"""A checkpoint that changes on disk: fresh workers try it, and take over without a gap; a bad one
changes nothing."""
import json
import os
import pathlib
import shutil
import signal
import threading
import time

from harness.client import Stream, ask, get
from harness.gateway import ROOT, TINY_MODEL, VECTORS
from harness.policy import bdh, without_cache
from harness.wait import until

TINY = pathlib.Path(TINY_MODEL)
OTHER = VECTORS / "tiny_s002/model.safetensors"
SHIPPED = ROOT / "models/hatchling.safetensors"
QUESTION = "What is Hatchway?"


def start(hatchway, tmp_path, served=TINY, cache=False, **fields):
    model = tmp_path / "served.safetensors"
    shutil.copyfile(served, model)
    config = {"backends": [bdh(model=str(model), **fields)]}
    return hatchway(**(config if cache else without_cache(config))), model


def swaps(gateway, result):
    return gateway.metric("hatchway_model_swaps_total", backend="hatchling", result=result)


def swap(gateway):
    return get(gateway, "/hatchway/backends").json()["backends"][0]["workers"].get("swap")


def said(gateway):
    return ask(gateway, QUESTION, max_tokens=8).text


def replace(model, content):
    """As rsync does: a temporary file beside it, then a rename."""
    beside = model.with_suffix(".tmp")
    beside.write_bytes(content)
    os.rename(beside, model)


def kill_workers(gateway):
    restarts = gateway.metric("hatchway_worker_restarts_total")
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: gateway.metric("hatchway_worker_restarts_total") > restarts, seconds=30)


class Asking:
    """Agents that go on asking; every answer is kept."""

    def __init__(self, gateway):
        self.answers, self.stop = [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(gateway,)) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def run(self, gateway):
        while not self.stop.is_set():
            self.answers.append(ask(gateway, QUESTION, max_tokens=8))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return self.answers


def test_a_new_checkpoint_is_taken_without_a_failed_query(hatchway, tmp_path):
    gateway, model = start(hatchway, tmp_path, workers=2)
    old = gateway.workers()
    before = said(gateway)
    asking = Asking(gateway)
    stream = Stream(gateway, "Who are you?", max_tokens=1_000_000).start()
    stream.next_text()

    replace(model, OTHER.read_bytes())
    until(lambda: swaps(gateway, "taken") == 1, seconds=60)
    after = said(gateway)
    until(lambda: asking.answers and asking.answers[-1].text == after, seconds=30)
    answers = asking.end()

    assert after != before
    assert {answer.status for answer in answers} == {200}
    assert {answer.text for answer in answers} == {before, after}
    # The stream goes on at the worker where it began, and that one goes when it has ended.
    assert stream.next_text()
    until(lambda: len(set(old) & set(gateway.workers())) == 1, seconds=30)
    assert stream.next_text()
    until(lambda: gateway.metric("hatchway_worker_sessions", state="active") == 1, seconds=30)
    stream.close()
    until(lambda: len(gateway.workers()) == 2 and not set(old) & set(gateway.workers()), seconds=30)
    until(lambda: gateway.metric("hatchway_worker_sessions", state="active") == 0, seconds=30)
    assert swaps(gateway, "refused") == 0
    assert gateway.metric("hatchway_worker_restarts_total") == 0


def test_a_bad_checkpoint_changes_nothing(hatchway, tmp_path):
    gateway, model = start(hatchway, tmp_path)
    before = said(gateway)
    assert swap(gateway) is None

    replace(model, SHIPPED.read_bytes()[:100_000])
    until(lambda: swaps(gateway, "refused") == 1, seconds=60)
    assert said(gateway) == before
    assert f"{model} is not taken" in gateway.log()
    refused = swap(gateway)
    assert refused["state"] == "refused" and "its worker exited" in refused["reason"]
    assert refused["since"].endswith("Z")
    assert f"hatchway: {model}: " in gateway.log()  # the worker's own words

    # A worker that is killed now comes back with what was serving, even without any file.
    for _ in range(2):
        kill_workers(gateway)
        assert said(gateway) == before
        model.unlink(missing_ok=True)
    assert swaps(gateway, "refused") == 1

    # And a good one is taken after all.
    replace(model, OTHER.read_bytes())
    until(lambda: swaps(gateway, "taken") == 1, seconds=60)
    assert swap(gateway)["state"] == "taken" and "reason" not in swap(gateway)
    assert said(gateway) != before


def test_a_checkpoint_that_answers_wrongly_is_refused(hatchway, tmp_path):
    gateway, model = start(hatchway, tmp_path, served=SHIPPED,
                           trial={"ask": QUESTION, "expect": "endpoint"})
    before = said(gateway)

    replace(model, OTHER.read_bytes())
    until(lambda: swaps(gateway, "refused") == 1, seconds=60)

    assert f'the answer to the trial question "{QUESTION}"' in gateway.log()
    assert said(gateway) == before


def with_layers(path, count):
    """Layers share their weights, so that the same file with more of them is only slower."""
    model = path.read_bytes()
    head = 8 + int.from_bytes(model[:8], "little")
    header = json.loads(model[8:head])
    header["__metadata__"]["n_layer"] = str(count)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + model[head:]


def test_a_checkpoint_on_trial_is_seen_and_gets_no_query(hatchway, tmp_path):
    """The trial would take many seconds, and its worker is held as soon as it is there."""
    gateway, model = start(hatchway, tmp_path, trial={"ask": "long " * 800})
    old = gateway.workers()
    before = said(gateway)

    replace(model, with_layers(SHIPPED, 64))
    [fresh] = until(lambda: set(gateway.workers()) - set(old), seconds=60)
    os.kill(fresh, signal.SIGSTOP)

    tried = until(lambda: swap(gateway), seconds=30)
    assert tried["state"] == "on_trial" and "reason" not in tried
    assert tried["since"].endswith("Z")
    assert [said(gateway) for _ in range(4)] == [before] * 4
    assert swaps(gateway, "taken") == swaps(gateway, "refused") == 0
    os.kill(fresh, signal.SIGKILL)
    until(lambda: swaps(gateway, "refused") == 1, seconds=30)
    assert swap(gateway)["state"] == "refused"
    assert gateway.workers() == old and said(gateway) == before


def test_a_file_that_is_being_written_waits(hatchway, tmp_path):
    """In place, as cp and rsync --inplace write; and the writer pauses for longer than the quiet time."""
    gateway, model = start(hatchway, tmp_path, served=OTHER)
    before = said(gateway)
    content = TINY.read_bytes()
    half = len(content) // 2

    with open(model, "r+b", buffering=0) as file:
        file.write(content[:half])
        until(lambda: "is being written" in gateway.log(), seconds=30)
        kill_workers(gateway)
        assert said(gateway) == before  # from what it had, not from this
        file.write(content[half:])
        file.truncate()
        assert swaps(gateway, "taken") == swaps(gateway, "refused") == 0
    until(lambda: swaps(gateway, "taken") == 1, seconds=60)

    assert swaps(gateway, "refused") == 0
    assert said(gateway) != before


def test_a_rewritten_file_of_the_same_bytes_changes_nothing(hatchway, tmp_path):
    gateway, model = start(hatchway, tmp_path)
    workers = gateway.workers()

    replace(model, TINY.read_bytes())
    time.sleep(4)

    assert gateway.workers() == workers and "try it" not in gateway.log()
    assert swaps(gateway, "taken") == swaps(gateway, "refused") == 0


def test_answers_of_the_old_checkpoint_are_not_served_for_the_new(hatchway, tmp_path):
    gateway, model = start(hatchway, tmp_path, cache=True)
    before = said(gateway)
    assert ask(gateway, QUESTION, max_tokens=8).cache == "hit"

    replace(model, OTHER.read_bytes())
    until(lambda: said(gateway) != before, seconds=60)

    after = said(gateway)
    assert after != before and ask(gateway, QUESTION, max_tokens=8).cache == "hit"
    replace(model, TINY.read_bytes())  # back to the first: its answers still stand
    until(lambda: swaps(gateway, "taken") == 2, seconds=60)
    until(lambda: said(gateway) == before)


def test_workers_reports_reach_metrics(hatchway):
    gateway = hatchway(**without_cache({"backends": [bdh(model=str(SHIPPED))]}))
    turns = [{"role": "user", "content": "What is Hatchway? " * 20}]
    first = ask(gateway, "", messages=turns, max_tokens=8).text
    turns += [{"role": "assistant", "content": first}, {"role": "user", "content": "And you?"}]
    assert ask(gateway, "", messages=turns, max_tokens=8).status == 200

    def reported(name, **labels):
        return gateway.metric(f"hatchway_worker_{name}", backend="hatchling", **labels)

    until(lambda: reported("tokens_total", direction="output") == 16, seconds=30)
    assert 0 < reported("steps_total") <= 16
    assert reported("tokens_total", direction="prompt") > 360
    assert reported("kept_prompts_total") == 1  # the second goes on from the first one's state
    assert reported("kept_tokens_total") > 360
    assert reported("state_bytes") > 0
