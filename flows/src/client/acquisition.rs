//! What an acquisition becomes when it is awaited.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{AcquireTokenForClient, AcquireTokenSilent};
use crate::{AuthenticationResult, Error};

type Running<'a> = Pin<Box<dyn Future<Output = Result<AuthenticationResult, Error>> + Send + 'a>>;

/// What an acquisition becomes when it is awaited.
///
/// Nothing is done before it is polled. A token that is at hand in memory makes the first poll ready, without an allocation; whatever takes
/// longer is boxed then.
///
/// # Cancellation safety
/// As the acquisition says.
#[must_use = "futures do nothing unless they are polled"]
pub struct Acquisition<'a> {
    state: State<'a>,
}

/// A request is not in a box: that would cost what a token out of memory must not.
enum State<'a> {
    Silent(AcquireTokenSilent<'a>),
    ForClient(AcquireTokenForClient<'a>),
    Running(Running<'a>),
    Over,
}

impl<'a> Acquisition<'a> {
    pub(super) fn silent(request: AcquireTokenSilent<'a>) -> Self {
        Self {
            state: State::Silent(request),
        }
    }

    pub(super) fn for_client(request: AcquireTokenForClient<'a>) -> Self {
        Self {
            state: State::ForClient(request),
        }
    }

    pub(super) fn boxed(work: impl Future<Output = Result<AuthenticationResult, Error>> + Send + 'a) -> Self {
        Self {
            state: State::Running(Box::pin(work)),
        }
    }
}

impl Future for Acquisition<'_> {
    type Output = Result<AuthenticationResult, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let at_hand = match &self.state {
            State::Silent(request) => request.at_hand(),
            State::ForClient(request) => request.at_hand(),
            State::Running(_) | State::Over => None,
        };
        if let Some(result) = at_hand {
            self.state = State::Over;
            return Poll::Ready(Ok(result));
        }
        self.poll_slowly(context)
    }
}

impl Acquisition<'_> {
    /// Kept apart, so that what is ready at once stays small.
    #[inline(never)]
    fn poll_slowly(&mut self, context: &mut Context<'_>) -> Poll<Result<AuthenticationResult, Error>> {
        let mut running = match std::mem::replace(&mut self.state, State::Over) {
            State::Silent(request) => Box::pin(request.run()) as Running<'_>,
            State::ForClient(request) => Box::pin(request.run()),
            State::Running(running) => running,
            State::Over => panic!("an acquisition was polled after it had ended"),
        };
        let polled = running.as_mut().poll(context);
        if polled.is_pending() {
            self.state = State::Running(running);
        }
        polled
    }
}

impl fmt::Debug for Acquisition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Silent(request) => request.fmt(f),
            State::ForClient(request) => request.fmt(f),
            State::Running(_) => f.write_str("Acquisition(running)"),
            State::Over => f.write_str("Acquisition(over)"),
        }
    }
}
