"""Worker processes and their folder: what they may see, and what is left when the gateway is killed."""
import pathlib
import resource
import signal
import subprocess
import tempfile

import pytest

from harness.client import ask
from harness.gateway import BINARY, environment
from harness.policy import bdh, without_cache
from harness.wait import free_port, until


@pytest.fixture
def short_dir():
    """Socket names are short: pytest's own folder would be too long a path."""
    with tempfile.TemporaryDirectory(prefix="hw", dir="/tmp") as folder:
        yield folder


def folders(parent):
    return sorted(path.name for path in pathlib.Path(parent).iterdir())


def test_a_worker_does_not_see_the_gateways_environment(hatchway):
    """The backends' API keys stand there."""
    gateway = hatchway(backends=[bdh()], env={"OPENAI_API_KEY": "sk-live-1234", "LD_HATCHWAY": "1",
                                              "HATCHWAY_KERNELS": "scalar"})

    environ = pathlib.Path(f"/proc/{gateway.workers()[0]}/environ").read_bytes()

    assert b"sk-live-1234" not in environ and b"HOME=" not in environ
    assert b"HATCHWAY_KERNELS=scalar" in environ and b"LD_HATCHWAY=1" in environ


def test_a_killed_gateways_folder_is_swept_by_the_next(hatchway, short_dir):
    strangers = pathlib.Path(short_dir) / "hatchway-strang"  # no lock: not one of ours
    strangers.mkdir()
    (pathlib.Path(short_dir) / "hatchway-linked").symlink_to("/tmp")
    killed = hatchway(backends=[bdh()], worker_dir=short_dir)
    left = set(folders(short_dir)) - {"hatchway-strang", "hatchway-linked"}
    killed.signal(signal.SIGKILL)
    killed.process.wait()
    killed.stopped = True
    assert left <= set(folders(short_dir)) and len(left) == 1

    gateway = hatchway(backends=[bdh()], worker_dir=short_dir)

    assert not left & set(folders(short_dir)) and len(folders(short_dir)) == 3
    assert f"removed {short_dir}/{left.pop()}" in gateway.log()
    gateway.stop()
    assert folders(short_dir) == ["hatchway-linked", "hatchway-strang"]


def test_two_gateways_share_a_worker_dir(hatchway, short_dir):
    config = without_cache({"backends": [bdh()], "worker_dir": short_dir})
    first = hatchway(**config)
    second = hatchway(**config)
    assert len(folders(short_dir)) == 2

    second.stop()
    assert len(folders(short_dir)) == 1
    assert ask(first, "hello").status == 200
    first.signal(signal.SIGHUP)
    until(lambda: first.metric("hatchway_config_reloads_total", result="ok") == 1)
    assert ask(first, "hello again").status == 200 and len(first.workers()) == 1


def test_too_many_loops_for_the_machine_are_no_half_gateway(tmp_path, sanitized):
    """A loop without a thread took connections and never answered them."""
    if sanitized:
        pytest.skip("sanitizers need more address space than there is to refuse")
    config = tmp_path / "hatchway.yaml"
    config.write_text(f"listen: 127.0.0.1:{free_port()}\nloops: 200\n"
                      "backends: [{name: a, kind: openai, url: http://127.0.0.1:1, general: true}]\n")

    def little_memory():  # 200 stacks of 8 MiB do not fit
        resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))

    done = subprocess.run([BINARY, "serve", "-c", str(config)], capture_output=True, timeout=60,
                          env=environment(), preexec_fn=little_memory, check=False)

    assert done.returncode == 1
    assert b"cannot start a thread for loop" in done.stderr and b"of 200" in done.stderr
    assert b"listening" not in done.stderr
