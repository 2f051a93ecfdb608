//! Places of MSAL programs: who can read them, who holds them, and whether they can be read at all.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_core::cache::TokenCache;
use cache_core::time::UnixMillis;
use zeroize::Zeroizing;

use super::{Check, files};
use crate::azure_cli::{AzureCli, Identity};
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::session::Session;
use crate::store_address::StoreAddress;

/// MSAL programs hold their lock for milliseconds.
const HELD_FOR_LONG: Duration = Duration::from_secs(5);

/// The check of what is in the place.
const CONTENT: &str = "store content";

/// What can be told before the place is opened. `true` when there is something in it to look at.
pub(super) fn place(session: &Session, store: &StoreAddress) -> (Vec<Check>, bool) {
    let mut checks = vec![Check::warning(
        "encryption",
        one_line(&format!(
            "{store} is not encrypted by this program, because its other programs could not read it then: whoever can read it can use \
             every token in it"
        )),
    )];
    let path = match store {
        StoreAddress::MsalFile(path) => path.clone(),
        StoreAddress::AzureCli => {
            let (found, path) = azure_cli(session);
            checks.extend(found);
            match path {
                Some(path) => path,
                None => return (checks, false),
            }
        }
        _ => return (checks, true),
    };
    if std::fs::symlink_metadata(&path).is_err() {
        let detail = format!(
            "{} does not exist yet; the first sign-in makes it",
            path.display()
        );
        checks.push(Check::warning("store file", detail));
        checks.push(files::writing(&path));
        return (checks, false);
    }
    checks.extend(owners(&path));
    checks.extend(lock_file(session.clock().now(), &path));
    checks.push(files::writing(&path));
    let foreign = foreign(&path);
    let is_readable = foreign.is_none();
    checks.extend(foreign);
    (checks, is_readable)
}

/// What the Azure CLI's files say, and where its token cache is.
fn azure_cli(session: &Session) -> (Vec<Check>, Option<PathBuf>) {
    const NAME: &str = "azure cli";
    let cli = match session.azure_cli() {
        Ok(Some(cli)) => cli,
        Ok(None) => return (Vec::new(), None),
        Err(failure) => return (vec![Check::failed(NAME, &failure)], None),
    };
    let mut checks = vec![described(NAME, cli)];
    if let Err(failure) = cli.authority() {
        checks.push(Check::failed(NAME, &failure));
    }
    match crate::azure_cli::token_cache() {
        Ok(path) => (checks, Some(path)),
        Err(failure) => {
            checks.push(Check::failed(NAME, &failure));
            (checks, None)
        }
    }
}

fn described(name: &'static str, cli: &AzureCli) -> Check {
    let place = format!(
        "{}: cloud {} ({})",
        cli.folder().display(),
        cli.cloud.name,
        cli.cloud.active_directory
    );
    let Some(sign_in) = cli.sign_in() else {
        let detail = format!("{place}, to which nobody is signed in; `az login` does that");
        return Check::warning(name, one_line(&detail));
    };
    let who = match &sign_in.identity {
        Identity::User(user) => format!("user {user}"),
        Identity::ServicePrincipal(client_id) => format!("service principal {client_id}"),
        Identity::Managed => "a managed identity, whose tokens are not kept".to_owned(),
        Identity::CloudShell => "the Cloud Shell, which keeps the tokens itself".to_owned(),
    };
    let detail = one_line(&format!(
        "{place}, subscription {}, tenant {}, signed in: {who}",
        sign_in.subscription, sign_in.tenant
    ));
    match cli.require_sign_in() {
        Ok(_) => Check::good(name, detail),
        Err(_) => Check::warning(name, detail),
    }
}

/// Who can read the file, and who can replace it.
#[cfg(unix)]
fn owners(path: &Path) -> Vec<Check> {
    use std::os::unix::fs::MetadataExt;

    let looked_at = |name: &'static str, path: &Path, others: u32, harm: &str| {
        let shown = path.display();
        // Links are followed, as the programs do that share the place.
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                let detail = format!("{shown} cannot be examined: {error}");
                return Check::problem(name, Exit::Storage, detail);
            }
        };
        let mode = metadata.mode() & 0o7777;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Check::problem(name, Exit::Storage, format!("{shown} belongs to another user"));
        }
        if mode & others != 0 {
            let detail = format!("{shown} has mode {mode:04o}, so others can {harm}");
            return Check::problem(name, Exit::Storage, detail);
        }
        Check::good(name, format!("{shown} has mode {mode:04o} and is yours"))
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    vec![
        looked_at(
            "store file",
            path,
            0o077,
            "read the tokens in it; run chmod 600 on it",
        ),
        looked_at(
            "store folder",
            folder,
            0o022,
            "replace the file; run chmod 700 on it",
        ),
    ]
}

#[cfg(not(unix))]
fn owners(path: &Path) -> Vec<Check> {
    vec![files::private("store file", path)]
}

/// A lock file that stays is one that a program left when it was ended.
fn lock_file(now: UnixMillis, path: &Path) -> Option<Check> {
    const NAME: &str = "lock file";
    let mut name = path.as_os_str().to_owned();
    name.push(".lockfile");
    let lock = PathBuf::from(name);
    let changed = lock.symlink_metadata().ok()?.modified().ok()?;
    let since = changed.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or_default());
    let age = now.saturating_sub(since);
    if age < HELD_FOR_LONG {
        return Some(Check::good(NAME, "another program is writing at this moment"));
    }
    let holder = holder(&lock).map_or_else(
        || "a program that did not say who it is".to_owned(),
        |holder| one_line(&holder),
    );
    let detail = format!(
        "{} is there since {} seconds, of {holder}: that program was ended while it wrote, or hangs. This program takes the lock \
         over; MSAL Node does not, so remove the file if no such process runs",
        lock.display(),
        age.as_secs()
    );
    Some(Check::warning(NAME, detail))
}

/// Process ID and program, as they stand in the file.
fn holder(lock: &Path) -> Option<String> {
    // Opening a pipe that somebody put there would wait for a writer.
    if !lock.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::open(lock)
        .and_then(|file| file.take(256).read_to_end(&mut text))
        .ok()?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_start_matches('\u{feff}').replace(['{', '}'], "");
    let (pid, program) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let pid: u32 = pid.parse().ok()?;
    Some(match program.trim() {
        "" => format!("process {pid}"),
        program => format!("process {pid} ({program})"),
    })
}

/// What its beginning shows not to be a cache. Whether anything else is one, only reading it whole tells.
fn foreign(path: &Path) -> Option<Check> {
    let beginning = match beginning(path) {
        Ok(beginning) => beginning,
        Err(error) => {
            let failure = Failure::file("read", path, error);
            return Some(Check::failed(CONTENT, &failure));
        }
    };
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&beginning);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    (*first != b'{').then(|| {
        let detail = "it is no JSON: the program that writes it encrypts it, or it is damaged. A file that is encrypted cannot be \
                      shared";
        Check::problem(CONTENT, Exit::Storage, detail)
    })
}

fn beginning(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Opening a pipe that somebody put there would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 << 12));
    std::fs::File::open(path)?.take(1 << 12).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether there is something, and no row of MSAL's: any JSON object can be read as a cache.
async fn is_of_nobody(cache: &TokenCache) -> bool {
    let Ok(records) = cache.inspect().await else {
        return false;
    };
    let (mut rows, mut others) = (0, 0);
    for contents in records
        .iter()
        .filter_map(|record| record.contents.as_ref()?.as_ref().ok())
    {
        rows += contents.accounts + contents.id_tokens + contents.access_tokens;
        rows += contents.refresh_tokens + contents.app_metadata;
        others += contents.residue;
    }
    rows == 0 && others > 0
}

/// Whether it is a cache that can be read, and who is signed in there.
pub(super) async fn contents(cache: &TokenCache) -> Vec<Check> {
    let listing = match cache.accounts().await {
        Ok(listing) => listing,
        Err(error) => return vec![Check::failed(CONTENT, &error.into())],
    };
    let count = listing.accounts.len();
    if let Some((_, error)) = listing.unreadable.into_iter().next() {
        return vec![Check::failed(CONTENT, &error.into())];
    }
    let content = if is_of_nobody(cache).await {
        let detail = "it can be read, and nothing in it is an MSAL program's: look whether the name is that of a token cache";
        Check::warning(CONTENT, detail)
    } else {
        Check::good(CONTENT, "it can be read")
    };
    vec![content, Check::good("accounts", count.to_string())]
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_the_lock_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.json");
        let lock = folder.path().join("cache.json.lockfile");
        let late = UnixMillis(i64::MAX);
        std::fs::write(&lock, "7 python").unwrap();
        let found = lock_file(late, &path).unwrap();
        assert!(found.detail.contains("process 7 (python)"), "{}", found.detail);

        std::fs::remove_file(&lock).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&lock).status().unwrap();
        assert!(made.success());
        let found = lock_file(late, &path).unwrap();
        assert!(found.detail.contains("did not say who it is"), "{}", found.detail);
    }
}
