// Reads every answer of the stand-in for WorkOS with WorkOS's own Node.js library. The library maps members one by one, so a
// member that is missing becomes undefined.
import { readFileSync } from 'node:fs';
import { WorkOS } from '@workos-inc/node';

const given = JSON.parse(readFileSync(0, 'utf8'));
const url = new URL(given.url);
const workos = new WorkOS(given.key, {
  clientId: given.client_id, apiHostname: url.hostname, port: Number(url.port), https: false,
});

function whole(value, path, optional = []) {
  if (value === undefined && !optional.some((name) => path.endsWith(name))) throw new Error(`${path} is missing`);
  if (value && typeof value === 'object') for (const [name, member] of Object.entries(value)) whole(member, `${path}.${name}`, optional);
}

const users = workos.userManagement;
const code = await users.getMagicAuth(given.magic_auth_id);
whole(code, 'magic auth');
if (code.code !== given.code) throw new Error('another code');

const signedIn = await users.authenticateWithCode({ code: given.authorization_code, codeVerifier: given.code_verifier });
whole(signedIn, 'sign-in', ['impersonator', 'oauthTokens']);
const renewed = await users.authenticateWithRefreshToken({ refreshToken: signedIn.refreshToken, organizationId: 'org_2' });
whole(renewed, 'refresh', ['impersonator', 'oauthTokens']);
if (renewed.organizationId !== 'org_2') throw new Error('another organization');

const memberships = await users.listOrganizationMemberships({ userId: signedIn.user.id, statuses: ['active', 'inactive'] });
memberships.data.forEach((membership) => whole(membership, 'membership'));
if (memberships.data.length !== 3) throw new Error(`${memberships.data.length} memberships`);

const { data } = await workos.events.listEvents({ events: ['magic_auth.created'] });
data.forEach((event) => whole(event, 'event'));
if (data.length !== 1) throw new Error(`${data.length} events`);

const event = await workos.webhooks.constructEvent({
  payload: JSON.parse(given.webhook), sigHeader: given.signature, secret: given.secret,
});
whole(event, 'webhook');

// The library fetches the key set, and checks the token with it.
const sealed = await users.authenticateWithRefreshToken({
  refreshToken: renewed.refreshToken, session: { sealSession: true, cookiePassword: 'x'.repeat(32) },
});
const session = users.loadSealedSession({ sessionData: sealed.sealedSession, cookiePassword: 'x'.repeat(32) });
const told = await session.authenticate();
if (!told.authenticated || told.organizationId !== 'org_2') throw new Error(`the session is not accepted: ${told.reason}`);
console.log('read everything');
process.exit(0);
