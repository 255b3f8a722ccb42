//! The kernel's TCP.

mod dialer;
mod happy_eyeballs;
mod listener;

pub use dialer::{ClearDialer, DIAL_TIMEOUT, KernelDialer};
pub use listener::{BindError, ClearListener, KernelListener, ListenAt};
