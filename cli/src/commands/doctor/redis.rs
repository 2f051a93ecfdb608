//! What can be said of a store in Redis before and beside its records.

use super::Check;
use crate::redis_address::RedisAddress;

/// Who may listen on the way to the server. Records are sealed, but a password and the names of records are not.
pub(super) fn connection(address: &RedisAddress) -> Vec<Check> {
    let check = if address.is_tls() {
        Check::good("store connection", format!("{address}: TLS"))
    } else if address.is_local() {
        Check::good(
            "store connection",
            format!("{address}: without TLS, on this machine alone"),
        )
    } else {
        Check::warning(
            "store connection",
            format!(
                "{address}: without TLS, so whoever can listen on the way sees the password and can change what is \
                 answered; rediss:// is with TLS"
            ),
        )
    };
    vec![check]
}
