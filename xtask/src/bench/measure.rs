//! One run of a server and a client, and what it took.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::case::Case;
use super::data_set::DataSet;
use super::line::{self, Line};
use super::peer::{Commands, Peer};

/// How long a server may take until it can be reached, and to end once it was told to.
const SERVER_TIME_MAX: Duration = Duration::from_secs(60);

/// Where everything lies.
pub(super) struct Scene {
    work: PathBuf,
    destination: PathBuf,
    pub(super) packhorse: PathBuf,
    wanlink: PathBuf,
    /// What holds connections open.
    pub(super) idler: PathBuf,
}

/// What one run is about.
pub(super) struct Setting {
    pub(super) root: PathBuf,
    /// What to fetch, below the root; all of the root if there is none.
    pub(super) file: Option<&'static str>,
    pub(super) destination: PathBuf,
    values: Vec<(&'static str, String)>,
    port: u16,
    /// The profile of the line in between, if there is one.
    line: Option<&'static str>,
}

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// The client's time on the clock, in seconds.
    pub(super) wall: f64,
    /// Seconds of a processor, of all processes of the client.
    pub(super) client_cpu: f64,
    /// The same of the server.
    pub(super) server_cpu: f64,
    /// The largest process of the client, in MiB.
    pub(super) client_mib: f64,
    /// The same of the server.
    pub(super) server_mib: f64,
}

/// What `time` says of a process that has ended.
pub(super) struct Meter {
    cpu: f64,
    mib: f64,
}

/// A server that runs; it is ended with this.
pub(super) struct Server {
    /// Between it and the client; a fresh one for each, as the kernel remembers of a peer how fast
    /// it was.
    line: Option<Line>,
    timer: Child,
    meter: PathBuf,
    words: PathBuf,
}

impl Scene {
    /// Data and configurations lie in `work`, what cargo has built in `target`.
    pub(super) fn new(target: &Path, work: &Path, destination: PathBuf) -> anyhow::Result<Self> {
        let scene = Self {
            work: work.to_owned(),
            destination,
            packhorse: target.join("release/packhorse"),
            wanlink: target.join("release/wanlink"),
            idler: target.join("release/examples/idle_sessions"),
        };
        for folder in [scene.data(), scene.work.join("conf")] {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        ensure!(
            scene.has("time"),
            "the program `time` measures the runs; install it"
        );
        Ok(scene)
    }

    /// Where the data sets lie.
    pub(super) fn data(&self) -> PathBuf {
        self.work.join("data")
    }

    /// A file among the configurations.
    pub(super) fn configuration(&self, name: &str) -> PathBuf {
        self.work.join("conf").join(name)
    }

    /// Whether `program` is installed.
    pub(super) fn has(&self, program: &str) -> bool {
        find_program(program).is_some()
    }

    /// Where the work of `case` is done.
    pub(super) fn setting(&self, case: Case) -> anyhow::Result<Setting> {
        let set = case.data_set();
        self.setting_of(set, set.file(), case.line())
    }

    /// An empty destination, a free port, and what commands say of them; for `file` in `set`, or
    /// for all of it, over `line`, or within this machine.
    pub(super) fn setting_of(
        &self,
        set: DataSet,
        file: Option<&'static str>,
        line: Option<&'static str>,
    ) -> anyhow::Result<Setting> {
        let root = self.data().join(set.name());
        self.empty_destination()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let show = |path: PathBuf| path.display().to_string();
        let name = file.unwrap_or("");
        let host = line.map_or("127.0.0.1", |_| line::SERVER);
        let values = vec![
            ("{root}", show(root.clone())),
            ("{file}", name.to_owned()),
            ("{from}", show(root.join(name))),
            ("{to}", show(self.destination.join(name))),
            ("{destination}", show(self.destination.clone())),
            ("{host}", host.to_owned()),
            ("{port}", port.to_string()),
            ("{conf}", show(self.work.join("conf"))),
            ("{packhorse}", show(self.packhorse.clone())),
            ("{sshd}", find_program("sshd").map(show).unwrap_or_default()),
        ];
        Ok(Setting {
            root,
            file,
            destination: self.destination.clone(),
            values,
            port,
            line,
        })
    }

    /// Fills the destination with `bytes`, which are given back when it is emptied, right before the
    /// run. Memory that a virtual machine has not used for a moment may have gone back to its host,
    /// and to have it again can take longer than what is measured.
    pub(super) fn use_memory(&self, bytes: u64) -> anyhow::Result<()> {
        self.empty_destination()?;
        let mut file = File::create(self.destination.join("memory"))?;
        let zeros = vec![0; 1 << 20];
        (0..bytes.div_ceil(1 << 20))
            .try_for_each(|_| file.write_all(&zeros))
            .context("there is too little memory for the destination")
    }

    fn empty_destination(&self) -> anyhow::Result<()> {
        if self.destination.exists() {
            fs::remove_dir_all(&self.destination).context("cannot empty the destination")?;
        }
        fs::create_dir_all(&self.destination).context("cannot make the destination")
    }

    /// Runs `peer` once, from a fresh server to the client's end.
    pub(super) fn run(&self, setting: &Setting, peer: &Peer) -> anyhow::Result<Measured> {
        let commands = (peer.commands)(self, setting).context("cannot prepare it")?;
        let server = self.start_server(setting, &commands)?;
        let client = self.client_command(&commands, &server)?;
        let client = self.run_client(client);
        let server = server.end()?;
        let (wall, client) = client?;
        Ok(Measured {
            wall,
            client_cpu: client.cpu,
            server_cpu: server.cpu,
            client_mib: client.mib,
            server_mib: server.mib,
        })
    }

    pub(super) fn start_server(
        &self,
        setting: &Setting,
        commands: &Commands,
    ) -> anyhow::Result<Server> {
        let (meter, words) = (
            self.configuration("server.time"),
            self.configuration("server.out"),
        );
        let line = setting.line;
        let line = line.map(|profile| Line::bring_up(&self.wanlink, profile));
        let line = line.transpose()?;
        let entering = line.as_ref().map_or_else(Vec::new, Line::at_server);
        let timer = timed(entering, &commands.server, &meter)
            .env("PACKHORSE_STATE", self.configuration("server-state"))
            .stdout(File::create(&words)?)
            .stderr(File::create(self.configuration("server.err"))?)
            .spawn()
            .context("cannot start the server")?;
        let mut server = Server {
            line,
            timer,
            meter,
            words,
        };
        let start = Instant::now();
        while !server.is_ready(setting.port, commands.told)? {
            if server.timer.try_wait()?.is_some() || start.elapsed() > SERVER_TIME_MAX {
                let said = fs::read_to_string(self.configuration("server.err"))?;
                bail!("the server does not start: {}", said.trim());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// The client's command, with what the server has told put in.
    pub(super) fn client_command(
        &self,
        commands: &Commands,
        server: &Server,
    ) -> anyhow::Result<Command> {
        let mut words = commands.client.clone();
        if let Some(prefix) = commands.told {
            let told = server.told(prefix)?.context("the server told nothing")?;
            words
                .iter_mut()
                .for_each(|word| *word = word.replace("{}", &told));
        }
        let entering = server.line.as_ref().map_or_else(Vec::new, Line::at_client);
        let mut command = timed(entering, &words, &self.configuration("client.time"));
        command
            .env("PACKHORSE_STATE", self.configuration("client-state"))
            .stdout(Stdio::null())
            .stderr(File::create(self.configuration("client.err"))?);
        Ok(command)
    }

    /// Runs the client to its end; returns its seconds on the clock, and what it took.
    fn run_client(&self, mut client: Command) -> anyhow::Result<(f64, Meter)> {
        let start = Instant::now();
        let status = client.status().context("cannot start the client")?;
        let wall = start.elapsed().as_secs_f64();
        if !status.success() {
            let said = fs::read_to_string(self.configuration("client.err"))?;
            bail!("the client failed ({status}): {}", said.trim());
        }
        Ok((wall, read_meter(&self.configuration("client.time"))?))
    }

    /// Compares what was fetched with what is there, byte by byte.
    pub(super) fn check(&self, setting: &Setting) -> anyhow::Result<()> {
        let file = setting.file.unwrap_or("");
        self.compare(&setting.root.join(file), &setting.destination.join(file))
    }

    /// Compares two files or trees byte by byte.
    pub(super) fn compare(&self, source: &Path, fetched: &Path) -> anyhow::Result<()> {
        let status = Command::new("diff")
            .args(["--recursive", "--brief", "--no-dereference"])
            .args([source, fetched])
            .stdout(Stdio::null())
            .status()
            .context("cannot compare: is `diff` installed?")?;
        ensure!(
            status.success(),
            "WRONG: what was fetched differs from the source"
        );
        Ok(())
    }

    /// Makes the certificate for a peer that speaks TLS.
    pub(super) fn make_certificate(&self) -> io::Result<()> {
        let key = self.configuration("key.pem");
        if key.exists() {
            return Ok(());
        }
        let certificate = self.configuration("cert.pem");
        succeed(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
                .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "365"])
                .args(["-subj", "/CN=localhost", "-keyout"])
                .args([key.as_path(), Path::new("-out"), certificate.as_path()]),
        )
    }

    /// Makes the keys of a server and a user of ssh.
    pub(super) fn make_ssh_keys(&self) -> io::Result<()> {
        for name in ["ssh_host", "ssh_user"] {
            let path = self.configuration(name);
            if !path.exists() {
                let words = ["-q", "-t", "ed25519", "-N", "", "-f"];
                succeed(Command::new("ssh-keygen").args(words).arg(path))?;
            }
        }
        Ok(())
    }
}

impl Setting {
    /// `text` with its `{names}` replaced.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values {
            text = text.replace(name, value);
        }
        text
    }

    /// Commands of words without spaces; a server that is ready once its port is.
    pub(super) fn commands(&self, server: &str, client: &str) -> Commands {
        let words = |text: &str| text.split(' ').map(|word| self.fill(word)).collect();
        Commands {
            server: words(server),
            told: None,
            client: words(client),
        }
    }
}

impl Server {
    fn is_ready(&self, port: u16, told: Option<&str>) -> anyhow::Result<bool> {
        match told {
            Some(prefix) => Ok(self.told(prefix)?.is_some()),
            None => Ok(is_listening(self.timer.id(), port)?),
        }
    }

    /// The process that serves, below the one that measures it.
    pub(super) fn process(&self) -> anyhow::Result<u32> {
        let timer = self.timer.id();
        let children = fs::read_to_string(format!("/proc/{timer}/task/{timer}/children"))?;
        let child = children.split_whitespace().next();
        Ok(child.context("the server has ended")?.parse()?)
    }

    /// The first whole word with `prefix` that it has printed.
    pub(super) fn told(&self, prefix: &str) -> anyhow::Result<Option<String>> {
        let text = fs::read_to_string(&self.words)?;
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let mut words = lines.flat_map(str::split_whitespace);
        Ok(words
            .find(|word| word.starts_with(prefix))
            .map(str::to_owned))
    }

    /// Ends it and reads what it took.
    pub(super) fn end(mut self) -> anyhow::Result<Meter> {
        let start = Instant::now();
        self.signal_children("TERM")?;
        while self.timer.try_wait()?.is_none() {
            if start.elapsed() > SERVER_TIME_MAX {
                self.signal_children("KILL")?;
                bail!("the server did not end when it was told to");
            }
            sleep(Duration::from_millis(5));
        }
        read_meter(&self.meter)
    }

    /// `time` itself takes no notice of signals that it could hand on.
    fn signal_children(&self, signal: &str) -> anyhow::Result<()> {
        signal_children(self.timer.id(), signal)
    }
}

/// Whoever gives up in between leaves no server behind.
impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.timer.try_wait() {
            let _ = self.signal_children("TERM");
        }
    }
}

/// Sends a signal to what the process `parent` has started.
pub(super) fn signal_children(parent: u32, signal: &str) -> anyhow::Result<()> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        // It may have ended by itself.
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, child]).stderr(Stdio::null());
        kill.status().context("cannot run `kill`")?;
    }
    Ok(())
}

/// `words`, run by `time`, which writes to `meter` what they took; it is run by `entering`, which
/// becomes it.
fn timed(mut entering: Vec<String>, words: &[String], meter: &Path) -> Command {
    entering.push("time".to_owned());
    let mut command = Command::new(&entering[0]);
    command
        .args(&entering[1..])
        .args(["-q", "-f", "%U %S %M", "-o"])
        .arg(meter)
        .args(words)
        .stdin(Stdio::null());
    command
}

fn read_meter(path: &Path) -> anyhow::Result<Meter> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().last().unwrap_or_default();
    let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[user, system, kib]) => Ok(Meter {
            cpu: user + system,
            mib: kib / 1024.0,
        }),
        _ => bail!("`time` wrote {line:?}"),
    }
}

/// Whether somebody listens on `port` where the process `id` is: as the kernel's table says, since a
/// connection would be taken for a client.
fn is_listening(id: u32, port: u16) -> io::Result<bool> {
    let local = format!(":{port:04X}");
    for table in ["tcp", "tcp6"] {
        let listens = fs::read_to_string(format!("/proc/{id}/net/{table}"))?
            .lines()
            .any(|line| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next().is_some_and(|at| at.ends_with(&local)) && fields.nth(1) == Some("0A")
            });
        if listens {
            return Ok(true);
        }
    }
    Ok(false)
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let done = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    match done.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{command:?} failed"))),
    }
}
