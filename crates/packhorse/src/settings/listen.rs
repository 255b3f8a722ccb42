//! What `packhorse listen` is told.

use std::os::unix::ffi::OsStringExt;

use packhorse_server::listen::{Answer, MessageSettings};

use crate::flags::ListenFlags;
use crate::listen_place::ListenPlace;

/// The settings of a server of messages.
#[derive(Debug)]
pub(crate) struct ListenSettings {
    /// Where it listens.
    pub(crate) place: ListenPlace,
    /// What it does.
    pub(crate) messages: MessageSettings,
    /// Connections that may wait to be accepted.
    pub(crate) backlog: i32,
}

impl ListenSettings {
    pub(super) fn resolve(flags: ListenFlags) -> Self {
        let ListenFlags {
            place,
            reply,
            echo,
            exec,
            once,
            peers,
            backlog,
        } = flags;
        let answer = match (reply, echo, exec) {
            (Some(text), _, _) => Answer::Text(text.into_vec()),
            (None, true, _) => Answer::Echo,
            (None, false, Some(command)) => Answer::Command(command),
            (None, false, None) => Answer::Nothing,
        };
        Self {
            place: place.unwrap_or_default(),
            messages: MessageSettings {
                answer,
                once,
                peers,
            },
            backlog,
        }
    }
}
