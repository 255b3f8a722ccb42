//! What a killed client has of the large file.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How much of a file that is half done lies below `destination`, in bytes.
pub(super) fn bytes(destination: &Path) -> u64 {
    let metadata = find(destination).and_then(|path| fs::metadata(path).ok());
    metadata.map_or(0, |metadata| metadata.blocks() * 512)
}

/// Changes one byte of it.
pub(super) fn damage(destination: &Path) -> Result<()> {
    let path = find(destination).context("the killed client has left nothing half done")?;
    let read_and_write = File::options().read(true).write(true).open(&path);
    let file = read_and_write.with_context(|| format!("cannot open {}", path.display()))?;
    let mut block = [0; 4096];
    let mut offset = 0;
    while file.read_exact_at(&mut block, offset).is_ok() {
        if let Some(at) = block.iter().position(|&byte| byte != 0) {
            let changed = [block[at] ^ 1];
            return file
                .write_all_at(&changed, offset + at as u64)
                .with_context(|| format!("cannot change {}", path.display()));
        }
        offset += block.len() as u64;
    }
    anyhow::bail!("nothing of the large file has arrived")
}

fn find(destination: &Path) -> Option<PathBuf> {
    let jobs = fs::read_dir(destination.join(".packhorse-partial")).ok()?;
    let files = jobs.filter_map(|job| fs::read_dir(job.ok()?.path()).ok());
    let mut paths = files.flatten().filter_map(|file| Some(file.ok()?.path()));
    paths.find(|path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b"part-")
    })
}
