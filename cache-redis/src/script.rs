//! The scripts that run in the server, and how they are called.

use redis::{Cmd, Script};
use std::sync::LazyLock;

/// Writes a record.
pub(crate) static PUT: LazyLock<ScriptText> = LazyLock::new(|| ScriptText::new(include_str!("lua/put.lua")));
/// Removes a record.
pub(crate) static DELETE: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("lua/delete.lua")));
/// Reads fields of a record.
pub(crate) static FIELDS: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("lua/fields.lua")));
/// Removes the index entry of a record that is gone.
pub(crate) static FORGET: LazyLock<ScriptText> =
    LazyLock::new(|| ScriptText::new(include_str!("lua/forget.lua")));

/// A script and the hash that the server knows it by.
pub(crate) struct ScriptText {
    text: &'static str,
    hash: String,
}

impl ScriptText {
    pub(crate) fn new(text: &'static str) -> Self {
        let hash = Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// One call of a script.
pub(crate) struct ScriptCall<'a> {
    script: &'static ScriptText,
    keys: Vec<String>,
    arguments: Vec<&'a [u8]>,
}

impl<'a> ScriptCall<'a> {
    pub(crate) fn new(
        script: &'static ScriptText,
        keys: impl Into<Vec<String>>,
        arguments: Vec<&'a [u8]>,
    ) -> Self {
        Self {
            script,
            keys: keys.into(),
            arguments,
        }
    }

    /// The call by hash, which the server answers with NOSCRIPT when it does not have the script.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The call with the whole text, which also teaches it to the server.
    pub(crate) fn in_full(&self) -> Cmd {
        self.command("EVAL", self.script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys[..]);
        for argument in &self.arguments {
            command.arg(*argument);
        }
        command
    }
}
