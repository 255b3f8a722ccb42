//! The tools that are compared, each with its exact commands.

use std::fs;
use std::io;

use super::case::Case;
use super::measure::{Scene, Setting};

/// A tool.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) programs: &'static [&'static str],
    pub(super) cases: &'static [Case],
    /// Whether content is verified and encrypted.
    pub(super) traits: &'static str,
    pub(super) commands: fn(&Scene, &Setting) -> io::Result<Commands>,
}

/// How a tool is started, once.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) server: Vec<String>,
    /// What the client needs from the server's standard output: its first word with this prefix, in
    /// place of `{}`. If there is none, the server is ready once its port is.
    pub(super) told: Option<&'static str>,
    pub(super) client: Vec<String>,
}

impl Peer {
    /// Whether this is Packhorse.
    pub(super) fn is_ours(&self) -> bool {
        self.name == "packhorse"
    }
}

const TRANSFERS: &[Case] = &[
    Case::Large,
    Case::Small,
    Case::SmallAgain,
    Case::Tree,
    Case::TreeAgain,
    Case::Tiny,
    Case::Resume,
    Case::WanSmall,
    Case::WanLarge,
    Case::WanLossy,
];
const FILES: &[Case] = &[Case::Large, Case::Tiny];
const TREES: &[Case] = &[Case::Small, Case::Tree];
const ALL_BUT_RESUME: &[Case] = &[
    Case::Large,
    Case::Tiny,
    Case::Small,
    Case::Tree,
    Case::SmallAgain,
    Case::TreeAgain,
    Case::WanSmall,
];

/// The client of every server of plain HTTP.
const CURL: &str = "curl -sSf -o {to} http://{host}:{port}/{file}";

/// A hundred thousand requests over a thousand connections, all of which must succeed.
const LOAD: &str = "h2load --h1 -t 1 -c 1000 -n 100000 http://{host}:{port}/{file} \
                    | grep -q '100000 succeeded'";

const MINISERVE: &str = "miniserve -i {host} -p {port} {root}";
const DUFS: &str = "dufs -b {host} -p {port} --log-format= {root}";

pub(super) static PEERS: &[Peer] = &[
    Peer {
        name: "packhorse",
        programs: &[],
        cases: TRANSFERS,
        traits: "verified, encrypted",
        commands: packhorse,
    },
    Peer {
        name: "packhorse",
        programs: &["h2load", "bash"],
        cases: &[Case::Http],
        traits: "",
        commands: |_, setting| {
            let server = "{packhorse} serve {root} --listen {host}:{port} --open --http";
            Ok(under_load(setting, server))
        },
    },
    Peer {
        name: "nginx+h2load",
        programs: &["nginx", "h2load", "bash"],
        cases: &[Case::Http],
        traits: "",
        commands: |scene, setting| Ok(under_load(setting, &nginx(scene, setting, false)?)),
    },
    Peer {
        name: "miniserve+h2load",
        programs: &["miniserve", "h2load", "bash"],
        cases: &[Case::Http],
        traits: "",
        commands: |_, setting| Ok(under_load(setting, MINISERVE)),
    },
    Peer {
        name: "dufs+h2load",
        programs: &["dufs", "h2load", "bash"],
        cases: &[Case::Http],
        traits: "",
        commands: |_, setting| Ok(under_load(setting, DUFS)),
    },
    Peer {
        name: "nginx+curl",
        programs: &["nginx", "curl"],
        // Over a line that loses much, a single connection would take minutes.
        cases: &[Case::Large, Case::Tiny, Case::WanLarge],
        traits: "",
        commands: |scene, setting| nginx_curl(scene, setting, false),
    },
    Peer {
        name: "nginx-tls+curl",
        programs: &["nginx", "curl", "openssl"],
        cases: FILES,
        traits: "encrypted",
        commands: |scene, setting| nginx_curl(scene, setting, true),
    },
    Peer {
        name: "miniserve+curl",
        programs: &["miniserve", "curl"],
        cases: FILES,
        traits: "",
        commands: |_, setting| Ok(setting.commands(MINISERVE, CURL)),
    },
    Peer {
        name: "dufs+curl",
        programs: &["dufs", "curl"],
        cases: FILES,
        traits: "",
        commands: |_, setting| Ok(setting.commands(DUFS, CURL)),
    },
    Peer {
        name: "nginx+aria2-x4",
        programs: &["nginx", "aria2c"],
        cases: &[Case::Large],
        traits: "",
        commands: |scene, setting| {
            let client = "aria2c -q -x4 -s4 -k1M --file-allocation=none -d {destination} \
                          -o {file} http://{host}:{port}/{file}";
            let server = nginx(scene, setting, false)?;
            Ok(setting.commands(&server, client))
        },
    },
    Peer {
        name: "nginx+aria2-x8",
        programs: &["nginx", "aria2c"],
        cases: &[Case::WanLarge, Case::WanLossy],
        traits: "",
        commands: |scene, setting| {
            let client = "aria2c -q -x8 -s8 -k1M --file-allocation=none -d {destination} \
                          -o {file} http://{host}:{port}/{file}";
            let server = nginx(scene, setting, false)?;
            Ok(setting.commands(&server, client))
        },
    },
    Peer {
        name: "scp",
        programs: &["scp", "sshd", "ssh-keygen"],
        cases: FILES,
        traits: "encrypted",
        commands: |scene, setting| {
            let server = sshd(scene, setting)?;
            let client = "scp -q -F {conf}/ssh_config peer:{from} {destination}/";
            Ok(setting.commands(&server, client))
        },
    },
    Peer {
        name: "rsyncd",
        programs: &["rsync"],
        cases: ALL_BUT_RESUME,
        traits: "whole-file checksum",
        commands: |scene, setting| {
            let client = "rsync -a rsync://{host}:{port}/m/{file} {destination}/";
            Ok(setting.commands(&rsync_daemon(scene, setting)?, client))
        },
    },
    Peer {
        name: "rsync-ssh",
        programs: &["rsync", "sshd", "ssh-keygen"],
        cases: ALL_BUT_RESUME,
        traits: "whole-file checksum, encrypted",
        commands: |scene, setting| {
            let server = sshd(scene, setting)?;
            let mut commands = setting.commands(&server, "rsync -a -e");
            commands
                .client
                .push(setting.fill("ssh -F {conf}/ssh_config"));
            commands.client.push(setting.fill("peer:{root}/{file}"));
            commands.client.push(setting.fill("{destination}/"));
            Ok(commands)
        },
    },
    Peer {
        name: "tar|nc|tar",
        programs: &["tar", "nc", "bash"],
        cases: TREES,
        traits: "",
        commands: |_, setting| {
            let server = "tar -C {root} -cf - . | nc -N -l {host} {port}";
            let client = "nc -d {host} {port} | tar -xf - -C {destination}";
            Ok(Commands {
                server: in_shell(setting.fill(server)),
                told: None,
                client: in_shell(setting.fill(client)),
            })
        },
    },
    Peer {
        name: "rsync-append-verify",
        programs: &["rsync"],
        cases: &[Case::Resume],
        traits: "whole-file checksum",
        commands: |scene, setting| {
            let client = "rsync -a --append-verify rsync://{host}:{port}/m/{file} {destination}/";
            Ok(setting.commands(&rsync_daemon(scene, setting)?, client))
        },
    },
    Peer {
        name: "curl-continue",
        programs: &["nginx", "curl"],
        cases: &[Case::Resume],
        traits: "",
        commands: |scene, setting| {
            let client = "curl -sSf -C - -o {to} http://{host}:{port}/{file}";
            let server = nginx(scene, setting, false)?;
            Ok(setting.commands(&server, client))
        },
    },
];

fn packhorse(_: &Scene, setting: &Setting) -> io::Result<Commands> {
    let server = "{packhorse} serve {root} --listen {host}:{port}";
    let mut commands = setting.commands(server, "{packhorse} get --quiet {}");
    commands.told = Some("ph://");
    let address = commands
        .client
        .last_mut()
        .expect("the address is the last word");
    address.push_str(setting.file.unwrap_or(""));
    commands.client.push("-o".into());
    commands.client.push(setting.fill("{destination}"));
    Ok(commands)
}

fn under_load(setting: &Setting, server: &str) -> Commands {
    let mut commands = setting.commands(server, "");
    commands.client = in_shell(setting.fill(LOAD));
    commands
}

fn nginx_curl(scene: &Scene, setting: &Setting, tls: bool) -> io::Result<Commands> {
    let client = match tls {
        true => "curl -sSfk -o {to} https://{host}:{port}/{file}",
        false => CURL,
    };
    Ok(setting.commands(&nginx(scene, setting, tls)?, client))
}

/// Its command, once its configuration is written.
fn nginx(scene: &Scene, setting: &Setting, tls: bool) -> io::Result<String> {
    let ssl = match tls {
        true => {
            scene.make_certificate()?;
            "ssl_certificate {conf}/cert.pem; ssl_certificate_key {conf}/key.pem; \
             ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;"
        }
        false => "",
    };
    let listen = if tls { " ssl" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {{conf}}/{name};"))
        .join(" ");
    let text = format!(
        "user root; worker_processes auto; pid {{conf}}/nginx.pid; error_log {{conf}}/nginx.err;\n\
         daemon off; events {{ worker_connections 1024; }}\n\
         http {{ sendfile on; tcp_nopush on; access_log off; {temporary}\n\
         server {{ listen {{host}}:{{port}}{listen}; {ssl} root {{root}}; }} }}\n"
    );
    fs::write(scene.configuration("nginx.conf"), setting.fill(&text))?;
    Ok("nginx -c {conf}/nginx.conf".into())
}

/// Its command, once its configuration is written.
fn rsync_daemon(scene: &Scene, setting: &Setting) -> io::Result<String> {
    let text = "use chroot = no\nuid = root\ngid = root\nreverse lookup = no\n\
                [m]\npath = {root}\nread only = yes\n";
    fs::write(scene.configuration("rsyncd.conf"), setting.fill(text))?;
    Ok("rsync --daemon --no-detach --address={host} --port={port} \
        --config={conf}/rsyncd.conf"
        .into())
}

/// Its command, once its configuration and that of its client are written.
fn sshd(scene: &Scene, setting: &Setting) -> io::Result<String> {
    scene.make_ssh_keys()?;
    fs::create_dir_all("/run/sshd")?;
    let server = "Port {port}\nListenAddress {host}\nHostKey {conf}/ssh_host\n\
                  AuthorizedKeysFile {conf}/ssh_user.pub\nStrictModes no\nPermitRootLogin yes\n\
                  UsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n";
    fs::write(scene.configuration("sshd_config"), setting.fill(server))?;
    let client = "Host peer\n HostName {host}\n Port {port}\n IdentityFile {conf}/ssh_user\n \
                  UserKnownHostsFile /dev/null\n StrictHostKeyChecking no\n LogLevel ERROR\n \
                  Ciphers aes128-gcm@openssh.com\n";
    fs::write(scene.configuration("ssh_config"), setting.fill(client))?;
    Ok("{sshd} -D -e -f {conf}/sshd_config".into())
}

fn in_shell(command: String) -> Vec<String> {
    let words = ["bash", "-o", "pipefail", "-c"].map(String::from);
    words.into_iter().chain([command]).collect()
}
