//! The place where the demo happens, and what may interrupt it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::text::shell::interrupted;

/// A directory that is gone when the demo ends, however it ends.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn make(parent: &Path) -> Result<Self> {
        let mut nonce = [0; 4];
        getrandom::fill(&mut nonce)
            .ok()
            .context("the system has no randomness")?;
        let path = parent.join(format!("packhorse-demo-{:08x}", u32::from_ne_bytes(nonce)));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        // Processes that are started in it need a path that holds wherever they are.
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn remove(mut self) -> Result<()> {
        let path = std::mem::take(&mut self.0);
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700));
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Whether a person has had enough, so that the demo ends and cleans up.
#[derive(Clone)]
pub(super) struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// Begins to watch for Ctrl-C and SIGTERM.
    pub(super) fn watch() -> Self {
        let interrupted = Self(Arc::default());
        let flag = Arc::clone(&interrupted.0);
        // Without the thread, a Ctrl-C ends the demo at once and leaves its directory behind.
        let _ = thread::Builder::new()
            .name("signals".into())
            .spawn(move || watch(&flag));
        interrupted
    }

    /// # Errors
    /// A person has had enough.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!(interrupted());
        }
        Ok(())
    }
}

fn watch(flag: &AtomicBool) {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        let signals = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            flag.store(true, Ordering::Relaxed);
            // Further ones are taken too: the demo is ending already.
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
        }
    });
}
