// A real OpenID provider on loopback for the tests of token clients.
//
//   node server.mjs [PORT]
//
// Listens on 127.0.0.1, on PORT or on a free one, and prints one line {"issuer":"http://127.0.0.1:…"}
// once it answers. Environment: ACCESS_TOKEN_TTL, the lifetime of access tokens in seconds (3600);
// EXIT_WITH_STDIN=1, to end when standard input is closed, that is with the parent, however it ends.
//
// The paths under /test are for the tests and not part of any protocol:
//   POST /test/approve?user_code=CODE   signs alice in for a device code
//   GET  /test/statistics               see statistics.mjs
//   POST /test/ttl?seconds=N            lifetime of access tokens issued from now on
//   POST /test/delay?milliseconds=N     holds back the token endpoint's replies, after it has acted
//   POST /test/dpop-nonce?required=1|0  whether DPoP proofs must carry the provider's nonce
//   POST /test/web-client?redirect_uri=URI&post_logout_redirect_uri=URI
//                                       registers the web application at these addresses, each as often as needed
//   POST /test/reset                    forgets all users' state, counts, lifetime, delay and the web application
//   POST /test/exit                     ends the process

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import Provider from 'oidc-provider';
import { approveDevice } from './approval.mjs';
import { configuration, webClient } from './configuration.mjs';
import { registerExchanges } from './exchange.mjs';
import { interact } from './interaction.mjs';
import { Memory } from './memory.mjs';
import { registerPassword } from './password.mjs';
import { Statistics } from './statistics.mjs';

const initial = {
  accessTokenTtl: wholeNumber(process.env.ACCESS_TOKEN_TTL ?? '3600', 'ACCESS_TOKEN_TTL'),
  tokenDelay: 0,
  dpopNonceRequired: false,
};
const settings = { ...initial };
const memory = new Memory();
const statistics = new Statistics();

const tests = {
  'POST /test/approve': async (query) => {
    const found = await approveDevice(provider, query.get('user_code') ?? '');
    return found ? [200, { approved: true }] : [404, { error: 'no device code waits for this user code' }];
  },
  'GET /test/statistics': () => [200, statistics],
  'POST /test/ttl': (query) => {
    settings.accessTokenTtl = wholeNumber(query.get('seconds'), 'seconds');
    return [200, settings];
  },
  'POST /test/delay': (query) => {
    settings.tokenDelay = wholeNumber(query.get('milliseconds'), 'milliseconds');
    return [200, settings];
  },
  'POST /test/dpop-nonce': (query) => {
    settings.dpopNonceRequired = query.get('required') === '1';
    return [200, settings];
  },
  'POST /test/web-client': async (query) => {
    const client = webClient(query.getAll('redirect_uri'), query.getAll('post_logout_redirect_uri'));
    await memory.adapter('Client').upsert(client.client_id, client);
    return [200, {}];
  },
  'POST /test/reset': () => {
    memory.clear();
    statistics.clear();
    Object.assign(settings, initial);
    return [200, settings];
  },
  'POST /test/exit': () => {
    setImmediate(() => process.exit(0));
    return [200, {}];
  },
};

// The issuer's name contains the port, so the socket comes before the provider.
let provider;
let answer;
const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  try {
    const test = tests[`${request.method} ${url.pathname}`];
    if (test) {
      reply(response, ...await test(url.searchParams));
    } else if (url.pathname.startsWith('/interaction/')) {
      await interact(provider, request, response);
    } else {
      await answer(request, response);
    }
  } catch (error) {
    reply(response, 400, { error: error.message });
  }
});

server.listen(wholeNumber(process.argv[2] ?? '0', 'PORT'), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, configuration(memory, settings));
  registerExchanges(provider);
  registerPassword(provider);
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/token' && settings.tokenDelay > 0) await sleep(settings.tokenDelay);
  });
  answer = provider.callback();
  statistics.observe(provider, memory);
  console.log(JSON.stringify({ issuer }));
});

if (process.env.EXIT_WITH_STDIN === '1') {
  process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0)).resume();
}

function reply(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function wholeNumber(text, name) {
  if (!/^\d{1,9}$/.test(text ?? '')) throw new Error(`${name} must be a whole number`);
  return Number(text);
}
