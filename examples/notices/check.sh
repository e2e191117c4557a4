#!/usr/bin/env bash
# Runs the example, and reads its e-mails with Python's library.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/tools.sh

has python3 || debian python3 || not_here 'python3 cannot be installed'

cargo build --quiet -p notices
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"${CARGO_TARGET_DIR:-target}/debug/notices" >"$out"

python3 - "$out" <<'END'
import email, email.policy, re, sys

text = open(sys.argv[1], newline="").read()
parts = re.split(r"(?m)^(?=From: )", text)
rest = [line for part in parts for line in re.findall(r"(?m)^-- (.*?)\r?$", part)]
mails = [email.message_from_string(re.split(r"(?m)^-- ", part)[0], policy=email.policy.default) for part in parts[1:]]


def check(mails):
    """Returns what is wrong with the e-mails."""
    if any(mail.defects or mail["To"] != "acme@example.com" for mail in mails):
        return "an e-mail cannot be read"
    if len({mail["Message-ID"] for mail in mails}) != len(mails):
        return "an e-mail is sent twice"
    if [mail["Subject"] for mail in mails] != ["An API key ends soon", "An API key will be disabled"]:
        return "an e-mail is missing"
    if "Trial" not in mails[0].get_content() or "Forgotten" not in mails[1].get_content():
        return "an e-mail names another key"


def fail(problem):
    sys.exit(f"notices: {problem}")


if problem := check(mails):
    fail(problem)
for planted in (mails + mails[:1], mails[:1]):
    if not check(planted):
        fail("a planted fault is not noticed")
states = {line.split(":")[0]: line.split(" ")[-3] for line in rest if ": " in line}
if states != {"Nightly sync": "enabled", "Trial": "enabled", "Forgotten": "disabled"}:
    fail(f"the keys end as {states}")
print(f"{len(mails)} e-mails, each sent once, and one key is disabled")
END
