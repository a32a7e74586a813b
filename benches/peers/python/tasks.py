"""Mails the codes: claims each event once in Redis, reads the code from WorkOS, hands the mail to the relay."""
import os
import smtplib
from email.message import EmailMessage

import redis
import requests
from celery import Celery
from kombu import Queue

QUEUE = os.environ["QUEUE"]
THREE_DAYS = 3 * 24 * 3600

app = Celery("peers", broker=os.environ["AMQP_URL"].replace("amqp://", "pyamqp://"))
app.conf.update(
    task_default_queue=QUEUE,
    task_queues=[Queue(QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"})],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    worker_detect_quorum_queues=True,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)

claims = redis.Redis.from_url(os.environ["REDIS_URL"])
workos = requests.Session()
relay = None

HTML = """<!doctype html><html lang="en"><body style="font-family:sans-serif;background:#f3f4f6">
<div style="max-width:480px;margin:32px auto;padding:32px;background:#fff;border:1px solid #d9dce3;border-radius:8px">
<p style="font-size:36px;font-weight:700;letter-spacing:6px">{code}</p><p>Your Acme login code. It works for 10 minutes, and only once.</p>
<p style="color:#565d6b;font-size:14px">If you did not ask for this code, you can ignore this mail.</p></div></body></html>"""


def send(message):
    """Over a connection that is kept; over a new one if the relay has closed it."""
    global relay
    for fresh in (False, True):
        if relay is None or fresh:
            relay = smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"]), timeout=10)
        try:
            return relay.send_message(message)
        except smtplib.SMTPServerDisconnected:
            if fresh:
                raise


@app.task(name="mail", bind=True, max_retries=20, default_retry_delay=1)
def mail(self, event, id):
    claim = f"claim:{event}"
    if not claims.set(claim, "claimed", ex=60, nx=True):
        if claims.get(claim) == b"done":
            return
        raise self.retry()
    try:
        headers = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
        answer = workos.get(f"{os.environ['API_URL']}/user_management/magic_auth/{id}", headers=headers, timeout=5)
        answer.raise_for_status()
        code = answer.json()
        message = EmailMessage()
        message["From"], message["To"] = "Acme <login@acme.example>", code["email"]
        message["Subject"] = "Your Acme login code"
        message.set_content(f"{code['code']} is your Acme login code.\n\nIt works for 10 minutes, and only once.\n")
        message.add_alternative(HTML.format(code=code["code"]), subtype="html")
        send(message)
        claims.set(claim, "done", ex=THREE_DAYS)
    except Exception as error:
        claims.delete(claim)
        raise self.retry(exc=error)
