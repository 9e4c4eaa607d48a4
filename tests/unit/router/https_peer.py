"""An https backend for test_client_https: what it does is in the path. Prints its port."""
import http.server
import ssl
import sys
import threading
import time

state = {"connections": 0, "left": 0}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        state["connections"] += 1

    def log_message(self, *args):
        pass

    def whole(self, body, status=200, promised=None):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(promised or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.whole(b"", promised=50)

    def do_GET(self):
        self.handle_path(b"")

    def do_POST(self):
        self.handle_path(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def handle_path(self, body):
        if self.path == "/connections":
            self.whole(str(state["connections"]).encode())
        elif self.path == "/left":
            self.whole(str(state["left"]).encode())
        elif self.path == "/echo":
            self.whole(body)
        elif self.path == "/fields":
            self.whole(str(self.headers).encode())
        elif self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/large":
            self.whole(b"".join(bytes([97 + i % 26]) * 65536 for i in range(128)))
        elif self.path == "/cut":
            self.whole(b"half", promised=10)
            self.close_connection = True
        elif self.path == "/nonsense":
            self.wfile.write(b"SSH-2.0-x\r\n\r\n")
            self.close_connection = True
        elif self.path in ("/hang", "/stall"):
            if self.path == "/stall":
                self.whole(b"half", promised=10)
                self.wfile.flush()
            self.connection.settimeout(10)
            try:
                if self.connection.recv(1) == b"":
                    state["left"] += 1
            except OSError:
                state["left"] += 1
            self.close_connection = True
        elif self.path == "/chunks":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one ", b"two ", b"three"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(0.05)
            self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients that leave are what some of these tests are about


server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
