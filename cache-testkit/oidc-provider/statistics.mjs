// What the provider saw and did, for tests that assert how often a client called.

export class Statistics {
  constructor() {
    this.clear();
  }

  clear() {
    /** Every request of the token endpoint by grant type, however it was answered. */
    this.token_requests = {};
    /** The requests among them that were answered with a token. */
    this.tokens_granted = {};
    /** Refresh tokens that were spent, and so replaced. */
    this.refresh_tokens_consumed = 0;
    /** Refresh tokens that were sent again after they had been spent. */
    this.refresh_tokens_reused = 0;
    /** Grants whose tokens were all revoked, after a reuse or on request. */
    this.grants_revoked = 0;
  }

  observe(provider, memory) {
    provider.on('grant.success', (ctx) => {
      const grantType = ctx.oidc.params.grant_type;
      increment(this.token_requests, grantType);
      increment(this.tokens_granted, grantType);
    });
    provider.on('grant.error', (ctx, error) => {
      increment(this.token_requests, ctx.oidc?.params?.grant_type ?? 'unknown');
      if (error.error_detail === 'refresh token already used') this.refresh_tokens_reused += 1;
    });
    provider.on('refresh_token.consumed', () => { this.refresh_tokens_consumed += 1; });
    provider.on('grant.revoked', () => { this.grants_revoked += 1; });
    memory.onRaceRevoked = () => { this.grants_revoked += 1; };
  }
}

function increment(counts, name) {
  counts[name] = (counts[name] ?? 0) + 1;
}
