//! Jobs that act for users, whether these are there or not, and for the application.

use std::time::Duration;

use super::{Server, pause};

/// Between two jobs for one user.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(900));

/// Acts for a user, for ever.
pub(super) async fn act_for(server: &Server, user: usize) {
    let mut chance = server.chance(user);
    let account = server.account(user).await;
    loop {
        server.user_token(user, &account, false).await;
        if server.serving.sessions
            && let Err(error) = server.session_token(user).await
        {
            server.diary.violation(error);
        }
        pause(&mut chance, BETWEEN).await;
    }
}

/// Acts for the application, for ever.
pub(super) async fn act_for_itself(server: &Server) {
    let mut chance = server.chance(server.serving.users.len());
    loop {
        if let Err(error) = server.application_token().await {
            server.diary.violation(error);
        }
        pause(&mut chance, BETWEEN).await;
    }
}
