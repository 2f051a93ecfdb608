//! A path that stands behind a prefix, as in `sqlite:PATH`.

use std::path::PathBuf;

/// Parses the path. A shell expands `~` only where a word begins, so here it would name a folder called `~`.
pub(crate) fn parse(text: &str) -> Result<PathBuf, String> {
    if text == "~" || text.starts_with("~/") {
        return Err("~ stands for no folder here; write the path out, or $HOME in place of ~".to_owned());
    }
    Ok(text.into())
}
