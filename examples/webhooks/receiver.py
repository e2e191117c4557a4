"""A receiver of webhooks by Standard Webhooks, with nothing but the standard library.

It refuses the first two requests of the tenant "acme" as if it were down. It prints its port, and then a line
for each request.
"""

import base64
import hashlib
import hmac
import http.server
import json
import sys
import time

SECRET = base64.b64decode(sys.argv[1].removeprefix("whsec_"))
TOLERANCE = 300
refused = 0
seen = set()


def is_signed(headers, body):
    """Returns whether one of the signatures is right, and the time is recent."""
    sent = headers["webhook-timestamp"]
    if abs(time.time() - int(sent)) > TOLERANCE:
        return False
    content = f"{headers['webhook-id']}.{sent}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, content, hashlib.sha256).digest()).decode()
    signatures = headers["webhook-signature"].split(" ")
    return any(hmac.compare_digest(f"v1,{expected}", signature) for signature in signatures)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.receive(body)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def receive(self, body):
        global refused
        if not is_signed(self.headers, body):
            print("forged", flush=True)
            return 401
        event = json.loads(body)
        if self.headers["webhook-id"] != f"evt_{event['id']}":
            print("another id", flush=True)
            return 400
        if event["tenant"] == "acme" and refused < 2:
            refused += 1
            print(f"down {event['tenant']} {event['number']}", flush=True)
            return 503
        if event["id"] in seen:
            print(f"again {event['tenant']} {event['number']}", flush=True)
            return 204
        seen.add(event["id"])
        print(f"ok {event['tenant']} {event['number']} {event['kind']}", flush=True)
        return 204

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
