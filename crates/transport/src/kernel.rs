//! The kernel's TCP.

mod dialer;
mod happy_eyeballs;
mod listener;

pub use dialer::{DIAL_TIMEOUT, KernelDialer};
pub use listener::{BindError, KernelListener, ListenAt};
