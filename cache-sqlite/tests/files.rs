//! Which files are opened, which are refused, and that a refused one stays as it was.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cache_core::random::{OsRandom, Random};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{PutOptions, Store, StoreError};
use cache_sqlite::{SqliteConfig, SqliteStore};
use futures_util::StreamExt;
use sqlx::Connection;
use support::{key, open, raw, run};
use tempfile::{TempDir, tempdir};

/// A directory with a path for a database in it.
struct Place {
    directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempdir().unwrap();
        let path = directory.path().join("cache.db");
        Self { directory, path }
    }

    /// The same, with a closed database of one record in it.
    async fn with_database() -> Self {
        let place = Self::new();
        let store = open(&place.path).await;
        store
            .put(&key("record"), vec![7; 20_000].into(), PutOptions::create())
            .await
            .unwrap();
        store.close().await;
        place
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Opening the file at `path` must fail and leave its content and permissions.
async fn refused(path: &Path) -> StoreError {
    let before = (fs::read(path).ok(), mode(path));
    let error = SqliteStore::open(SqliteConfig::new(path)).await.unwrap_err();
    assert_eq!(error.operation(), Operation::Open);
    assert!(
        (fs::read(path).ok(), mode(path)) == before,
        "the refused file was changed"
    );
    error
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn missing_file_is_an_error_when_it_may_not_be_created() {
    let place = Place::new();
    for path in [place.path.clone(), place.directory.path().join("no/cache.db")] {
        let config = SqliteConfig::new(&path).create(false);
        let error = SqliteStore::open(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry(), cache_core::store::error::Retry::No);
    }
    assert!(place.names().is_empty(), "nothing was created");
}

#[tokio::test]
async fn path_that_is_no_file_is_refused() {
    let place = Place::new();
    fs::create_dir(&place.path).unwrap();
    for path in [&*place.path, Path::new("/"), Path::new("")] {
        let error = SqliteStore::open(SqliteConfig::new(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{path:?}: {error}");
    }
    assert!(place.path.is_dir());
}

#[tokio::test]
async fn names_that_mean_something_to_sqlite_are_file_names() {
    let place = Place::new();
    for name in [":memory:", "file:x?mode=memory", "a%20b#c"] {
        let store = open(&place.directory.path().join(name)).await;
        store
            .put(&key("record"), "payload".into(), PutOptions::create())
            .await
            .unwrap();
        store.close().await;
        assert!(place.names().contains(&name.to_owned()), "{:?}", place.names());
    }
}

#[tokio::test]
async fn symbolic_link_is_refused() {
    let place = Place::with_database().await;
    let link = place.directory.path().join("link.db");
    symlink(&place.path, &link).unwrap();
    assert_eq!(refused(&link).await.kind(), ErrorKind::PermissionDenied);

    let dangling = place.directory.path().join("dangling.db");
    symlink(place.directory.path().join("elsewhere"), &dangling).unwrap();
    assert_eq!(refused(&dangling).await.kind(), ErrorKind::PermissionDenied);
    assert!(!place.directory.path().join("elsewhere").exists());
}

#[tokio::test]
async fn symbolic_link_in_place_of_the_log_is_refused() {
    for suffix in ["-wal", "-shm", "-journal"] {
        let place = Place::with_database().await;
        let target = place.directory.path().join("target");
        fs::write(&target, "untouched").unwrap();
        symlink(&target, format!("{}{suffix}", place.path.display())).unwrap();
        assert_eq!(refused(&place.path).await.kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read(&target).unwrap(), b"untouched");
    }
}

#[tokio::test]
async fn hard_link_is_refused() {
    let place = Place::with_database().await;
    fs::hard_link(&place.path, place.directory.path().join("second.db")).unwrap();
    assert_eq!(refused(&place.path).await.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn directory_that_everybody_may_write_to_is_refused() {
    let place = Place::with_database().await;
    fs::set_permissions(place.directory.path(), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(refused(&place.path).await.kind(), ErrorKind::PermissionDenied);
    // Sticky, like the system's directory for temporary files: nobody else may rename or remove our file.
    fs::set_permissions(place.directory.path(), Permissions::from_mode(0o1777)).unwrap();
    open(&place.path).await.close().await;
}

#[tokio::test]
async fn newer_schema_is_refused() {
    let place = Place::with_database().await;
    let mut connection = raw(&place.path).await;
    run(&mut connection, "PRAGMA user_version = 99").await;
    connection.close().await.unwrap();
    let error = refused(&place.path).await;
    assert_eq!(error.kind(), ErrorKind::NewerSchema);
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test]
async fn database_of_another_program_is_refused() {
    for statement in [
        "CREATE TABLE theirs (a)",
        "PRAGMA user_version = 3",
        "PRAGMA application_id = 77",
        "PRAGMA journal_mode = WAL; CREATE TABLE theirs (a)",
    ] {
        let place = Place::new();
        let mut connection = raw(&place.path).await;
        run(&mut connection, statement).await;
        connection.close().await.unwrap();
        fs::set_permissions(&place.path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            refused(&place.path).await.kind(),
            ErrorKind::Corrupt,
            "{statement}"
        );
    }
}

#[tokio::test]
async fn database_without_its_tables_is_refused() {
    let place = Place::with_database().await;
    let mut connection = raw(&place.path).await;
    run(&mut connection, "DROP TABLE changes").await;
    connection.close().await.unwrap();
    assert_eq!(refused(&place.path).await.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn file_that_is_no_database_is_refused() {
    let mut random = vec![0; 8192];
    OsRandom.fill(&mut random).unwrap();
    for content in [
        b"{\"AccessToken\": {}}".to_vec(),
        vec![0; 1],
        vec![0; 4096],
        vec![0; 65536],
        random,
    ] {
        let place = Place::new();
        fs::write(&place.path, &content).unwrap();
        let error = refused(&place.path).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{} bytes", content.len());
    }
}

#[tokio::test]
async fn damaged_database_is_refused() {
    let whole = {
        let place = Place::with_database().await;
        fs::read(&place.path).unwrap()
    };
    let mut zeroed = whole.clone();
    zeroed[..100].fill(0);
    let mut schema = whole.clone();
    schema[100..4096].fill(0xa5);
    for content in [
        whole[..whole.len() - 4096].to_vec(),
        whole[..4096].to_vec(),
        whole[..1000].to_vec(),
        whole[..50].to_vec(),
        zeroed,
        schema,
    ] {
        let place = Place::new();
        fs::write(&place.path, &content).unwrap();
        let error = refused(&place.path).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{} bytes", content.len());
    }
}

#[tokio::test]
async fn damage_found_later_is_an_error_and_not_a_missing_record() {
    let place = Place::with_database().await;
    let mut content = fs::read(&place.path).unwrap();
    let (header, rest) = content.split_at_mut(4096);
    rest.fill(0xa5);
    assert!(header.starts_with(b"SQLite format 3\0"));
    fs::write(&place.path, &content).unwrap();
    let outcome = async {
        let store = SqliteStore::open(SqliteConfig::new(&place.path)).await?;
        store.get(&key("record")).await
    };
    assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read(&place.path).unwrap(), content);
}

#[tokio::test]
async fn check_finds_damage_that_ordinary_reads_may_miss() {
    let place = Place::with_database().await;
    let store = open(&place.path).await;
    store.check().await.unwrap();
    store.close().await;
    let mut connection = raw(&place.path).await;
    let (page,): (i64,) =
        sqlx::query_as("SELECT rootpage FROM sqlite_schema WHERE name = 'records_by_expiry'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    let mut content = fs::read(&place.path).unwrap();
    let end = usize::try_from(page).unwrap() * 4096;
    content[end - 4096..end].fill(0xa5);
    fs::write(&place.path, &content).unwrap();

    let store = open(&place.path).await;
    assert!(store.get(&key("record")).await.unwrap().is_some());
    assert_eq!(store.check().await.unwrap_err().kind(), ErrorKind::Corrupt);
    let put = store
        .put(&key("other"), "payload".into(), PutOptions::create())
        .await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(store.get(&key("record")).await.unwrap().is_some());
}

/// Each page by itself is sound, so that a look-up by key finds nothing, and finds it without an error.
#[tokio::test]
async fn database_whose_index_was_exchanged_is_not_taken_for_an_empty_one() {
    let place = Place::with_database().await;
    let mut connection = raw(&place.path).await;
    let pages: Vec<(i64,)> = sqlx::query_as(
        "SELECT rootpage FROM sqlite_schema WHERE name IN ('records_by_expiry', 'sqlite_autoindex_records_1')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let page = |content: &[u8], end: usize| content[end - 4096..end].to_vec();
    let ends: Vec<_> = pages
        .iter()
        .map(|(page,)| usize::try_from(*page).unwrap() * 4096)
        .collect();
    let [one, other] = ends[..] else {
        panic!("{pages:?}");
    };
    let mut content = fs::read(&place.path).unwrap();
    let kept = page(&content, one);
    let others = page(&content, other);
    content[one - 4096..one].copy_from_slice(&others);
    content[other - 4096..other].copy_from_slice(&kept);
    fs::write(&place.path, &content).unwrap();

    let error = SqliteStore::open(SqliteConfig::new(&place.path))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("move the file aside"), "{error}");
    assert!(fs::read(&place.path).unwrap() == content, "it was changed");
}

/// Keys out of their order mislead SQLite's search, so that it ends before the first of them.
#[tokio::test]
async fn list_that_a_flipped_bit_of_the_index_ends_early_is_not_an_empty_one() {
    let place = Place::new();
    let store = open(&place.path).await;
    for name in ["cache/keyring/ring", "cache/user/one", "cache/user/two"] {
        store
            .put(&key(name), "payload".into(), PutOptions::create())
            .await
            .unwrap();
    }
    store.close().await;
    // The table is the second page, its index the third.
    let mut content = fs::read(&place.path).unwrap();
    let name = b"cache/keyring/ring";
    let index = &mut content[2 * 4096..3 * 4096];
    let start = index.windows(name.len()).position(|found| found == name).unwrap();
    // "c" becomes "s".
    index[start] ^= 0x10;
    fs::write(&place.path, &content).unwrap();

    let store = open(&place.path).await;
    assert_eq!(store.get(&key("cache/keyring/ring")).await.unwrap(), None);
    let listed: Vec<_> = store.scan("cache/").collect().await;
    let error = listed.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("cache.db"), "{error}");
    let others: Vec<_> = store.scan("another/").collect().await;
    assert!(others.is_empty(), "nobody put anything there");
    store.close().await;
    assert!(fs::read(&place.path).unwrap() == content, "it was changed");
}

#[tokio::test]
async fn empty_file_becomes_a_database() {
    let place = Place::new();
    fs::write(&place.path, "").unwrap();
    let store = open(&place.path).await;
    assert_eq!(store.get(&key("record")).await.unwrap(), None);
}

#[tokio::test]
async fn permissions_of_others_are_taken_away() {
    let place = Place::with_database().await;
    fs::set_permissions(&place.path, Permissions::from_mode(0o664)).unwrap();
    let store = open(&place.path).await;
    store
        .put(&key("other"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
    for name in place.names() {
        assert_eq!(mode(&place.directory.path().join(&name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn file_that_is_removed_or_replaced_fails_every_operation() {
    let place = Place::with_database().await;
    let aside = place.directory.path().join("aside.db");
    let store = open(&place.path).await;
    fs::rename(&place.path, &aside).unwrap();
    let put = store.put(&key("a"), "payload".into(), PutOptions::create()).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Unavailable);
    fs::copy(&aside, &place.path).unwrap();
    let put = store.put(&key("a"), "payload".into(), PutOptions::create()).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Unavailable);
    let get = store.get(&key("record")).await;
    assert_eq!(get.unwrap_err().kind(), ErrorKind::Unavailable);
    fs::rename(&aside, &place.path).unwrap();
    store
        .put(&key("a"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
}

#[tokio::test]
async fn full_file_refuses_what_does_not_fit_and_nothing_else() {
    let place = Place::new();
    let config = SqliteConfig::new(&place.path).max_file_bytes(Some(256 << 10));
    let store = SqliteStore::open(config).await.unwrap();
    let small = store
        .put(&key("small"), "payload".into(), PutOptions::create())
        .await
        .unwrap();
    let (large_key, neighbour) = (key("large"), key("neighbour"));
    let large = store.put(&large_key, vec![1; 1 << 20].into(), PutOptions::create());
    let beside = store.put(&neighbour, "payload".into(), PutOptions::create());
    let (large, beside) = tokio::join!(large, beside);
    let error = large.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(!error.is_outcome_unknown(), "it was certainly not applied");
    beside.unwrap();
    assert_eq!(store.get(&large_key).await.unwrap(), None);
    assert_eq!(store.head(&key("small")).await.unwrap(), Some(small));
    store.delete(&key("small"), Some(small)).await.unwrap();
}
