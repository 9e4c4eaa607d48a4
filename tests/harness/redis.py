"""A real redis-server of the test's own."""
import shutil
import signal
import socket
import subprocess

from harness.wait import free_port, until


def installed():
    return shutil.which("redis-server") is not None


class Redis:
    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.answers, 10, "redis-server answers")
        return self

    def answers(self):
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def command(self, *words):
        """A command whose reply is a line: a status, a number or an error."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as sock:
            sock.sendall((" ".join(map(str, words)) + "\r\n").encode())
            return sock.makefile().readline().strip()[1:]

    def text(self, *words):
        """A command whose reply is a text."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as sock:
            sock.sendall((" ".join(map(str, words)) + "\r\n").encode())
            lines = sock.makefile(newline="\r\n")
            assert lines.readline().startswith("$")
            return lines.readline().strip()

    def entries(self):
        return int(self.command("DBSIZE"))

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
