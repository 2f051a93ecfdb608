//! Where the browser goes after a sign-in.

use super::api_page;

/// The pages that somebody may be sent back to. A list and not a check, because what a browser makes of an address has surprised every
/// check so far: `//evil.example`, `/\evil.example`, a tab within. What is answered is the listed text, never the one that was asked for.
#[derive(Clone, Debug)]
pub struct ReturnAddresses(Vec<ReturnAddress>);

/// One of the pages: a path of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnAddress(String);

impl ReturnAddresses {
    /// The pages of `listed`, the start page, and the one that sends users through a sign-in itself.
    #[must_use]
    pub fn new(listed: Vec<ReturnAddress>) -> Self {
        let own = ["/", api_page::OWN_ADDRESS];
        let mut all: Vec<_> = own.map(|path| ReturnAddress(path.to_owned())).into();
        all.extend(listed);
        Self(all)
    }

    /// The listed page that `asked` is, letter for letter.
    #[must_use]
    pub fn find(&self, asked: &str) -> Option<&ReturnAddress> {
        self.0.iter().find(|listed| listed.0 == asked)
    }
}

impl ReturnAddress {
    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ReturnAddress {
    type Err = String;

    /// Takes a path of segments without anything that a browser could read as another host.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
        if !text.starts_with('/') || text.contains("//") || text.contains("/.") || !text.bytes().all(allowed)
        {
            return Err(
                "a return address is a path such as /reports, of letters, digits, -, _, . and ~".to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_found() {
        let listed = ReturnAddresses::new(vec!["/call-api".parse().unwrap()]);
        for asked in ["/", "/call-api"] {
            assert_eq!(listed.find(asked).unwrap().as_str(), asked);
        }
        for asked in [
            "",
            "call-api",
            "/call-api/",
            "/call-api?next=//evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/%2f/evil.example",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "/call-api\r\nset-cookie: a=b",
            "/CALL-API",
        ] {
            assert!(listed.find(asked).is_none(), "{asked:?}");
        }
    }

    #[test]
    fn only_a_path_can_be_listed() {
        for text in [
            "",
            "reports",
            "//evil.example",
            "/a//b",
            "/\\evil.example",
            "/..",
            "/a?b",
            "https://a/",
        ] {
            assert!(text.parse::<ReturnAddress>().is_err(), "{text:?}");
        }
    }
}
