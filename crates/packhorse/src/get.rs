//! `packhorse get`

mod observer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_client::settings::DownloadSettings;
use packhorse_protocol::address::Address;
use packhorse_protocol::path::RelativePath;
use packhorse_storage::destination::DestinationOptions;
use packhorse_storage::workers::DiskWorkers;

use self::observer::GetObserver;
use crate::byte_count::{ByteCount, TimeTaken};
use crate::cat::{self, CatSettings};
use crate::events::{EventLog, Record};
use crate::exit::{CommandError, Exit, Outcome};
use crate::fetch::{Fetch, FetchEnd, client_runtime, client_workers};
use crate::progress::{Moment, ProgressLine};
use crate::settings::{GetDestination, GetSettings};
use crate::so_far::SoFar;
use crate::sole_file::sole_file;
use crate::text::{self, Text, fetching};
use crate::trust::{self, Server, TrustSettings};

/// Fetches what was asked for, one address after the other.
pub(crate) fn run(settings: GetSettings) -> Outcome {
    let GetSettings {
        addresses,
        trust,
        destination,
        json,
        report,
        quiet,
    } = settings;
    let runtime = client_runtime()?;
    let events = EventLog::open(json, report.as_deref())?;
    match destination {
        GetDestination::Output {
            expect,
            rate_limit,
            retry_for,
        } => {
            let [address] = addresses.as_slice() else {
                return Err(CommandError::usage(text::usage::one_file_to_output()));
            };
            let settings = CatSettings {
                address,
                trust: &trust,
                expect,
                rate_limit,
                retry_for,
            };
            runtime.block_on(cat::run(settings, &events))
        }
        GetDestination::Directory {
            path,
            options,
            download,
        } => {
            let progress = Arc::new(ProgressLine::new(!quiet));
            let print_wanted = download.dry_run && !json;
            let get = Get {
                trust: &trust,
                destination: &path,
                options,
                download: &download,
                workers: client_workers()?,
                observer: Arc::new(GetObserver::new(
                    events,
                    Arc::clone(&progress),
                    print_wanted,
                )),
                progress,
                quiet,
            };
            runtime.block_on(get.run(&addresses))
        }
    }
}

/// A `get` into a directory.
struct Get<'a> {
    trust: &'a TrustSettings,
    destination: &'a Path,
    options: DestinationOptions,
    download: &'a DownloadSettings,
    workers: Arc<DiskWorkers>,
    observer: Arc<GetObserver>,
    progress: Arc<ProgressLine>,
    quiet: bool,
}

impl Get<'_> {
    async fn run(self, addresses: &[Address]) -> Outcome {
        let start = Instant::now();
        let mut exit = Exit::Done;
        let mut all = SoFar::default();
        let mut is_any_reached = false;
        for address in addresses {
            let events = self.observer.events();
            let shown = address.to_string();
            events.write(&Record::Begin {
                address: shown.clone(),
            });
            let end = self.fetch(address).await;
            if let Some(error) = &end.error {
                let failed = Text::of_name(address).because(error.clone());
                self.progress.complain(failed);
            }
            events.write(&Record::End {
                address: shown,
                exit: end.exit.code(),
                listed: end.so_far.listing_ended,
                why: end.error.map(|error| error.english().to_owned()),
            });
            exit = exit.and(end.exit);
            is_any_reached |= end.is_reached;
            all = all.and(end.so_far);
            if exit == Exit::Interrupted {
                break;
            }
        }
        self.observer.say_skipped(self.quiet);
        let elapsed = start.elapsed();
        if is_any_reached && !self.quiet {
            let dry_run = self.download.dry_run;
            let summary = Summary {
                all,
                elapsed,
                dry_run,
                wanted: self.observer.wanted(),
            };
            self.progress.say(summary.words());
        }
        let events = self.observer.events();
        events.write(&Record::summary(all, elapsed.as_secs_f64(), exit));
        if let Err(error) = events.close() {
            self.progress.complain(error.error);
            exit = exit.and(error.exit);
        }
        Ok(exit)
    }

    async fn fetch(&self, address: &Address) -> FetchEnd {
        let events = self.observer.events();
        let report = |moment: &Moment| {
            self.progress
                .suspend(|| events.write(&Record::progress(moment)));
        };
        match self.begin(address).await {
            Ok((mut server, path)) => {
                let fetch = Fetch {
                    server: &mut server,
                    destination: self.destination,
                    options: self.options,
                    download: DownloadSettings {
                        path,
                        directory_only: address.directory_only,
                        ..self.download.clone()
                    },
                    workers: Arc::clone(&self.workers),
                    observer: Arc::clone(&self.observer) as _,
                    progress: &self.progress,
                    report: events.is_wanted().then_some(&report as _),
                };
                self.unless_interrupted(fetch.run()).await
            }
            Err(CommandError { exit, error }) => FetchEnd {
                so_far: SoFar::default(),
                is_reached: false,
                exit,
                error: Some(error),
            },
        }
    }

    /// On a terminal, Ctrl-C leaves a line that says how to go on.
    async fn unless_interrupted(&self, fetching: impl Future<Output = FetchEnd>) -> FetchEnd {
        if !self.progress.is_shown() {
            return fetching.await;
        }
        tokio::select! {
            end = fetching => end,
            _ = tokio::signal::ctrl_c() => {
                self.progress.clear();
                FetchEnd {
                    so_far: SoFar::default(),
                    is_reached: false,
                    exit: Exit::Interrupted,
                    error: Some(text::progress::interrupted()),
                }
            }
        }
    }

    /// The server at `address`, and the path to ask for.
    async fn begin(&self, address: &Address) -> Result<(Server, RelativePath), CommandError> {
        let server = trust::meet(address, self.trust).await?;
        let is_for_one_file = self.download.name.is_some() || self.download.expect.is_some();
        let path = match is_for_one_file {
            true => sole_file(&server, &address.path).await?,
            false => address.path.clone(),
        };
        Ok((server, path))
    }
}

/// The last line.
pub(crate) struct Summary {
    pub(crate) all: SoFar,
    pub(crate) elapsed: Duration,
    pub(crate) dry_run: bool,
    /// Files and bytes that a dry run would have fetched.
    pub(crate) wanted: (u64, u64),
}

impl Summary {
    /// All of it.
    pub(crate) fn words(&self) -> Text {
        let all = self.all;
        let counts = [
            (all.files_kept, text::progress::kept as fn(_) -> _),
            (all.links, fetching::linked),
            (all.skipped, fetching::skipped),
            (all.failed, text::progress::failed),
            (all.unfinished, fetching::unfinished),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let done = counts.fold(self.fetched(), |done, (count, what)| done.and(&what(count)));
        let resumed = all.bytes_resumed > 0;
        let half_done = all.half_done > 0;
        let remarks = [
            resumed.then(|| fetching::resumed(ByteCount(all.bytes_resumed))),
            all.again.words(),
            half_done.then(|| {
                let files = text::log::files(all.half_done);
                let bytes = ByteCount(all.half_done_bytes);
                match all.taken {
                    0 => fetching::half_done(bytes, &files),
                    _ => fetching::half_done_and_taken(bytes, &files),
                }
            }),
        ];
        let remarks = remarks.iter().flatten();
        remarks.fold(done, Text::then)
    }

    fn fetched(&self) -> Text {
        if self.dry_run {
            let (files, bytes) = self.wanted;
            return fetching::would_fetch(&text::log::files(files), ByteCount(bytes));
        }
        let files = text::log::files(self.all.files_fetched);
        let time = TimeTaken(self.elapsed);
        match self.all.bytes_fetched {
            0 => fetching::fetched(&files, time),
            bytes => {
                let rate = bytes as f64 / self.elapsed.as_secs_f64().max(1e-3);
                fetching::fetched_bytes(&files, ByteCount(bytes), time, ByteCount(rate as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;
    use crate::so_far::Again;

    #[test]
    fn the_last_line_says_what_was_done() {
        let all = SoFar {
            files_fetched: 12,
            bytes_fetched: 3_000_000,
            files_kept: 3,
            failed: 1,
            ..SoFar::default()
        };
        let summary = |seconds, dry_run| {
            let elapsed = Duration::from_secs_f64(seconds);
            Summary {
                all,
                elapsed,
                dry_run,
                wanted: (1, 5),
            }
            .words()
            .to_string()
        };
        let cases = [
            (
                1.5,
                false,
                "fetched 12 files, 3.00 MB in 1.5 s (2.00 MB/s), 3 kept, 1 failed",
            ),
            (
                75.0,
                false,
                "fetched 12 files, 3.00 MB in 1:15 (40.0 kB/s), 3 kept, 1 failed",
            ),
            (1.5, true, "would fetch 1 file, 5 B, 3 kept, 1 failed"),
        ];
        for (seconds, dry_run, text) in cases {
            assert_eq!(summary(seconds, dry_run), text);
        }
        let all = SoFar {
            files_fetched: 1,
            bytes_fetched: 3_000_000,
            bytes_resumed: 5_000_000,
            again: Again {
                damaged: 1,
                differing: 2_000,
                changed: 3,
                unconfirmed: 4,
            },
            half_done: 2,
            half_done_bytes: 51_400_000,
            ..SoFar::default()
        };
        let summary = Summary {
            all,
            elapsed: Duration::from_secs(1),
            dry_run: false,
            wanted: (0, 0),
        };
        assert_eq!(
            summary.words().to_string(),
            "fetched 1 file, 3.00 MB in 1.0 s (3.00 MB/s); went on with 5.00 MB of an interrupted \
             run; fetched again: 1 B damaged on the way, 2.00 kB left by an interrupted run and not \
             right, 3 B changed on the server meanwhile, 4 B not confirmed by the disk; kept \
             51.4 MB of 2 files half done: run the same command again to go on"
        );
        let chinese = Language::Chinese.render(|| summary.words().to_string());
        assert_eq!(
            chinese,
            "已获取 1 个文件，3.00 MB，用时 1.0 s（3.00 MB/s）；沿用了中断的运行留下的 5.00 MB；\
             重新获取：途中损坏的 1 B，中断的运行留下而内容有误的 2.00 kB，\
             其间在服务器上改变的 3 B，磁盘没有确认的 4 B；\
             2 个文件尚未完成，已保留 51.4 MB：再次运行同一命令即可接着进行"
        );
        let all = SoFar { taken: 1, ..all };
        let said = Summary { all, ..summary }.words().to_string();
        let advice = "run the same command with --overwrite or --keep-both to go on";
        assert!(said.ends_with(advice), "{said}");
    }
}
