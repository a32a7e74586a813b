// Keeps the webhook endpoint registered with WorkOS's emulator, which keeps everything in memory and, up to 0.7.1, signs the
// endpoints of its seed with a random secret.
import { readFileSync } from 'node:fs';

const emulator = process.env.EMULATOR_URL ?? 'http://workos:4100';
const endpoint_url = process.env.WEBHOOK_URL ?? 'http://ingress:8080/v1/workos_webhook/';
const secret = readFileSync(process.env.WEBHOOK_SECRET_FILE ?? '/run/secrets/webhook_secret', 'utf8').trim();
const headers = { authorization: 'Bearer sk_test_default', 'content-type': 'application/json' };

async function ask(method, body) {
  const signal = AbortSignal.timeout(3000);
  const answer = await fetch(`${emulator}/webhook_endpoints`, { method, headers, signal, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} /webhook_endpoints was answered ${answer.status}`);
  return answer.json();
}

let known = '';
for (;;) {
  try {
    const { data } = await ask('GET');
    if (!data.some((endpoint) => endpoint.endpoint_url === endpoint_url)) {
      await ask('POST', { endpoint_url, secret, events: ['magic_auth.created'] });
      console.log(`registered ${endpoint_url}`);
    }
    known = '';
  } catch (error) {
    // Each problem once: the emulator needs a moment to start.
    if (known !== error.message) console.error(`cannot register the webhook: ${error.message}`);
    known = error.message;
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
