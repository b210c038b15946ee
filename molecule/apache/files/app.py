"""An application that tells what it was asked, sends visitors to files, and echoes on a WebSocket."""

import base64
import hashlib
import http.server
import json
import os
import socketserver
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/echo":
            self.echo()
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            time.sleep(3)
        body = {key.lower(): value for key, value in self.headers.items()}
        body = json.dumps(body | {"path": self.path}).encode()
        self.send_response(503 if self.path == "/busy" else 200)
        if self.path.startswith("/member"):
            header, _, value = self.path.partition("?")[2].partition("=")
            self.send_header(header, value)
        self.send_header("Strict-Transport-Security", "max-age=1")
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path.startswith("/member"):
            time.sleep(0.1)  # as an application does that writes its head and its body one after the other
        self.wfile.write(body)

    do_POST = do_GET

    def echo(self):
        """A WebSocket (RFC 6455) that sends back each short frame."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(bytes([head[0], len(data)]) + data)
            if head[0] & 15 == 8:
                return

    def address_string(self):
        return "proxy"


class Unix(socketserver.ThreadingUnixStreamServer):
    pass


if sys.argv[1].startswith("/"):
    os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
    server = Unix(sys.argv[1], Handler)
    os.chmod(sys.argv[1], 0o666)
else:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
