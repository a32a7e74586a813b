"""Takes webhooks: checks the signature, stores the event at RabbitMQ with a confirm, answers."""
import hashlib
import hmac
import json
import os
import time

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from tasks import mail

SECRET = os.environ["SECRET"].encode()
TOLERANCE = 180_000

app = FastAPI(openapi_url=None)


def is_genuine(header: str, body: bytes) -> bool:
    parts = dict(part.strip().split("=", 1) for part in header.split(",") if "=" in part)
    if "t" not in parts or "v1" not in parts or abs(time.time() * 1000 - int(parts["t"])) > TOLERANCE:
        return False
    expected = hmac.new(SECRET, f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"])


@app.post("/v1/workos_webhook/")
async def webhook(request: Request):
    body = await request.body()
    if not is_genuine(request.headers.get("workos-signature", ""), body):
        return Response(status_code=401)
    event = json.loads(body)
    if event["event"] != "magic_auth.created":
        return {"status": "ignored"}
    try:
        arguments = (event["id"], event["data"]["id"])
        await run_in_threadpool(mail.apply_async, arguments, retry=False)
    except Exception:
        return Response(status_code=503)
    return {"status": "accepted"}
