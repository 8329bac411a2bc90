"""Signs requests in the schemes of nine senders, following the public descriptions of these senders and not ours.

Reads a list of cases from standard input: objects with "sender", "secret", "path" and "body". Prints the headers of
each case.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from datetime import datetime, timezone

HOST = "https://bridge.example.com"


def mac(secret: str, text: str, algorithm: str = "sha256") -> "hmac.HMAC":
    return hmac.new(secret.encode(), text.encode(), getattr(hashlib, algorithm))


def in_base64(made: "hmac.HMAC") -> str:
    return base64.b64encode(made.digest()).decode()


def github(secret: str, path: str, body: str) -> dict:
    return {"X-Hub-Signature-256": "sha256=" + mac(secret, body).hexdigest()}


def shopify(secret: str, path: str, body: str) -> dict:
    return {"X-Shopify-Hmac-Sha256": in_base64(mac(secret, body))}


def stripe(secret: str, path: str, body: str) -> dict:
    at = int(time.time())
    signature = mac(secret, f"{at}.{body}").hexdigest()
    return {"Stripe-Signature": f"t={at},v1={signature},v0={'00' * 32}"}


def hubspot(secret: str, path: str, body: str) -> dict:
    at = str(int(time.time() * 1000))
    signature = in_base64(mac(secret, "POST" + HOST + path + body + at))
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": at}


def segment(secret: str, path: str, body: str) -> dict:
    return {"X-Signature": mac(secret, body, "sha1").hexdigest()}


def zendesk(secret: str, path: str, body: str) -> dict:
    at = datetime.now(tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = in_base64(mac(secret, at + body))
    return {
        "X-Zendesk-Webhook-Signature": signature,
        "X-Zendesk-Webhook-Signature-Timestamp": at,
    }


def intercom(secret: str, path: str, body: str) -> dict:
    return {"X-Hub-Signature": "sha1=" + mac(secret, body, "sha1").hexdigest()}


def slack(secret: str, path: str, body: str) -> dict:
    at = str(int(time.time()))
    signature = "v0=" + mac(secret, f"v0:{at}:{body}").hexdigest()
    return {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": at}


def close(secret: str, path: str, body: str) -> dict:
    at = str(int(time.time()))
    key = bytes.fromhex(secret)
    signature = hmac.new(key, (at + body).encode(), hashlib.sha256).hexdigest()
    return {"Close-Sig-Hash": signature, "Close-Sig-Timestamp": at}


if __name__ == "__main__":
    senders = {
        "GitHub": github,
        "Shopify": shopify,
        "Stripe": stripe,
        "HubSpot, v3": hubspot,
        "Segment": segment,
        "Zendesk": zendesk,
        "Intercom": intercom,
        "Slack": slack,
        "Close": close,
    }
    cases = json.load(sys.stdin)
    print(json.dumps([senders[case.pop("sender")](**case) for case in cases]))
