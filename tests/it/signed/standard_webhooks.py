"""Signs or verifies requests with the Python package `standardwebhooks`: standard_webhooks.py sign|verify.

Reads a list of cases from standard input: objects with "secret", "body" and either "id" (sign) or "headers" (verify).
Prints the headers of each case, or whether the package accepted the headers of each case.
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
