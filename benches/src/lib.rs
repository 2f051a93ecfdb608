//! Measurements of token caches: what each choice of a strategy costs on this machine, beside its limit.
