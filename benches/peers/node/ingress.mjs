// Takes webhooks: checks the signature, stores the event at RabbitMQ with a confirm, answers.
import { createHmac, timingSafeEqual } from 'node:crypto';
import amqp from 'amqplib';
import fastify from 'fastify';

const { AMQP_URL, QUEUE, SECRET, PORT } = process.env;
const TOLERANCE = 180_000;

let channel;
const connect = async () => {
  try {
    const connection = await amqp.connect(AMQP_URL);
    connection.on('error', () => {});
    connection.on('close', () => {
      channel = undefined;
      setTimeout(connect, 500);
    });
    const opened = await connection.createConfirmChannel();
    opened.on('error', () => {});
    await opened.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    channel = opened;
  } catch {
    setTimeout(connect, 500);
  }
};

const isGenuine = (header, body) => {
  const parts = Object.fromEntries(String(header).split(',').map((part) => part.trim().split('=')));
  if (!parts.t || !parts.v1 || Math.abs(Date.now() - Number(parts.t)) > TOLERANCE) return false;
  const expected = createHmac('sha256', SECRET).update(`${parts.t}.`).update(body).digest();
  const given = Buffer.from(parts.v1, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
};

const publish = (message, id) =>
  new Promise((resolve, reject) => {
    const options = { persistent: true, messageId: id };
    channel.sendToQueue(QUEUE, Buffer.from(message), options, (error) => (error ? reject(error) : resolve()));
    setTimeout(() => reject(new Error('no confirm in time')), 5000).unref();
  });

const app = fastify({ logger: false, bodyLimit: 64 * 1024 });
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => done(null, body));
app.post('/v1/workos_webhook/', async (request, reply) => {
  if (!isGenuine(request.headers['workos-signature'], request.body)) return reply.code(401).send();
  const event = JSON.parse(request.body);
  if (event.event !== 'magic_auth.created') return { status: 'ignored' };
  try {
    const { id, expires_at } = event.data;
    await publish(JSON.stringify({ event: event.id, id, expires_at }), event.id);
  } catch {
    return reply.code(503).send();
  }
  return { status: 'accepted' };
});

await connect();
await app.listen({ host: '127.0.0.1', port: Number(PORT) });
