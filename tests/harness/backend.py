"""Scripted backends: each request is recorded, then answered by the next of the given answers.

An answer is a function of a Reply. The last one stays for all further requests."""
import json
import select
import socket
import ssl
import struct
import threading
import time

STAMP = "2026-08-01T12:00:00Z"


class Request:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ")
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            assert name.lower() not in self.headers, f"{name} sent twice"
            self.headers[name.lower()] = value.strip()
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def streams(self):
        """Ollama streams unless told otherwise, OpenAI only when told."""
        return self.json().get("stream", self.path in ("/api/chat", "/api/generate"))


class Reply:
    """What an answer writes to."""

    def __init__(self, backend, sock, request):
        self.backend = backend
        self.sock = sock
        self.request = request
        self.keep_alive = True

    def send(self, data):
        self.sock.sendall(data)

    def head(self, status=200, content_type="application/json", length=None):
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.send(f"HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n"
                  .encode())

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self):
        self.send(b"0\r\n\r\n")

    def whole(self, body, status=200, content_type="application/json"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.head(status, content_type, len(body))
        self.send(body)

    def close(self):
        self.keep_alive = False

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep_alive = False

    def wait_left(self, seconds=30):
        """Waits until the peer closes; True when it did. backend.left keeps the time of it."""
        self.keep_alive = False
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.backend.closed:
            if select.select([self.sock], [], [], 0.05)[0]:
                self.backend.left.append(time.monotonic())
                return True
        return False


class Backend:
    def __init__(self, *answers, tls=None):
        self.answers = list(answers)
        self.requests = []
        self.probes = []    # paths
        self.probe_status = 200
        self.lists = {}     # path -> what a GET of it is answered; {} for all others
        self.left = []      # when peers left while they were being answered
        self.failures = []  # of the script itself
        self.connections = 0
        self.closed = False
        self.open_sockets = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def then(self, *answers):
        """Further requests are answered so."""
        with self.lock:
            self.answers = list(answers)

    def accept(self):
        while not self.closed:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self.lock:
                self.open_sockets.add(sock)
            while self.serve_one(sock):
                pass
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.left.append(time.monotonic())
        except Exception as failure:  # told by check(), in the test's thread
            if not self.closed:
                self.failures.append(failure)
        finally:
            self.open_sockets.discard(sock)
            sock.close()

    def serve_one(self, sock):
        request = read_request(sock)
        if request is None:
            return False
        if request.method == "GET":  # a probe: no query, and not of the script
            self.probes.append(request.path)
            Reply(self, sock, request).whole(self.lists.get(request.path, {}), self.probe_status)
            return True
        with self.lock:
            self.requests.append(request)
            answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        reply = Reply(self, sock, request)
        answer(reply)
        return reply.keep_alive

    def kill(self):
        """As if the process had been killed: nobody listens, open connections are cut."""
        self.closed = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for sock in list(self.open_sockets):
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def revive(self):
        """After kill(): it listens again, where it did."""
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()

    def check(self):
        self.kill()
        assert not self.failures, self.failures


def read_request(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            assert not data, f"half a request: {data!r}"
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    request = Request(head, b"")
    assert "transfer-encoding" not in request.headers, "requests have a length"
    length = int(request.headers.get("content-length", 0))
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            raise ConnectionResetError("left within its request")
        body += more
    assert len(body) == length, "more than a request was sent"
    request.body = body
    return request


# --- answers ------------------------------------------------------------------------------------

def sse(event):
    return b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n"


def openai_chunk(model, delta, finish=None):
    return {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1785585600,
            "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def openai_events(model, pieces):
    yield openai_chunk(model, {"role": "assistant", "content": ""})
    for piece in pieces:
        yield openai_chunk(model, {"content": piece})
    yield openai_chunk(model, {}, "stop")


def openai_whole(model, text, **more):
    return {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 1785585600,
            "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                         "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, **more}


def openai(*pieces, pause=0.0):
    """An OpenAI-compatible server says this, whole or streamed as it was asked."""
    def answer(reply):
        model = reply.request.json()["model"]
        if not reply.request.streams:
            time.sleep(pause)
            reply.whole(openai_whole(model, "".join(pieces)))
            return
        reply.head(content_type="text/event-stream")
        for event in openai_events(model, pieces):
            reply.chunk(sse(event))
            time.sleep(pause)
        reply.chunk(sse(b"[DONE]"))
        reply.end()
    return answer


def ollama_line(model, text, **more):
    return {"model": model, "created_at": STAMP, "message": {"role": "assistant", "content": text},
            "done": False, **more}


def ollama_last(model, text=""):
    return ollama_line(model, text, done=True, done_reason="stop", total_duration=5000000,
                       load_duration=1000000, prompt_eval_count=11, prompt_eval_duration=1000000,
                       eval_count=3, eval_duration=3000000)


def ollama_piece(path, model, text):
    """A line of /api/chat, or of /api/generate."""
    line = ollama_line(model, text)
    if path == "/api/generate":
        line["response"] = line.pop("message")["content"]
    return line


def ndjson(event):
    return json.dumps(event).encode() + b"\n"


def ollama(*pieces, pause=0.0):
    """Ollama's native /api/chat says this."""
    def answer(reply):
        model = reply.request.json()["model"]
        if not reply.request.streams:
            reply.whole(ollama_last(model, "".join(pieces)))
            return
        reply.head(content_type="application/x-ndjson")
        for piece in pieces:
            reply.chunk(ndjson(ollama_line(model, piece)))
            time.sleep(pause)
        reply.chunk(ndjson(ollama_last(model)))
        reply.end()
    return answer


def bdh_node(text, device="mps"):
    """The fleet's PyTorch ask service says this."""
    def answer(reply):
        reply.whole({"answer": text, "model": "bdh-25m", "device": device,
                     "source": "dragon_hatchling"})
    return answer


def status(code, body=None):
    def answer(reply):
        reply.whole({"error": {"message": f"scripted {code}", "type": "scripted", "param": None,
                               "code": None}} if body is None else body, status=code)
    return answer


def closes(reply):
    """The request is read, then the connection closed without a byte."""
    reply.close()


def resets(reply):
    reply.reset()


def hangs(reply):
    """The request is read, and nothing ever said."""
    reply.wait_left()


def says_head_then_hangs(reply):
    reply.head(content_type="text/event-stream")
    reply.wait_left()


def dies_after(*pieces):
    """An OpenAI stream that is cut after these pieces, in the middle of a chunk."""
    def answer(reply):
        reply.head(content_type="text/event-stream")
        for event in list(openai_events(reply.request.json()["model"], pieces))[:-1]:
            reply.chunk(sse(event))
        time.sleep(0.05)
        reply.send(b"40\r\ndata: {\"id\":")
        reply.reset()
    return answer


def goes_on(piece="on and on ", pause=0.01):
    """An OpenAI stream without an end, until the peer leaves."""
    def answer(reply):
        model = reply.request.json()["model"]
        reply.head(content_type="text/event-stream")
        reply.chunk(sse(openai_chunk(model, {"role": "assistant", "content": ""})))
        while not reply.backend.closed:
            reply.chunk(sse(openai_chunk(model, {"content": piece})))
            if reply.wait_left(pause):
                return
    return answer


class ByteByByte(Reply):
    """Each byte is a packet of its own."""

    def send(self, data):
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])
            time.sleep(0.0001)


def byte_by_byte(answer):
    def dribble(reply):
        slow = ByteByByte(reply.backend, reply.sock, reply.request)
        answer(slow)
        reply.keep_alive = slow.keep_alive
    return dribble
