"""Hear of a batch's end instead of asking for it: a webhook endpoint, a receiver, and the official client's own check.

batchyard serve --model demo --webhook-allow-private 127.0.0.1
python3 webhook.py http://127.0.0.1:8000/v1 batchyard-data/admin.key
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from openai import InvalidWebhookSignatureError, OpenAI

base_url, key_file = sys.argv[1:]
client = OpenAI(base_url=base_url, api_key=Path(key_file).read_text().strip())
heard: set[str] = set()
ended: list[str] = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = client.webhooks.unwrap(body, dict(self.headers))
        except (InvalidWebhookSignatureError, ValueError):
            self.answer(400)
            return
        self.answer(204)  # at once: what takes longer than ten seconds is sent again
        if self.headers["webhook-id"] not in heard:  # it may come twice
            heard.add(self.headers["webhook-id"])
            ended.append(event.data.id)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return None


with HTTPServer(("127.0.0.1", 0), Receiver) as server:
    url = f"http://127.0.0.1:{server.server_port}/"
    endpoint = client.webhooks.create(name="example", url=url, event_types=["batch.completed", "batch.failed"])
    client.webhook_secret = endpoint.signing_secret

    model = client.models.list().data[0].id
    body = {"model": model, "messages": [{"role": "user", "content": "Capital of France?"}]}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.id not in ended:
        server.handle_request()
    client.webhooks.delete(endpoint.id)

batch = client.batches.retrieve(batch.id)
print(f"heard that {batch.id} has ended: {batch.status}")
