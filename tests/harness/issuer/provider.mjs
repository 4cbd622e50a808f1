// A certified OpenID provider on loopback, driven by the tests (tests/harness/issuer.rs).
//
// usage: node provider.mjs NODE_MODULES
//
// Prints one line {"port","control"} when it serves, and ends when its stdin does. Identities that the test names are
// both clients (client credentials, secret = SECRET) and accounts (authorization code with PKCE by the public client
// `app`; login and consent are given without asking). A `resource` of the request becomes the audience.
//
// The control port takes JSON: POST /identity {id, claims, ttl, alg} · /rotate {publish} · /drop · /down · /up, and
// answers GET /asked with how often discovery and keys were asked for.

import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

// stdout is for the one line, and the provider's advice to those who run it for real is not for tests.
console.info = console.warn = console.log = () => {};

const [modules] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider/lib/index.js')));

const SECRET = 'known-to-the-tests-only-and-opens-nothing-else';
const REDIRECT = 'http://127.0.0.1/callback';
const SCOPES = 'agents:call agents:read';
const LIFE = 600; // seconds; longer than any test

const identities = new Map();
const asked = { discovery: 0, keys: 0 };
let signing = makeKeys(); // the newest, with which tokens are signed
let published = []; // older ones that still verify
let issuer;
let provider;

/** One key of each kind; the RSA key has no `alg`, so that it signs RS* and PS*. */
function makeKeys() {
  const kinds = [
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ec', { namedCurve: 'P-384' }],
    ['ed25519', {}],
  ];
  return kinds.map(([kind, options]) => ({
    ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
    kid: randomUUID(),
    use: 'sig',
  }));
}

/** Providers take their clients and keys once; their memory is shared, so a new one goes on where the last one was. */
function renew() {
  const clients = [...identities.keys()].map((id) => ({
    client_id: id,
    client_secret: SECRET,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  }));
  clients.push({
    client_id: 'app',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: [REDIRECT],
  });
  provider = new Provider(issuer, {
    clients,
    jwks: { keys: [...signing, ...published] },
    cookies: { keys: [SECRET] },
    scopes: ['openid', ...SCOPES.split(' ')],
    ttl: {
      AccessToken: (_, token) => token.resourceServer.accessTokenTTL,
      ClientCredentials: (_, token) => token.resourceServer.accessTokenTTL,
      Grant: LIFE,
      IdToken: LIFE,
      Interaction: LIFE,
      Session: LIFE,
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource, client) => {
          const { ttl = LIFE, alg = 'RS256' } = identities.get(client.clientId) ?? {};
          return {
            audience: resource,
            scope: SCOPES,
            accessTokenTTL: ttl,
            accessTokenFormat: 'jwt',
            jwt: { sign: { alg } },
          };
        },
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (_, token) => identities.get(token.accountId ?? token.clientId)?.claims,
  });
}

/** Signs in whoever is named as `login_hint`, and consents to everything that was asked for. */
async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    const login = { accountId: params.login_hint };
    return provider.interactionFinished(request, response, { login });
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  grant.addResourceScope(params.resource, params.scope);
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, issuer);
  asked.discovery += pathname === '/.well-known/openid-configuration';
  asked.keys += pathname === '/jwks';
  if (pathname.startsWith('/interaction/')) {
    interact(request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end(String(error));
    });
  } else {
    provider.callback()(request, response);
  }
});

const listen = (one, port) => new Promise((done) => one.listen(port, '127.0.0.1', done));

const commands = {
  'POST /identity': ({ id, ...rest }) => {
    identities.set(id, rest);
    renew();
  },
  // Without `publish` the former keys are gone at once.
  'POST /rotate': ({ publish }) => {
    published = publish ? [...signing, ...published] : [];
    signing = makeKeys();
    renew();
  },
  'POST /drop': () => {
    published = [];
    renew();
  },
  'POST /down': () => {
    const closed = new Promise((done) => server.close(done));
    server.closeAllConnections();
    return closed;
  },
  'POST /up': () => listen(server, Number(new URL(issuer).port)),
  'GET /asked': () => asked,
};

const control = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const command = commands[`${request.method} ${request.url}`];
  if (!command) return response.writeHead(404).end();
  const given = parts.length ? JSON.parse(Buffer.concat(parts)) : {};
  return response.end(JSON.stringify((await command(given)) ?? {}));
});

await Promise.all([listen(server, 0), listen(control, 0)]);
issuer = `http://127.0.0.1:${server.address().port}`;
renew();
process.stdout.write(`${JSON.stringify({ port: server.address().port, control: control.address().port })}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
