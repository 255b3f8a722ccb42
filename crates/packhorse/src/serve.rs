//! `packhorse serve`

use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use packhorse_protocol::address::{Address, HostPort};
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::key::{Key, Token};
use packhorse_protocol::path::RelativePath;
use packhorse_server::{Server, ServerSettings, Stop};
use packhorse_storage::directory_source::DirectorySource;
use packhorse_storage::disk::Disk;
use packhorse_storage::selection::{SelectionError, SelectionSource};
use packhorse_storage::source::Source;
use packhorse_storage::workers::DiskWorkers;
use packhorse_transport::identity::Identity;
use packhorse_transport::kernel::{BindError, KernelListener};
use packhorse_transport::tls::{ServerTls, WebCertificate};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::exit::{CommandError, Exit, OrExit, Outcome};
use crate::listen_place::ListenPlace;
use crate::local_addresses::{Families, useful_addresses};
use crate::log::Log;
use crate::output::{print, terminal_columns};
use crate::qr_code::{Ink, QrCode};
use crate::rate::Rate;
use crate::secret_file::read_or_make;
use crate::settings::{AccessSettings, ServeSettings};
use crate::signals::Signals;
use crate::text::{files, log as text, machine, port};
use crate::time_span::TimeSpan;

/// Disk jobs that wait beyond those that are under way.
const DISK_JOBS_WAITING_MAX: usize = 1024;

/// While the server leaves: how long a client that asks for nothing may stay.
const LEAVE_IDLE_TIME: Duration = Duration::from_secs(2);

/// How long the end at once may take, where a disk does not answer.
const END_TIME_MAX: Duration = Duration::from_secs(3);

/// Descriptors that one client may need: its connection and what it reads.
const DESCRIPTORS_PER_CLIENT: u64 = 4;

/// Serves until told to stop.
pub(crate) fn run(settings: ServeSettings) -> Outcome {
    let log = Log::start(settings.log_format).or_exit(Exit::LocalIo, machine::no_log)?;
    let outcome = start(settings, &log);
    log.close();
    outcome
}

fn start(mut settings: ServeSettings, log: &Log) -> Outcome {
    let descriptors = raise_descriptor_limit(settings.limits.clients_max);
    settings.limits.leave_descriptors(descriptors);
    let source = open_source(&settings)?;
    let identity = load_identity(&settings)?;
    let token = load_token(&settings.access)?;
    if let Some(token) = &token {
        let key = Key {
            pin: identity.pin(),
            token: Some(token.clone()),
        };
        log.hide(vec![key.reveal(), token.reveal()]);
    }
    let runtime = Runtime::new().or_exit(Exit::LocalIo, machine::no_runtime)?;
    let outcome = runtime.block_on(serve(settings, source, &identity, token, log));
    // What still runs now is what was told to end and does not.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    settings: ServeSettings,
    source: Arc<dyn Source>,
    identity: &Identity,
    token: Option<Token>,
    log: &Log,
) -> Outcome {
    // Before the address is printed: whoever reads it may end the server at once.
    let signals = Signals::new().or_exit(Exit::LocalIo, machine::no_signals)?;
    let listener = bind(&settings, identity).await?;
    let local = listener.local_addresses();
    let congestion = listener.congestion().map(str::to_owned);
    let cores = available_parallelism().map_or(1, usize::from);
    let workers = DiskWorkers::new(4.max(2 * cores), DISK_JOBS_WAITING_MAX)
        .or_exit(Exit::LocalIo, machine::no_disk_workers)?;
    let key = Key {
        pin: identity.pin(),
        token: token.clone(),
    };
    let server = Server::new(
        listener,
        source,
        Arc::new(workers),
        ServerSettings {
            token,
            limits: settings.limits,
            rate_limit: settings.rate_limit.map(Rate::bytes_per_second),
            once: settings.once,
            plain: settings.plain,
            clear_http: settings.http,
            pin: identity.pin(),
            leave_idle_time: LEAVE_IDLE_TIME,
        },
    );
    let (stop, watch) = (server.stop(), server.watch());
    let running = tokio::spawn(server.run(settings.grace));
    announce(&settings, &key, &local, congestion.as_deref());
    // Standard output, which may be the same terminal, has nothing more to say from here on.
    log.watch(watch);
    Ending {
        stop,
        grace: settings.grace,
        once: settings.once,
    }
    .wait(running, signals)
    .await
}

/// Prints what carries the key, and logs the rest.
fn announce(settings: &ServeSettings, key: &Key, local: &[SocketAddr], congestion: Option<&str>) {
    for path in &settings.paths {
        let shown = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        info!(path = %Escaped(shown.as_os_str().as_encoded_bytes()), "serving");
    }
    let fingerprint = key.pin;
    let congestion = congestion.unwrap_or("unknown");
    for address in local {
        info!(%address, %fingerprint, congestion, "listening");
    }
    if key.token.is_none() {
        warn!("{}", text::open_to_anyone().english());
    }
    let places = hosts_to_print(&settings.listen, local);
    if settings.plain {
        announce_plain(places.first());
    }
    if settings.http {
        warn!("{}", text::http_in_clear().english());
    }
    let urls = web_urls(places.first(), key.token.as_ref(), settings.http);
    let first_url = urls.first().cloned();
    let addresses: Vec<_> = places
        .into_iter()
        .map(|place| Address {
            key: Some(key.clone()),
            place,
            path: RelativePath::ROOT,
            directory_only: false,
        })
        .collect();
    // The server serves also where nobody reads its address: who has the key file knows it.
    for line in addresses.iter().map(Address::reveal).chain(urls) {
        let _ = print(line);
    }
    if settings.qr
        && let Some(url) = first_url
    {
        print_qr_code(&url, settings.has_colours);
    }
}

/// Draws `url`, or says why that is not done.
fn print_qr_code(url: &str, has_colours: bool) {
    let Ok(code) = QrCode::of(url) else {
        return warn!("{}", text::url_too_long_for_qr_code().english());
    };
    let is_terminal = io::stdout().is_terminal();
    let (needed, columns) = (code.columns(), terminal_columns());
    if let Some(columns) = columns.filter(|&columns| is_terminal && columns < needed) {
        return warn!(columns, needed, "no room for the QR code");
    }
    let ink = match is_terminal && has_colours {
        true => Ink::Coloured,
        false => Ink::Plain,
    };
    // In one piece, so that no line of the log gets into the picture.
    let _ = print(code.lines(ink).collect::<Vec<_>>().join("\n"));
}

/// What to open in a browser.
fn web_urls(place: Option<&HostPort>, token: Option<&Token>, clear_http: bool) -> Vec<String> {
    let query = token.map_or_else(String::new, |token| format!("?key={}", token.reveal()));
    let schemes = ["https"].into_iter().chain(clear_http.then_some("http"));
    schemes
        .filter_map(|scheme| Some(format!("{scheme}://{}/{query}", place?)))
        .collect()
}

/// Warns of the plain mode, and says how it is used.
fn announce_plain(place: Option<&HostPort>) {
    warn!("{}", text::plain_mode().english());
    if let Some(HostPort { host, port }) = place {
        info!(%host, port, "try the plain mode");
    }
}

/// The places that stand in the addresses to paste.
fn hosts_to_print(listen: &ListenPlace, local: &[SocketAddr]) -> Vec<HostPort> {
    let port = local.first().map_or(listen.port, SocketAddr::port);
    let unspecified = match &listen.host {
        None => true,
        Some(host) => host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()),
    };
    if let (Some(host), false) = (&listen.host, unspecified) {
        let host = host.clone();
        return vec![HostPort { host, port }];
    }
    // A socket for all of IPv6 takes IPv4 too, unless its address was given.
    let has_v6 = local.iter().any(SocketAddr::is_ipv6);
    let families = Families {
        v4: !has_v6 || listen.host.is_none(),
        v6: has_v6,
    };
    useful_addresses(families)
        .into_iter()
        .map(|ip| HostPort {
            host: ip.to_string(),
            port,
        })
        .collect()
}

async fn bind(
    settings: &ServeSettings,
    identity: &Identity,
) -> Result<KernelListener, CommandError> {
    let at = settings.listen.look_up().await?;
    let mut tls = ServerTls::new(identity, load_web_certificate(settings)?);
    if settings.plain {
        tls = tls.with_plain_mode();
    }
    KernelListener::bind(&at, tls, settings.congestion.as_deref()).map_err(|error| {
        let exit = match error {
            BindError::Congestion { .. } => Exit::Usage,
            BindError::Nowhere | BindError::Address { .. } => Exit::LocalIo,
        };
        CommandError::new(
            exit,
            port::cannot_bind(&error, "packhorse serve --listen :0"),
        )
    })
}

fn open_source(settings: &ServeSettings) -> Result<Arc<dyn Source>, CommandError> {
    let disk = Disk::new();
    if let [only] = settings.paths.as_slice()
        && only.is_dir()
    {
        let source = DirectorySource::open(disk, only).map_err(|error| SelectionError::Open {
            path: only.clone(),
            error,
        });
        return Ok(Arc::new(source.map_err(unservable)?));
    }
    let source = SelectionSource::open(&disk, &settings.paths).map_err(unservable)?;
    Ok(Arc::new(source))
}

fn unservable(error: SelectionError) -> CommandError {
    match &error {
        SelectionError::Open { path, error: why } => {
            let text = files::unservable(path, why).unwrap_or_else(|| error.into());
            CommandError::new(Exit::SomeFailed, text)
        }
        SelectionError::Name { .. } | SelectionError::SameName { .. } => CommandError::usage(error),
    }
}

fn load_identity(settings: &ServeSettings) -> Result<Identity, CommandError> {
    let path = match &settings.identity {
        Some(path) => path.clone(),
        None => settings.state.file_in_place("identity.pem")?,
    };
    let make = || {
        let identity = Identity::generate().map_err(io::Error::other)?;
        Ok(identity.to_pem().into_bytes())
    };
    let pem = load_secret(&path, make)?;
    Identity::from_pem(&pem).or_exit(Exit::Usage, || machine::not_an_identity(path.display()))
}

fn load_web_certificate(settings: &ServeSettings) -> Result<Option<WebCertificate>, CommandError> {
    let Some((chain, key)) = &settings.web_certificate else {
        return Ok(None);
    };
    let read = |path: &Path| {
        let shown = Escaped(path.as_os_str().as_encoded_bytes());
        std::fs::read(path).or_exit(Exit::Usage, || files::cannot_read(shown))
    };
    WebCertificate::from_pem(&read(chain)?, &read(key)?)
        .map(Some)
        .or_exit(Exit::Usage, || {
            let chain = Escaped(chain.as_os_str().as_encoded_bytes());
            machine::not_a_certificate(chain)
        })
}

fn load_token(access: &AccessSettings) -> Result<Option<Token>, CommandError> {
    let fresh = || {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        Ok(Token::from(secret))
    };
    match access {
        AccessSettings::Open => Ok(None),
        AccessSettings::FreshToken => {
            let token: io::Result<Token> = fresh();
            token
                .map(Some)
                .or_exit(Exit::LocalIo, machine::no_randomness)
        }
        AccessSettings::TokenIn(path) => {
            let make = || Ok(format!("{}\n", fresh()?.reveal()).into_bytes());
            let content = load_secret(path, make)?;
            let text = std::str::from_utf8(&content).unwrap_or_default();
            // What it holds instead is not said: it may be a secret all the same.
            let token = Token::parse(text.trim())
                .map_err(|_| CommandError::usage(machine::not_a_key(path.display())))?;
            Ok(Some(token))
        }
    }
}

fn load_secret(
    path: &Path,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, CommandError> {
    let secret = read_or_make(path, make)
        .or_exit(Exit::LocalIo, || machine::no_secret_file(path.display()))?;
    if secret.is_exposed {
        let path = path.display();
        warn!(%path, "others may read a secret");
    }
    Ok(secret.content)
}

/// Each client needs descriptors; the system's first offer is often 1024.
fn raise_descriptor_limit(clients_max: usize) -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        warn!(%error, "{}", text::no_higher_limit().english());
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = DESCRIPTORS_PER_CLIENT.saturating_mul(clients_max as u64);
    if limit < needed {
        warn!(limit, needed, "few open files are allowed");
    }
    limit
}

/// How the server ends.
struct Ending {
    stop: Stop,
    grace: Duration,
    once: bool,
}

impl Ending {
    async fn wait(self, mut running: JoinHandle<()>, mut signals: Signals) -> Outcome {
        tokio::select! {
            _ = &mut running => {
                if self.once {
                    info!("ended");
                    return Ok(Exit::Done);
                }
                let message = machine::no_more_connections();
                return Err(CommandError::new(Exit::LocalIo, message));
            }
            () = signals.next() => {}
        }
        let grace = TimeSpan::from(self.grace);
        info!(%grace, "ending when running transfers have");
        self.stop.leave();
        tokio::select! {
            _ = &mut running => {}
            () = signals.next() => {
                self.stop.end();
                let _ = timeout(END_TIME_MAX, running).await;
            }
        }
        info!("ended");
        Ok(Exit::Done)
    }
}
