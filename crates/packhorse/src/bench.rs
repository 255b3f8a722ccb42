//! `packhorse bench`

mod parts;
mod picture;
mod record;
mod report;

use std::env;
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use packhorse_client::bench::{
    BenchError, Course, SourceSample, WorkFigures, follow, measure_path, measure_source,
    measure_work, measure_work_here,
};
use packhorse_client::connect::ConnectError;
use packhorse_client::list::{ListError, ListRequest, list};
use packhorse_protocol::address::{Address, HostPort};
use packhorse_protocol::escape::Escaped;
use packhorse_protocol::limits::GROUP_BYTES;
use packhorse_protocol::session::Item;
use packhorse_storage::disk::Disk;
use packhorse_storage::workers::DiskWorkers;
use packhorse_storage::write_trial::{FREE_BYTES_MIN, WriteTrial};
use packhorse_transport::processing::{Work, cores};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use self::parts::{Detail, Measured, Part, PathLimit, Stage, Verdict};
use self::picture::Ink;
use self::record::Record;
use self::report::{Style, report};
use crate::bottom_lines::BottomLines;
use crate::events::EventLog;
use crate::exit::{CommandError, Exit, Outcome, output_ended};
use crate::fetch::{NETWORK_THREADS, client_runtime, client_workers};
use crate::ls::{is_root, path_of};
use crate::output::{print, terminal_columns};
use crate::settings::BenchSettings;
use crate::text::{self, Text};
use crate::trust::{self, Server};

/// Files that a server may be asked to read, in bytes of all together and in number: more than any
/// measurement takes.
const SAMPLE_BYTES_MAX: u64 = 1 << 40;
const SAMPLES_MAX: usize = 1000;

/// Entries of a tree among which files are looked for.
const ENTRIES_MAX: usize = 20_000;

/// From this share of its cores on, a processor is busy, in hundredths.
const BUSY_PERCENT: f64 = 85.0;

/// Measures, and says what it means.
pub(crate) fn run(settings: BenchSettings) -> Outcome {
    let runtime = client_runtime()?;
    let workers = client_workers()?;
    let events = EventLog::open(settings.json, None)?;
    let shown = settings.address.to_string();
    events.write(&Record::Begin {
        address: shown.clone(),
    });
    let bottom = BottomLines::new(true);
    let bench = Bench {
        settings: &settings,
        workers,
        events: &events,
        bottom: &bottom,
    };
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = bench.measure() => measured,
            _ = tokio::signal::ctrl_c() => {
                Err(CommandError::new(Exit::Interrupted, text::bench::interrupted()))
            }
        }
    });
    bottom.clear();
    let ended = measured.and_then(|(parts, exit)| {
        if settings.json {
            if let Some(verdict) = Verdict::of(&parts) {
                events.write(&Record::verdict(verdict));
            }
            return Ok(exit);
        }
        let style = style(&settings);
        for line in report(&parts, &settings.destination, style) {
            if let Err(error) = print(line) {
                return output_ended(error);
            }
        }
        Ok(exit)
    });
    let (exit, why) = match &ended {
        Ok(exit) => (*exit, None),
        Err(failure) => (failure.exit, Some(failure.error.english())),
    };
    events.write(&Record::end(&shown, exit, why));
    match (events.close(), ended) {
        (Err(failure), Ok(_)) => Err(failure),
        (_, ended) => ended.map_err(|failure| failure.about(&settings.address)),
    }
}

/// How standard output is written to.
fn style(settings: &BenchSettings) -> Style {
    let is_terminal = io::stdout().is_terminal();
    let can_draw = is_terminal && env::var_os("TERM").is_none_or(|name| name != "dumb");
    Style {
        // A character in the last column makes some terminals wrap.
        columns: is_terminal.then(|| terminal_columns().unwrap_or(80).saturating_sub(1)),
        ink: Ink::of(can_draw && settings.shows_unicode),
        has_colours: can_draw && settings.has_colours,
    }
}

/// Someone who measures.
struct Bench<'a> {
    settings: &'a BenchSettings,
    workers: Arc<DiskWorkers>,
    events: &'a EventLog,
    bottom: &'a BottomLines,
}

impl Bench<'_> {
    /// Measures one part after the other. Returns them, and what of them could not be measured
    /// comes to.
    ///
    /// # Errors
    /// There is no such server, or no such thing on it.
    async fn measure(&self) -> Result<(Vec<Part>, Exit), CommandError> {
        let BenchSettings { address, trust, .. } = self.settings;
        let mut server = trust::meet(address, trust).await?;
        let samples = samples(&server, address).await?;
        server.handle_success()?;
        let mut parts = Vec::new();
        let mut exit = Exit::Done;
        let mut connections = self.settings.connections.unwrap_or(NETWORK_THREADS);
        for stage in [
            Stage::Path,
            Stage::Source,
            Stage::HashingThere,
            Stage::EncryptionThere,
            Stage::EncryptionHere,
            Stage::HashingHere,
            Stage::Destination,
        ] {
            self.show(stage, None);
            let measured = match stage {
                Stage::Path => self.path(&server).await,
                Stage::Source => self.source(&server, samples.clone()).await,
                Stage::HashingThere => there(&server, Work::Hashing, usize::MAX).await,
                Stage::EncryptionThere => there(&server, Work::Encryption, connections).await,
                Stage::EncryptionHere => {
                    self.here(Work::Encryption, connections.min(NETWORK_THREADS))
                        .await
                }
                Stage::HashingHere => self.here(Work::Hashing, usize::MAX).await,
                Stage::Destination => self.destination().await,
            };
            let measured = match measured {
                Err(Unmeasured::Lost(error)) => return Err(server.explain(&error)),
                Err(Unmeasured::Part(part_exit, why)) => {
                    exit = exit.and(part_exit);
                    Err(why)
                }
                Ok(measured) => Ok(measured),
            };
            if let Ok(Measured {
                detail: Detail::Path {
                    connections: open, ..
                },
                ..
            }) = &measured
            {
                connections = *open;
            }
            self.tell(stage, &measured);
            parts.push(Part { stage, measured });
        }
        Ok((parts, exit))
    }

    async fn path(&self, server: &Server) -> Result<Measured, Unmeasured> {
        let BenchSettings {
            connections,
            time,
            address,
            ..
        } = self.settings;
        let (start, busy_before) = (Instant::now(), processor_time());
        let mut tell = |course: &Course| self.follow(Stage::Path, course);
        let figures = measure_path(&server.connector, *connections, *time, &mut tell).await?;
        let busy = processor_time().saturating_sub(busy_before).as_secs_f64();
        let usable = usize::from(cores()).min(NETWORK_THREADS) as f64;
        let is_busy = busy > start.elapsed().as_secs_f64() * usable * BUSY_PERCENT / 100.0;
        let limit = match is_here(&address.place) {
            true => PathLimit::SameMachine,
            false if is_busy => PathLimit::ProcessorHere,
            false => PathLimit::Line,
        };
        Ok(Measured {
            rate: figures.course.steady_rate().unwrap_or(0),
            detail: Detail::Path {
                connections: figures.connections,
                round_trip: figures.round_trip,
                course: figures.course,
                limit,
            },
        })
    }

    async fn source(
        &self,
        server: &Server,
        samples: Vec<SourceSample>,
    ) -> Result<Measured, Unmeasured> {
        if samples.is_empty() {
            return Err(Unmeasured::Part(Exit::Done, text::bench::nothing_to_read()));
        }
        let mut tell = |course: &Course| self.follow(Stage::Source, course);
        let time = self.settings.time;
        let course = measure_source(&server.connector, samples, time, &mut tell).await?;
        Ok(disk_figures(&course))
    }

    async fn here(&self, work: Work, cores_max: usize) -> Result<Measured, Unmeasured> {
        let done = self.workers.run(move || measure_work_here(work)).await;
        let figures = done.map_err(|lost| Unmeasured::Part(Exit::LocalIo, lost.into()))?;
        let figures = figures.ok_or(BenchError::Incredible)?;
        Ok(work_figures(figures, cores_max))
    }

    async fn destination(&self) -> Result<Measured, Unmeasured> {
        let directory = &self.settings.destination;
        let failed = |error: io::Error| {
            let shown = Escaped(directory.as_os_str().as_bytes()).to_string();
            let is_small =
                error.kind() == io::ErrorKind::StorageFull && error.raw_os_error().is_none();
            let why = match is_small {
                true => text::bench::too_little_room(&shown, FREE_BYTES_MIN >> 20),
                false => text::bench::cannot_write(&shown).because(error),
            };
            Unmeasured::Part(Exit::LocalIo, why)
        };
        let written = AtomicU64::new(0);
        let deadline = Instant::now() + self.settings.time;
        let writer = || write_until(deadline, directory, &self.workers, &written);
        // While one waits for the disk, the other gives it something to do.
        let writing = async { tokio::try_join!(writer(), writer()) };
        let count = || written.load(Ordering::Relaxed);
        let mut tell = |course: &Course| self.follow(Stage::Destination, course);
        let (done, course) = follow(writing, count, Duration::MAX, &mut tell).await;
        done.map_err(failed)?;
        Ok(disk_figures(&course))
    }

    /// A part has come so far.
    fn follow(&self, stage: Stage, course: &Course) {
        self.show(stage, Some(course));
        if course.parts_max() > 0 {
            let record = Record::Progress {
                stage,
                seconds: course.time().as_secs_f64(),
                bytes: course.bytes(),
            };
            self.bottom.suspend(|| self.events.write(&record));
        }
    }

    /// A part is done with.
    fn tell(&self, stage: Stage, measured: &Result<Measured, Text>) {
        let record = match measured {
            Ok(measured) => Record::measured(stage, measured),
            Err(why) => Record::NotMeasured {
                stage,
                why: why.english().to_owned(),
            },
        };
        self.bottom.suspend(|| self.events.write(&record));
    }

    /// Shows a person what is being measured.
    fn show(&self, stage: Stage, course: Option<&Course>) {
        self.bottom.show(|size| {
            let columns = size.columns.saturating_sub(1);
            let ink = Ink::of(self.settings.shows_unicode);
            vec![report::live_line(stage, course, columns, ink)]
        });
    }
}

/// Why a part was not measured.
enum Unmeasured {
    /// Nothing else can be measured either.
    Lost(ConnectError),
    /// For its own reason, and what that comes to.
    Part(Exit, Text),
}

impl From<BenchError> for Unmeasured {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Connect(error) => Self::Lost(error),
            error => Self::Part(Exit::SomeFailed, error.into()),
        }
    }
}

/// Files at `address` that are worth reading.
///
/// # Errors
/// There is no connection, or nothing at all there.
async fn samples(server: &Server, address: &Address) -> Result<Vec<SourceSample>, CommandError> {
    let request = ListRequest {
        path: address.path.clone(),
        recursive: true,
        ..ListRequest::default()
    };
    let mut samples = Vec::new();
    let (mut entries, mut bytes) = (0, 0_u64);
    let mut is_directory = false;
    let listed = list(&server.connector, request, |item| {
        is_directory |= is_root(&item);
        entries += 1;
        if let Item::File { info, .. } = &item
            && let Some(below) = path_of(&item)
            && info.size >= GROUP_BYTES as u64
            && !info.sparse
        {
            let path = match is_directory {
                true => address.path.join_path(&below).ok(),
                false => Some(address.path.clone()),
            };
            let size = info.size;
            bytes = bytes.saturating_add(size);
            samples.extend(path.map(|path| SourceSample { path, size }));
        }
        entries < ENTRIES_MAX && samples.len() < SAMPLES_MAX && bytes < SAMPLE_BYTES_MAX
    });
    match listed.await {
        Ok(_) => Ok(samples),
        Err(ListError::Connect(error)) => Err(server.explain(&error)),
        Err(error) => Err(CommandError::new(Exit::SomeFailed, error)),
    }
}

/// Has the server work.
async fn there(server: &Server, work: Work, cores_max: usize) -> Result<Measured, Unmeasured> {
    let figures = measure_work(&server.connector, work).await?;
    Ok(work_figures(figures, cores_max))
}

/// What a machine does on all its cores, or on as many as there is work for.
fn work_figures(figures: WorkFigures, cores_max: usize) -> Measured {
    let cores = u64::from(figures.cores).min(cores_max as u64).max(1);
    Measured {
        rate: figures.rate.saturating_mul(cores),
        detail: Detail::Work {
            core_rate: figures.rate,
            cores,
        },
    }
}

fn disk_figures(course: &Course) -> Measured {
    Measured {
        rate: course.steady_rate().unwrap_or(0),
        detail: Detail::Disk {
            bytes: course.bytes(),
            time: course.time(),
        },
    }
}

/// Writes to the disk that holds `directory` until `deadline`; adds to `written` what is on it.
async fn write_until(
    deadline: Instant,
    directory: &Path,
    workers: &DiskWorkers,
    written: &AtomicU64,
) -> io::Result<()> {
    let directory = directory.to_owned();
    let begun = workers.run(move || WriteTrial::begin(Disk::new(), &directory));
    let mut trial = begun.await.map_err(io::Error::other)??;
    while Instant::now() < deadline {
        let writing = workers.run(move || (trial.write(), trial));
        let (bytes, same) = writing.await.map_err(io::Error::other)?;
        written.fetch_add(bytes?, Ordering::Relaxed);
        trial = same;
    }
    Ok(())
}

/// Whether `place` is this machine.
fn is_here(place: &HostPort) -> bool {
    let Ok(address) = place.host.parse::<IpAddr>() else {
        return place.host.eq_ignore_ascii_case("localhost");
    };
    let own = if_addrs::get_if_addrs().unwrap_or_default();
    address.is_loopback() || own.iter().any(|interface| interface.ip() == address)
}

/// How long all cores together have worked for this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
