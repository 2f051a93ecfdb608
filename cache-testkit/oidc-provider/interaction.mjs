// The pages on which a person, or a browser that is driven, signs in and consents.
//
// A client that does not ask for HTML is signed in without them; see approval.mjs.

import { ACCOUNT, PASSWORD } from './configuration.mjs';
import { approveInteraction } from './approval.mjs';

/** Shows the page for what the provider wants to know, or takes the form that such a page posts. */
export async function interact(provider, request, response) {
  if (request.method === 'POST') {
    await take(provider, request, response);
  } else if ((request.headers.accept ?? '').includes('text/html')) {
    const { prompt, params } = await provider.interactionDetails(request, response);
    show(response, prompt.name === 'login' ? loginPage(params) : consentPage(params));
  } else {
    await approveInteraction(provider, request, response);
  }
}

async function take(provider, request, response) {
  const { prompt, params } = await provider.interactionDetails(request, response);
  const form = await readForm(request);
  if (form.get('decision') === 'decline') {
    const result = { error: 'access_denied', error_description: 'The user declined.' };
    await provider.interactionFinished(request, response, result);
  } else if (prompt.name === 'login' && !knows(form)) {
    show(response, loginPage(params, 'The user name or the password is wrong.'), 400);
  } else {
    await approveInteraction(provider, request, response);
  }
}

function knows(form) {
  return form.get('login') === ACCOUNT.preferred_username && form.get('password') === PASSWORD;
}

function loginPage(params, problem = '') {
  return page('Sign in', `
    <p id="problem">${escape(problem)}</p>
    <label>User name <input id="login" name="login" value="${escape(params.login_hint ?? '')}"></label>
    <label>Password <input id="password" name="password" type="password"></label>
    <button id="sign-in">Sign in</button>`);
}

function consentPage(params) {
  return page('Consent', `
    <p>${escape(params.client_id)} asks for: ${escape(params.scope ?? '')}</p>
    <button id="allow" name="decision" value="allow">Allow</button>
    <button id="decline" name="decision" value="decline">Decline</button>`);
}

function page(title, form) {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
    <link rel="icon" href="data:,"></head><body><h1>${title}</h1><form method="post">${form}</form></body></html>`;
}

function show(response, html, status = 200) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(html);
}

async function readForm(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return new URLSearchParams(body);
}

function escape(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
