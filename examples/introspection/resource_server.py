"""A resource server in Python. It asks the authorization service about each key that it is sent.

Started by `cargo run -p introspection`, with the environment variables AUTHORIZATION_SERVICE (an address) and SERVICE_KEY
(the key of this program, with the scopes `keys.introspect` and `keys.revoke`). Prints its own address.
"""

import hashlib
import os
import time

import requests
from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from flask import Flask, jsonify, request
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.serving import make_server

SERVICE = os.environ["AUTHORIZATION_SERVICE"]
# How long a positive response is used again. It adds to the staleness bound of the authorization service.
CACHE_SECONDS = 3
CACHE_SIZE = 10_000

session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["SERVICE_KEY"]
cache = {}


def post(path, form):
    """Posts a form to the authorization service. Every failure is 503 here: it says nothing about the caller's key."""
    try:
        # A redirect would send the caller's key to another host.
        response = session.post(SERVICE + path, data=form, timeout=5, allow_redirects=False)
    except requests.RequestException as error:
        raise ServiceUnavailable("keys cannot be verified at present", retry_after=1) from error
    if response.status_code != 200:
        wait = response.headers.get("Retry-After", "1")
        raise ServiceUnavailable(
            "keys cannot be verified at present", retry_after=int(wait) if wait.isdecimal() else 1)
    return response


def described(response):
    """Returns the description of a key."""
    try:
        description = response.json()
        if isinstance(description["active"], bool):
            return description
    except (KeyError, TypeError, ValueError) as error:
        raise ServiceUnavailable("keys cannot be verified at present", retry_after=1) from error
    raise ServiceUnavailable("keys cannot be verified at present", retry_after=1)


def introspect(token, resource_kinds):
    # The address of the client belongs to the question, so it belongs to the name in the cache as well.
    question = "\0".join([token, resource_kinds, request.remote_addr])
    name = hashlib.sha256(question.encode()).digest()
    known, until = cache.get(name, (None, 0.0))
    if time.time() < until:
        return known
    description = described(post("/oauth/introspect", {
        "token": token,
        "token_type_hint": "access_token",
        "keyway_client_address": request.remote_addr,
        "keyway_resource_kinds": resource_kinds,
    }))
    # Only positive responses are kept. Anyone can make up tokens, and they would fill the cache.
    if description["active"]:
        if len(cache) >= CACHE_SIZE:
            cache.clear()
        end = min(time.time() + CACHE_SECONDS, description.get("exp", float("inf")))
        cache[name] = (description, end)
    return description


class Introspection(IntrospectTokenValidator):
    """Validates keys for routes that check the resources of these kinds. Other limited keys are inactive there."""

    def __init__(self, resource_kinds=""):
        super().__init__(realm="mm")
        self.resource_kinds = resource_kinds

    def introspect_token(self, token_string):
        return introspect(token_string, self.resource_kinds)


def protector(resource_kinds=""):
    protector = ResourceProtector()
    protector.register_token_validator(Introspection(resource_kinds))
    return protector


require = protector()
require_machines = protector("machine")


def may_touch(kind, identifier):
    """Returns whether the key of the request may touch a resource. Without the member, nothing is limited."""
    resources = current_token.get("keyway_resources")
    if resources is None:
        return True
    touched = resources.get(kind, [])
    return touched == "all" or identifier in touched


app = Flask(__name__)


@app.get("/reports/production")
@require("reporting")
def production():
    return jsonify(company=current_token["client_id"], rate=0.81)


@app.get("/machines/<machine>/status")
@require_machines("reporting")
def status(machine):
    if not may_touch("machine", machine):
        return jsonify(error="the key may not touch this machine"), 403
    return jsonify(machine=machine, is_running=True)


@app.post("/jobs/<job>/start")
@require("operator")
def start(job):
    return jsonify(job=job), 202


@app.delete("/key")
@require(None)
def revoke():
    """Ends the key of the caller, everywhere."""
    _, token = request.headers["Authorization"].split(None, 1)
    post("/oauth/revoke", {"token": token})
    cache.clear()
    return "", 204


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
