//! Where Packhorse reads files from and writes them to.
//!
//! [`root`], [`directory`] and [`file`] make every system call for a served or written path, beneath
//! the descriptor of a directory; nothing else in Packhorse names such a path to the kernel. Each
//! call first passes the seam in [`disk`], under which a test's disk can fail.

pub mod clock;
pub mod directory;
pub mod directory_source;
pub mod disk;
pub mod file;
pub mod listing;
pub mod read;
pub mod root;
pub mod selection;
pub mod source;
pub mod status;
pub mod walk;
pub mod workers;
