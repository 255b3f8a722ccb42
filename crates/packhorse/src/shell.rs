//! `packhorse shell`

mod completion;
pub(crate) mod dialogue;
pub(crate) mod line_input;
mod observer;
mod quiet_terminal;
mod remote_path;
pub(crate) mod request;
pub(crate) mod words;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_client::list::{ListError, ListRequest, list};
use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::message::{EntryOptions, LinkMode};
use packhorse_protocol::path::{Name, RelativePath};
use packhorse_protocol::session::Item;
use packhorse_storage::destination::DestinationOptions;
use packhorse_storage::workers::DiskWorkers;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use self::completion::RemoteNames;
use self::dialogue::{Dialogue, Stop, each};
use self::line_input::LineInput;
use self::observer::ShellObserver;
use self::remote_path::resolve;
use self::request::Request;
use crate::cat;
use crate::exit::{CommandError, Exit, OrExit, Outcome};
use crate::fetch::{Fetch, client_runtime, client_workers};
use crate::ls::{Listing, is_root};
use crate::output::{print, say};
use crate::progress::ProgressLine;
use crate::settings::{LsFormat, ShellSettings};
use crate::text;
use crate::trust::{self, Server};

/// Asks for a file name, fetches it, asks for the next.
pub(crate) fn run(settings: ShellSettings) -> Outcome {
    let ShellSettings {
        address,
        trust,
        prefix,
        destination,
    } = settings;
    let runtime = client_runtime()?;
    let mut server = runtime.block_on(trust::meet(&address, &trust))?;
    // So that a wrong address shows before the first question.
    let found = runtime.block_on(look_up(&server, &address.path, LinkMode::Follow));
    if matches!(
        found.map_err(|failure| failure.about(&address))?,
        Found::Other
    ) {
        let failure = CommandError::new(Exit::SomeFailed, text::shell::not_a_directory());
        return Err(failure.about(&address));
    }
    server.handle_success()?;
    let directory = Arc::new(Mutex::new(address.path));
    let names = RemoteNames::new(
        Arc::clone(&server.connector),
        runtime.handle().clone(),
        Arc::clone(&directory),
    );
    let input = LineInput::open(Some(names), &trust.state)?;
    if input.is_interactive() {
        outlive_interrupts(&runtime)?;
    }
    let mut shell = Shell {
        is_interactive: input.is_interactive(),
        runtime,
        server,
        directory,
        prefix,
        destination,
        workers: client_workers()?,
    };
    dialogue::hold(&mut shell, input)
}

/// Where we are, and everything that a request needs.
struct Shell {
    runtime: Runtime,
    server: Server,
    /// Where on the server; shared with the completion.
    directory: Arc<Mutex<RelativePath>>,
    prefix: Vec<u8>,
    destination: PathBuf,
    workers: Arc<DiskWorkers>,
    is_interactive: bool,
}

/// What stands under a name on the server.
enum Found {
    Directory,
    Other,
}

impl Dialogue for Shell {
    fn prompt(&self) -> String {
        format!("packhorse:/{}> ", shown(&self.here()))
    }

    fn handle(&mut self, request: Request) -> Result<(), Stop> {
        match request {
            Request::Fetch(name) => self.fetch_file(&name),
            Request::Get(names) => each(&names, |name| self.fetch(name)),
            Request::List { long, path } => self.list(long, &path),
            Request::Change(path) => self.change(&path),
            Request::Where => Ok(print(format_args!("/{}", shown(&self.here())))?),
            Request::Show(name) => self.show(&name),
            Request::Help => Ok(print(text::shell::help())?),
            Request::End => Ok(()),
        }
    }
}

impl Shell {
    /// Fetches a file whose name was typed and nothing else: a whole directory would surprise.
    fn fetch_file(&mut self, typed: &[u8]) -> Result<(), Stop> {
        let path = self.resolve(typed)?;
        match self.block_on(look_up(&self.server, &path, LinkMode::Follow))? {
            Ok(Found::Other) => self.download(path, LinkMode::Follow),
            Ok(Found::Directory) => {
                let name = words::Quoted(typed);
                let message = text::shell::is_a_directory(&path, &name.to_string());
                Err(CommandError::new(Exit::SomeFailed, message).into())
            }
            Err(failure) => Err(about(failure, &path).into()),
        }
    }

    fn fetch(&mut self, typed: &[u8]) -> Result<(), Stop> {
        let path = self.resolve(typed)?;
        self.download(path, LinkMode::Keep)
    }

    fn download(&mut self, path: RelativePath, links: LinkMode) -> Result<(), Stop> {
        let name = self.local_name(&path, links)?;
        let progress = Arc::new(ProgressLine::new(self.is_interactive));
        let fetch = Fetch {
            destination: &self.destination,
            options: DestinationOptions::default(),
            download: DownloadSettings {
                path: path.clone(),
                name,
                options: EntryOptions {
                    links,
                    ..EntryOptions::default()
                },
                ..DownloadSettings::default()
            },
            workers: Arc::clone(&self.workers),
            observer: Arc::new(ShellObserver::new(Arc::clone(&progress))),
            progress: &progress,
            report: None,
            server: &mut self.server,
        };
        let ended = interruptible(&self.runtime, self.is_interactive, fetch.run());
        progress.clear();
        match ended {
            None => {
                say(text::shell::stopped());
                Ok(())
            }
            Some(end) => match end.error {
                None => Ok(()),
                Some(error) => {
                    let exit = end.exit;
                    Err(about(CommandError { exit, error }, &path).into())
                }
            },
        }
    }

    /// The name with the prefix that a file gets; `None` for its own, which directories always get.
    fn local_name(
        &self,
        path: &RelativePath,
        links: LinkMode,
    ) -> Result<Option<Name>, CommandError> {
        let Some((_, name)) = path.split_last() else {
            return Ok(None);
        };
        if self.prefix.is_empty() {
            return Ok(None);
        }
        // Where links are followed, it is known to be a file.
        let is_file = links == LinkMode::Follow
            || match self.block_on(look_up(&self.server, path, links))? {
                Ok(found) => matches!(found, Found::Other),
                Err(failure) => return Err(about(failure, path)),
            };
        let name = [self.prefix.as_slice(), name.as_bytes()].concat();
        let name = Name::parse(&name)
            .map_err(|error| CommandError::usage(text::shell::with_prefix(path, &error.into())));
        is_file.then_some(name).transpose()
    }

    fn list(&mut self, long: bool, typed: &[u8]) -> Result<(), Stop> {
        let path = self.resolve(typed)?;
        let listing = Listing {
            format: if long {
                LsFormat::Long
            } else {
                LsFormat::Names
            },
            recursive: false,
            directory_only: false,
        };
        match self.block_on(listing.print(&self.server, &path))? {
            Ok(_) => Ok(()),
            Err(failure) => Err(about(failure, &path).into()),
        }
    }

    fn change(&mut self, typed: &[u8]) -> Result<(), Stop> {
        let path = self.resolve(typed)?;
        let message = match self.block_on(look_up(&self.server, &path, LinkMode::Follow))? {
            Ok(Found::Directory) => {
                *self
                    .directory
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = path;
                return Ok(());
            }
            Ok(Found::Other) => CommandError::new(Exit::SomeFailed, text::shell::not_a_directory()),
            Err(failure) => failure,
        };
        Err(about(message, &path).into())
    }

    fn show(&mut self, typed: &[u8]) -> Result<(), Stop> {
        let path = self.resolve(typed)?;
        match self.block_on(cat::show(&self.server, &path))? {
            Ok(()) => Ok(()),
            Err(failure) => Err(about(failure, &path).into()),
        }
    }

    fn here(&self) -> RelativePath {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn resolve(&self, typed: &[u8]) -> Result<RelativePath, CommandError> {
        resolve(&self.here(), typed)
            .map_err(|error| CommandError::usage(error).about(words::Quoted(typed)))
    }

    /// Waits for `work`, or until the person has waited enough.
    fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, CommandError> {
        interruptible(&self.runtime, self.is_interactive, work)
            .ok_or_else(|| CommandError::new(Exit::SomeFailed, text::shell::interrupted()))
    }
}

/// What is at `path`.
async fn look_up(
    server: &Server,
    path: &RelativePath,
    links: LinkMode,
) -> Result<Found, CommandError> {
    let request = ListRequest {
        path: path.clone(),
        options: EntryOptions {
            links,
            ..EntryOptions::default()
        },
        ..ListRequest::default()
    };
    let mut found = Found::Directory;
    let look = |item: Item| {
        if !is_root(&item) {
            found = Found::Other;
        }
        false
    };
    match list(&server.connector, request, look).await {
        Ok(_) => Ok(found),
        Err(ListError::Connect(error)) => Err(server.explain(&error)),
        Err(error) => Err(CommandError::new(Exit::SomeFailed, error)),
    }
}

/// From here on Ctrl-C does not end this process; it interrupts what is under way, if anything is.
pub(crate) fn outlive_interrupts(runtime: &Runtime) -> Result<(), CommandError> {
    let _context = runtime.enter();
    // What it installs outlives it.
    let installed = signal(SignalKind::interrupt()).map(drop);
    installed.or_exit(Exit::LocalIo, text::machine::no_signals)
}

/// Does `work`; `None` if a person interrupts it.
pub(crate) fn interruptible<T>(
    runtime: &Runtime,
    is_interactive: bool,
    work: impl Future<Output = T>,
) -> Option<T> {
    runtime.block_on(async {
        if !is_interactive {
            return Some(work.await);
        }
        tokio::select! {
            done = work => Some(done),
            _ = tokio::signal::ctrl_c() => None,
        }
    })
}

/// Says of which path something failed, unless it has nothing to do with the path.
fn about(failure: CommandError, path: &RelativePath) -> CommandError {
    match failure.exit {
        Exit::NoConnection | Exit::Refused => failure,
        _ if path.is_root() => failure.about(Escaped(b"/")),
        _ => failure.about(path),
    }
}

/// A path as it stands behind a `/`: nothing for the root.
fn shown(path: &RelativePath) -> String {
    match path.is_root() {
        true => String::new(),
        false => path.to_string(),
    }
}
