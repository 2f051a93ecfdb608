//! A user who signs in and out through all of the cache.

use std::sync::Mutex;

use cache_core::cache::{SignOutScope, TokenCache};

use super::score::{Score, open};
use crate::scene::{CLIENT, ReadError, User};

/// Signed out, among the numbers of sign-ins.
const OUT: u64 = 0;

/// What a user did: numbers of sign-ins, and 0 for being signed out.
#[derive(Debug)]
pub struct Session {
    user: User,
    /// The number of the latest sign-in.
    serial: u64,
    /// All that was ever tried, in this order.
    tried: Vec<u64>,
    /// Where in that the latest is which was acknowledged. What comes after it may hold as well, and nothing before it.
    settled: usize,
}

impl Session {
    /// Of a user who never signed in.
    #[must_use]
    pub fn new(user: User) -> Self {
        Self {
            user,
            serial: 0,
            tried: vec![OUT],
            settled: 0,
        }
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> User {
        self.user
    }

    /// From where in what was tried the state may be now.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// Judges what was read after `settled` was so. Whoever sees a write that then is lost takes the record for
    /// [rolled back](cache_core::seal::RollbackPolicy::MissAndReport) and the user for signed out, so that is right too while the end of
    /// any write is unknown.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words, and whether it is something that once was.
    pub fn check(&self, found: u64, settled: usize) -> Result<(), (String, bool)> {
        let possible = &self.tried[settled..];
        if possible.contains(&found) || found == OUT && possible.len() > 1 {
            return Ok(());
        }
        let of = |state: u64| match state {
            OUT => "signed out".to_owned(),
            serial => format!("in their sign-in {serial}"),
        };
        let words = format!(
            "{:?} is {} after it was acknowledged that they are {}",
            self.user,
            of(found),
            of(possible[0])
        );
        Err((words, self.tried.contains(&found)))
    }

    /// Judges what the user's own task read.
    pub fn read(&mut self, found: u64, score: &mut Score) {
        score.was_read();
        if let Err((words, once_was)) = self.check(found, self.settled) {
            if !once_was {
                return score.wrong(words);
            }
            score.lost(1, || words);
            self.settle(found);
        }
    }

    /// The next thing that the user does.
    fn next(&mut self) -> u64 {
        let next = if self.tried.last() == Some(&OUT) {
            self.serial += 1;
            self.serial
        } else {
            OUT
        };
        self.tried.push(next);
        next
    }

    fn settle(&mut self, state: u64) {
        self.tried.push(state);
        self.settled = self.tried.len() - 1;
    }
}

/// Signs the user in or out at `writer`, and looks for them at both.
pub async fn turn(
    writer: &TokenCache,
    both: [&TokenCache; 2],
    session: &Mutex<Session>,
    score: &Mutex<Score>,
) {
    let (user, next, serial) = {
        let mut session = open(session);
        (session.user, session.next(), session.serial)
    };
    let begun = Score::begin();
    let done = if next == OUT {
        let signed_out = writer
            .sign_out(&user.partition(), CLIENT, SignOutScope::Client)
            .await;
        signed_out.map(|_| ())
    } else {
        user.sign_in(writer, serial).await
    };
    match done {
        Ok(()) => {
            open(session).settle(next);
            open(score).succeeded(begun);
        }
        Err(error) => open(score).cache_failed(&error),
    }
    for cache in both {
        look(cache, session, score).await;
    }
}

/// What the cache knows of the user, judged as what their own task read. Says whether it could be read.
pub async fn look(cache: &TokenCache, session: &Mutex<Session>, score: &Mutex<Score>) -> bool {
    let user = open(session).user;
    let found = user.serial(cache).await;
    let mut score = open(score);
    match found {
        Ok(found) => {
            open(session).read(found, &mut score);
            true
        }
        Err(error) => {
            failed(error, &mut score);
            false
        }
    }
}

/// What could not be read of a user.
pub fn failed(error: ReadError, score: &mut Score) {
    match error {
        ReadError::Cache(error) => score.cache_failed(&error),
        ReadError::Store(error) => score.failed(&error),
        ReadError::Foreign => score.wrong("a token of another user".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Promise;
    use super::*;

    #[test]
    fn what_was_acknowledged_holds_until_the_next_attempt() {
        let mut session = Session::new(User(1));
        assert_eq!(session.next(), 1);
        assert!(session.check(OUT, session.settled).is_ok(), "the end is unknown");
        assert!(session.check(1, session.settled).is_ok(), "the end is unknown");
        session.settle(1);
        assert!(session.check(1, session.settled).is_ok());
        assert!(session.check(OUT, session.settled).is_err());
        assert_eq!(session.next(), OUT);
        session.settle(OUT);
        assert!(
            session
                .check(1, session.settled)
                .is_err_and(|(_, once_was)| once_was)
        );
        assert!(
            session
                .check(2, session.settled)
                .is_err_and(|(_, once_was)| !once_was)
        );
    }

    #[test]
    fn a_sign_out_that_is_undone_is_lost_and_a_sign_in_that_never_was_is_wrong() {
        let mut session = Session::new(User(1));
        session.tried = vec![OUT, 1, OUT];
        session.settled = 2;
        let mut score = Score::new(Promise::Acknowledged);
        session.read(1, &mut score);
        assert_eq!(score.lost, 1);
        session.read(1, &mut score);
        assert_eq!(score.lost, 1, "it is counted once");
    }
}
