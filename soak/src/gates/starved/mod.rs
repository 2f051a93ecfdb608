//! Gate 4: what a cache needs is not to be had, and then it is.

mod ordeal;

use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

pub use self::ordeal::Ordeal;
use self::ordeal::Want;
use crate::child::{Child, Task};
use crate::gate::{Doing, Gate, GateError};
use crate::scene::Place;
use crate::stage::Stage;
use crate::tally::Tally;

/// The gate.
pub const GATE: Gate = Gate {
    number: 4,
    name: "starved",
    title: "A full disk (a tmpfs of 1 MiB), files that may not grow, a read-only mount, no descriptors left: while the cache is open and when \
            it is opened; over SQLite, over an MSAL file, and with a key file",
    must: "old tokens readable by whoever had the cache open; what cannot be done is an error of the kind that fits the want (no space left, \
           read-only, unavailable); 0 acknowledged sign-ins lost, and all is well when the want ends",
    unit: "ordeals",
    full_size: 480,
    test_size: 12,
    batch: 48,
    limits: &[
        "The full disk is a tmpfs, which has no journal of its own; a quota was not tried.",
        "A read-only mount comes between two openings of a database: Linux does not make one read-only while a file is open for writing.",
        "Not every cache can be opened in want, so its tokens can be read when the want ends: no database on a read-only mount, nor on a disk \
         without 32 KiB left; nothing where a file of the cache may not grow by what an opening writes, or without the descriptors of a database, \
         its log and its index. Each such opening is counted, with its kind.",
        "An MSAL file is opened for each read: without a descriptor, what memory does not have is refused until the want ends.",
        "A key file that cannot be read for want of a descriptor is told in words, by an error of the key and not of the store.",
    ],
    floors: &[
        ("ordeals recovered from", 1.0),
        ("a sign-in without space refused as Full", 0.4),
        ("tokens read in want", 1.5),
    ],
    run,
};

fn run(stage: &Stage, cases: Range<u64>) -> Result<Tally, GateError> {
    stage.in_parallel(cases, |cases| {
        let mut tally = Tally::default();
        for case in cases {
            let folder = stage.folder()?;
            let path = folder.path().canonicalize().doing("could not find a folder")?;
            let places = Place::each(&path);
            let kind = (case % places.len() as u64) as usize;
            let want = Want::ALL[(case / places.len() as u64) as usize % Want::ALL.len()];
            let ordeal = Ordeal {
                case,
                place: places[kind].clone(),
                folder: path.clone(),
                want,
            };
            let command = under(want, &path, &stage.command(&Task::Suffer(ordeal))?);
            let mut child = Child::spawn(command)?;
            let report: Tally = child.report()?;
            tally.merge(report);
        }
        Ok(tally)
    })
}

/// The command where it can be starved: in a namespace whose mounts are its own, or with a limit on the size of files.
fn under(want: Want, folder: &Path, command: &Command) -> Command {
    let script = match want {
        Want::Space | Want::WritableMount => {
            "mount -t tmpfs -o size=1m,mode=0700 tmpfs \"$1\" && shift && exec \"$@\""
        }
        // What is too much is cut short then, as on a full disk, in place of a signal.
        Want::Growth => "shift; trap '' XFSZ; exec \"$@\"",
        Want::Descriptors => "shift; ulimit -n 64; exec \"$@\"",
    };
    let mut starved = match want {
        Want::Space | Want::WritableMount => {
            let mut unshare = Command::new("unshare");
            unshare.args(["--map-root-user", "--mount", "sh"]);
            unshare
        }
        Want::Growth | Want::Descriptors => Command::new("sh"),
    };
    starved
        .args(["-c", script, "sh"])
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    starved
}
