//! A download that is killed half way, damaged by one byte, and run again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::measure::{Measured, Scene, Setting, signal_children};
use super::peer::Peer;

/// Where the byte is flipped.
const FLIP_AT: u64 = 64 << 20;

/// Kills the first client once half of the file is there; measures the second.
pub(super) fn run(scene: &Scene, setting: &Setting, peer: &Peer) -> anyhow::Result<Measured> {
    let commands = (peer.commands)(scene, setting).context("cannot prepare it")?;
    let server = scene.start_server(setting, &commands)?;
    let half = source_size(scene, setting)? / 2;
    let mut client = scene.client_command(&commands, &server)?.spawn()?;
    while occupied(&setting.destination)? < half {
        let ended = client.try_wait()?;
        ensure!(ended.is_none(), "the client ended before half was there");
        sleep(Duration::from_millis(2));
    }
    signal_children(client.id(), "KILL")?;
    client.wait()?;
    server.end()?;
    flip(&setting.destination)?;
    scene.run(setting, peer)
}

fn source_size(scene: &Scene, setting: &Setting) -> anyhow::Result<u64> {
    let path = scene
        .data()
        .join("large")
        .join(setting.file.unwrap_or_default());
    Ok(fs::metadata(path)?.len())
}

/// Flips a bit in the largest file below `folder`.
fn flip(folder: &Path) -> anyhow::Result<()> {
    let files = files_below(folder)?;
    let largest = files.into_iter().max_by_key(|(_, bytes)| *bytes);
    let (path, bytes) = largest.context("nothing is left of the first run")?;
    ensure!(bytes > FLIP_AT, "too little is left of the first run");
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, FLIP_AT)?;
    file.write_all_at(&[byte[0] ^ 1], FLIP_AT)?;
    Ok(())
}

fn occupied(folder: &Path) -> anyhow::Result<u64> {
    Ok(files_below(folder)?.iter().map(|(_, bytes)| bytes).sum())
}

/// All files below `folder` with the bytes that they occupy.
fn files_below(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // What is being fetched comes and goes.
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            match metadata.is_dir() {
                true => folders.push(path),
                false => files.push((path, metadata.blocks() * 512)),
            }
        }
    }
    Ok(files)
}
