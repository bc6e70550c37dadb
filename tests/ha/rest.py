"""JSON over HTTP, a connection for each request."""

import http.client
import json

# Longer than the deadline after which a node answers 503.
SECONDS = 15


class Lost(Exception):
    """No answer: the connection was refused or broke ("connection"), or nothing came in time ("timeout")."""


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def retry_after(self):
        return float(self.headers.get("Retry-After") or 0)


def send(port, method, path, body=None, headers=None, seconds=SECONDS):
    """Sends a request to a port of the loopback interface. Raises `Lost` when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
    except TimeoutError as error:
        raise Lost("timeout") from error
    except (OSError, http.client.HTTPException) as error:
        raise Lost("connection") from error
    finally:
        connection.close()
    try:
        document = json.loads(content)
    except ValueError:
        document = content.decode("utf-8", "replace")
    return Reply(response.status, response.headers, document)
