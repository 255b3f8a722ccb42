//! A dry run into a place where there is nothing yet: all that is wanted would be fetched.

use std::sync::Arc;

use packhorse_protocol::filter::{Filter, Subject};
use packhorse_protocol::key::Pin;
use packhorse_protocol::path::RelativePath;
use packhorse_protocol::session::{Item, Violation};
use packhorse_transport::dial::Dial;

use crate::connect::{ConnectError, Connector};
use crate::download::{Download, DownloadError};
use crate::list::{ListError, ListRequest, list};
use crate::place::{Site, told_path};
use crate::report::{Event, Failure, Totals};

impl Download {
    /// Reports everything that would be fetched; touches nothing.
    pub(crate) async fn report_all<D: Dial>(
        self,
        connector: &Arc<Connector<D>>,
        filter: &Filter,
    ) -> Result<Pin, DownloadError> {
        let settings = &self.settings;
        let request = ListRequest {
            path: settings.path.clone(),
            recursive: true,
            options: settings.options,
            patterns: settings.patterns.clone(),
        };
        let base = Site::base(settings);
        let mut is_tree = false;
        let mut was_asked_for = true;
        let listed = list(connector, request, |item| {
            if let Item::File { name, .. } | Item::Link { name, .. } = &item {
                was_asked_for &= is_tree || settings.is_asked_for(name);
                if !was_asked_for {
                    return false;
                }
            }
            match item {
                Item::Directory { .. } => {
                    is_tree = true;
                    Totals::add(&self.totals.directories, 1);
                }
                Item::File {
                    directory,
                    name,
                    info,
                    ..
                } => {
                    Totals::add(&self.totals.files_seen, 1);
                    Totals::add(&self.totals.bytes_seen, info.size);
                    let below = directory.join(&name);
                    self.report_one(filter, is_tree, &base, below.ok(), info.size);
                }
                Item::Link {
                    directory, name, ..
                } => {
                    self.report_one(filter, is_tree, &base, directory.join(&name).ok(), 0);
                }
                Item::Skipped { path, refusal } if refusal.is_by_kind() => {
                    Totals::add(&self.totals.skipped, 1);
                    self.observer.handle(Event::Skipped {
                        path: &told_path(&base, is_tree, &path),
                        refusal,
                    });
                }
                Item::Skipped { path, refusal } => {
                    let failure = Failure::Refused(refusal);
                    self.totals.handle_failure(&failure);
                    self.observer.handle(Event::Failed {
                        path: &told_path(&base, is_tree, &path),
                        failure: &failure,
                    });
                }
            }
            true
        });
        match listed.await {
            Ok(_) if !was_asked_for => Err(ConnectError::from(Violation::Excess).into()),
            Ok(pin) => Ok(pin),
            Err(ListError::Connect(error)) => Err(error.into()),
            Err(ListError::Refused(refusal)) => Err(DownloadError::Refused(refusal)),
        }
    }

    fn report_one(
        &self,
        filter: &Filter,
        is_tree: bool,
        base: &RelativePath,
        below: Option<RelativePath>,
        bytes: u64,
    ) {
        let Some(below) = below.filter(|below| !is_tree || filter.wants(below, Subject::Other))
        else {
            return;
        };
        let single = self.settings.name.clone().map(RelativePath::from);
        let path = if is_tree {
            base.join_path(&below).ok()
        } else {
            single.or(Some(below))
        };
        if let Some(path) = &path {
            self.observer.handle(Event::Wanted { path, bytes });
        }
    }
}
