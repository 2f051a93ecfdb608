// The password grant (RFC 6749 section 4.3), which the provider does not have of its own.

import { errors } from 'oidc-provider';
import { ACCOUNT, PASSWORD } from './configuration.mjs';

const NUMBERED_USER = /^(user-\d+)@example\.test$/;

export function registerPassword(provider) {
  provider.registerGrantType('password', async (ctx, next) => {
    const { client, params } = ctx.oidc;
    const sub = subject(params.username ?? '');
    if (!sub || params.password !== PASSWORD) {
      throw new errors.InvalidGrant('the user name or the password is wrong');
    }
    const account = await provider.Account.findAccount(ctx, sub);
    const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
    grant.addOIDCScope(params.scope);
    const grantId = await grant.save();
    ctx.oidc.entity('Client', client);
    ctx.oidc.entity('Account', account);
    ctx.oidc.entity('Grant', grant);

    const common = { accountId: account.accountId, client, grantId, gty: 'password', scope: params.scope };
    const accessToken = new provider.AccessToken(common);
    const refreshToken = new provider.RefreshToken({ ...common, rotations: 0 });
    const idToken = new provider.IdToken({ ...await account.claims(), sub: account.accountId }, { ctx });
    idToken.scope = params.scope;
    ctx.body = {
      access_token: await accessToken.save(),
      expires_in: accessToken.expiration,
      id_token: await idToken.issue({ use: 'idtoken' }),
      refresh_token: await refreshToken.save(),
      scope: params.scope,
      token_type: 'Bearer',
    };
    await next();
  }, ['username', 'password', 'scope']);
}

function subject(username) {
  return username === ACCOUNT.preferred_username ? ACCOUNT.sub : NUMBERED_USER.exec(username)?.[1];
}
