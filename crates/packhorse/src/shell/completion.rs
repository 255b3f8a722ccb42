//! Completes commands and the names that the server has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use packhorse_client::connect::Connector;
use packhorse_client::list::{ListRequest, list};
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::Item;
use packhorse_transport::kernel::KernelDialer;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::remote_path::resolve;
use super::request::COMMANDS;
use super::words;

/// A person who pressed a key waits no longer than this.
const LIST_TIME_MAX: Duration = Duration::from_secs(3);

/// How long a list is good for.
const LIST_AGE_MAX: Duration = Duration::from_secs(5);

/// More names than these nobody looks through.
const NAMES_MAX: usize = 10_000;

/// The names on the server, as far as they were asked for.
pub(crate) struct RemoteNames {
    connector: Arc<Connector<KernelDialer>>,
    runtime: Handle,
    directory: Arc<Mutex<RelativePath>>,
    lists: Mutex<HashMap<RelativePath, List>>,
}

/// What a directory had a moment ago.
#[derive(Clone)]
struct List {
    at: Instant,
    names: Arc<Vec<RemoteName>>,
}

struct RemoteName {
    bytes: Vec<u8>,
    is_directory: bool,
}

impl RemoteNames {
    /// Those of the server behind `connector`, as seen from `directory`.
    pub(super) fn new(
        connector: Arc<Connector<KernelDialer>>,
        runtime: Handle,
        directory: Arc<Mutex<RelativePath>>,
    ) -> Self {
        Self {
            connector,
            runtime,
            directory,
            lists: Mutex::default(),
        }
    }

    /// The names in `directory`; none if the server does not answer soon.
    fn names(&self, directory: &RelativePath) -> Arc<Vec<RemoteName>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| list.at.elapsed() < LIST_AGE_MAX);
        if let Some(list) = lists.get(directory) {
            return Arc::clone(&list.names);
        }
        let names = Arc::new(self.runtime.block_on(self.ask(directory)));
        let list = List {
            at: Instant::now(),
            names: Arc::clone(&names),
        };
        lists.insert(directory.clone(), list);
        names
    }

    async fn ask(&self, directory: &RelativePath) -> Vec<RemoteName> {
        let mut names = Vec::new();
        let request = ListRequest {
            path: directory.clone(),
            ..ListRequest::default()
        };
        let listed = list(&self.connector, request, |item| {
            names.extend(RemoteName::of(item));
            names.len() < NAMES_MAX
        });
        // What has come by then helps all the same.
        let _ = timeout(LIST_TIME_MAX, listed).await;
        names
    }
}

impl RemoteName {
    fn of(item: Item) -> Option<Self> {
        let (bytes, is_directory) = match item {
            Item::Directory { path, .. } => (path.split_last()?.1, true),
            Item::File { name, .. } | Item::Link { name, .. } => (name, false),
            Item::Skipped { .. } => return None,
        };
        Some(Self {
            bytes: bytes.as_bytes().to_vec(),
            is_directory,
        })
    }
}

impl Completer for RemoteNames {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Some(word) = words::last(&line[..position]) else {
            return Ok((position, Vec::new()));
        };
        let split = word
            .bytes
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |at| at + 1);
        let (typed_directory, beginning) = word.bytes.split_at(split);
        let mut candidates = Vec::new();
        if word.index == 0 && typed_directory.is_empty() {
            let commands = COMMANDS
                .iter()
                .filter(|name| name.as_bytes().starts_with(beginning));
            candidates.extend(commands.map(|name| Pair {
                display: (*name).into(),
                replacement: format!("{name} "),
            }));
        }
        let here = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Ok(directory) = resolve(&here, typed_directory) else {
            return Ok((word.start, candidates));
        };
        for name in self.names(&directory).iter() {
            if name.bytes.starts_with(beginning) {
                candidates.push(name.candidate(typed_directory));
            }
        }
        Ok((word.start, candidates))
    }
}

impl RemoteName {
    fn candidate(&self, typed_directory: &[u8]) -> Pair {
        let slash = if self.is_directory { "/" } else { "" };
        let display = format!("{}{slash}", words::Quoted(&self.bytes));
        Pair {
            replacement: format!("{}{display}", words::Quoted(typed_directory)),
            display,
        }
    }
}

impl Hinter for RemoteNames {
    type Hint = String;
}

impl Highlighter for RemoteNames {}

impl Validator for RemoteNames {}

impl Helper for RemoteNames {}
