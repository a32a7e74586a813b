// Mails the codes: claims each event once in Redis, reads the code from WorkOS, hands the mail to the relay.
import amqp from 'amqplib';
import { Redis } from 'ioredis';
import nodemailer from 'nodemailer';

const { AMQP_URL, REDIS_URL, QUEUE, API_URL, API_KEY, SMTP_HOST, SMTP_PORT } = process.env;
const AT_ONCE = 32;
const THREE_DAYS = 3 * 24 * 3600;

const redis = new Redis(REDIS_URL);
const relay = nodemailer.createTransport({
  pool: true,
  maxConnections: AT_ONCE,
  maxMessages: Infinity,
  host: SMTP_HOST,
  port: Number(SMTP_PORT),
  secure: false,
  ignoreTLS: true,
});

const html = (code) => `<!doctype html><html lang="en"><body style="font-family:sans-serif;background:#f3f4f6">
<div style="max-width:480px;margin:32px auto;padding:32px;background:#fff;border:1px solid #d9dce3;border-radius:8px">
<p style="font-size:36px;font-weight:700;letter-spacing:6px">${code}</p><p>Your Acme login code. It works for 10 minutes, and only once.</p>
<p style="color:#565d6b;font-size:14px">If you did not ask for this code, you can ignore this mail.</p></div></body></html>`;

const mail = async ({ event, id }) => {
  const claimed = await redis.set(`claim:${event}`, 'claimed', 'EX', 60, 'NX');
  if (!claimed) return (await redis.get(`claim:${event}`)) === 'done' ? 'duplicate' : 'busy';
  try {
    const headers = { authorization: `Bearer ${API_KEY}` };
    const answer = await fetch(`${API_URL}/user_management/magic_auth/${id}`, { headers });
    if (!answer.ok) throw new Error(`WorkOS answered ${answer.status}`);
    const { code, email } = await answer.json();
    await relay.sendMail({
      from: 'Acme <login@acme.example>',
      to: email,
      subject: 'Your Acme login code',
      text: `${code} is your Acme login code.\n\nIt works for 10 minutes, and only once.\n`,
      html: html(code),
    });
    await redis.set(`claim:${event}`, 'done', 'EX', THREE_DAYS);
    return 'sent';
  } catch (error) {
    await redis.del(`claim:${event}`);
    throw error;
  }
};

const consume = async () => {
  try {
    const connection = await amqp.connect(AMQP_URL);
    connection.on('error', () => {});
    connection.on('close', () => setTimeout(consume, 500));
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await channel.prefetch(AT_ONCE);
    await channel.consume(QUEUE, async (message) => {
      if (!message) return;
      try {
        const ending = await mail(JSON.parse(message.content));
        if (ending === 'busy') setTimeout(() => channel.nack(message), 1000);
        else channel.ack(message);
      } catch {
        setTimeout(() => channel.nack(message), 1000);
      }
    });
  } catch {
    setTimeout(consume, 500);
  }
};
process.on('uncaughtException', () => {});
await consume();
