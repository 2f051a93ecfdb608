//! Reading and writing a whole cache.

use std::time::Duration;

use benches::harness::{Question, QuestionError, sync};
use benches::payload::{CLIENT_ID, Picker};
use cache_core::codec::{BincodeCodec, Codec, msal};
use serde_json::json;

use crate::script::{Measurement, Scripts};
use crate::users::{Users, authority_url};

const CACHE: &str = "document";

pub(crate) fn ask(question: &mut Question, scripts: &Scripts) -> Result<(), QuestionError> {
    for (count, size) in [
        (1, "1 account"),
        (100, "100 accounts"),
        (10_000, "10,000 accounts"),
    ] {
        let names = [format!("parse, {size}"), format!("serialise, {size}")];
        if !names.iter().any(|name| question.wants(name)) {
            continue;
        }
        let users = Users::new(question.sized(count, count.min(100)));
        let document = users.document();
        question.count(&format!("a cache of {size}"), document.len() as f64, "bytes");
        for script in scripts.both() {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), document.expose())?;
            let filled = json!({
                "file": file.path(), "scopes": [[]], "accounts": [], "client": CLIENT_ID, "secret": "",
                "authority": authority_url(),
            });
            script.load(CACHE, filled)?;
        }
        parse(question, scripts, &users, document.expose(), &names[0])?;
        serialise(question, scripts, &users, document.expose(), &names[1])?;
        for script in scripts.both() {
            script.forget(CACHE)?;
        }
    }
    question.means(
        "MSAL reads and writes its whole cache whenever it changed in a file or a database; this project reads and writes the one partition that is asked for. The \
         whole document is read and written only to exchange it with other programs.",
    );
    Ok(())
}

fn parse(
    question: &mut Question,
    scripts: &Scripts,
    users: &Users,
    document: &[u8],
    name: &str,
) -> Result<(), QuestionError> {
    if !question.wants(name) {
        return Ok(());
    }
    if msal::read(document)?.accounts.len() != users.count() {
        return Err("the document was not read wholly".into());
    }
    let one = BincodeCodec.encode(&users.partition(0))?;
    let schema = BincodeCodec.schema_version();
    let partition = sync(|| BincodeCodec.decode(one.expose(), schema));
    compare(
        question,
        scripts,
        name,
        Measurement::Parse,
        [sync(|| msal::read(document)), partition],
    )
}

fn serialise(
    question: &mut Question,
    scripts: &Scripts,
    users: &Users,
    document: &[u8],
    name: &str,
) -> Result<(), QuestionError> {
    if !question.wants(name) {
        return Ok(());
    }
    let (all, one) = (msal::read(document)?, users.partition(0));
    let partition = sync(|| BincodeCodec.encode(&one));
    compare(
        question,
        scripts,
        name,
        Measurement::Serialise,
        [sync(|| msal::write(&all)), partition],
    )
}

fn compare(
    question: &mut Question,
    scripts: &Scripts,
    name: &str,
    measurement: Measurement,
    [whole, partition]: [benches::harness::Operation<'_>; 2],
) -> Result<(), QuestionError> {
    let is_quick = question.is_quick();
    let is_large = name.contains("10,000");
    let mut comparison = question
        .compare(name)
        .batch(Duration::from_millis(4))
        .variant("the whole document", whole)
        .variant("the one partition that is asked for", partition);
    for script in scripts.both() {
        let picker = Picker::uniform(1, 0);
        let operation = script.operation(CACHE, measurement, picker, |_| String::new(), is_quick);
        comparison = comparison.peer(script.name, operation);
    }
    if is_large {
        // Each takes a second.
        comparison = comparison.rounds(5);
    }
    comparison.run();
    for script in scripts.both() {
        script.check()?;
    }
    Ok(())
}
