"""Signs or verifies with the package `standardwebhooks`, as anybody who uses it would: standard_webhooks.py sign|verify.

Reads a list of cases from standard input: objects with "secret", "body" and, to sign, "id", to verify, "headers". Prints
the headers of each, or whether each was taken.
"""

import json
import sys
from datetime import datetime, timezone

try:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
except ImportError as error:
    sys.exit(f"{error}: run tests/run once, it installs what tests/requirements.txt lists")


def sign(case: dict) -> dict:
    at = datetime.now(tz=timezone.utc)
    return {
        "webhook-id": case["id"],
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(case["secret"]).sign(case["id"], at, case["body"]),
    }


def verify(case: dict) -> bool:
    try:
        Webhook(case["secret"]).verify(case["body"], case["headers"], json_parse=False)
    except WebhookVerificationError:
        return False
    return True


if __name__ == "__main__":
    act = {"sign": sign, "verify": verify}[sys.argv[1]]
    print(json.dumps([act(case) for case in json.load(sys.stdin)]))
