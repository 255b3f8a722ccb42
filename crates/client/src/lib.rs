//! The Packhorse client: plans a download, drives sessions, verifies and reports.
//!
//! A [`download::Download`] has a plan of what is left to ask for. Each connection takes tasks from
//! the plan and hands what comes to disk jobs, which check it, write it and tell the plan; a
//! connection that is lost gives its tasks back.

mod attempts;
pub mod bench;
pub mod cat;
mod compare;
pub mod connect;
mod connection_count;
mod directory;
pub mod download;
mod drive;
mod dry_run;
mod ending;
mod entered;
mod further_names;
mod group_table;
mod half_done;
mod large;
mod links;
pub mod list;
mod pace;
mod patience;
mod place;
pub mod plain;
mod plan;
mod reads;
mod receive;
mod relief;
pub mod report;
pub mod settings;
mod silence;
pub mod talk;
