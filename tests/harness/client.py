"""Agents: whole requests by http.client, streams event by event, and raw bytes on a socket."""
import http.client
import json
import socket
import time


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:500]!r}>"

    def json(self):
        return json.loads(self.body)

    @property
    def cache(self):
        return self.headers["x-hatchway-cache"]

    @property
    def backend(self):
        return self.headers["x-hatchway-backend"]

    @property
    def events(self):
        return events(self.body)

    @property
    def text(self):
        """What the model said, whole or streamed, in any dialect that a test uses."""
        assert self.status == 200, self
        if self.headers["content-type"].startswith("text/event-stream"):
            return stream_text(self.events)
        if "answer" in self.json():
            return self.json()["answer"]
        return self.json()["choices"][0]["message"]["content"]

    @property
    def error(self):
        """The message of an error in OpenAI's shape, which is checked."""
        error = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert isinstance(error["message"], str) and isinstance(error["type"], str)
        return error["message"]


def events(body):
    """The data of each SSE event; [DONE] as it is. Fails on bytes that belong to none."""
    assert body.endswith(b"\n\n"), body[-200:]
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        assert len(lines) == 1 and lines[0].startswith("data: "), block
        data = lines[0][len("data: "):]
        found.append(data if data == "[DONE]" else json.loads(data))
    return found


def stream_text(found):
    """The text of a complete stream of chat chunks. Checks its shape and its one terminal event."""
    assert found[-1] == "[DONE]" and found.count("[DONE]") == 1, found[-3:]
    chunks = found[:-1]
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [i for i, c in enumerate(choices) if c["delta"].get("role")] in ([0], []), choices[:3]
    assert [i for i, c in enumerate(choices) if c["finish_reason"]] == [len(choices) - 1]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def request(gateway, method, path, body=None, headers=None, seconds=30):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=seconds)
    try:
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})}
                           if body is not None else headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def get(gateway, path, **options):
    return request(gateway, "GET", path, **options)


def post(gateway, path, body, headers=None, seconds=30):
    return request(gateway, "POST", path, body, headers, seconds)


def chat(text, model="auto", **fields):
    """The body of a chat query. temperature 0: its answer may be kept."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0,
            **fields}


def ask(gateway, text, model="auto", headers=None, seconds=30, **fields):
    return post(gateway, "/v1/chat/completions", chat(text, model, **fields), headers, seconds)


def timed(call):
    began = time.monotonic()
    value = call()
    return value, time.monotonic() - began


class Connection:
    """A socket, for tests that care about bytes."""

    def __init__(self, gateway, seconds=10, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(seconds)
        self.sock.connect(("127.0.0.1", gateway.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_request(self, path, body, headers=(), method="POST"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.send(request_bytes(path, body, headers, method))

    def fill(self):
        """False when the peer has closed."""
        data = self.sock.recv(65536)
        self.unread += data
        return bool(data)

    def read_until(self, mark):
        while mark not in self.unread:
            assert self.fill(), f"closed before {mark!r}: {self.unread!r}"
        found, _, self.unread = self.unread.partition(mark)
        return found + mark

    def read_exactly(self, count):
        while len(self.unread) < count:
            assert self.fill(), f"closed, {count - len(self.unread)} bytes missing"
        found, self.unread = self.unread[:count], self.unread[count:]
        return found

    def read_to_end(self):
        try:
            while self.fill():
                pass
        except ConnectionResetError:
            pass
        found, self.unread = self.unread, b""
        return found

    def read_head(self):
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        assert lines[0].startswith("HTTP/1.1 "), lines
        return int(lines[0].split()[1]), [tuple(line.split(": ", 1)) for line in lines[1:]]

    def read_chunk(self):
        size = int(self.read_until(b"\r\n"), 16)
        return self.read_exactly(size + 2)[:-2]

    def read_answer(self):
        status, headers = self.read_head()
        fields = {name.lower(): value for name, value in headers}
        if status == 100:
            return Answer(status, headers, b"")
        body = b""
        if "content-length" in fields:
            body = self.read_exactly(int(fields["content-length"]))
        elif fields.get("transfer-encoding") == "chunked":
            while chunk := self.read_chunk():
                body += chunk
        return Answer(status, headers, body)

    def is_closed(self):
        """Has the peer closed? Waits for it."""
        try:
            return not self.fill()
        except ConnectionResetError:
            return True


def request_bytes(path, body=b"", headers=(), method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: hatchway.test", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Stream(Connection):
    """A streamed chat answer, read event by event."""

    def __init__(self, gateway, text, model="auto", headers=(), **fields):
        super().__init__(gateway)
        self.send_request("/v1/chat/completions", chat(text, model, stream=True, **fields), headers)
        self.body = b""

    def start(self):
        self.status, headers = self.read_head()
        self.headers = {name.lower(): value for name, value in headers}
        return self

    def next_event(self):
        """None when the stream has ended."""
        while b"\n\n" not in self.body:
            chunk = self.read_chunk()
            if not chunk:
                assert not self.body, self.body
                return None
            self.body += chunk
        event, _, self.body = self.body.partition(b"\n\n")
        return events(event + b"\n\n")[0]

    def next_text(self):
        """The next piece of text."""
        while True:
            event = self.next_event()
            assert event not in (None, "[DONE]"), "ended before a text came"
            text = event["choices"][0]["delta"].get("content")
            if text:
                return text

    def rest(self):
        found = []
        while (event := self.next_event()) is not None:
            found.append(event)
        return found
