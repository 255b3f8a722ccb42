//! What scripts are made of.

use packhorse_protocol::message::Request;

use crate::scripted_server::{Call, Script, Wire};
use crate::tree::{MODIFIED, ServedTree};
use crate::wire::{Answer, DirectoryInfo, Info, Inline, Told};

impl Script {
    /// Changes every answer by `lie`.
    pub(crate) fn lying(lie: impl FnMut(&Call, &mut Vec<Answer>) + Send + 'static) -> Self {
        Self {
            lie: Box::new(lie),
            ..Self::default()
        }
    }

    /// Changes the tree by `change` before each request is answered.
    pub(crate) fn changing(change: impl FnMut(&Call, &mut ServedTree) + Send + 'static) -> Self {
        Self {
            before: Box::new(change),
            ..Self::default()
        }
    }

    /// Each new connection is as `wire` says.
    pub(crate) fn wired(mut wire: impl FnMut(usize) -> Wire + Send + 'static) -> Self {
        Self {
            wire: Box::new(move |connection| Ok(wire(connection))),
            ..Self::default()
        }
    }

    /// Answers the request for the tree, and those for its further pages, with `pages`.
    pub(crate) fn telling(pages: Vec<Vec<Told>>) -> Self {
        let mut pages = pages.into_iter();
        Self::lying(move |call, answers| {
            if matches!(call.request, Request::Tree(_) | Request::More { .. }) {
                *answers = vec![Answer::Page(pages.next().unwrap_or(vec![Told::End]))];
            }
        })
    }
}

pub(crate) fn directory(path: impl AsRef<[u8]>) -> Told {
    Told::Directory {
        path: path.as_ref().to_vec(),
        info: DirectoryInfo {
            modified: MODIFIED,
            mode: 0o755,
            xattrs: Vec::new(),
        },
    }
}

pub(crate) fn info(size: u64) -> Info {
    Info {
        size,
        modified: MODIFIED,
        mode: 0o644,
        version: 1u128.to_be_bytes(),
        sparse: false,
        link_group: 0,
        xattrs: Vec::new(),
    }
}

/// A file that comes with its content.
pub(crate) fn file(name: impl AsRef<[u8]>, content: &str) -> Told {
    Told::File {
        name: name.as_ref().to_vec(),
        info: info(content.len() as u64),
        inline: Some(Inline::of(content.as_bytes())),
    }
}

pub(crate) fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Told {
    Told::Link {
        name: name.as_ref().to_vec(),
        target: target.as_ref().to_vec(),
        modified: MODIFIED,
    }
}
