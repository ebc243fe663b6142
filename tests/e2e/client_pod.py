"""Runs inside the cluster, in the runtime's image: asks a service for pictures and prints the answers as JSON.

Usage: python client_pod.py URL BODY…   (each BODY is the JSON of one request)
"""

import json
import sys
import urllib.error
import urllib.request


def ask(url: str, body: str) -> dict[str, object]:
    """One request; errors are answers too."""
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return {"status": reply.status, "body": json.load(reply), "headers": dict(reply.headers)}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": json.load(error), "headers": dict(error.headers)}


for text in sys.argv[2:]:
    print(json.dumps(ask(sys.argv[1], text)))
