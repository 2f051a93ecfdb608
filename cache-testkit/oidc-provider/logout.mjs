// The page on which a person signs out of the provider (OpenID Connect RP-Initiated Logout).

/** `form` is the provider's own, which the button submits. */
export async function logoutPage(ctx, form) {
  ctx.body = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign out</title>
    <link rel="icon" href="data:,"></head><body><h1>Sign out</h1>${form}
    <button id="log-out" form="op.logoutForm" name="logout" value="yes">Sign out</button></body></html>`;
}
