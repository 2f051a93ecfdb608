//! What the file system allows: links, modes, owners, and places that cannot be written to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{PutOptions, Store, StoreError};
use cache_keychain::msal_file::{MsalFileConfig, MsalFileStore};

use crate::support::{child_file, get, lock_file, names_in, open, process, put, rows, runtime};

/// Nobody's number on any system that tests run on.
const STRANGER: u32 = 54_321;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    // What this process makes belongs to whom it runs as.
    fs::metadata(tempfile::tempdir().unwrap().path()).unwrap().uid() == 0
}

async fn refused(path: &Path) -> StoreError {
    let error = MsalFileStore::open(MsalFileConfig::new(path)).await.unwrap_err();
    assert_eq!((error.operation(), error.retry()), (Operation::Open, Retry::No));
    error
}

#[tokio::test]
async fn a_new_file_is_the_owners_alone_and_an_old_one_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/folder/cache.json");
    let store = open(&path).await;
    put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.path().join("new/folder")), 0o700);
    for kept in [0o644, 0o640, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(kept)).unwrap();
        put(&store, &rows(&[&kept.to_string()]), PutOptions::overwrite())
            .await
            .unwrap();
        assert_eq!(mode(&path), kept);
    }
}

#[tokio::test]
async fn a_missing_file_is_reported_where_none_is_to_be_made() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["msal_token_cache.json", "missing/folder/msal_token_cache.json"] {
        let path = directory.path().join(path);
        let config = MsalFileConfig::azure_cli(path.parent().unwrap());
        let error = MsalFileStore::open(config).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::No));
        assert!(error.to_string().contains("no cache file"), "{error}");
    }
    assert!(names_in(directory.path()).is_empty());
    for path in [Path::new("/"), Path::new("..")] {
        assert_eq!(refused(path).await.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(refused(directory.path()).await.kind(), ErrorKind::InvalidArgument);
    let file = directory.path().join("file");
    fs::write(&file, "{}").unwrap();
    let beneath = MsalFileStore::open(MsalFileConfig::new(file.join("cache.json")))
        .await
        .unwrap_err();
    assert!(
        matches!(beneath.kind(), ErrorKind::InvalidArgument | ErrorKind::Other),
        "{beneath:?}"
    );
}

#[tokio::test]
async fn a_link_stays_and_its_file_is_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let (home, dotfiles) = (directory.path().join("home"), directory.path().join("dotfiles"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&dotfiles).unwrap();
    let (link, file) = (home.join("cache.json"), dotfiles.join("real.json"));
    symlink("../dotfiles/middle.json", &link).unwrap();
    symlink("real.json", dotfiles.join("middle.json")).unwrap();
    let store = open(&link).await;
    let version = put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), rows(&["a"]).to_string());
    assert_eq!(names_in(&home), ["cache.json"]);

    // Who goes to the file itself is the same file's, and is kept out as well as who goes by the link.
    let direct = open(&file).await;
    assert_eq!(get(&direct).await.unwrap().version, version);
    let hold = store.hold().await.unwrap();
    assert!(lock_file(&link).exists() && lock_file(&file).exists());
    drop(hold);
    assert!(!lock_file(&link).exists() && !lock_file(&file).exists());

    // A link that is changed meanwhile is followed by reads, and not written to.
    fs::write(home.join("other.json"), rows(&["other"]).to_string()).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("other.json", &link).unwrap();
    assert_eq!(
        get(&store).await.unwrap().payload,
        rows(&["other"]).to_string().as_bytes()
    );
    let error = put(&store, &rows(&["b"]), PutOptions::overwrite())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::No));

    symlink("loop.json", home.join("loop.json")).unwrap();
    assert_eq!(
        refused(&home.join("loop.json")).await.kind(),
        ErrorKind::InvalidArgument
    );
}

#[tokio::test]
async fn a_link_that_takes_the_place_of_the_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (
        directory.path().join("cache.json"),
        directory.path().join("moved.json"),
    );
    let store = open(&path).await;
    put(&store, &rows(&["a"]), PutOptions::create()).await.unwrap();
    fs::rename(&path, &moved).unwrap();
    symlink("moved.json", &path).unwrap();
    let error = put(&store, &rows(&["b"]), PutOptions::overwrite())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::No));
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&moved).unwrap(), rows(&["a"]).to_string());
    // Opened again, it is the other place's store.
    put(&open(&path).await, &rows(&["b"]), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(&moved).unwrap(), rows(&["b"]).to_string());
}

#[tokio::test]
async fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    let victim = directory.path().join("victim");
    symlink(&victim, lock_file(&path)).unwrap();
    let store = open(&path).await;
    for content in [None, Some("precious")] {
        if let Some(content) = content {
            fs::write(&victim, content).unwrap();
        }
        let error = put(&store, &rows(&["a"]), PutOptions::create())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert_eq!(fs::read_to_string(&victim).ok().as_deref(), content);
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn folders_that_others_may_write_to_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let open_to_all = directory.path().join("open");
    fs::create_dir(&open_to_all).unwrap();
    fs::set_permissions(&open_to_all, Permissions::from_mode(0o777)).unwrap();
    let path = open_to_all.join("cache.json");
    assert_eq!(refused(&path).await.kind(), ErrorKind::PermissionDenied);
    // Also through a link from a folder of one's own, and also when it is opened up later.
    let link = directory.path().join("link.json");
    symlink("open/cache.json", &link).unwrap();
    assert_eq!(refused(&link).await.kind(), ErrorKind::PermissionDenied);
    fs::set_permissions(&open_to_all, Permissions::from_mode(0o700)).unwrap();
    let store = open(&path).await;
    fs::set_permissions(&open_to_all, Permissions::from_mode(0o777)).unwrap();
    let error = put(&store, &rows(&["a"]), PutOptions::create())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(names_in(&open_to_all).is_empty());
}

#[tokio::test]
async fn what_belongs_to_others_is_kept_theirs_or_refused() {
    if !is_root() {
        // Only root can give files away, and the other side of it is checked where the system allows no more.
        assert_eq!(
            refused(Path::new("/cache.json")).await.kind(),
            ErrorKind::PermissionDenied
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    fs::write(&path, rows(&["a"]).to_string()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
    let store = open(&path).await;
    put(&store, &rows(&["b"]), PutOptions::overwrite()).await.unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!(
        (found.uid(), found.gid(), mode(&path)),
        (STRANGER, STRANGER, 0o640)
    );

    let theirs = directory.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(STRANGER), None).unwrap();
    assert_eq!(
        refused(&theirs.join("cache.json")).await.kind(),
        ErrorKind::PermissionDenied
    );
}

/// Runs the test `name` once more as a user who owns `path`, and not as root; or as who runs the tests.
fn as_user(name: &str, path: &Path) {
    let mut command = if is_root() {
        let mut command = std::process::Command::new("setpriv");
        let stranger = STRANGER.to_string();
        command
            .args(["--reuid", &stranger, "--regid", &stranger, "--clear-groups"])
            .arg(copy_for_all(path));
        command
    } else {
        std::process::Command::new(std::env::current_exe().unwrap())
    };
    let prepared = process(name, path);
    command.args(prepared.get_args());
    for (variable, value) in prepared.get_envs() {
        command.env(variable, value.unwrap());
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("as expected"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// This binary where everybody may run it.
fn copy_for_all(beside: &Path) -> std::path::PathBuf {
    let copy = beside.parent().unwrap().parent().unwrap().join("test-binary");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

/// A folder of the user whom [`as_user`] runs as, in one that everybody may pass.
fn users_folder(directory: &Path) -> std::path::PathBuf {
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    let folder = directory.join("folder");
    fs::create_dir(&folder).unwrap();
    if is_root() {
        chown(&folder, Some(STRANGER), Some(STRANGER)).unwrap();
    }
    folder
}

#[test]
fn a_read_only_folder_can_be_read() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let store = open(&path).await;
            assert_eq!(
                get(&store).await.unwrap().payload,
                rows(&["a"]).to_string().as_bytes()
            );
            let error = put(&store, &rows(&["b"]), PutOptions::overwrite())
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::PermissionDenied, Retry::No)
            );
            let torn = open(&path.with_file_name("torn.json")).await;
            let error = torn.get(&torn.record()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            let error = store.hold().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            println!("as expected");
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let folder = users_folder(directory.path());
    for (name, content) in [
        ("cache.json", rows(&["a"]).to_string()),
        ("torn.json", "{".to_owned()),
    ] {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        if is_root() {
            chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
        }
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o500)).unwrap();
    as_user(
        "places::a_read_only_folder_can_be_read",
        &folder.join("cache.json"),
    );
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(names_in(&folder), ["cache.json", "torn.json"]);
}

/// What is at `path`, to see that nobody touched it.
fn state(path: &Path) -> (Vec<u8>, u64, u32, u32, i64) {
    let found = fs::metadata(path).unwrap();
    let content = fs::read(path).unwrap();
    (content, found.ino(), found.uid(), found.mode(), found.mtime())
}

#[test]
fn a_file_of_another_user_is_refused_and_left_as_it_is() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let error = refused(&path).await;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            println!("as expected");
        });
    }
    if !is_root() {
        // Nobody else can make such a file.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let folder = users_folder(directory.path());
    let path = folder.join("cache.json");
    fs::write(&path, rows(&["planted"]).to_string()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let before = state(&path);
    as_user(
        "places::a_file_of_another_user_is_refused_and_left_as_it_is",
        &path,
    );
    assert_eq!(state(&path), before);
}

#[test]
fn a_lock_file_of_another_user_is_refused_and_left_as_it_is() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let store = open(&path).await;
            let error = put(&store, &rows(&["a"]), PutOptions::create())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("belongs to another user"), "{error}");
            println!("as expected");
        });
    }
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = users_folder(directory.path()).join("cache.json");
    let lock = lock_file(&path);
    // Abandoned for long, by a process that does not exist, and all may write to it.
    fs::write(&lock, format!("{} other", i32::MAX)).unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o666)).unwrap();
    let file = fs::File::options().write(true).open(&lock).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let before = state(&lock);
    as_user(
        "places::a_lock_file_of_another_user_is_refused_and_left_as_it_is",
        &path,
    );
    assert_eq!(state(&lock), before);
    assert!(!path.exists());
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    if let Some(path) = child_file() {
        return runtime().block_on(async {
            let store = open(&path).await;
            let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
            let error = store
                .put(&store.record(), Bytes::from(large), PutOptions::overwrite())
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Full, Retry::No),
                "{error:?}"
            );
            put(&store, &rows(&["small"]), PutOptions::overwrite())
                .await
                .unwrap();
            println!("as expected");
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cache.json");
    fs::write(&path, rows(&["a"]).to_string()).unwrap();
    let prepared = process("places::a_full_disk_leaves_the_old_file", &path);
    // A file may have 8 blocks of 512 or 1,024 bytes; the signal of a longer one is ignored, so that the write fails instead.
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""])
        .arg(prepared.get_program())
        .args(prepared.get_args())
        .envs(prepared.get_envs().map(|(name, value)| (name, value.unwrap())))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("as expected"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), rows(&["small"]).to_string());
    assert_eq!(names_in(directory.path()), ["cache.json"]);
}

#[tokio::test]
async fn only_temporary_files_of_the_dead_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let alive = std::os::unix::process::parent_id();
    let kept = [
        format!(".tokenkeep-{alive}-0123456789abcdef.tmp"),
        format!(".tokenkeep-{dead}-0123.tmp"),
        format!("tokenkeep-{dead}-0123456789abcdef.tmp"),
        "JavaMsalExtTemp1.tmp".to_owned(),
        "cache.json".to_owned(),
    ];
    let mut kept = Vec::from(kept);
    kept.sort();
    for name in &kept {
        fs::write(directory.path().join(name), "{}").unwrap();
    }
    let swept = format!(".tokenkeep-{dead}-0123456789abcdef.tmp");
    fs::write(directory.path().join(&swept), "{}").unwrap();
    open(&directory.path().join("cache.json")).await;
    assert_eq!(names_in(directory.path()), kept);
}
