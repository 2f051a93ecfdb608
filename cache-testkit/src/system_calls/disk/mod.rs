//! What a disk could hold of the files of a process whose calls were recorded.

mod change;
mod image;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use self::change::{DataChange, File, Kept, NameChange};
pub use self::image::Image;
use super::call::{Call, Outcome};
use super::strace::FILE_CALLS;
use super::trace::Trace;

/// The files of one folder, as a [`Trace`] of one process left them: what was forced to the disk, and what was not.
///
/// The rules are the weakest that POSIX allows. Data is on the disk when an `fsync` of the file that began after the write has returned. A
/// name is on the disk when an `fsync` of its folder has. Everything else may be there or not: of data, each sector for itself, and the length
/// without the data, which then reads as zeros; of names, each change for itself. Only that a sector is old or new, and that a rename is done or not, is relied on.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
    files: Vec<File>,
    /// What the system would say now.
    names: BTreeMap<PathBuf, usize>,
    /// What is on the disk.
    synced_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<(u64, NameChange)>,
    descriptors: HashMap<i64, Descriptor>,
    /// How much had happened when each `fsync` that goes on began, by the number of its call.
    syncing: HashMap<usize, u64>,
    happened: u64,
    forgets: bool,
}

#[derive(Clone, Copy, Debug)]
struct Descriptor {
    /// `None`: the folder.
    file: Option<usize>,
    offset: usize,
    appends: bool,
}

/// A trace that cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call {call} in line {line} of the trace is not one that is understood of a file in the folder")]
pub struct DiskError {
    call: String,
    line: usize,
}

impl Disk {
    /// A folder that is empty when the trace begins. `folder` is its path as the kernel knows it, without links.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            descriptors: HashMap::new(),
            syncing: HashMap::new(),
            happened: 0,
            forgets: false,
        }
    }

    /// The same, under a system that forgets what an `fsync` of a file could not write, as Linux does: the next one succeeds without it.
    /// That data is then never on the disk, and [`all`](Self::all) does not have it either. Names are not forgotten.
    #[must_use]
    pub fn forgetting(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// The same, with what `image` holds on the disk already.
    #[must_use]
    pub fn with(mut self, image: &Image) -> Self {
        for (name, content) in &image.files {
            let path = self.folder.join(name);
            self.names.insert(path.clone(), self.files.len());
            self.synced_names.insert(path, self.files.len());
            self.files.push(File {
                synced: content.clone(),
                unsynced: Vec::new(),
            });
        }
        self
    }

    /// The same, at the moment before line `until` of the trace. Of a call that has begun by then and has not returned, all may be done
    /// and nothing is certain.
    ///
    /// # Errors
    ///
    /// When a file of the folder is changed by a call of which this does not know what it does.
    pub fn played(mut self, trace: &Trace, until: usize) -> Result<Self, DiskError> {
        let mut moments: Vec<(usize, bool, usize)> = Vec::new();
        for (number, call) in trace.calls.iter().enumerate() {
            moments.push((call.entered, false, number));
            // One that never returned may have done its work all the same.
            moments.push((call.returned.unwrap_or(usize::MAX), true, number));
        }
        moments.sort_unstable();
        for (line, is_return, number) in moments {
            let call = &trace.calls[number];
            if line < until {
                if is_return {
                    self.returned(number, call)?;
                } else if is_sync(call) {
                    self.syncing.insert(number, self.happened);
                } else if call.name == "close" && !call.is_injected {
                    // Before it returns, another thread may be given the same number.
                    _ = call.descriptor(0).map(|number| self.descriptors.remove(&number));
                }
            } else if is_return && call.entered < until {
                self.may_have_done(call)?;
            }
        }
        Ok(self)
    }

    /// The least that is on the disk.
    #[must_use]
    pub fn synced_only(&self) -> Image {
        self.image(&mut |_| 0, Kept::Nothing, Kept::Nothing)
    }

    /// What the process itself would read.
    #[must_use]
    pub fn all(&self) -> Image {
        self.image(&mut |_| 0, Kept::Everything, Kept::Everything)
    }

    /// One of the states that the disk may be in. `choose(n)` returns a number below `n`, by chance.
    #[must_use]
    pub fn after_cut(&self, choose: &mut dyn FnMut(u64) -> u64) -> Image {
        let names = Kept::chosen(choose, self.unsynced_names.len());
        let most = self.files.iter().map(|file| file.unsynced.len()).max();
        let data = Kept::chosen(choose, most.unwrap_or_default());
        self.image(choose, names, data)
    }

    fn image(&self, choose: &mut dyn FnMut(u64) -> u64, of_names: Kept, of_data: Kept) -> Image {
        let mut names = self.synced_names.clone();
        for (place, (_, change)) in self.unsynced_names.iter().enumerate() {
            if of_names.keeps(place, choose) {
                change.apply(&mut names);
            }
        }
        let mut image = Image::default();
        for (path, &file) in &names {
            let name = path.strip_prefix(&self.folder).unwrap_or(path);
            image
                .files
                .insert(name.to_owned(), self.files[file].content(choose, of_data));
        }
        image
    }

    fn returned(&mut self, number: usize, call: &Call) -> Result<(), DiskError> {
        let value = match &call.outcome {
            Outcome::Returned(value) => *value,
            outcome => {
                let before = self.syncing.remove(&number);
                // One that was interrupted has written nothing and lost nothing.
                if let (Outcome::Failed(error), Some(before), true) = (outcome, before, self.forgets)
                    && error != "EINTR"
                {
                    self.forget(call, before);
                }
                return Ok(());
            }
        };
        self.happened += 1;
        if is_sync(call) {
            let before = self.syncing.remove(&number).unwrap_or_default();
            return self.synced(call, before);
        }
        self.done(call, value)
    }

    fn may_have_done(&mut self, call: &Call) -> Result<(), DiskError> {
        if is_sync(call) || call.is_injected {
            return Ok(());
        }
        self.happened += 1;
        let assumed = match (&*call.name, call.bytes(1), &call.outcome) {
            (_, _, Outcome::Returned(value)) => *value,
            ("write" | "pwrite64", Some(bytes), Outcome::Never) => i64::try_from(bytes.len()).unwrap_or(0),
            // A descriptor that nobody used any more.
            ("open" | "openat", _, Outcome::Never) => return Ok(()),
            (_, _, Outcome::Never) => 0,
            (_, _, Outcome::Failed(_)) => return Ok(()),
        };
        self.done(call, assumed)
    }

    fn done(&mut self, call: &Call, value: i64) -> Result<(), DiskError> {
        let ours = |path: Option<PathBuf>| path.filter(|path| path.starts_with(&self.folder));
        let length = usize::try_from(value).unwrap_or_default();
        match &*call.name {
            "open" | "openat" => self.opened(call, value),
            "close" => {}
            "write" | "pwrite64" => {
                let Some(descriptor) = call
                    .descriptor(0)
                    .and_then(|number| self.descriptors.get_mut(&number))
                else {
                    return Ok(());
                };
                let Some(file) = descriptor.file else {
                    return Ok(());
                };
                let offset = match call.number(3) {
                    Some(offset) if call.name == "pwrite64" => usize::try_from(offset).unwrap_or_default(),
                    _ if descriptor.appends => self.files[file].length(),
                    _ => descriptor.offset,
                };
                if call.name == "write" {
                    descriptor.offset = offset + length;
                }
                let bytes = call.bytes(1).unwrap_or_default();
                let bytes = bytes[..length.min(bytes.len())].to_vec();
                self.change(file, DataChange::Write { offset, bytes });
            }
            "ftruncate" => {
                let file = call
                    .descriptor(0)
                    .and_then(|number| self.descriptors.get(&number)?.file);
                if let (Some(file), Some(length)) = (file, call.number(1)) {
                    self.change(
                        file,
                        DataChange::Length(usize::try_from(length).unwrap_or_default()),
                    );
                }
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = if call.name == "rename" { (0, 1) } else { (1, 3) };
                let (from, to) = (ours(call.path(from)), ours(call.path(to)));
                match (from, to) {
                    (Some(from), Some(to)) => {
                        if let Some(&file) = self.names.get(&from) {
                            self.name(NameChange::Rename(from, to, file));
                        }
                    }
                    (None, None) => {}
                    _ => return Err(not_understood(call)),
                }
            }
            "link" | "linkat" => {
                let (from, to) = if call.name == "link" { (0, 1) } else { (1, 3) };
                if let (Some(from), Some(to)) = (ours(call.path(from)), ours(call.path(to)))
                    && let Some(&file) = self.names.get(&from)
                {
                    self.name(NameChange::Add(to, file));
                }
            }
            "unlink" | "unlinkat" => {
                let place = usize::from(call.name == "unlinkat");
                if let Some(path) = ours(call.path(place)) {
                    self.name(NameChange::Remove(path));
                }
            }
            "mkdir" | "mkdirat" => {}
            name if !FILE_CALLS.contains(&name) || !call.is_within(&self.folder) => {}
            _ => return Err(not_understood(call)),
        }
        Ok(())
    }

    fn opened(&mut self, call: &Call, number: i64) {
        let place = usize::from(call.name == "openat");
        let path = call.path(place).filter(|path| path.starts_with(&self.folder));
        let Some(path) = path else { return };
        if path == self.folder {
            let folder = Descriptor {
                file: None,
                offset: 0,
                appends: false,
            };
            self.descriptors.insert(number, folder);
            return;
        }
        let file = match self.names.get(&path) {
            Some(&file) => file,
            None => {
                let file = self.files.len();
                self.files.push(File::default());
                self.name(NameChange::Add(path, file));
                file
            }
        };
        if call.has_flag(place + 1, "O_TRUNC") && self.files[file].length() > 0 {
            self.change(file, DataChange::Length(0));
        }
        let descriptor = Descriptor {
            file: Some(file),
            offset: 0,
            appends: call.has_flag(place + 1, "O_APPEND"),
        };
        self.descriptors.insert(number, descriptor);
    }

    fn synced(&mut self, call: &Call, before: u64) -> Result<(), DiskError> {
        let Some(descriptor) = call
            .descriptor(0)
            .and_then(|number| self.descriptors.get(&number))
        else {
            return if call.is_within(&self.folder) {
                Err(not_understood(call))
            } else {
                Ok(())
            };
        };
        match descriptor.file {
            Some(file) => {
                let file = &mut self.files[file];
                let later = file.unsynced.partition_point(|(when, _)| *when <= before);
                for (_, change) in file.unsynced.drain(..later) {
                    change.apply(&mut file.synced, &mut |_| true);
                }
            }
            None => {
                let later = self.unsynced_names.partition_point(|(when, _)| *when <= before);
                for (_, change) in self.unsynced_names.drain(..later) {
                    change.apply(&mut self.synced_names);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, call: &Call, before: u64) {
        let descriptor = call
            .descriptor(0)
            .and_then(|number| self.descriptors.get(&number));
        if let Some(file) = descriptor.and_then(|descriptor| descriptor.file) {
            self.files[file].unsynced.retain(|(when, _)| *when > before);
        }
    }

    fn change(&mut self, file: usize, change: DataChange) {
        self.files[file].unsynced.push((self.happened, change));
    }

    fn name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push((self.happened, change));
    }
}

fn is_sync(call: &Call) -> bool {
    matches!(&*call.name, "fsync" | "fdatasync")
}

fn not_understood(call: &Call) -> DiskError {
    DiskError {
        call: call.name.clone(),
        line: call.entered + 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// A file is written, renamed, and both are synced; then it is written again.
    const RECORD: &str = concat!(
        r#"7 openat(AT_FDCWD<\x2f>, "\x2f\x64\x2f\x61", O_RDWR|O_CREAT, 0600) = 9<\x2f\x64\x2f\x61>"#,
        "\n",
        r#"7 write(9<\x2f\x64\x2f\x61>, "\x31\x32", 2) = 2"#,
        "\n",
        r#"7 write(9<\x2f\x64\x2f\x61>, "\x33", 1) = 1"#,
        "\n",
        r#"7 fsync(9<\x2f\x64\x2f\x61>) = 0"#,
        "\n",
        r#"7 rename("\x2f\x64\x2f\x61", "\x2f\x64\x2f\x62") = 0"#,
        "\n",
        r#"7 openat(AT_FDCWD<\x2f>, "\x2f\x64", O_RDONLY) = 10<\x2f\x64>"#,
        "\n",
        r#"7 fsync(10<\x2f\x64>) = 0"#,
        "\n",
        r#"7 pwrite64(9<\x2f\x64\x2f\x62>, "\x39", 1, 0) = 1"#,
        "\n",
        r#"7 fsync(9<\x2f\x64\x2f\x62>) = -1 EIO (Input/output error) (INJECTED)"#,
        "\n",
    );

    fn at(until: usize) -> Disk {
        let trace = Trace::parse(RECORD).unwrap();
        Disk::new("/d").played(&trace, until).unwrap()
    }

    fn texts(image: &Image) -> Vec<(&str, &str)> {
        let text = |content| std::str::from_utf8(content).unwrap();
        image
            .files
            .iter()
            .map(|(name, content)| (name.to_str().unwrap(), text(content)))
            .collect()
    }

    #[test]
    fn what_a_system_forgets_is_on_no_disk() {
        let again = r#"7 fsync(9<\x2f\x64\x2f\x62>) = 0"#;
        let trace = Trace::parse(&format!("{RECORD}{again}\n")).unwrap();
        let disk = || Disk::new("/d");
        let after = disk().played(&trace, trace.lines).unwrap();
        assert_eq!(texts(&after.synced_only()), [("b", "923")]);
        let after = disk().forgetting().played(&trace, trace.lines).unwrap();
        assert_eq!(texts(&after.synced_only()), [("b", "123")]);
    }

    #[test]
    fn what_was_synced_is_there_and_nothing_else_is_certain() {
        for (until, least, most) in [
            (0, vec![], vec![]),
            (3, vec![], vec![("a", "123")]),
            (4, vec![], vec![("a", "123")]),
            (6, vec![], vec![("b", "123")]),
            (7, vec![("b", "123")], vec![("b", "123")]),
            (8, vec![("b", "123")], vec![("b", "923")]),
            // A sync that failed made nothing certain.
            (9, vec![("b", "123")], vec![("b", "923")]),
        ] {
            assert_eq!(texts(&at(until).synced_only()), least, "before line {until}");
            assert_eq!(texts(&at(until).all()), most, "before line {until}");
        }
    }
}
