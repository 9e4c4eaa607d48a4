"""./run and cmake/packages as a user meets them, with programs of the test's own in place of cmake,
dpkg and apt: nothing is installed or built."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from harness.gateway import BINARY, ROOT, TINY_MODEL, environment
from harness.wait import free_port, until

POLICY = "/usr/sbin/policy-rc.d"
NEEDED = ("dirname", "sed", "rm", "cat", "chmod", "tee", "env", "sh", "sleep", "touch", "mkdir",
          "realpath", "bash", "curl")


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path):
    """The only folder of PATH: what the scripts need of the system, and no sudo."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(shutil.which(name))
    program(folder / "dpkg-query", "exit 1")
    program(folder / "id", "echo 1000")
    return folder


@pytest.fixture
def packages(tmp_path, programs):
    """packages(GROUP...) starts a copy of cmake/packages whose policy-rc.d is the test's own."""
    policy = tmp_path / "policy-rc.d"
    text = (ROOT / "cmake" / "packages").read_text()
    assert POLICY in text
    script = tmp_path / "packages"
    script.write_text(text.replace(POLICY, str(policy)))
    shutil.copy(ROOT / "cmake" / "packages.txt", tmp_path)

    def start(*groups):
        return subprocess.Popen(["/bin/sh", script, *groups], env={"PATH": str(programs)},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                start_new_session=True)

    start.policy = policy
    return start


def test_who_may_not_install_is_told_what_root_has_to_type(packages, programs):
    program(programs / "apt-get", "exit 99")

    process = packages("run", "train")

    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "only root may install them" in said
    assert "\napt-get update && apt-get install --no-install-recommends curl libopenblas0-pthread\n" \
        in said


def test_a_machine_without_apt_is_told_what_is_needed(packages):
    process = packages("run")

    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "apt-get is not there" in said and said.endswith(" curl\n")


def test_nothing_is_asked_for_where_nothing_is_missing(packages, programs):
    program(programs / "dpkg-query", 'printf "install ok installed"')

    process = packages("build", "run")

    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_services_stay_down_while_packages_come_and_may_start_again_after(packages, programs):
    program(programs / "id", "echo 0")
    program(programs / "apt-get", f"[ -x {packages.policy} ] || exit 99")

    process = packages("run")

    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert not packages.policy.exists()


def test_an_installation_that_is_broken_off_leaves_no_policy_behind(packages, programs, tmp_path):
    program(programs / "id", "echo 0")
    program(programs / "apt-get", f"touch {tmp_path}/begun; exec sleep 60")

    process = packages("run")
    until((tmp_path / "begun").exists, 20)
    assert packages.policy.exists()
    os.killpg(process.pid, signal.SIGTERM)

    process.communicate(timeout=20)
    assert process.returncode != 0
    assert not packages.policy.exists()


def test_an_installation_that_fails_says_of_what(packages, programs):
    program(programs / "id", "echo 0")
    program(programs / "apt-get", "echo 'E: no network' >&2; exit 100")

    process = packages("run")

    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "E: no network\nhatchway: apt-get could not install curl" in said
    assert not packages.policy.exists()


@pytest.fixture
def checkout(tmp_path, programs):
    """A clone whose packages are there and whose build is the binary under test."""
    folder = tmp_path / "clone"
    (folder / "cmake").mkdir(parents=True)
    (folder / "build" / "release").mkdir(parents=True)
    shutil.copy(ROOT / "run", folder)
    program(folder / "cmake" / "packages", "exit 0")
    program(programs / "cmake", f"touch {tmp_path}/built")
    (folder / "build" / "release" / "hatchway").symlink_to(pathlib.Path(BINARY).resolve())
    return folder


def start(checkout, programs, *args, cwd, **env):
    return subprocess.Popen([checkout / "run", *args], cwd=cwd, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            env=environment({"PATH": str(programs), **env}))


def said_by(process):
    return process.communicate(timeout=60)[0]


def configuration(folder, port):
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(
        f"listen: 127.0.0.1:{port}  # mine\n"
        f"backends: [{{ name: tiny, kind: bdh, model: {TINY_MODEL}, general: true }}]\n")


def test_run_serves_and_says_where(checkout, programs, tmp_path):
    port = free_port()
    configuration(tmp_path / "home", port)

    # A file's name is meant from where the user stands; a proxy is not asked the way to loopback.
    process = start(checkout, programs, "-c", "mine.yaml", cwd=tmp_path / "home",
                    http_proxy="http://127.0.0.1:9")
    try:
        lines = iter(process.stdout.readline, "")
        assert any(f"ready on http://127.0.0.1:{port} (" in line for line in lines)

        second = start(checkout, programs, "-c", "mine.yaml", cwd=tmp_path / "home")

        said = said_by(second)
        assert second.returncode == 1
        assert f"something serves on http://127.0.0.1:{port} already" in said
        assert "is ready" not in said
    finally:
        process.terminate()
        said_by(process)
    assert process.returncode == 0


@pytest.mark.parametrize("args, status, message", [
    (["-c", "nowhere.yaml"], 1, "hatchway: nowhere.yaml: cannot be read\n"),
    (["-c"], 2, "hatchway: -c needs a file; see ./run --help\n"),
    (["--port"], 2, "hatchway: unknown option '--port'; see ./run --help\n"),
])
def test_what_cannot_be_served_is_refused_before_the_build(checkout, programs, tmp_path, args,
                                                           status, message):
    process = start(checkout, programs, *args, cwd=tmp_path)

    assert said_by(process) == message
    assert process.returncode == status
    assert not (tmp_path / "built").exists()


def test_a_clone_that_cannot_be_built_in_says_so(checkout, programs, tmp_path):
    shutil.rmtree(checkout / "build")
    (checkout / "build").write_text("")  # a folder's rights would not stop root
    configuration(tmp_path, free_port())

    process = start(checkout, programs, "-c", "mine.yaml", cwd=tmp_path)

    assert "build/release cannot be written to: clone Hatchway" in said_by(process)
    assert process.returncode == 1
