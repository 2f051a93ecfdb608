//! What `INFO replication` says.

/// The value of a line `name:value`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).unwrap_or_default().trim()
}

/// How many replicas this primary sends its writes to.
pub(super) fn streaming_replicas(info: &str) -> usize {
    let is_replica = |line: &&str| line.starts_with("slave") && line.contains("state=online");
    // A replica that just got its first copy is called online, and gets nothing until it has acknowledged that.
    let streams = |line: &&str| !line.contains("offset=0,");
    info.lines().filter(is_replica).filter(streams).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_counts_once_it_has_acknowledged_something() {
        let info = "role:master\r\nconnected_slaves:3\r\n\
                    slave0:ip=127.0.0.1,port=1,state=online,offset=70,lag=0\r\n\
                    slave1:ip=127.0.0.1,port=2,state=online,offset=0,lag=0\r\n\
                    slave2:ip=127.0.0.1,port=3,state=wait_bgsave,offset=0,lag=0\r\n";
        assert_eq!(field(info, "role"), "master");
        assert_eq!(streaming_replicas(info), 1);
    }
}
