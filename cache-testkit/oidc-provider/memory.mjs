// The provider's storage: plain maps that never evict.
//
// The adapter that comes with oidc-provider keeps the 1,000 most recent entries. A consumed refresh
// token that falls out of it is "not found" instead of "already used", so its family would survive
// a reuse and a test would pass that must fail.

import { errors } from 'oidc-provider';

export class Memory {
  #entries = new Map();

  /** Called with the grant ID when a consumption that lost a race has revoked a family. */
  onRaceRevoked = () => {};

  adapter(model) {
    return new MemoryAdapter(model, this);
  }

  clear() {
    this.#entries.clear();
  }

  get(key) {
    const entry = this.#entries.get(key);
    if (entry && entry.expiresAt <= Date.now()) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry?.payload;
  }

  set(key, payload, expiresIn) {
    const expiresAt = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
    this.#entries.set(key, { payload, expiresAt });
  }

  delete(key) {
    this.#entries.delete(key);
  }

  find(model, matches) {
    for (const key of this.#entries.keys()) {
      if (key.startsWith(`${model}:`)) {
        const payload = this.get(key);
        if (payload && matches(payload)) return payload;
      }
    }
    return undefined;
  }

  deleteWhere(matches) {
    for (const [key, { payload }] of this.#entries) {
      if (matches(payload)) this.#entries.delete(key);
    }
  }
}

class MemoryAdapter {
  constructor(model, memory) {
    this.model = model;
    this.memory = memory;
  }

  async upsert(id, payload, expiresIn) {
    this.memory.set(`${this.model}:${id}`, payload, expiresIn);
  }

  async find(id) {
    return this.memory.get(`${this.model}:${id}`);
  }

  async findByUid(uid) {
    return this.memory.find(this.model, (payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.memory.find(this.model, (payload) => payload.userCode === userCode);
  }

  async destroy(id) {
    this.memory.delete(`${this.model}:${id}`);
  }

  // Two requests that overlap both pass the provider's own check of `consumed`, which it makes
  // before it waits. The second of them ends here and takes the family with it, as any later one
  // would: a provider with a transactional store does the same.
  async consume(id) {
    const payload = await this.find(id);
    if (!payload) throw new errors.InvalidGrant('grant was revoked');
    if (payload.consumed) {
      await this.revokeByGrantId(payload.grantId);
      this.memory.delete(`Grant:${payload.grantId}`);
      this.memory.onRaceRevoked(payload.grantId);
      throw new errors.InvalidGrant('refresh token already used');
    }
    payload.consumed = Math.floor(Date.now() / 1000);
  }

  async revokeByGrantId(grantId) {
    this.memory.deleteWhere((payload) => payload.grantId === grantId);
  }
}
