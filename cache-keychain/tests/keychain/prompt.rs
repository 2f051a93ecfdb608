//! Asking the user.
