//! Text from a server, made fit for a terminal, a log and a person.

/// How many characters of a server's text are kept.
const LONGEST: usize = 2_000;

/// `text` without what could steer a terminal or reorder a line: control characters become spaces, invisible and
/// direction-changing ones go. At most 2,000 characters are kept.
pub(crate) fn display_text(text: &str) -> String {
    legible(text)
        .chars()
        .take(LONGEST)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// All of `text`, without what could steer a terminal or reorder a line.
pub(crate) fn legible(text: &str) -> String {
    text.chars()
        .filter(|character| !is_invisible(*character))
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::display_text;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(display_text("a\u{1b}[31mb\r\nc\u{9b}d"), "a [31mb  c d");
        assert_eq!(display_text("user\u{202e}gpj.exe\u{200b}"), "usergpj.exe");
        assert_eq!(display_text(&"é".repeat(5_000)).chars().count(), 2_000);
    }
}
