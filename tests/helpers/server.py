"""A local server of one archive, that answers as well or badly as a test wants."""

import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive, self.status, self.knows_ranges, self.breaks_after = b"", None, True, None
        self.headers, self.redirect, self.sends_head = {}, None, True
        self.ranges, self.authorizations = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/stl10_binary.tar.gz"

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        server.authorizations.append(self.headers.get("Authorization"))
        if server.redirect is not None and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if not server.sends_head:  # but a byte now and then
            with suppress(OSError):
                while not server.sends_head:
                    self.wfile.write(b"H")
                    time.sleep(0.02)
            return
        if server.status is not None:
            self.send_error(server.status)
            return
        ranged = bool(wanted) and server.knows_ranges
        body = server.archive[int(wanted[len("bytes=") : -1]) if ranged else 0 :]
        self.send_response(206 if ranged else 200)
        for name, value in ({"Content-Length": str(len(body))} | server.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: server.breaks_after])

    def log_message(self, *args):
        pass


def refused_url():
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/stl10_binary.tar.gz"
