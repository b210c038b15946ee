"""What stands in front of pebble: it passes everything on, and refuses what a file in /run/front asks it to refuse.

`rate`: new orders are answered as Let's Encrypt answers one too many, with the seconds in the file as Retry-After.
`down`: connections are closed without an answer.
Pebble names no authority for CAA records, so this one does.
"""

import http.client
import http.server
import json
import os
import ssl

BODY = {
    "type": "urn:ietf:params:acme:error:rateLimited",
    "detail": "too many certificates (5) already issued for this exact set of domains in the last 168h0m0s, "
    "retry after 2026-12-01 10:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/",
    "status": 429,
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with open("/run/front/asked", "a", encoding="utf-8") as file:
            file.write(f"{self.command} {self.path}\n")
        if os.path.exists("/run/front/down"):
            self.close_connection = True
            return
        inner = http.client.HTTPSConnection("127.0.0.1", 14000, context=ssl._create_unverified_context())
        headers = {
            key: value for key, value in self.headers.items() if key.lower() not in ("connection", "accept-encoding")
        }
        if self.path == "/order-plz" and os.path.exists("/run/front/rate"):
            inner.request("HEAD", "/nonce-plz", headers={"Host": self.headers["Host"]})
            reply = inner.getresponse()
            reply.read()
            with open("/run/front/rate", encoding="utf-8") as file:
                more = {"Retry-After": file.read().strip(), "Content-Type": "application/problem+json"}
            self.answer(429, {"Replay-Nonce": reply.headers["Replay-Nonce"], **more}, json.dumps(BODY).encode())
            return
        inner.request(self.command, self.path, body or None, headers)
        reply = inner.getresponse()
        answer = reply.read()
        if self.path == "/dir":
            found = json.loads(answer)
            found.setdefault("meta", {})["caaIdentities"] = ["pebble.example.net"]
            answer = json.dumps(found).encode()
        kept = {
            key: value
            for key, value in reply.headers.items()
            if key.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server")
        }
        self.answer(reply.status, kept, answer)

    do_POST = do_HEAD = do_GET

    def answer(self, status, headers, body):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_words):
        pass


os.makedirs("/run/front", exist_ok=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/opt/pebble/cert.pem", "/opt/pebble/key.pem")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 14001), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
