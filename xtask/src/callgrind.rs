//! What callgrind writes (Valgrind's manual, "Callgrind Format Specification"), as far as it is needed: without compression of names.

use std::collections::BTreeMap;

/// The calls of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    count: u64,
    /// Of all calls together, with what they called.
    instructions: u64,
}

impl Calls {
    /// The instructions of one call, on average.
    pub(crate) fn each(self) -> u64 {
        self.instructions.div_ceil(self.count.max(1))
    }
}

/// The calls of the functions of the module that `prefix` names, by the rest of their names.
///
/// A call is three lines: `cfn=` with the function, `calls=` with how often it was called from here, and the line that it was called from
/// with what it cost, all inclusive.
pub(crate) fn calls_in(profile: &str, prefix: &str) -> BTreeMap<String, Calls> {
    let mut found: BTreeMap<String, Calls> = BTreeMap::new();
    let mut callee = None;
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = function(name, prefix);
        }
        let Some(calls) = line.strip_prefix("calls=") else {
            continue;
        };
        let cost = lines
            .next()
            .and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let count = calls
            .split_whitespace()
            .next()
            .and_then(|count| count.parse::<u64>().ok());
        let (Some(callee), Some(count), Some(cost)) = (callee.take(), count, cost) else {
            continue;
        };
        let calls = found.entry(callee).or_default();
        calls.count += count;
        calls.instructions += u64::max(cost, 0);
    }
    found
}

/// The last part of the name of a function of the module; older manglings end in a hash.
fn function(name: &str, prefix: &str) -> Option<String> {
    let rest = &name[name.find(prefix)? + prefix.len()..];
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let function = &rest[..end.unwrap_or(rest.len())];
    (!function.is_empty()).then(|| function.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
fn=guard::main
10 100
cfn=guard::probes::find::h0123
calls=4 0
11 400
cfn=core::fmt::write
calls=1 0
12 99
cfn=guard::probes::find::h0123
calls=1 0
13 101
cfn=guard::probes::peek
calls=2 0
14 30
";

    #[test]
    fn calls_of_a_function_are_added_up_with_what_they_called() {
        let calls = calls_in(PROFILE, "guard::probes::");
        assert_eq!(calls.len(), 2);
        assert_eq!(
            calls["find"],
            Calls {
                count: 5,
                instructions: 501
            }
        );
        assert_eq!((calls["find"].each(), calls["peek"].each()), (101, 15));
    }
}
