//! `packhorse talk`

use std::io::{self, IsTerminal, Read};
use std::thread;

use packhorse_client::talk::{TalkEnd, TalkError, Talked, talk};
use packhorse_transport::dial::{DialClear, DialError};
use packhorse_transport::kernel::{ClearDialer, ListenAt};
use packhorse_transport::stream::Stream;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::byte_count::ByteCount;
use crate::cat::{Output, Shape};
use crate::exit::{CommandError, Exit, OrExit, Outcome, output_ended};
use crate::fetch::client_runtime;
use crate::listen_place::ListenPlace;
use crate::output::say;
use crate::settings::TalkSettings;
use crate::text::{machine, talk as words};
use crate::time_span::TimeSpan;
use crate::trust;

/// What is read of the input at once.
const PART_BYTES: usize = 16 << 10;

/// Parts of the input that wait to be sent.
const PARTS_WAITING_MAX: usize = 4;

/// Talks until either side ends.
pub(crate) fn run(settings: TalkSettings) -> Outcome {
    let runtime = client_runtime()?;
    let outcome = runtime.block_on(converse(&settings));
    // What still runs now waits for input that may never come.
    runtime.shutdown_background();
    outcome
}

async fn converse(settings: &TalkSettings) -> Outcome {
    let mut dialer = ClearDialer::new(settings.place.clone()).with_timeout(settings.dial_time);
    if let Some(from) = &settings.bind {
        dialer = dialer.with_source(source_address(from).await?);
    }
    let no_connection = |error: DialError| CommandError::new(Exit::NoConnection, error);
    match &settings.tls {
        None => {
            let (stream, peer) = dialer.dial_clear().await.map_err(no_connection)?;
            let local = stream.local_addr();
            say(match local {
                Ok(local) => words::connected_from(peer, local),
                Err(_) => words::connected_to(peer),
            });
            exchange(stream, settings).await
        }
        Some(tls) => {
            let (stream, peer) = trust::dial_tls(dialer, tls, settings.dial_time).await?;
            say(words::connected_by_tls(peer));
            exchange(stream, settings).await
        }
    }
}

/// The address to dial from.
async fn source_address(from: &ListenPlace) -> Result<std::net::SocketAddr, CommandError> {
    match from.look_up().await? {
        ListenAt::Addresses(addresses) if !addresses.is_empty() => Ok(addresses[0]),
        ListenAt::Everywhere { port } => Ok(([0, 0, 0, 0], port).into()),
        ListenAt::Addresses(_) => Err(CommandError::usage(words::no_address_to_bind())),
    }
}

async fn exchange<S: Stream>(stream: S, settings: &TalkSettings) -> Outcome {
    let input = read_input()?;
    let output = Output {
        shape: match settings.hex {
            true => Shape::Hexadecimal,
            false if io::stdout().is_terminal() => Shape::Harmless,
            false => Shape::AsIs,
        },
        throttle: None,
    };
    let talking = async |pipe| {
        let (mut unread, pipe) = tokio::io::split(pipe);
        let mut byte = [0];
        tokio::select! {
            talked = talk(stream, input, pipe, settings.idle_time) => talked,
            // Nothing ever comes this way but the end, when nobody reads what is written.
            _ = unread.read(&mut byte) => Err(TalkError::Output(io::ErrorKind::BrokenPipe.into())),
        }
    };
    let (talked, written) = output.take(talking).await?;
    if let Err(error) = written {
        return output_ended(error);
    }
    match talked {
        Ok(talked) => {
            let Talked {
                sent_bytes,
                received_bytes,
                end,
            } = talked;
            let why = match (end, settings.idle_time) {
                (TalkEnd::Idle, Some(time)) => words::idle(TimeSpan::from(time)),
                _ => words::closed(),
            };
            let (sent, received) = (ByteCount(sent_bytes), ByteCount(received_bytes));
            say(why.then(&words::sent_and_received(sent, received)));
            Ok(Exit::Done)
        }
        // The writer has ended without an error: whoever read what came wanted no more.
        Err(TalkError::Output(_)) => Ok(Exit::Done),
        Err(error @ TalkError::Lost(_)) => Err(CommandError::new(Exit::NoConnection, error)),
    }
}

/// Reads standard input as it comes, in a thread that ends with the process.
fn read_input() -> Result<mpsc::Receiver<Vec<u8>>, CommandError> {
    let (sender, input) = mpsc::channel(PARTS_WAITING_MAX);
    let read = move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut part = vec![0; PART_BYTES];
            match stdin.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    part.truncate(length);
                    if sender.blocking_send(part).is_err() {
                        return;
                    }
                }
            }
        }
    };
    thread::Builder::new()
        .name("input".into())
        .spawn(read)
        .or_exit(Exit::LocalIo, machine::no_thread)?;
    Ok(input)
}
