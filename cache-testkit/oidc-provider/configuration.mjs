// Clients, scopes, lifetimes and features of the provider.

import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { errors, interactionPolicy } from 'oidc-provider';
import { logoutPage } from './logout.mjs';

export const API_RESOURCE = 'urn:tokenkeep:api';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
const API_SCOPES = ['api:read', 'api:write'];
const DAY = 24 * 60 * 60;

// The port of a loopback redirect is ignored for native clients (RFC 8252 section 7.3).
const LOOPBACK_REDIRECTS = ['http://127.0.0.1/', 'http://127.0.0.1/callback', 'http://localhost/', 'http://localhost'];

export const PASSWORD = 'canary-password';

export const ACCOUNT = {
  sub: 'alice',
  preferred_username: 'alice@example.test',
  name: 'Alice Example',
  email: 'alice@example.test',
};

/** The claims of `sub`: alice's, or those of a numbered user, who has nothing but a name. */
export function account(sub) {
  return sub === ACCOUNT.sub ? ACCOUNT : { sub, preferred_username: `${sub}@example.test` };
}

const CLIENTS = [
  {
    client_id: 'tokenkeep-cli',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: [DEVICE_CODE, 'refresh_token', 'authorization_code', 'password'],
    response_types: ['code'],
    redirect_uris: LOOPBACK_REDIRECTS,
  },
  {
    // As tokenkeep-cli, but its authorization requests must be pushed (RFC 9126).
    client_id: 'tokenkeep-pushed',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['refresh_token', 'authorization_code'],
    response_types: ['code'],
    redirect_uris: LOOPBACK_REDIRECTS,
    require_pushed_authorization_requests: true,
  },
  {
    client_id: 'tokenkeep-service',
    client_secret: 'tokenkeep-service-secret',
    application_type: 'native',
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['password', 'client_credentials', 'refresh_token', 'authorization_code', TOKEN_EXCHANGE, JWT_BEARER],
    response_types: ['code'],
    redirect_uris: LOOPBACK_REDIRECTS,
  },
  {
    client_id: 'tokenkeep-service-basic',
    client_secret: 'tokenkeep-service-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  },
  {
    client_id: 'tokenkeep-service-jwt',
    token_endpoint_auth_method: 'private_key_jwt',
    // Public halves of keys of the tests, which protect nothing: keys/service-rsa.pem and keys/service-ec.pem.
    jwks: { keys: ['service-rsa', 'service-ec'].map(publicKey) },
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  },
];

/** A web application. Its port is compared, as the others' loopback ports are not, so it is registered when that is known. */
export function webClient(redirectUris, postLogoutRedirectUris) {
  return {
    client_id: 'tokenkeep-web',
    client_secret: 'tokenkeep-service-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: redirectUris,
    post_logout_redirect_uris: postLogoutRedirectUris,
  };
}

/** `settings` is read at each issue of a token, so a change holds from the next one on. */
export function configuration(memory, settings) {
  const accessTokenTtl = () => settings.accessTokenTtl;
  return {
    adapter: (model) => memory.adapter(model),
    clients: CLIENTS,
    // A client may send only scopes that are known here or belong to the resource it names. The
    // scopes of the API are both, as many issuers know no resource parameter.
    scopes: ['openid', 'offline_access', ...API_SCOPES],
    claims: {
      openid: ['sub'],
      profile: ['preferred_username', 'name'],
      email: ['email'],
    },
    // Puts the claims of the granted scopes into the ID token, as a client without a userinfo call
    // needs them there.
    conformIdTokenClaims: false,
    findAccount: async (_ctx, sub) => ({
      accountId: sub,
      claims: async () => account(sub),
    }),
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: {
        enabled: true,
        nonceSecret: randomBytes(32),
        requireNonce: () => settings.dpopNonceRequired,
      },
      introspection: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: logoutPage },
      resourceIndicators: {
        enabled: true,
        defaultResource: async (_ctx, _client, oneOf) => oneOf,
        useGrantedResource: async () => true,
        getResourceServerInfo: async (_ctx, resource) => {
          if (resource !== API_RESOURCE) throw new errors.InvalidTarget();
          return { audience: resource, scope: API_SCOPES.join(' '), accessTokenFormat: 'opaque' };
        },
      },
    },
    rotateRefreshToken: true,
    pkce: { required: () => true },
    interactions: { policy: policy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    ttl: {
      AccessToken: accessTokenTtl,
      ClientCredentials: accessTokenTtl,
      AuthorizationCode: 60,
      DeviceCode: 600,
      Grant: 14 * DAY,
      IdToken: 3600,
      Interaction: 3600,
      RefreshToken: 14 * DAY,
      Session: 14 * DAY,
    },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    jwks: { keys: [signingKey()] },
  };
}

// The provider asks for consent anew at every sign-in of a native client, since another program could pose as it (RFC 8252
// section 8.6). Then prompt=none would never succeed, and that has to be tested.
function policy() {
  const prompts = interactionPolicy.base();
  prompts.get('consent').checks.remove('native_client_prompt');
  return prompts;
}

function publicKey(name) {
  const pem = readFileSync(new URL(`keys/${name}.pem`, import.meta.url));
  return { ...createPublicKey(pem).export({ format: 'jwk' }), use: 'sig', kid: name };
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: randomBytes(8).toString('hex'),
  };
}
