//! The command as its users meet it: the real binary, in processes of its own.

#![allow(clippy::unwrap_used, reason = "what tests share fails as a test does")]

mod bad_line;
mod bad_wire;
mod bench;
mod chinese;
mod crowd;
mod demo;
mod disks;
mod events;
mod exact;
mod existing;
mod fetching;
mod generate;
mod help;
mod kill_loop;
mod kills;
mod listing;
mod messages;
mod mistakes;
mod plain_client;
mod plain_server;
mod python;
mod refusals;
mod sandbox;
mod serving;
mod shell;
mod shell_on_terminal;
mod streams;
mod terminal;
mod trust;
mod web;
