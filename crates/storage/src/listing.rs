//! The names in a directory, held compactly.

use std::io;

use packhorse_protocol::path::{Name, PARTIAL_DIRECTORY};

use crate::status::Kind;

/// Bytes held for a name besides its own: its place, its length and its kind.
pub const BYTES_PER_NAME: usize = 6;

/// All names in a directory, with their kinds.
///
/// A listing holds [`BYTES_PER_NAME`] and the name's own bytes for each name; up to twice that while
/// it grows.
#[derive(Debug, Default)]
pub struct Listing {
    /// For each name its length, its kind and its bytes.
    records: Vec<u8>,
    places: Vec<u32>,
    unusable: Vec<Vec<u8>>,
    has_partial: bool,
}

impl Listing {
    /// How many usable names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no usable name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The bytes of the name at `index`, in the order of the listing.
    ///
    /// # Panics
    /// If `index` is not below `len`.
    #[must_use]
    pub fn bytes(&self, index: usize) -> &[u8] {
        self.record(self.places[index]).1
    }

    /// The name at `index`.
    ///
    /// # Panics
    /// If `index` is not below `len`.
    #[must_use]
    pub fn name(&self, index: usize) -> Name {
        Name::parse(self.bytes(index)).expect("only names are added")
    }

    /// The kind of the name at `index`, as the directory told it.
    ///
    /// # Panics
    /// If `index` is not below `len`.
    #[must_use]
    pub fn kind(&self, index: usize) -> Kind {
        self.record(self.places[index]).0
    }

    /// All usable names with their kinds, in the order of the listing.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Kind)> + '_ {
        (0..self.len()).map(|index| (self.name(index), self.kind(index)))
    }

    /// The bytes of what is no [`Name`]: some file systems hold names of more than 255 bytes.
    #[must_use]
    pub fn unusable(&self) -> &[Vec<u8>] {
        &self.unusable
    }

    /// Whether the directory for unfinished downloads is here.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        self.has_partial
    }

    /// Sorts the names so that those for which `is_directory` says so come last, and otherwise by
    /// their bytes. Returns how many come first.
    pub fn sort_directories_last(
        &mut self,
        mut is_directory: impl FnMut(&Name, Kind) -> bool,
    ) -> usize {
        let (mut others, mut directories) = (Vec::new(), Vec::new());
        for (index, &place) in self.places.iter().enumerate() {
            let chosen = match is_directory(&self.name(index), self.kind(index)) {
                true => &mut directories,
                false => &mut others,
            };
            chosen.push(place);
        }
        for part in [&mut others, &mut directories] {
            part.sort_unstable_by_key(|&place| self.record(place).1);
        }
        let count = others.len();
        others.append(&mut directories);
        self.places = others;
        count
    }

    /// Takes up a name as the directory gives it; `.` and `..` are left out.
    pub(crate) fn add(&mut self, bytes: &[u8], kind: Kind) -> io::Result<()> {
        match bytes {
            b"." | b".." => {}
            PARTIAL_DIRECTORY => self.has_partial = true,
            _ => match (Name::parse(bytes), u8::try_from(bytes.len())) {
                (Ok(_), Ok(length)) => {
                    let place = u32::try_from(self.records.len())
                        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
                    self.places.push(place);
                    self.records.extend([length, kind as u8]);
                    self.records.extend_from_slice(bytes);
                }
                _ => self.unusable.push(bytes.to_vec()),
            },
        }
        Ok(())
    }

    pub(crate) fn shrink(&mut self) {
        self.records.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    fn record(&self, place: u32) -> (Kind, &[u8]) {
        const KINDS: [Kind; 5] = [
            Kind::File,
            Kind::Directory,
            Kind::Symlink,
            Kind::Special,
            Kind::Unknown,
        ];
        let record = &self.records[place as usize..];
        let length = usize::from(record[0]);
        (KINDS[usize::from(record[1])], &record[2..2 + length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some file systems hold names of up to 765 bytes, which no test can make on the others.
    #[test]
    fn names_are_sorted_and_what_is_none_is_kept_apart() {
        let long = [b'x'; 256];
        let mut listing = Listing::default();
        for (bytes, kind) in [
            (&b"."[..], Kind::Directory),
            (b"..", Kind::Directory),
            (b"b", Kind::File),
            (b"d", Kind::Directory),
            (PARTIAL_DIRECTORY, Kind::Directory),
            (&long, Kind::File),
            (&long[..255], Kind::Unknown),
            (b"c", Kind::Directory),
            (b"a", Kind::Symlink),
        ] {
            listing.add(bytes, kind).unwrap();
        }
        let others = listing.sort_directories_last(|_, kind| kind == Kind::Directory);
        assert_eq!((others, listing.len()), (3, 5));
        let told: Vec<_> = listing
            .iter()
            .map(|(name, kind)| (name.as_bytes().to_vec(), kind))
            .collect();
        let expected = [
            (&b"a"[..], Kind::Symlink),
            (b"b", Kind::File),
            (&long[..255], Kind::Unknown),
            (b"c", Kind::Directory),
            (b"d", Kind::Directory),
        ];
        assert_eq!(told, expected.map(|(bytes, kind)| (bytes.to_vec(), kind)));
        assert_eq!(listing.unusable(), [long.to_vec()]);
        assert!(listing.has_partial());
    }
}
