//! The Azure CLI's configuration files, in the form that Python's `configparser` writes.

/// What stands in one file: sections in their order, each with its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ini(Vec<(String, Vec<(String, String)>)>);

impl Ini {
    /// Reads the text as `configparser.ConfigParser` does with its defaults: options in any case and with `=` or `:`, comments
    /// from the first column of a line's text, values that go on in indented lines, and `%%` for a percent sign.
    ///
    /// # Errors
    /// In which line it is no such file. A reference such as `%(name)s` is one: the Azure CLI writes none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut ini = Self::default();
        // How deep the current option is indented; deeper lines continue it.
        let mut depth = None;
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let wrong = |why: &str| Err(format!("line {}: {why}", index + 1));
            let words = line.trim();
            if words.is_empty() || words.starts_with(['#', ';']) {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            if let Some(depth) = depth
                && indent > depth
            {
                if let Some((_, value)) = ini.0.last_mut().and_then(|(_, options)| options.last_mut()) {
                    value.push('\n');
                    value.push_str(words);
                }
                continue;
            }
            if let Some(name) = words.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let (name, _) = name;
                if ini.section(name).is_some() {
                    return wrong("a section stands there a second time");
                }
                ini.0.push((name.to_owned(), Vec::new()));
                depth = None;
                continue;
            }
            let Some((_, options)) = ini.0.last_mut() else {
                return wrong("it belongs to no section");
            };
            let Some((name, value)) = words.split_once(['=', ':']) else {
                return wrong("it is neither a section nor an option");
            };
            let name = name.trim().to_lowercase();
            if options.iter().any(|(known, _)| *known == name) {
                return wrong("an option stands there a second time");
            }
            options.push((name, value.trim().to_owned()));
            depth = Some(indent);
        }
        for (name, value) in ini.0.iter_mut().flat_map(|(_, options)| options) {
            *value =
                without_escapes(value).ok_or_else(|| format!("the value of {name} has a stray % in it"))?;
        }
        Ok(ini)
    }

    /// The option's value, which `[DEFAULT]` may give too; an empty one counts as none.
    pub(super) fn get(&self, section: &str, option: &str) -> Option<&str> {
        let of = |section: &str| {
            let mut options = self.section(section)?.iter();
            options.find(|(name, _)| name == option).map(|(_, value)| value)
        };
        let value = of(section).or_else(|| self.section(section).and(of("DEFAULT")))?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    fn section(&self, name: &str) -> Option<&Vec<(String, String)>> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, options)| options)
    }
}

fn without_escapes(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(character) = rest.next() {
        if character == '%' && rest.next() != Some('%') {
            return None;
        }
        plain.push(character);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_configparser_are_read() {
        let ini = Ini::parse(
            "\u{feff}# by hand\n[DEFAULT]\nprofile = latest\n\n[Loop]\nEndpoint_Active_Directory = https://127.0.0.1:8443\n\
             endpoint_management: https://m%%20/\n; more\nlong = one\n  two\nempty =\n[cloud]\nname=Loop\n",
        )
        .unwrap();
        assert_eq!(
            ini.get("Loop", "endpoint_active_directory"),
            Some("https://127.0.0.1:8443")
        );
        assert_eq!(ini.get("Loop", "endpoint_management"), Some("https://m%20/"));
        assert_eq!(ini.get("Loop", "long"), Some("one\ntwo"));
        assert_eq!(ini.get("Loop", "profile"), Some("latest"));
        assert_eq!(ini.get("Loop", "empty"), None);
        assert_eq!(ini.get("cloud", "name"), Some("Loop"));
        assert_eq!(ini.get("none", "profile"), None);
        assert_eq!(ini.get("loop", "profile"), None, "names of sections have a case");
    }

    #[test]
    fn what_configparser_refuses_is_refused() {
        for text in [
            "name = x",
            "[a]\nname",
            "[a]\nx = 1\nx = 2",
            "[a]\n[a]\n",
            "[a]\nx = %(y)s",
            "[a]\nx = 100%",
        ] {
            assert!(Ini::parse(text).is_err(), "{text}");
        }
    }
}
