"""Posts one event with the CloudEvents SDK, like a sender written in Python: cloudevents_send.py URL FILE MODE.

FILE contains the event in structured form. MODE is "structured" or "binary". Prints the status and the answer.
"""

import json
import sys
import urllib.request
from datetime import datetime
from pathlib import Path

try:
    from cloudevents.core.bindings import http
    from cloudevents.core.v1.event import CloudEvent
except ImportError as error:
    sys.exit(f"{error}: run tests/run once, it installs what tests/requirements.txt lists")

MODES = {"structured": http.to_structured_event, "binary": http.to_binary_event}


def main(url: str, file: str, mode: str) -> None:
    attributes = json.loads(Path(file).read_text(encoding="utf-8"))
    data = attributes.pop("data")
    attributes["time"] = datetime.fromisoformat(attributes["time"].replace("Z", "+00:00"))
    message = MODES[mode](CloudEvent(attributes, data))
    body = message.body.encode() if isinstance(message.body, str) else message.body
    request = urllib.request.Request(url, data=body, headers=dict(message.headers), method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        print(json.dumps({"status": answer.status, "body": json.load(answer)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
