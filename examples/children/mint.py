"""Makes children (short-lived keys) of a keyway key, offline. The module `children` of keyway documents the format.

    child = mint_child(token, child_prefix, expires_in=timedelta(hours=1), scopes=["reporting"])
"""
import base64
import re
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def mint_child(token, child_prefix, *, expires_at=None, expires_in=None, not_before=None, scopes=None,
               resources=None, networks=None, audience=None, nonce=None):
    """Returns a child. The child prefix is given out with the token. Times are datetimes with a time zone.

    `networks` are as the server shows them (`192.0.2.0/24`, none within or next to another). `audience` is `host:`,
    `operation:` or `route:` and a name. `resources` are `{"machine": ["press-1"]}` or `{"machine": "all"}`.
    """
    form = re.fullmatch("([a-z0-9]+_[a-z0-9]+_[A-Za-z0-9]{16})([A-Za-z0-9]{32})[A-Za-z0-9]{8}", token)
    check(form, "this is not the token of an API key")
    key, secret = form.groups()
    check(re.fullmatch(key + "[A-Za-z0-9_-]{8}~", child_prefix), "this is not the child prefix of the API key")
    check((expires_at is None) != (expires_in is None), "`expires_at` or `expires_in` is needed")
    end = expires_at or datetime.now(timezone.utc) + expires_in
    check(not_before is None or not_before < end, "the end is no time after the begin")
    check(nonce is None or 1 <= len(nonce) <= 32, "a nonce has 1 to 32 bytes")

    lists = {"scopes": scopes, "resources": resources, "networks": networks, "audience": audience}
    # Python sorts texts by their code points, which is the order of their UTF-8 bytes.
    lists = [None if items is None else "\n".join(sorted(set(lines(name, items)))).encode()
             for name, items in lists.items()]
    epoch, millisecond = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(milliseconds=1)
    times = [time and ((time - epoch) // millisecond).to_bytes(8, "big") for time in (end, not_before)]
    values = [(kind, value) for kind, value in enumerate([*times, *lists, nonce], 1) if value is not None]
    length = len(child_prefix) + -(-4 * sum((3 + len(value) for _, value in values), 64) // 3)
    check(length <= 1024, f"the child would have {length} bytes, and at most 1024 are allowed")
    caveats = b"".join(bytes([kind]) + len(value).to_bytes(2, "big") + value for kind, value in values)
    purpose = b"keyway/v1/child\0"
    seed = HKDF(SHA256(), 32, None, purpose + key.encode()).derive(secret.encode())
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(purpose + child_prefix.encode() + caveats)
    return child_prefix + base64.urlsafe_b64encode(caveats + signature).decode().rstrip("=")


def lines(name, items):
    check(isinstance(items, (list, tuple, set, dict)) and items, f"`{name}` must be a list with an item")
    for item in items:  # One with a line break would be several items.
        check(re.fullmatch("[^\0-\x1f\x7f-\x9f]+", item), f"`{name}` has an item that is not a text of one line")
        check(name != "audience" or re.match("(host|operation|route):.", item), f"`{item}` is no audience")
    if isinstance(items, dict):
        return [line for kind, ids in items.items() for line in (
            [kind] if ids == "all" else [f"{kind}\t{item}" for item in lines(f"resources.{kind}", ids)])]
    return items


def check(condition, message):
    if not condition:
        raise ValueError(message)
