"""Makes each child of tests/vectors/children.json with `mint.py`: python3 vectors.py FILE"""

import json
import sys
from datetime import datetime, timedelta, timezone

from mint import mint_child

with open(sys.argv[1], encoding="utf-8") as file:
    vectors = json.load(file)
children, refused = vectors["children"], vectors["refused"]
wrong, refusals = [], []


def time(milliseconds):
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=milliseconds)


def limits(request):
    made = {**request, "expires_at": time(request["expires_at"])}
    if "not_before" in request:
        made["not_before"] = time(request["not_before"])
    if "nonce" in request:
        made["nonce"] = bytes.fromhex(request["nonce"])
    return made


def report(message):
    print(f"Python: {message}")
    wrong.append(message)


def refuse(name, request, expected, token=children[0]["token"], child_prefix=children[0]["child_prefix"]):
    """Checks that a request is refused with a message that contains `expected`."""
    refusals.append(name)
    try:
        mint_child(token, child_prefix, **request)
        report(f"{name}: a child is made")
    except (TypeError, ValueError) as error:
        if expected not in str(error):
            report(f"{name}: {error}")


for vector in children:
    child = mint_child(vector["token"], vector["child_prefix"], **limits(vector["request"]))
    if child != vector["child"]:
        report(f"{vector['name']}: another child")
for vector in refused:
    refuse(vector["name"], limits(vector["request"]), vector["error"])

token, child_prefix, child = (children[0][name] for name in ("token", "child_prefix", "child"))
hour = {"expires_in": timedelta(hours=1)}
needed = "`expires_at` or `expires_in` is needed"
refuse("no end", {}, needed)
refuse("two ends", {**hour, "expires_at": time(0)}, needed)
refuse("end without a time zone", {"expires_at": datetime(2026, 1, 1)}, "offset-naive")
refuse("limit with another name", {**hour, "scope": ["reporting"]}, "unexpected keyword argument 'scope'")
refuse("no kind of resource", {**hour, "resources": {}}, "must be a list with an item")
refuse("text for a list", {**hour, "scopes": "reporting"}, "must be a list with an item")
refuse("far too long", {**hour, "scopes": ["x" * 70_000]}, "at most 1024")
refuse("child of a child", hour, "not the token", token=child)
other = next(vector for vector in children if vector["token"] != token)
refuse("prefix of another key", hour, "not the child prefix", child_prefix=other["child_prefix"])
refuse("prefix without a tag", hour, "not the child prefix", child_prefix=token[:24])

if wrong:
    sys.exit(1)
print(f"Python makes {len(children)} children as Rust does, and refuses {len(refusals)} requests")
