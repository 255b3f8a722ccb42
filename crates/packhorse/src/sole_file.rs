//! The one file of a server that has no other, which its bare address then means.

use packhorse_client::list::{ListError, ListRequest, list};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::Item;

use crate::exit::{CommandError, Exit};
use crate::trust::Server;

/// The path that a request for a single file at `path` means: itself, unless that is the root of a
/// server which has one file and nothing else, as `packhorse serve report.pdf` makes one.
///
/// # Errors
/// The server cannot be asked.
pub(crate) async fn sole_file(
    server: &Server,
    path: &RelativePath,
) -> Result<RelativePath, CommandError> {
    if !path.is_root() {
        return Ok(path.clone());
    }
    let mut others = 0;
    let mut file = None;
    let listed = list(&server.connector, ListRequest::default(), |item| {
        match item {
            Item::Directory { path, .. } if path.is_root() => {}
            Item::File { name, .. } if file.is_none() => file = Some(name),
            _ => others += 1,
        }
        others == 0
    });
    match (listed.await, file) {
        (Ok(_), Some(name)) if others == 0 => Ok(name.into()),
        (Ok(_), _) => Ok(path.clone()),
        (Err(ListError::Connect(error)), _) => Err(server.explain(&error)),
        (Err(error), _) => Err(CommandError::new(Exit::SomeFailed, error)),
    }
}
