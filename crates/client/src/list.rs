//! Lists what a server has.

use std::sync::Arc;

use packhorse_protocol::entry::Refusal;
use packhorse_protocol::filter::Patterns;
use packhorse_protocol::key::Pin;
use packhorse_protocol::message::{EntryOptions, Request, TreeRequest};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::{Answer, Item, Violation};
use packhorse_transport::dial::Dial;
use thiserror::Error;

use crate::connect::{ConnectError, Connector};
use crate::drive::TREE;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// A directory or a file, below the server's root.
    pub path: RelativePath,
    /// Also what lies in directories below the first.
    pub recursive: bool,
    /// What is asked of each entry.
    pub options: EntryOptions,
    /// Which entries are wanted.
    pub patterns: Patterns,
}

/// Why there is no list, or no more of it.
#[derive(Debug, Error)]
pub enum ListError {
    /// There is no connection, or no more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not tell.
    #[error("{0}")]
    Refused(Refusal),
}

/// Lists what `request` asks for, in the server's order, until `on_item` wants no more. Returns who
/// the server is.
///
/// The first item is the directory that was asked for, or the only file or link.
///
/// # Errors
/// [`ListError`].
pub async fn list<D: Dial>(
    connector: &Arc<Connector<D>>,
    request: ListRequest,
    mut on_item: impl FnMut(Item) -> bool + Send,
) -> Result<Pin, ListError> {
    let ListRequest {
        path,
        recursive,
        options,
        patterns,
    } = request;
    let tree = TreeRequest {
        tree: TREE,
        path,
        options,
        recursive,
        inline_bytes_max: 0,
        patterns,
        cursor: None,
    };
    let mut conversation = connector.connect(&Request::Tree(tree)).await?;
    let pin = conversation.pin();
    loop {
        let page = match conversation.answer().await? {
            Answer::Page(page) => page,
            Answer::Failed(refusal) => return Err(ListError::Refused(refusal)),
            _ => return Err(ConnectError::from(Violation::Excess).into()),
        };
        if !page.ended {
            // Asked for before the page is shown, so that the next is on its way meanwhile.
            conversation.request(&Request::More { tree: TREE }).await?;
        }
        let wants_more = page.items.into_iter().all(&mut on_item);
        if page.ended || !wants_more {
            conversation.shutdown().await;
            return Ok(pin);
        }
    }
}
