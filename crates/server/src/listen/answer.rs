//! What a message server answers by itself.

use std::io;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::messages::Message;
use super::peers::Peer;
use crate::limits::PART_BYTES_MAX;

/// What every message is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// This, with the message's own line end.
    Text(Vec<u8>),
    /// The message itself.
    Echo,
    /// What this command of the shell writes out, with the message as its input. It finds the peer's
    /// number and address in `PACKHORSE_PEER` and `PACKHORSE_PEER_ADDRESS`.
    Command(String),
}

impl Answer {
    /// Sends the answer to `message` into `queue`, and waits while that is full. Returns what a
    /// command ended with, unless that was success.
    ///
    /// # Errors
    /// A command cannot be run.
    pub(super) async fn give(
        &self,
        peer: Peer,
        message: &Message,
        queue: &mpsc::Sender<Vec<u8>>,
    ) -> io::Result<Option<ExitStatus>> {
        // A peer that has left takes nothing more, and shows that where it is read from.
        match self {
            Self::Nothing => {}
            Self::Text(text) => {
                let _ = queue.send([text, message.line_end()].concat()).await;
            }
            Self::Echo => {
                let _ = queue.send(message.bytes().to_vec()).await;
            }
            Self::Command(command) => return run(command, peer, message, queue).await,
        }
        Ok(None)
    }
}

async fn run(
    command: &str,
    peer: Peer,
    message: &Message,
    queue: &mpsc::Sender<Vec<u8>>,
) -> io::Result<Option<ExitStatus>> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("PACKHORSE_PEER", peer.number.to_string())
        .env("PACKHORSE_PEER_ADDRESS", peer.address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let feed = async {
        if let Some(mut input) = input {
            // A command need not read what it is given.
            let _ = input.write_all(message.bytes()).await;
        }
    };
    let forward = async {
        let Some(mut output) = output else {
            return Ok(());
        };
        loop {
            let mut part = Vec::with_capacity(PART_BYTES_MAX);
            if output.read_buf(&mut part).await? == 0 || queue.send(part).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let ((), forwarded) = tokio::join!(feed, forward);
    forwarded?;
    let status = child.wait().await?;
    Ok((!status.success()).then_some(status))
}
