//! The kernel's keyrings, and several processes over them.
