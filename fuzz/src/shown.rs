//! What people are shown of a server's text, in terminals, logs and errors.

use flows::Error;

/// # Panics
/// When a terminal would obey the text.
pub(crate) fn check_text(shown: &str) {
    let steers = shown.chars().any(char::is_control);
    assert!(!steers, "a terminal would obey {shown:?}");
}

/// # Panics
/// When a terminal would obey the error, or it shows what the request `told` in confidence: the server may have repeated it.
pub(crate) fn check_error(error: &Error, told: &[&str]) {
    let shown = error.to_string();
    check_text(&shown);
    let debug = format!("{error:?}");
    for secret in told {
        assert!(
            !shown.contains(secret) && !debug.contains(secret),
            "{shown} shows {secret}"
        );
    }
}
