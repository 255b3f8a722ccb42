//! Files that are asked for again.

use packhorse_protocol::entry::Refusal;
use packhorse_storage::destination::{EntryError, Presence};

use crate::place::Site;
use crate::plan::{Candidate, Wanted};
use crate::report::{Failure, Totals};

/// A file that changes, comes damaged, or is not confirmed by the disk is asked for this often.
const ATTEMPTS_MAX: u32 = 5;

impl Site {
    /// A file came to nothing on the server's side; it is asked for again if that may help.
    pub(crate) fn handle_refused(&self, mut wanted: Wanted, refusal: Refusal) {
        wanted.attempt += 1;
        match refusal {
            Refusal::Changed | Refusal::TooLarge if wanted.attempt < ATTEMPTS_MAX => {
                self.plan.describe(wanted);
            }
            refusal if refusal.is_by_kind() => self.handle_skipped(wanted.path.as_bytes(), refusal),
            refusal => self.fail(&wanted.path, &Failure::Refused(refusal)),
        }
    }

    /// A small file's content does not match its hash; it is asked for again.
    pub(crate) fn handle_damaged(&self, mut wanted: Wanted) {
        Totals::add(&self.totals.damaged, 1);
        Totals::add(&self.totals.again.damaged, wanted.info.size);
        wanted.attempt += 1;
        if wanted.attempt < ATTEMPTS_MAX {
            self.plan.want(wanted);
        } else {
            self.fail(&wanted.path, &Failure::Damaged);
        }
    }

    /// A file is complete and did not get its name; it is fetched again if that may help.
    pub(crate) fn handle_not_placed(&self, mut wanted: Wanted, error: EntryError) {
        wanted.attempt += 1;
        wanted.counted = None;
        if error.needs_fetching_again() && wanted.attempt < ATTEMPTS_MAX {
            Totals::add(&self.totals.again.unconfirmed, wanted.info.size);
            self.plan.want(wanted);
        } else if error.is_refusal_to_overwrite() {
            self.handle_taken(wanted, error);
        } else {
            self.fail(&wanted.path, &error.into());
        }
    }

    /// A file is complete, and another has its name since it was begun: that is as good if it has
    /// the same content.
    fn handle_taken(&self, wanted: Wanted, error: EntryError) {
        match self.destination.compare(&wanted.path, &wanted.info) {
            Ok(Presence::Same { .. } | Presence::Different { .. })
                if wanted.attempt < ATTEMPTS_MAX =>
            {
                let path = wanted.path.clone();
                self.want_compared(wanted, Candidate { path, number: 0 });
            }
            _ if wanted.is_taken => self.fail(&wanted.path, &Failure::Taken),
            _ => self.fail(&wanted.path, &error.into()),
        }
    }
}
