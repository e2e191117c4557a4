"""A nightly job, which has a child for its hour and not the key of the service: see check.sh.

The environment has the address, the key and its child prefix: SERVICE_URL, KEY, CHILD_PREFIX.
"""

import json
import os
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

from mint import mint_child

URL, KEY, CHILD_PREFIX = (os.environ[name] for name in ("SERVICE_URL", "KEY", "CHILD_PREFIX"))
HOUR = timedelta(hours=1)
REPORT, ORDER = ("GET", "/reports/production"), ("PUT", "/erp/orders/4711")
checked = 0


def call(child, method, path):
    headers = {"authorization": f"Bearer {child}"}
    request = urllib.request.Request(URL + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def expect(step, outcome, expected):
    global checked
    print(f"  {step}: {outcome}")
    assert outcome == expected, f"{step}: expected {expected}"
    checked += 1


def make(**limits):
    return mint_child(KEY, CHILD_PREFIX, **limits)


print("Nightly job")
child = make(expires_in=HOUR, scopes=["reporting"], resources={"machine": ["mill-1"]})
status, report = call(child, *REPORT)
expect("report", (status, [machine["id"] for machine in json.loads(report)["machines"]]), (200, ["mill-1"]))
expect("order, without the scope", call(child, *ORDER)[0], 403)
expect("order, with the key", call(KEY, *ORDER)[0], 201)
expect("settings, which accept no children", call(child, "GET", "/settings")[0], 403)
expect("settings, with the key", call(KEY, "GET", "/settings")[0], 200)

now = datetime.now(timezone.utc)
narrow = make(
    expires_in=HOUR, not_before=now - HOUR, scopes=["reporting"], resources={"machine": "all"},
    networks=["::1/128", "127.0.0.0/8"], audience=["route:GET /reports/production"], nonce=os.urandom(16))
expect("report, with every limit", call(narrow, *REPORT)[0], 200)
other = make(expires_in=HOUR, audience=["route:GET /machines"])
expect("report, with a child for another route", call(other, *REPORT)[0], 403)
elsewhere = make(expires_in=HOUR, networks=["192.0.2.0/24"])
expect("report, from another network", call(elsewhere, *REPORT)[0], 403)
expect("report, with a child that has ended", call(make(expires_at=now - HOUR), *REPORT)[0], 401)
expect("report, before the begin", call(make(expires_in=2 * HOUR, not_before=now + HOUR), *REPORT)[0], 401)
expect("report, with an end that is too far away", call(make(expires_in=30 * HOUR), *REPORT)[0], 401)
forged = child[:-20] + ("A" if child[-20] != "A" else "B") + child[-19:]
expect("report, with a forged child", call(forged, *REPORT)[0], 401)
print(f"  {checked} outcomes as expected")
