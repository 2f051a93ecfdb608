// Two grants that the provider does not have by itself: token exchange (RFC 8693), and on-behalf-of as
// Entra words it (a JWT bearer grant, with an access token of this provider in place of the JWT).

import { errors } from 'oidc-provider';
import { API_RESOURCE, JWT_BEARER, TOKEN_EXCHANGE } from './configuration.mjs';

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

export function registerExchanges(provider) {
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    (ctx, next) => exchange(provider, ctx, next),
    [
      'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type',
      'audience', 'resource', 'scope',
    ],
    ['resource', 'audience'],
  );
  provider.registerGrantType(
    JWT_BEARER,
    (ctx, next) => onBehalfOf(provider, ctx, next),
    ['assertion', 'requested_token_use', 'scope'],
  );
}

// An access token and nothing else: the reply names nobody, as that of most issuers.
async function exchange(provider, ctx, next) {
  const { params, client } = ctx.oidc;
  if (params.subject_token_type !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('subject_token_type must be an access token');
  }
  if ((params.requested_token_type ?? ACCESS_TOKEN) !== ACCESS_TOKEN) {
    throw new errors.InvalidRequest('requested_token_type must be an access token');
  }
  const subject = await presented(provider, params.subject_token);
  if (params.actor_token) {
    const actor = params.actor_token_type === ACCESS_TOKEN
      && (await provider.ClientCredentials.find(params.actor_token)
        ?? await provider.AccessToken.find(params.actor_token));
    if (!actor) throw new errors.InvalidGrant('the actor token is unknown');
  }
  if (params.resource && params.resource !== API_RESOURCE) throw new errors.InvalidTarget();
  const token = await accessToken(provider, client, subject.accountId, params.scope ?? subject.scope, params);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: ACCESS_TOKEN,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope: params.scope,
  };
  await next();
}

// With openid an ID token, with offline_access a refresh token that rotates like any other.
async function onBehalfOf(provider, ctx, next) {
  const { params, client } = ctx.oidc;
  if (params.requested_token_use !== 'on_behalf_of') {
    throw new errors.InvalidRequest('requested_token_use must be on_behalf_of');
  }
  const subject = await presented(provider, params.assertion);
  const scope = params.scope ?? 'openid';
  const scopes = new Set(scope.split(' '));
  const token = await accessToken(provider, client, subject.accountId, scope, {});
  const value = await token.save();
  ctx.body = {
    access_token: value,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope,
  };
  if (scopes.has('offline_access')) {
    const refresh = new provider.RefreshToken({
      accountId: subject.accountId,
      authTime: subject.iat,
      client,
      grantId: token.grantId,
      gty: JWT_BEARER,
      scope,
    });
    ctx.oidc.entity('RefreshToken', refresh);
    ctx.body.refresh_token = await refresh.save();
  }
  if (scopes.has('openid')) {
    const account = await provider.Account.findAccount(ctx, subject.accountId);
    ctx.oidc.entity('Account', account);
    const claims = await account.claims('id_token', scope, {}, []);
    const idToken = new provider.IdToken(claims, { ctx });
    idToken.scope = scope;
    ctx.body.id_token = await idToken.issue({ use: 'idtoken' });
  }
  await next();
}

async function presented(provider, value) {
  const found = value && await provider.AccessToken.find(value);
  if (!found || found.isExpired) throw new errors.InvalidGrant('the token that was presented is unknown or expired');
  return found;
}

async function accessToken(provider, client, accountId, scope, { resource }) {
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(scope ?? '');
  const token = new provider.AccessToken({
    accountId,
    client,
    grantId: await grant.save(),
    gty: 'exchange',
    scope,
  });
  if (resource) token.aud = resource;
  return token;
}
