//! `packhorse get plain://…`

use std::sync::atomic::Ordering;
use std::time::Instant;

use packhorse_protocol::plain_address::PlainName;

use super::{Folder, PlainServer, Saved, Unsaved};
use crate::cat::Shape;
use crate::events::{EventLog, PathText, Record};
use crate::exit::{CommandError, Exit, Outcome};
use crate::fetch::{client_runtime, client_workers};
use crate::get::Summary;
use crate::output::say;
use crate::progress::ProgressLine;
use crate::rate::Rate;
use crate::settings::{PlainDestination, PlainFile, PlainGetSettings};
use crate::so_far::SoFar;
use crate::text::{Text, plain as words};

/// Fetches what was asked for, one file after the other.
pub(crate) fn run(settings: PlainGetSettings) -> Outcome {
    let runtime = client_runtime()?;
    match &settings.destination {
        PlainDestination::Output => runtime.block_on(write_out(&settings)),
        PlainDestination::Directory(path, options) => {
            let events = EventLog::open(settings.json, settings.report.as_deref())?;
            let folder = Folder::new(path, *options, words::exists_for_get, client_workers()?);
            let get = PlainGet {
                settings: &settings,
                events,
                folder,
                progress: ProgressLine::new(!settings.quiet),
                so_far: SoFar::default(),
                exit: Exit::Done,
            };
            runtime.block_on(get.run())
        }
    }
}

async fn write_out(settings: &PlainGetSettings) -> Outcome {
    let Some(PlainFile { place, name, .. }) = settings.files.first() else {
        return Ok(Exit::Done);
    };
    let rate_limit = settings.rate_limit.map(Rate::bytes_per_second);
    let mut server = PlainServer::new(place.clone(), settings.silence, rate_limit);
    let written = server.write_out(name, true, Shape::AsIs).await;
    match written.map_err(|failure| failure.about(name))? {
        Some(_) if !settings.quiet => say(Text::of_name(name).because(words::not_verified())),
        _ => {}
    }
    Ok(Exit::Done)
}

/// A `get` into a directory.
struct PlainGet<'a> {
    settings: &'a PlainGetSettings,
    events: EventLog,
    folder: Folder,
    progress: ProgressLine,
    so_far: SoFar,
    exit: Exit,
}

impl PlainGet<'_> {
    async fn run(mut self) -> Outcome {
        let start = Instant::now();
        let files = &self.settings.files;
        let rate_limit = self.settings.rate_limit.map(Rate::bytes_per_second);
        let mut server: Option<PlainServer> = None;
        for (index, file) in files.iter().enumerate() {
            let next = files.get(index + 1);
            let is_last = next.is_none_or(|next| next.place != file.place);
            let server = match &mut server {
                Some(server) if server.place == file.place => server,
                other => {
                    if let Some(server) = other.take() {
                        self.leave(server).await;
                    }
                    let silence = self.settings.silence;
                    other.insert(PlainServer::new(file.place.clone(), silence, rate_limit))
                }
            };
            if let Some(name) = server.look_for_rest().await {
                self.handle_rest(&name);
            }
            self.fetch(server, file, is_last).await;
        }
        if let Some(server) = server {
            self.leave(server).await;
        }
        let elapsed = start.elapsed();
        if !self.settings.quiet && self.so_far.files_fetched > 0 {
            let summary = Summary {
                all: self.so_far,
                elapsed,
                dry_run: false,
                wanted: (0, 0),
            };
            match self.settings.expect {
                // It got its name because its hash is the right one.
                Some(_) => self.progress.say(summary.words()),
                None => self
                    .progress
                    .say(summary.words().then(&words::not_verified())),
            }
        }
        let summary = Record::summary(self.so_far, elapsed.as_secs_f64(), self.exit);
        self.events.write(&summary);
        self.events.close()?;
        Ok(self.exit)
    }

    /// Ends the conversation with a server from which nothing more is wanted.
    async fn leave(&mut self, mut server: PlainServer) {
        if let Some(name) = server.look_for_rest().await {
            self.handle_rest(&name);
        }
        server.connection.close().await;
    }

    /// A file that was taken for complete was not.
    fn handle_rest(&mut self, name: &PlainName) {
        let failure = CommandError::new(Exit::SomeFailed, words::incomplete());
        self.handle_failure(name, failure.into());
    }

    async fn fetch(&mut self, server: &mut PlainServer, file: &PlainFile, is_last: bool) {
        let PlainFile {
            place,
            name,
            local_name,
        } = file;
        let address = format!("plain://{place}/{name}");
        self.events.write(&Record::Begin {
            address: address.clone(),
        });
        let expect = self.settings.expect;
        let saving = server.save(name, local_name, expect, is_last, &self.folder);
        let totals = &self.folder.totals;
        let received = || totals.bytes_fetched.load(Ordering::Relaxed);
        let saved = tokio::select! {
            saved = saving => saved,
            never = self.progress.follow(totals, received, None) => match never {},
        };
        self.progress.clear();
        let failure = match saved {
            Ok(saved) => {
                self.handle_saved(server, &saved);
                None
            }
            Err(unsaved) => Some(self.handle_failure(name, unsaved)),
        };
        let (exit, why) = match failure {
            None => (Exit::Done, None),
            Some(CommandError { exit, error }) => (exit, Some(error.english().to_owned())),
        };
        self.events.write(&Record::End {
            address,
            exit: exit.code(),
            listed: true,
            why,
        });
    }

    fn handle_saved(&mut self, server: &PlainServer, saved: &Saved) {
        let Saved { name, bytes } = saved;
        self.so_far.files_fetched += 1;
        self.so_far.bytes_fetched += bytes;
        self.events.write(&Record::Fetched {
            path: PathText::new(name.as_bytes()),
            bytes: *bytes,
            blake3: None,
        });
        if let Some(doubt) = server.doubt(saved) {
            self.progress.say(doubt);
        }
    }

    fn handle_failure(&mut self, name: &PlainName, unsaved: Unsaved) -> CommandError {
        let failure = unsaved.failure.clone();
        self.so_far.failed += 1;
        self.exit = self.exit.and(failure.exit);
        self.events.write(&Record::Failed {
            path: PathText::new(name.as_bytes()),
            why: failure.error.english().to_owned(),
        });
        self.progress.complain(unsaved.about(name).error);
        failure
    }
}
