//! `WWW-Authenticate` (RFC 9110 section 11.6.1): challenges, of any schemes, in one header or several.

use super::ChallengeError;

/// One challenge of a resource: what it wants to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Challenge {
    /// The scheme, such as `Bearer`, as it was spelled.
    pub scheme: String,
    /// The parameters, in order; names in lower case, quotes and escapes undone.
    pub parameters: Vec<(String, String)>,
    /// What stands in the parameters' place for schemes like `Negotiate`.
    pub token68: Option<String>,
}

impl Challenge {
    /// How many bytes all headers together may have.
    pub const MOST_BYTES: usize = 64 * 1024;
    /// How many challenges there may be, and how many parameters each.
    pub const MOST_PARTS: usize = 64;

    /// The challenges in the values of all `WWW-Authenticate` headers of a reply. Schemes that nobody here knows are parsed
    /// like the others.
    ///
    /// It is lenient where senders are known to be sloppy: parameters without a comma between them, empty list members.
    ///
    /// ```
    /// use flows::challenge::Challenge;
    ///
    /// # fn main() -> Result<(), flows::challenge::ChallengeError> {
    /// let found = Challenge::parse(["Negotiate, Bearer realm=\"a, b\", error=\"invalid_token\""])?;
    /// assert_eq!(found[0].scheme, "Negotiate");
    /// assert_eq!(found[1].parameter("realm"), Some("a, b"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ChallengeError::Malformed`] for what no grammar covers, [`ChallengeError::TooLong`] beyond the bounds.
    pub fn parse<I>(headers: I) -> Result<Vec<Self>, ChallengeError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut challenges = Vec::new();
        let mut bytes = 0;
        for header in headers {
            let header = header.as_ref();
            bytes += header.len();
            if bytes > Self::MOST_BYTES {
                return Err(ChallengeError::TooLong);
            }
            Parser { rest: header }.challenges(&mut challenges)?;
        }
        Ok(challenges)
    }

    /// The first value of the parameter `name` (lower case).
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the scheme is `name`; its case means nothing.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(name)
    }

    fn new(scheme: &str) -> Self {
        Self {
            scheme: scheme.to_owned(),
            parameters: Vec::new(),
            token68: None,
        }
    }
}

/// The parameters of a header that is a list of them alone, such as `Authentication-Info`.
pub(super) fn parameters(header: &str) -> Result<Vec<(String, String)>, ChallengeError> {
    if header.len() > Challenge::MOST_BYTES {
        return Err(ChallengeError::TooLong);
    }
    let mut parser = Parser { rest: header };
    let mut found = Vec::new();
    parser.skip_separators();
    while !parser.rest.is_empty() {
        let parameter = parser.parameter()?.ok_or(ChallengeError::Malformed)?;
        push(&mut found, parameter)?;
        parser.skip_separators();
    }
    Ok(found)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn challenges(&mut self, found: &mut Vec<Challenge>) -> Result<(), ChallengeError> {
        // A header starts anew: a parameter in it cannot belong to the header before.
        let mut current: Option<Challenge> = None;
        loop {
            self.skip_separators();
            if self.rest.is_empty() {
                break;
            }
            if let Some(challenge) = current.as_mut()
                && challenge.token68.is_none()
                && let Some(parameter) = self.parameter()?
            {
                push(&mut challenge.parameters, parameter)?;
                continue;
            }
            let scheme = self.token().ok_or(ChallengeError::Malformed)?;
            let mut challenge = Challenge::new(scheme);
            match self.rest.chars().next() {
                None | Some(',') => {}
                Some(' ' | '\t') => {
                    self.skip_spaces();
                    challenge.token68 = self.token68().map(str::to_owned);
                }
                Some(_) => return Err(ChallengeError::Malformed),
            }
            if let Some(done) = current.replace(challenge) {
                push(found, done)?;
            }
        }
        match current {
            Some(done) => push(found, done),
            None => Ok(()),
        }
    }

    /// `name = value`; `None`, with nothing consumed, where no such thing stands.
    fn parameter(&mut self) -> Result<Option<(String, String)>, ChallengeError> {
        let start = self.rest;
        let Some(name) = self.token() else { return Ok(None) };
        self.skip_spaces();
        let Some(after) = self.rest.strip_prefix('=') else {
            self.rest = start;
            return Ok(None);
        };
        self.rest = after;
        self.skip_spaces();
        let value = match self.rest.strip_prefix('"') {
            Some(after) => {
                self.rest = after;
                self.quoted()?
            }
            // More than a token: unquoted addresses and base64 are sent.
            None => self
                .take(|c| !c.is_whitespace() && c != ',' && c != '"')
                .to_owned(),
        };
        Ok(Some((name.to_ascii_lowercase(), value)))
    }

    /// The rest of a quoted string (RFC 9110 section 5.6.4), its opening quote consumed.
    fn quoted(&mut self) -> Result<String, ChallengeError> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(value);
                }
                '\\' => value.push(characters.next().ok_or(ChallengeError::Malformed)?.1),
                other => value.push(other),
            }
        }
        Err(ChallengeError::Malformed)
    }

    /// A token68 that ends the challenge; `None`, with nothing consumed, where parameters stand.
    fn token68(&mut self) -> Option<&'a str> {
        let start = self.rest;
        let is_character =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '+' | '/');
        let body = self.take(is_character).len();
        let padding = self.take(|c| c == '=').len();
        let text = &start[..body + padding];
        self.skip_spaces();
        if body > 0 && (self.rest.is_empty() || self.rest.starts_with(',')) {
            return Some(text);
        }
        self.rest = start;
        None
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_character = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        Some(self.take(is_character)).filter(|token| !token.is_empty())
    }

    fn skip_separators(&mut self) {
        self.take(|c| matches!(c, ' ' | '\t' | ','));
    }

    fn skip_spaces(&mut self) {
        self.take(|c| matches!(c, ' ' | '\t'));
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn push<T>(list: &mut Vec<T>, part: T) -> Result<(), ChallengeError> {
    if list.len() >= Challenge::MOST_PARTS {
        return Err(ChallengeError::TooLong);
    }
    list.push(part);
    Ok(())
}
