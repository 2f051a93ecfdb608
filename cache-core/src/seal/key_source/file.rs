//! A key in a file of its own.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{KeySource, KeySourceError, SourceDescription, blocking};
use crate::random::Random;
use crate::seal::key::SecretKey;

const HEADER: &[u8] = b"tokenkeep key-encryption key 1\n";
/// 32 bytes in base64 with padding.
const ENCODED_BYTES: usize = 44;
const FILE_BYTES: usize = HEADER.len() + ENCODED_BYTES + 1;

/// Keeps the key in a file that only the current user can read.
///
/// The file is two lines of text: `tokenkeep key-encryption key 1`, and the 32 bytes in base64. It is created when a
/// ring is created and the file does not exist; it is never overwritten. A key file beside the database protects only
/// a database that is copied without it.
///
/// On Unix the file is refused unless it is a regular file (reached through no symbolic link in its last component),
/// belongs to the effective user, has one link, and gives group and others no permission; and its directory may not be
/// writable by everybody unless it is sticky. It appears under its name complete and synchronised to disk, or not at
/// all. Elsewhere the source answers [`KeySourceError::Unsupported`], because those rules cannot be checked there.
#[derive(Clone, Debug)]
pub struct FileKeySource {
    path: PathBuf,
}

impl FileKeySource {
    /// The kind that the ring record names. The path is not stored: the file may move.
    pub const KIND: &str = "file";

    /// A source that keeps its key at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the key is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl KeySource for FileKeySource {
    fn kind(&self) -> &str {
        Self::KIND
    }

    async fn create(&self, random: &dyn Random) -> Result<(SecretKey, SourceDescription), KeySourceError> {
        let candidate = SecretKey::random(random)?;
        let mut suffix = [0; 8];
        random.fill(&mut suffix)?;
        let path = self.path.clone();
        let key = blocking(move || {
            let found = match platform::read(&path) {
                Err(KeySourceError::Missing { .. }) => {
                    platform::create(&path, &encode(&candidate), u64::from_be_bytes(suffix))?;
                    // Read back rather than trusted: when another process was faster, its key is the one that counts.
                    platform::read(&path)?
                }
                found => found?,
            };
            // Also where it was found: its maker may not have come to this, and a ring that outlives its key is lost.
            platform::synchronise(&path)?;
            Ok(found)
        })
        .await?;
        Ok((key, SourceDescription::new(Self::KIND, [])?))
    }

    async fn load(&self, description: &SourceDescription) -> Result<SecretKey, KeySourceError> {
        description.expect_kind(Self::KIND)?;
        description.expect_no_parameters()?;
        let path = self.path.clone();
        blocking(move || platform::read(&path)).await
    }

    async fn discard(&self, _description: &SourceDescription) -> Result<(), KeySourceError> {
        // Other rings may be sealed under it.
        Ok(())
    }
}

fn encode(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    let mut encoded = Zeroizing::new([0; ENCODED_BYTES]);
    let written = STANDARD.encode_slice(key.expose(), encoded.as_mut_slice());
    debug_assert_eq!(written, Ok(ENCODED_BYTES));
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    text.extend_from_slice(HEADER);
    text.extend_from_slice(encoded.as_slice());
    text.push(b'\n');
    text
}

#[cfg_attr(not(unix), allow(dead_code, reason = "nothing is read there"))]
fn decode(text: &[u8], path: &Path) -> Result<SecretKey, KeySourceError> {
    let malformed = |what| KeySourceError::Malformed {
        place: format!("key file {}", path.display()),
        what,
    };
    let rest = text
        .strip_prefix(HEADER)
        .ok_or(malformed("its first line is not that of a tokenkeep key file"))?;
    let encoded = rest.strip_suffix(b"\n").unwrap_or(rest);
    let mut bytes = Zeroizing::new([0; ENCODED_BYTES]);
    let length = STANDARD
        .decode_slice(encoded, bytes.as_mut_slice())
        .map_err(|_| malformed("its second line is not 32 bytes in base64"))?;
    match bytes.first_chunk() {
        Some(key) if length == SecretKey::BYTES => Ok(SecretKey::from_bytes(key)),
        _ => Err(malformed("its second line is not 32 bytes in base64")),
    }
}

#[cfg(unix)]
mod platform {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::path::{Path, PathBuf};

    use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
    use rustix::io::Errno;
    use zeroize::Zeroizing;

    use super::{FILE_BYTES, KeySourceError, SecretKey, decode};
    use crate::store::sync_names;

    pub(super) fn read(path: &Path) -> Result<SecretKey, KeySourceError> {
        let insecure = |what| KeySourceError::Insecure {
            path: path.to_owned(),
            what,
        };
        // NONBLOCK: opening a pipe that somebody put there must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                return Err(KeySourceError::Missing {
                    place: format!("key file {}", path.display()),
                });
            }
            Err(Errno::LOOP) => return Err(insecure("is a symbolic link; give the path of the file itself")),
            Err(error) => return Err(failed("open key file", path)(error)),
        };
        // Of the open descriptor, not of the path: what was checked is what is read.
        let status = fs::fstat(&file).map_err(failed("examine key file", path))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(insecure("is not a regular file; give another path"));
        }
        if status.st_uid != rustix::process::geteuid().as_raw() {
            return Err(insecure("belongs to another user; give a file of your own"));
        }
        if Mode::from_raw_mode(status.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(insecure(
                "may be used by group or others; replace the key if that mattered, and chmod it to 0600",
            ));
        }
        if status.st_nlink != 1 {
            return Err(insecure("has several names (hard links); remove the others"));
        }
        check_directory(&directory(path))?;
        // One byte more than a key file has, so that a longer one is noticed; allocated in full, so that no copy stays.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES + 1));
        let limit = u64::try_from(FILE_BYTES + 1).unwrap_or(u64::MAX);
        File::from(file)
            .take(limit)
            .read_to_end(&mut text)
            .map_err(|source| failed_with("read key file", path, source))?;
        decode(&text, path)
    }

    /// Writes `text` to a new file at `path`, or leaves what another process put there meanwhile.
    pub(super) fn create(path: &Path, text: &[u8], suffix: u64) -> Result<(), KeySourceError> {
        let parent = directory(path);
        check_directory(&parent)?;
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{suffix:016x}.new"));
        let temporary = parent.join(name);
        let result = write_and_publish(path, &temporary, text);
        if result.is_err() {
            // Whatever went wrong, no stray copy of a key may stay.
            let _ = fs::unlink(&temporary);
        }
        result
    }

    /// Forces the name of the file at `path` to the disk; its content is there before it has the name.
    pub(super) fn synchronise(path: &Path) -> Result<(), KeySourceError> {
        let parent = directory(path);
        sync_names(&parent).map_err(|source| failed_with("synchronise directory", &parent, source))
    }

    fn write_and_publish(path: &Path, temporary: &Path, text: &[u8]) -> Result<(), KeySourceError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = fs::open(temporary, flags, mode).map_err(failed("create key file", temporary))?;
        fs::fchmod(&file, mode).map_err(failed("set the mode of key file", temporary))?;
        let mut file = File::from(file);
        file.write_all(text)
            .and_then(|()| file.sync_all())
            .map_err(|source| failed_with("write key file", temporary, source))?;
        // Published whole and without replacing: a racing creator sees the key of one of us, never half of it.
        match publish(temporary, path) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => fs::unlink(temporary).map_err(failed("remove", temporary)),
            Err(error) => Err(failed("publish key file", path)(error)),
        }
    }

    #[cfg(any(target_vendor = "apple", target_os = "linux", target_os = "android"))]
    fn publish(temporary: &Path, path: &Path) -> Result<(), Errno> {
        match fs::renameat_with(CWD, temporary, CWD, path, fs::RenameFlags::NOREPLACE) {
            // The file system does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_and_unlink(temporary, path),
            result => result,
        }
    }

    #[cfg(not(any(target_vendor = "apple", target_os = "linux", target_os = "android")))]
    fn publish(temporary: &Path, path: &Path) -> Result<(), Errno> {
        link_and_unlink(temporary, path)
    }

    /// For an instant the file has two links, so that a racing reader may refuse it; it succeeds when it tries again.
    fn link_and_unlink(temporary: &Path, path: &Path) -> Result<(), Errno> {
        fs::linkat(CWD, temporary, CWD, path, AtFlags::empty())?;
        fs::unlink(temporary)
    }

    fn check_directory(path: &Path) -> Result<(), KeySourceError> {
        let status = fs::stat(path).map_err(failed("examine directory", path))?;
        let mode = Mode::from_raw_mode(status.st_mode);
        if mode.contains(Mode::WOTH) && !mode.contains(Mode::SVTX) {
            let what = "is a directory in which everybody may replace the key file; chmod it to 0700";
            return Err(KeySourceError::Insecure {
                path: path.to_owned(),
                what,
            });
        }
        Ok(())
    }

    fn directory(path: &Path) -> PathBuf {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(Errno) -> KeySourceError + 'a {
        move |errno| failed_with(action, path, errno.into())
    }

    fn failed_with(action: &'static str, path: &Path, source: io::Error) -> KeySourceError {
        KeySourceError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::path::Path;

    use super::{KeySourceError, SecretKey};

    const UNSUPPORTED: KeySourceError = KeySourceError::Unsupported {
        what: "key files need Unix permissions; keep the key in the operating system's keychain",
    };

    pub(super) fn read(_path: &Path) -> Result<SecretKey, KeySourceError> {
        Err(UNSUPPORTED)
    }

    pub(super) fn create(_path: &Path, _text: &[u8], _suffix: u64) -> Result<(), KeySourceError> {
        Err(UNSUPPORTED)
    }

    pub(super) fn synchronise(_path: &Path) -> Result<(), KeySourceError> {
        Err(UNSUPPORTED)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::random::OsRandom;

    async fn created(path: &Path) -> SecretKey {
        FileKeySource::new(path).create(&OsRandom).await.unwrap().0
    }

    async fn refusal(path: &Path) -> KeySourceError {
        let description = SourceDescription::new("file", []).unwrap();
        FileKeySource::new(path).load(&description).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_key_is_created_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(matches!(refusal(&path).await, KeySourceError::Missing { .. }));
        let key = created(&path).await;
        assert_eq!(created(&path).await, key, "an existing key is never replaced");
        let description = SourceDescription::new("file", []).unwrap();
        assert_eq!(FileKeySource::new(&path).load(&description).await.unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file stays"
        );
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), FILE_BYTES);
        assert_eq!(text.lines().count(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn racing_creators_end_with_one_key() {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("key");
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    tokio::spawn(async move { created(&path).await })
                })
                .collect();
            let mut keys = Vec::new();
            for racer in racers {
                keys.push(racer.await.unwrap());
            }
            assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[tokio::test]
    async fn unsafe_files_are_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        created(&path).await;
        let original = fs::read(&path).unwrap();

        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = refusal(&path).await;
            assert!(error.to_string().contains("group or others"), "{mode:o}: {error}");
        }
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();

        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(refusal(&link).await.to_string().contains("symbolic link"));
        fs::remove_file(&link).unwrap();
        fs::hard_link(&path, &link).unwrap();
        assert!(refusal(&link).await.to_string().contains("hard links"));
        fs::remove_file(&link).unwrap();
        assert!(
            refusal(directory.path())
                .await
                .to_string()
                .contains("regular file")
        );
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(refusal(&pipe).await.to_string().contains("regular file"));

        assert_eq!(fs::read(&path).unwrap(), original);
    }

    #[tokio::test]
    async fn an_open_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        let error = FileKeySource::new(open.join("key"))
            .create(&OsRandom)
            .await
            .unwrap_err();
        assert!(matches!(error, KeySourceError::Insecure { .. }));
        assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn damaged_files_are_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        created(&path).await;
        let text = fs::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..text.len() - 1)
            .map(|length| text[..length].to_vec())
            .collect();
        damaged.push([&text[..], b"\n"].concat());
        damaged.push([&text[..], b"more"].concat());
        damaged.push([b"x", &text[..]].concat());
        for content in damaged {
            fs::write(&path, &content).unwrap();
            assert!(matches!(refusal(&path).await, KeySourceError::Malformed { .. }));
            assert!(
                FileKeySource::new(&path).create(&OsRandom).await.is_err(),
                "it is not replaced"
            );
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }
}
