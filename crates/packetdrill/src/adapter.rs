//! Who waits for what, on which thread, and when time moves on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use packhorse_tcp::Instant;

use crate::machine::{Attempt, Errno, Machine};

/// How long a thread that was woken may take, in real time, to come back and ask what time it is:
/// packetdrill's always does, also where processors are busy.
const COMES_BACK_WITHIN: Duration = Duration::from_millis(500);

/// How long a thread that is about to call may take, in real time, before time moves on. Nobody
/// can know of it: packetdrill does not wait until its second thread is in here.
const COMES_IN_WITHIN: Duration = Duration::from_micros(200);

/// The machine, and the threads that use it.
///
/// The thread that made it is the one that moves time, when it waits. After each step of time, and
/// each change that it makes, it waits until all others have looked at what is new to them.
#[derive(Debug)]
pub(crate) struct Adapter {
    state: Mutex<Threads>,
    changed: Condvar,
}

/// How long a call waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Patience {
    fn ends_by(self, now: Instant) -> bool {
        match self {
            Self::None => true,
            Self::Until(limit) => limit <= now,
            Self::Forever => false,
        }
    }

    fn limit(self) -> Option<Instant> {
        match self {
            Self::Until(limit) => Some(limit),
            Self::None | Self::Forever => None,
        }
    }
}

#[derive(Debug)]
struct Threads {
    machine: Machine,
    driver: ThreadId,
    /// Others that wait in here.
    waiting: usize,
    /// Counts the changes that they have to look at, and who has looked at the last one.
    turn: u64,
    looked: usize,
    /// Those that have left a call for which they had waited, and not come back yet.
    away: Vec<ThreadId>,
    has_others: bool,
}

impl Adapter {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            state: Mutex::new(Threads {
                machine,
                driver: thread::current().id(),
                waiting: 0,
                turn: 0,
                looked: 0,
                away: Vec::new(),
                has_others: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// A call that never waits.
    pub(crate) fn at_once<T>(&self, call: impl FnOnce(&mut Machine) -> T) -> T {
        let mut threads = self.enter();
        let outcome = call(&mut threads.machine);
        if threads.is_driver() {
            drop(self.let_look(threads));
        }
        outcome
    }

    /// A call that is tried until it is done; `EAGAIN` if that is not in time.
    pub(crate) fn until_done<T>(
        &self,
        patience: Patience,
        mut attempt: impl FnMut(&mut Machine) -> Attempt<T>,
    ) -> Result<T, Errno> {
        let mut threads = self.enter();
        let is_driver = threads.is_driver();
        let mut has_waited = false;
        loop {
            let done = match attempt(&mut threads.machine) {
                Attempt::Done(outcome) => outcome,
                Attempt::Blocked if patience.ends_by(threads.machine.now()) => {
                    Err(Errno(libc::EAGAIN))
                }
                Attempt::Blocked if is_driver => {
                    threads = match self.move_on(threads, patience.limit()) {
                        Ok(threads) => threads,
                        Err(_) => return Err(Errno(libc::EDEADLK)),
                    };
                    continue;
                }
                Attempt::Blocked => {
                    threads = self.park(threads);
                    has_waited = true;
                    continue;
                }
            };
            if is_driver {
                drop(self.let_look(threads));
            } else if has_waited {
                threads.looked += 1;
                threads.away.push(thread::current().id());
                self.changed.notify_all();
            }
            return done;
        }
    }

    /// Waits until `until`, or for as long as there is anything to happen.
    pub(crate) fn sleep(&self, span: Duration) {
        let until = self.enter().machine.now() + span;
        let is_over = |machine: &mut Machine| {
            if machine.now() >= until {
                Attempt::Done(Ok(()))
            } else {
                Attempt::Blocked
            }
        };
        if !self.enter().is_driver() {
            // Only its end matters, and there is one: the driver's time comes to it.
            let _ = self.until_done(Patience::Forever, is_over);
            return;
        }
        let mut threads = self.enter();
        if threads.has_others && threads.waiting == 0 && span > COMES_IN_WITHIN * 10 {
            drop(threads);
            thread::sleep(COMES_IN_WITHIN);
            threads = self.enter();
        }
        while threads.machine.now() < until {
            threads = match self.move_on(threads, Some(until)) {
                Ok(threads) | Err(threads) => threads,
            };
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Instant {
        self.lock().machine.now()
    }

    /// The time, a little of which passes with each look of the driver's.
    pub(crate) fn look_at_clock(&self) -> Instant {
        let mut threads = self.enter();
        if threads.is_driver() {
            threads.machine.tick();
            threads = self.let_look(threads);
        }
        threads.machine.now()
    }

    /// Packets that have left the host and were not fetched.
    pub(crate) fn packets_waiting(&self) -> usize {
        self.lock().machine.packets_waiting()
    }

    /// How many threads wait in here.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// The driver moves time to what happens next, `limit` at the latest; `Err` if nothing will.
    fn move_on<'a>(
        &'a self,
        mut threads: MutexGuard<'a, Threads>,
        limit: Option<Instant>,
    ) -> Result<MutexGuard<'a, Threads>, MutexGuard<'a, Threads>> {
        let due = threads.machine.next_deadline();
        let Some(at) = due.into_iter().chain(limit).min() else {
            return Err(threads);
        };
        threads.machine.advance_to(at);
        Ok(self.let_look(threads))
    }

    /// Lets every thread that waits look at what has changed, and waits until those for which
    /// it was time have come back.
    fn let_look<'a>(&'a self, mut threads: MutexGuard<'a, Threads>) -> MutexGuard<'a, Threads> {
        let expected = threads.waiting;
        if expected > 0 {
            threads.turn += 1;
            threads.looked = 0;
            self.changed.notify_all();
            let waited = self
                .changed
                .wait_while(threads, |threads| threads.looked < expected);
            threads = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if !threads.away.is_empty() {
            let waited = self
                .changed
                .wait_timeout_while(threads, COMES_BACK_WITHIN, |threads| {
                    !threads.away.is_empty()
                });
            threads = waited.unwrap_or_else(PoisonError::into_inner).0;
            threads.away.clear();
        }
        threads
    }

    /// Another thread than the driver waits for a change.
    fn park<'a>(&'a self, mut threads: MutexGuard<'a, Threads>) -> MutexGuard<'a, Threads> {
        let turn = threads.turn;
        threads.waiting += 1;
        threads.looked += 1;
        self.changed.notify_all();
        let waited = self
            .changed
            .wait_while(threads, |threads| threads.turn == turn);
        threads = waited.unwrap_or_else(PoisonError::into_inner);
        threads.waiting -= 1;
        threads
    }

    fn enter(&self) -> MutexGuard<'_, Threads> {
        let mut threads = self.lock();
        let here = thread::current().id();
        threads.has_others |= here != threads.driver;
        if let Some(place) = threads.away.iter().position(|away| *away == here) {
            threads.away.remove(place);
            self.changed.notify_all();
        }
        threads
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    fn is_driver(&self) -> bool {
        thread::current().id() == self.driver
    }
}
