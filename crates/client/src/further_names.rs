//! Further names of files that have their first: hard links, or copies where there can be none.

use packhorse_storage::destination::Presence;

use crate::links::FurtherName;
use crate::place::Site;
use crate::report::{Event, Failure, Totals};

impl Site {
    /// Makes the further names of files, once all that was named first is in place. Those that can
    /// be no second names here are fetched as files of their own: then the plan has work again.
    pub(crate) fn place_further_names(&self) {
        for further_name in self.links.take_further_names() {
            self.place_further_name(further_name);
        }
    }

    fn place_further_name(&self, FurtherName { first, wanted }: FurtherName) {
        let path = &wanted.path;
        let Some(first) = first else {
            return self.fail(path, &Failure::NoOtherName);
        };
        if !self.make(&wanted.directory) {
            return self.fail(path, &Failure::NoDirectory);
        }
        let presence = self.destination.compare(path, &wanted.info);
        if matches!(presence, Ok(Presence::Same { .. })) && !self.settings.checksum {
            Totals::add(&self.totals.files_kept, 1);
            return self.observer.handle(Event::Kept { path });
        }
        match self.destination.hard_link(&first, path) {
            Err(error) if error.needs_fetching_again() => self.consider(wanted, presence),
            placed => self.handle_link_placed(path, placed),
        }
    }
}
