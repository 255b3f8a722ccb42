//! Files in the plain mode: what `get` and `shell` share.

pub(crate) mod get;
pub(crate) mod shell;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use packhorse_client::plain::{PlainConnection, PlainError, PlainFetch, PlainRest};
use packhorse_client::report::{Failure, Totals};
use packhorse_protocol::address::HostPort;
use packhorse_protocol::content::ContentHash;
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::plain_address::PlainName;
use packhorse_storage::destination::{
    Destination, DestinationError, DestinationOptions, EntryError, JobName, Placed, StreamedFile,
};
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use packhorse_transport::kernel::ClearDialer;
use packhorse_transport::throttle::Throttle;
use tokio::io::AsyncWriteExt;

use crate::cat::{Output, Shape};
use crate::exit::{CommandError, Exit, OrExit, output_ended};
use crate::text::{Text, files, machine, plain as words};
use crate::time_span::TimeSpan;

/// A server of the plain mode.
struct PlainServer {
    place: HostPort,
    silence: Duration,
    connection: PlainConnection<ClearDialer>,
    throttle: Option<Throttle>,
    /// What it sent last, if silence ended that.
    last: Option<PlainName>,
}

/// A directory to fetch into.
struct Folder {
    path: PathBuf,
    options: DestinationOptions,
    /// What is said of a file that is here already.
    exists: fn() -> Text,
    workers: Arc<DiskWorkers>,
    /// What came so far, for whoever looks on.
    totals: Arc<Totals>,
}

/// A file that was fetched.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    /// What it is called here.
    name: Name,
    bytes: u64,
}

/// Why a file was not saved.
struct Unsaved {
    failure: CommandError,
    /// It says which file.
    names_file: bool,
}

impl PlainServer {
    fn new(place: HostPort, silence: Duration, rate_limit: Option<u64>) -> Self {
        Self {
            connection: PlainConnection::new(ClearDialer::new(place.clone()), silence),
            place,
            silence,
            throttle: rate_limit.map(Throttle::new),
            last: None,
        }
    }

    /// Dials if there is no connection.
    async fn open(&mut self) -> Result<(), CommandError> {
        let opened = self.connection.open().await;
        opened.map_err(|error| CommandError::new(Exit::NoConnection, error))
    }

    /// The name of the last file if it turns out not to have been complete.
    async fn look_for_rest(&mut self) -> Option<PlainName> {
        let last = self.last.take();
        match self.connection.look_for_rest().await {
            PlainRest::Nothing => None,
            PlainRest::More => last,
        }
    }

    /// Fetches the file `name` into `folder`, to be called `local_name` there; with another hash
    /// than `expect` it gets no name.
    async fn save(
        &mut self,
        name: &PlainName,
        local_name: &Name,
        expect: Option<ContentHash>,
        is_last: bool,
        folder: &Folder,
    ) -> Result<Saved, Unsaved> {
        let job = JobName::new(
            format!("plain://{}", self.place).as_bytes(),
            name.as_bytes(),
        );
        let path = RelativePath::from(local_name.clone());
        let (destination, file) = folder.begin(&job, &path).await?;
        self.last = Some(name.clone());
        let Self {
            connection,
            throttle,
            ..
        } = self;
        let saving = async {
            let mut fetch = connection
                .fetch(name, is_last)
                .await
                .map_err(|error| explain(&error))?;
            let file = folder.receive(&mut fetch, file, throttle.as_ref()).await?;
            let bytes = fetch.received_bytes();
            let found = file.content_hash();
            if let Some(expected) = expect.filter(|expected| *expected != found) {
                let failure = Failure::Unexpected { expected, found };
                return Err(CommandError::new(Exit::Integrity, &failure).into());
            }
            let placed = folder.work(move || file.finish()).await?;
            folder.totals.files_fetched.fetch_add(1, Ordering::Relaxed);
            Ok(Saved {
                name: match placed.map_err(|error| unwritten(&error, folder.exists))? {
                    Placed::Beside(name) => name,
                    _ => local_name.clone(),
                },
                bytes,
            })
        };
        let saved = saving.await;
        let report = folder.work(move || destination.finish()).await?;
        match (&saved, report.root) {
            (Ok(_), Err(error)) => Err(unwritten(&error, folder.exists)),
            _ => saved,
        }
    }

    /// Writes the file `name` to standard output. Returns how many bytes; `None` if nobody wanted to
    /// read to the end.
    async fn write_out(
        &mut self,
        name: &PlainName,
        is_last: bool,
        shape: Shape,
    ) -> Result<Option<u64>, CommandError> {
        self.last = Some(name.clone());
        let output = Output {
            shape,
            throttle: self.throttle.take(),
        };
        let fetched = self.connection.fetch(name, is_last).await;
        let mut fetch = fetched.map_err(|error| explain(&error))?;
        let (fetched, written) = output
            .take(async |mut pipe| {
                while let Some(bytes) = fetch.next().await? {
                    if pipe.write_all(&bytes).await.is_err() {
                        // Nobody reads it; the writer knows why.
                        break;
                    }
                }
                Ok(())
            })
            .await?;
        match (written, fetched) {
            (Err(error), _) => output_ended(error).map(|_| None),
            (Ok(bytes), Ok(())) => Ok(Some(bytes)),
            (Ok(_), Err(error)) => Err(explain(&error)),
        }
    }

    /// What to say of a file of which nothing came.
    fn doubt(&self, saved: &Saved) -> Option<Text> {
        let silence = TimeSpan::from(self.silence);
        (saved.bytes == 0).then(|| words::taken_for_empty(&saved.name, silence))
    }
}

impl Unsaved {
    /// Names the file once.
    fn about(self, name: &PlainName) -> CommandError {
        match self.names_file {
            true => self.failure,
            false => self.failure.about(name),
        }
    }
}

impl From<CommandError> for Unsaved {
    fn from(failure: CommandError) -> Self {
        Self {
            failure,
            names_file: false,
        }
    }
}

impl Folder {
    fn new(
        path: &Path,
        options: DestinationOptions,
        exists: fn() -> Text,
        workers: Arc<DiskWorkers>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            options,
            exists,
            workers,
            totals: Arc::default(),
        }
    }

    /// Begins the file `path`; whether it may be written shows before it is asked for.
    async fn begin(
        &self,
        job: &JobName,
        path: &RelativePath,
    ) -> Result<(Destination, StreamedFile), Unsaved> {
        self.totals.files_seen.fetch_add(1, Ordering::Relaxed);
        let (folder, options, exists) = (self.path.clone(), self.options, self.exists);
        let (job, path) = (*job, path.clone());
        let begun = self.work(move || {
            let destination = Destination::open(Disk::new(), &folder, &job, options)
                .map_err(|error| unusable(&error))?;
            match destination.begin_streamed(&path) {
                Ok(file) => Ok((destination, file)),
                Err(error) => {
                    // Nothing was written, so nothing can be left behind.
                    let _ = destination.finish();
                    Err(unwritten(&error, exists))
                }
            }
        });
        begun.await?
    }

    /// Writes all of a file that comes.
    async fn receive(
        &self,
        fetch: &mut PlainFetch<'_, ClearDialer>,
        mut file: StreamedFile,
        throttle: Option<&Throttle>,
    ) -> Result<StreamedFile, Unsaved> {
        while let Some(bytes) = fetch.next().await.map_err(|error| explain(&error))? {
            if let Some(throttle) = throttle {
                throttle.pass(bytes.len()).await;
            }
            let length = bytes.len() as u64;
            let append = move || {
                let appended = file.append(&bytes);
                (file, appended)
            };
            let appended;
            (file, appended) = self.work(append).await?;
            appended.map_err(|error| unwritten(&error, self.exists))?;
            self.totals
                .bytes_fetched
                .fetch_add(length, Ordering::Relaxed);
        }
        Ok(file)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        let done = self.workers.run(work).await;
        done.or_exit(Exit::LocalIo, machine::no_disk_work)
    }
}

fn explain(error: &PlainError) -> CommandError {
    let exit = match error {
        PlainError::NotFound => Exit::SomeFailed,
        PlainError::Dial(_) | PlainError::Lost { .. } => Exit::NoConnection,
    };
    CommandError::new(exit, error)
}

fn unusable(error: &DestinationError) -> CommandError {
    CommandError::new(Exit::LocalIo, files::destination(error))
}

fn unwritten(error: &EntryError, exists: fn() -> Text) -> Unsaved {
    if error.is_refusal_to_overwrite() {
        return CommandError::new(Exit::SomeFailed, exists()).into();
    }
    let exit = match error.is_local_io() {
        true => Exit::LocalIo,
        false => Exit::SomeFailed,
    };
    Unsaved {
        failure: CommandError::new(exit, error),
        // It may be about the folder.
        names_file: !error.path().is_root(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What befell the folder at the end said nothing of the file.
    #[test]
    fn a_failure_names_its_file_once() {
        let name = PlainName::parse(b"a.txt").unwrap();
        let file = RelativePath::parse(b"a.txt").unwrap();
        for path in [file, RelativePath::ROOT] {
            let unsaved = unwritten(&EntryError::Collides { path }, words::exists_for_get);
            let said = unsaved.about(&name).error.to_string();
            assert_eq!(said.matches("a.txt").count(), 1, "{said}");
        }
    }
}
