// Signs the one user in and grants what was asked for, without a browser.

import { ACCOUNT, API_RESOURCE } from './configuration.mjs';

/**
 * Completes the device code behind `userCode`. Answers false when no such code waits.
 *
 * This sets the fields that the provider's own verification page sets once a user has agreed.
 */
export async function approveDevice(provider, userCode) {
  const code = await provider.DeviceCode.findByUserCode(normalized(userCode));
  if (!code || code.accountId || code.error) return false;

  const resources = [code.params.resource ?? []].flat();
  const grant = new provider.Grant({ accountId: ACCOUNT.sub, clientId: code.clientId });
  addScope(grant, code.params.scope ?? 'openid', resources);

  code.grantId = await grant.save();
  code.accountId = ACCOUNT.sub;
  code.authTime = Math.floor(Date.now() / 1000);
  code.amr = ['pwd'];
  code.scope = code.params.scope ?? 'openid';
  if (resources.length === 1) [code.resource] = resources;
  await code.save();
  return true;
}

/** Completes the authorization endpoint's interaction that the browser was sent to. */
export async function approveInteraction(provider, request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  const result = {};
  if (prompt.name === 'login') {
    result.login = { accountId: ACCOUNT.sub, amr: ['pwd'] };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    addScope(grant, params.scope, [params.resource ?? []].flat());
    result.consent = { grantId: await grant.save() };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

function addScope(grant, scope, resources) {
  grant.addOIDCScope(scope);
  if (resources.includes(API_RESOURCE)) grant.addResourceScope(API_RESOURCE, scope);
}

// Users type codes in lower case and with any separator; the provider stores neither.
function normalized(userCode) {
  return userCode.toUpperCase().replace(/\W/g, '');
}
