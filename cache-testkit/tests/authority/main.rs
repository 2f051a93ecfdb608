//! The fake authority, asked over real HTTPS.

mod authorization_code;
mod client;
mod device_code;
mod discovery;
mod faults;
mod grants;
mod rotation;
mod verify;
