"""Receives Gavel's webhooks with the standard library alone: verifies each message, and takes it once.

WEBHOOK_SECRET=whsec_... python receive_webhook.py 8080
"""

import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
taken: set[str] = set()  # a program of yours keeps these ids with what it does, in one transaction


def is_genuine(headers, body: bytes) -> bool:
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
    mac = hmac.digest(SECRET, f"{name}.{at}.".encode() + body, "sha256")
    expected = f"v1,{base64.b64encode(mac).decode()}"
    signed = any(hmac.compare_digest(expected, one) for one in headers.get("webhook-signature", "").split())
    return signed and abs(time.time() - int(at)) < 300


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        genuine = is_genuine(self.headers, body)
        if genuine and self.headers["webhook-id"] not in taken:
            message = json.loads(body)
            print(message["type"], message["data"].get("stream", ""), flush=True)
            taken.add(self.headers["webhook-id"])
        self.send_response(204 if genuine else 401)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
