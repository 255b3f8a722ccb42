//! `packhorse listen`

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use packhorse_protocol::escape::Escaped;
use packhorse_server::listen::{
    Answer, CommandFailure, MessageEvent, MessageServer, Peer, Peers, SendError, Tally, To,
};
use packhorse_transport::kernel::ClearListener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::byte_count::ByteCount;
use crate::exit::{CommandError, Exit, OrExit, Outcome, output_ended};
use crate::output::{print, say};
use crate::settings::ListenSettings;
use crate::signals::Signals;
use crate::text::{Text, machine, port, talk as words};

/// What has happened and is not printed yet; peers wait then.
const EVENTS_WAITING_MAX: usize = 64;

/// Told to end, it waits for whoever reads its last lines no longer than this.
const PRINT_TIME_MAX: Duration = Duration::from_secs(1);

/// A line that is typed is cut behind this many bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Hears whoever connects until told to end.
pub(crate) fn run(settings: ListenSettings) -> Outcome {
    // Every peer needs one, and the system's first offer is often 1024. Where it gives no more,
    // further peers wait.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, all);
    let runtime = Runtime::new().or_exit(Exit::LocalIo, machine::no_runtime)?;
    let outcome = runtime.block_on(listen(settings));
    // What still runs now waits for input that may never come.
    runtime.shutdown_background();
    outcome
}

async fn listen(settings: ListenSettings) -> Outcome {
    let ListenSettings {
        place,
        messages,
        backlog,
    } = settings;
    let mut signals = Signals::new().or_exit(Exit::LocalIo, machine::no_signals)?;
    let listener = ClearListener::bind(&place.look_up().await?, backlog)
        .map_err(|error| port::cannot_bind(&error, "packhorse listen :0"))
        .map_err(|text| CommandError::new(Exit::LocalIo, text))?;
    let local = listener.local_addresses();
    let (events, happened) = mpsc::channel(EVENTS_WAITING_MAX);
    let is_typed = messages.answer == Answer::Nothing;
    let server = MessageServer::new(listener, messages, events);
    let tally = server.tally();
    for address in local {
        say(words::listening(address));
    }
    if is_typed {
        read_typed(server.peers())?;
    }
    let peers = Arc::<AtomicU64>::default();
    let printed = print_elsewhere(happened, Arc::clone(&peers))?;
    let (ended, is_told_to) = tokio::select! {
        ended = server.run() => (ended, false),
        () = signals.next() => (Ok(()), true),
    };
    let printed = tokio::select! {
        printed = printed => printed.unwrap_or(Ok(())),
        // Nobody reads it, and nobody waits for that.
        () = sleep(PRINT_TIME_MAX), if is_told_to => Ok(()),
        () = signals.next() => Ok(()),
    };
    let peers = words::peers(peers.load(Ordering::Relaxed));
    say(peers.and(&counts(tally.read())));
    ended.or_exit(Exit::LocalIo, words::cannot_listen_any_more)?;
    match printed {
        Ok(()) => Ok(Exit::Done),
        Err(error) => output_ended(error),
    }
}

/// Prints what happens in a thread of its own: whoever reads it may be slow. Says when it is done.
fn print_elsewhere(
    happened: mpsc::Receiver<MessageEvent>,
    peers: Arc<AtomicU64>,
) -> Result<oneshot::Receiver<io::Result<()>>, CommandError> {
    let (tell, told) = oneshot::channel();
    let print = move || {
        // Whoever waited for it may be gone.
        let _ = tell.send(print_events(happened, &peers));
    };
    thread::Builder::new()
        .name("output".into())
        .spawn(print)
        .or_exit(Exit::LocalIo, machine::no_thread)?;
    Ok(told)
}

/// Prints what happens, until nothing more will or nobody reads it; counts the peers.
fn print_events(mut happened: mpsc::Receiver<MessageEvent>, peers: &AtomicU64) -> io::Result<()> {
    while let Some(event) = happened.blocking_recv() {
        match event {
            MessageEvent::Connected(peer) => {
                peers.fetch_add(1, Ordering::Relaxed);
                print(words::connected(Shown(peer)))
            }
            MessageEvent::Said(peer, message) => {
                print(format_args!("{}: {}", Shown(peer), Escaped(message.text())))
            }
            MessageEvent::Unanswered(peer, failure) => {
                say(match failure {
                    CommandFailure::Run(error) => {
                        words::command_not_run(Shown(peer), &error.into())
                    }
                    CommandFailure::Status(status) => words::command_failed(Shown(peer), status),
                });
                Ok(())
            }
            MessageEvent::Left { peer, tally, error } => {
                let (peer, counts) = (Shown(peer), counts(tally));
                print(match error {
                    Some(error) => words::left_because(peer, &counts, &error.into()),
                    None => words::left(peer, &counts),
                })
            }
        }?;
    }
    Ok(())
}

/// Sends what is typed; the end of the input ends nothing else.
fn read_typed(peers: Peers) -> Result<(), CommandError> {
    let typist = Typist {
        peers,
        runtime: Handle::current(),
        is_person: io::stdin().is_terminal(),
    };
    thread::Builder::new()
        .name("input".into())
        .spawn(move || typist.run())
        .or_exit(Exit::LocalIo, machine::no_thread)?;
    Ok(())
}

struct Typist {
    peers: Peers,
    runtime: Handle,
    /// Who sees what becomes of a line, and can type it again.
    is_person: bool,
}

impl Typist {
    fn run(self) {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match (&mut input)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
            {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            let (to, text) = addressed(&line);
            if let Err(error) = self.send(to, text) {
                say(error);
            }
        }
    }

    fn send(&self, to: To, text: &[u8]) -> Result<(), SendError> {
        if self.is_person {
            return self.peers.send(to, text);
        }
        self.runtime.block_on(async {
            if !matches!(to, To::Number(_)) {
                self.peers.wait_for_one().await;
            }
            self.peers.send_patiently(to, text).await
        })
    }
}

/// To whom a typed line goes, and what of it.
fn addressed(line: &[u8]) -> (To, &[u8]) {
    let Some(rest) = line.strip_prefix(b"@") else {
        return (To::Newest, line);
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let (name, text) = rest.split_at(end.unwrap_or(rest.len()));
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let number = std::str::from_utf8(name)
        .ok()
        .and_then(|name| name.parse().ok());
    match (name, number) {
        (b"all", _) => (To::All, text),
        (_, Some(number)) => (To::Number(number), text),
        // Someone's name, perhaps, for the peer to read.
        (_, None) => (To::Newest, line),
    }
}

/// A peer, as it stands at the beginning of each line about it.
struct Shown(Peer);

impl std::fmt::Display for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "@{} {}", self.0.number, self.0.address)
    }
}

/// What came from peers and went to them.
fn counts(tally: Tally) -> Text {
    let Tally {
        messages,
        received_bytes,
        sent_bytes,
    } = tally;
    let bytes = words::exchanged(ByteCount(received_bytes), ByteCount(sent_bytes));
    words::messages(messages).and(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_addressed() {
        let cases: [(&str, To, &str); 10] = [
            ("hello\n", To::Newest, "hello\n"),
            ("\n", To::Newest, "\n"),
            ("@2 hello\n", To::Number(2), "hello\n"),
            ("@12  two spaces\n", To::Number(12), " two spaces\n"),
            ("@all hello @2\n", To::All, "hello @2\n"),
            ("@all\n", To::All, "\n"),
            ("@2", To::Number(2), ""),
            ("@bob hello\n", To::Newest, "@bob hello\n"),
            ("@ hello\n", To::Newest, "@ hello\n"),
            (" @2 hello\n", To::Newest, " @2 hello\n"),
        ];
        for (line, to, text) in cases {
            assert_eq!(
                addressed(line.as_bytes()),
                (to, text.as_bytes()),
                "{line:?}"
            );
        }
    }
}
