//! Packhorse's TCP as a shared object for packetdrill: `packetdrill --so_filename=libpackhorse_packetdrill.so`.
//!
//! packetdrill calls [`packetdrill_interface_init`] and gets a table of functions like libc's, and
//! a device whose other end it plays itself. Time is virtual: it moves on while the thread that
//! called first waits (in `usleep`, for a packet, or in a call that blocks), and only once every
//! other thread in here waits too. A test of the `sim` crate plays packetdrill's part.
//!
//! `--so_flags` takes `name=value` words, separated by commas: `mtu`, `receive_buffer`,
//! `send_buffer`, `initial_window`, `quick_acks` (numbers); `nagle`, `timestamps`, `sack`,
//! `window_scale`, `pacing` (`on` or `off`); `congestion` (`newreno` or `cubic`); `local` (the
//! address of sockets that are not bound).

#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "C calls in, with pointers: decisions/0023-unsafe-where-c-calls-in.md"
)]

mod adapter;
mod caller;
mod calls;
mod machine;
mod settings;
mod table;
mod tcp_info;

pub use caller::{Caller, Failed};
pub use table::{Interface, packetdrill_interface_init};
