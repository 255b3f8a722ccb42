//! Threads that wait for the disk, so that those which serve the network never do.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A fixed number of threads and one queue, first come, first served.
///
/// Dropping it lets the jobs under way end, drops those that wait, and joins the threads. It needs no
/// particular runtime: the futures wait on channels.
#[derive(Debug)]
pub struct DiskWorkers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// A job came to no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JobLost {
    /// It panicked: a bug in it. The workers go on.
    #[error("a disk job panicked")]
    Panicked,
    /// The workers were dropped before its turn came.
    #[error("the disk workers have ended")]
    WorkersGone,
}

impl DiskWorkers {
    /// Starts `threads` workers (at least one), before which up to `queue_max` jobs of
    /// [`run`](Self::run) (at least one) can wait.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn new(threads: usize, queue_max: usize) -> io::Result<Self> {
        let mut workers = Self {
            queue: Arc::new(Queue {
                waiting: Mutex::default(),
                arrived: Condvar::new(),
                room: Arc::new(Semaphore::new(queue_max.clamp(1, Semaphore::MAX_PERMITS))),
            }),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&workers.queue);
            let thread = thread::Builder::new()
                .name(format!("disk-{number}"))
                .spawn(move || queue.work())?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Has a worker run `job`, of whose end nobody is told. It takes its place in the queue at once,
    /// whether there is room or not: it is for the caller to see to how many there are. One whose
    /// turn does not come before the workers are dropped is dropped with them.
    pub fn start(&self, job: impl FnOnce() + Send + 'static) {
        self.queue.push(Job {
            work: Box::new(job),
            room: None,
        });
    }

    /// Has a worker run `job`. The job takes its place in the queue when the future is first polled,
    /// after waiting for room there. One whose future is dropped before it began is not run; one
    /// that began runs to its end.
    ///
    /// # Errors
    /// The job panicked, or the workers are gone.
    pub fn run<T, F>(
        &self,
        job: F,
    ) -> impl Future<Output = Result<T, JobLost>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let queue = Arc::clone(&self.queue);
        async move {
            let room = Arc::clone(&queue.room);
            let room = room.acquire_owned().await;
            let room = room.map_err(|_| JobLost::WorkersGone)?;
            queue.begin(job, Some(room)).await
        }
    }

    /// Has a worker run `job`, of which the caller hears. As with [`start`](Self::start), it takes its
    /// place in the queue at once. One whose future is dropped before it began is not run; one that
    /// began runs to its end.
    ///
    /// # Errors
    /// The future fails if the job panicked, or the workers are gone.
    pub fn begin<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Begun<T> {
        self.queue.begin(job, None)
    }
}

/// A job that is in the queue, or runs.
#[derive(Debug)]
#[must_use = "the job is not run if this is dropped"]
pub struct Begun<T>(oneshot::Receiver<Result<T, JobLost>>);

impl<T> Future for Begun<T> {
    type Output = Result<T, JobLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = Pin::new(&mut self.0).poll(context);
        result.map(|result| result.unwrap_or(Err(JobLost::WorkersGone)))
    }
}

impl Drop for DiskWorkers {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A job may hold the last reference to the workers; its thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // Its jobs' panics have been caught, so there is nothing to learn from it.
                let _ = thread.join();
            }
        }
    }
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

struct Job {
    work: Box<dyn FnOnce() + Send>,
    /// Given back when the job's turn comes.
    room: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Job")
    }
}

impl Queue {
    fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        room: Option<OwnedSemaphorePermit>,
    ) -> Begun<T> {
        let (reply, result) = oneshot::channel();
        let work = move || {
            if !reply.is_closed() {
                let result = catch_unwind(AssertUnwindSafe(job));
                // A future that was dropped meanwhile wants no result.
                let _ = reply.send(result.map_err(|_| JobLost::Panicked));
            }
        };
        self.push(Job {
            work: Box::new(work),
            room,
        });
        Begun(result)
    }

    fn push(&self, job: Job) {
        let mut waiting = self.lock();
        if !waiting.is_closed {
            waiting.jobs.push_back(job);
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let dropped = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        self.arrived.notify_all();
        // With them go their places in the queue: who waits for one finds it closed.
        drop(dropped);
    }

    /// What each thread does until the queue is closed.
    fn work(&self) {
        while let Some(Job { work, room }) = self.next() {
            drop(room);
            // Nobody waits for what panics here, and the thread goes on.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self
            .arrived
            .wait_while(self.lock(), |waiting| {
                waiting.jobs.is_empty() && !waiting.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.jobs.pop_front()
    }

    /// No code that could panic runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Wake, Waker};

    use super::*;

    /// The simplest runtime, to show that none in particular is needed.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn is_pending<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }

    #[test]
    fn jobs_run_in_order_and_a_panic_ends_only_its_own() {
        let workers = DiskWorkers::new(1, 4).unwrap();
        let (told, order) = mpsc::channel();
        let mut futures: Vec<_> = (0..4)
            .map(|number| {
                let told = told.clone();
                Box::pin(workers.run(move || {
                    told.send(number).unwrap();
                    assert!(number != 1, "this panic belongs to the test");
                    number
                }))
            })
            .collect();
        for future in &mut futures {
            let _ = is_pending(future.as_mut());
        }
        for number in [0, 1, 2, 3] {
            assert_eq!(order.recv(), Ok(number));
        }
        assert_eq!(block_on(workers.run(|| 7)), Ok(7));
        let panics = block_on(workers.run(|| panic!("this panic belongs to the test")));
        assert_eq!(panics, Err::<(), _>(JobLost::Panicked));
        assert_eq!(block_on(workers.run(|| 8)), Ok(8));
    }

    #[test]
    fn a_job_that_nobody_waits_for_has_its_turn() {
        let workers = DiskWorkers::new(1, 1).unwrap();
        let (told, order) = mpsc::channel();
        for number in 0..8 {
            let told = told.clone();
            workers.start(move || {
                told.send(number).unwrap();
                assert!(number != 1, "this panic belongs to the test");
            });
        }
        assert_eq!(block_on(workers.run(|| 8)), Ok(8));
        assert_eq!(
            order.try_iter().collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7]
        );
    }

    #[test]
    fn the_queue_is_bounded_and_forgets_what_is_not_wanted() {
        let workers = DiskWorkers::new(1, 1).unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let (free, blocked) = mpsc::channel::<()>();
        let (began, beginning) = mpsc::channel();
        let mut blocking = Box::pin(workers.run(move || {
            began.send(()).unwrap();
            let _ = blocked.recv();
        }));
        assert!(is_pending(blocking.as_mut()));
        beginning.recv().unwrap();
        let counted = || {
            let runs = Arc::clone(&runs);
            Box::pin(workers.run(move || runs.fetch_add(1, Ordering::Relaxed)))
        };
        let (mut waits, mut has_no_room) = (counted(), counted());
        assert!(is_pending(waits.as_mut()));
        assert!(is_pending(has_no_room.as_mut()));
        assert_eq!(workers.queue.lock().jobs.len(), 1);
        drop(waits);
        free.send(()).unwrap();
        block_on(blocking).unwrap();
        assert_eq!(block_on(has_no_room), Ok(0), "the dropped job ran");
    }

    #[test]
    fn a_begun_job_waits_for_no_room_and_is_not_run_for_nobody() {
        let workers = DiskWorkers::new(1, 1).unwrap();
        let (free, blocked) = mpsc::channel::<()>();
        let (told, order) = mpsc::channel();
        let numbered = |number| {
            let told = told.clone();
            workers.begin(move || told.send(number).unwrap())
        };
        let blocking = workers.begin(move || blocked.recv());
        let (first, dropped, last) = (numbered(0), numbered(1), numbered(2));
        drop(dropped);
        free.send(()).unwrap();
        assert_eq!(block_on(blocking), Ok(Ok(())));
        assert_eq!((block_on(first), block_on(last)), (Ok(()), Ok(())));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 2]);
        let panics = workers.begin(|| panic!("this panic belongs to the test"));
        assert_eq!(block_on(panics), Err::<(), _>(JobLost::Panicked));
        let never = {
            let workers = DiskWorkers::new(1, 1).unwrap();
            workers.queue.close();
            workers.begin(|| ())
        };
        assert_eq!(block_on(never), Err(JobLost::WorkersGone));
    }

    #[test]
    fn dropping_the_workers_ends_what_waits() {
        let workers = Arc::new(DiskWorkers::new(2, 8).unwrap());
        let late = workers.run(|| ());
        let last = Arc::clone(&workers);
        let (free, blocked) = mpsc::channel::<()>();
        let mut from_within = Box::pin(workers.run(move || {
            let _ = blocked.recv();
            drop(last);
        }));
        assert!(is_pending(from_within.as_mut()));
        drop(workers);
        free.send(()).unwrap();
        assert_eq!(block_on(from_within), Ok(()));
        assert_eq!(block_on(late), Err(JobLost::WorkersGone));
    }
}
