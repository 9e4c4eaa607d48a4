"""Waiting for what comes soon, and free ports."""
import random
import socket
import time

PORTS = range(20000, 32000)  # below the ports that the kernel gives to clients


def until(condition, seconds=5.0, what=None):
    """Returns condition()'s first true value; fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition.__doc__}"
        time.sleep(0.005)


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
