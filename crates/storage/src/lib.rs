//! Where Packhorse reads files from and writes them to.
//!
//! [`root`], [`directory`] and [`mod@file`] make every system call for a served or written path, beneath
//! the descriptor of a directory; nothing else in Packhorse names such a path to the kernel. Each
//! call first passes the seam in [`disk`], under which a test's disk can fail.
//!
//! ```
//! use packhorse_protocol::{message::EntryOptions, path::RelativePath};
//! use packhorse_storage::{directory_source::DirectorySource, disk::Disk, source::Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let served = tempfile::tempdir()?;
//! # std::fs::write(served.path().join("greeting"), "hello")?;
//! let source = DirectorySource::open(Disk::new(), served.path())?;
//! let path = RelativePath::parse(b"greeting")?;
//! let file = source.find(&path, EntryOptions::default())?.into_file()?;
//! let mut content = vec![0; 5];
//! assert_eq!(file.read_at(0, &mut content)?, 5);
//! assert_eq!(content, b"hello");
//! # Ok(())
//! # }
//! ```

pub mod clock;
mod description;
pub mod destination;
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
pub mod write_trial;
