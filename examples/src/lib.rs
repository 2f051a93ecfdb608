//! What the web front end and the background worker share.
