//! The second walk: the bytes of an archive, from anywhere in it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use packhorse_protocol::entry::Version;
use packhorse_protocol::path::RelativePath;
use packhorse_storage::source::{Found, Source, SourceFile};

use super::entry::{Entries, Entry, EntryKind, options};
use super::survey::Survey;
use super::{Format, tar, zip};
use crate::body::{BodyError, Produce};
use crate::file::read_unchanged;

/// A part of an archive. Entries are looked at again, block by block, and only what is as the survey
/// found it is sent.
pub(super) struct ArchivePieces {
    source: Arc<dyn Source>,
    root: RelativePath,
    format: Format,
    survey: Arc<Survey>,
    /// The next block to look at; behind the last, what ends the archive.
    next_block: usize,
    parts: VecDeque<Part>,
    /// The walk, and the block that it finds next.
    walk: Option<(usize, Entries)>,
    /// Bytes to leave out of what comes next.
    skip: u64,
    /// Bytes that are still wanted.
    rest: u64,
    /// Of the files in a zip, by the number of their entries.
    checksums: Vec<u32>,
    /// The file that is being read, and its checksum so far.
    open: Option<(Arc<dyn SourceFile>, crc32fast::Hasher)>,
}

/// What comes next.
enum Part {
    Bytes(Vec<u8>),
    Content {
        path: RelativePath,
        version: Version,
        range: Range<u64>,
    },
    /// The end of a file in a zip, once its checksum is known.
    Descriptor(zip::Header),
    /// The next block of a zip's directory.
    Directory(usize),
}

impl ArchivePieces {
    pub(super) fn new(
        source: Arc<dyn Source>,
        root: RelativePath,
        format: Format,
        survey: Arc<Survey>,
        part: Range<u64>,
    ) -> Self {
        // The last block that begins at or before the part, if one does.
        let behind = survey
            .blocks
            .partition_point(|block| block.offset <= part.start);
        let next_block = behind.saturating_sub(1);
        let from = survey.blocks.get(next_block).map_or(0, |it| it.offset);
        Self {
            source,
            root,
            format,
            survey,
            next_block,
            parts: VecDeque::new(),
            walk: None,
            skip: part.start - from,
            rest: part.end - part.start,
            checksums: Vec::new(),
            open: None,
        }
    }

    /// Looks at a block again. The walk goes on from the block before, if that was the last one: to
    /// find its place anew it would read the names of whole directories.
    fn load(&mut self, index: usize) -> Result<Vec<Entry>, BodyError> {
        let block = &self.survey.blocks[index];
        let mut entries = match self.walk.take() {
            Some((next, entries)) if next == index => entries,
            _ => {
                let (source, cursor) = (Arc::clone(&self.source), block.cursor.clone());
                Entries::open(source, &self.root, self.format, cursor)?
            }
        };
        let (found, hash) = entries.next_block();
        if hash != block.hash {
            return Err(BodyError::Changed);
        }
        self.walk = Some((index + 1, entries));
        Ok(found)
    }

    /// Adds the parts of the next block, or of the end.
    fn add_parts(&mut self) -> Result<(), BodyError> {
        let index = self.next_block;
        self.next_block += 1;
        if index < self.survey.blocks.len() {
            let mut offset = self.survey.blocks[index].offset;
            for entry in self.load(index)? {
                let name = entry.archived_name(&self.root);
                offset += match self.format {
                    Format::Tar => self.add_tar_entry(&entry, &name)?,
                    Format::Zip => self.add_zip_entry(&entry, name, offset)?,
                };
            }
            return Ok(());
        }
        if self.format == Format::Zip {
            let blocks = 0..self.survey.blocks.len();
            self.parts.extend(blocks.map(Part::Directory));
        }
        self.parts.push_back(Part::Bytes(self.survey.end.clone()));
        Ok(())
    }

    fn add_tar_entry(&mut self, entry: &Entry, name: &[u8]) -> Result<u64, BodyError> {
        if name.is_empty() {
            return Ok(0);
        }
        self.parts.push_back(Part::Bytes(tar::header(entry, name)));
        self.add_content(entry)?;
        let padding = tar::padding(entry.size());
        if padding > 0 {
            self.parts.push_back(Part::Bytes(vec![0; padding]));
        }
        Ok(tar::length(entry, name))
    }

    fn add_zip_entry(
        &mut self,
        entry: &Entry,
        name: Vec<u8>,
        offset: u64,
    ) -> Result<u64, BodyError> {
        let header = zip::Header::new(entry, name, offset);
        let length = header.length();
        self.parts.push_back(Part::Bytes(header.local()));
        self.add_content(entry)?;
        self.parts.push_back(Part::Descriptor(header));
        Ok(length)
    }

    fn add_content(&mut self, entry: &Entry) -> Result<(), BodyError> {
        if let EntryKind::File { size, version, .. } = entry.kind
            && size > 0
        {
            let path = self.root.join_path(&entry.path);
            let path = path.map_err(|_| BodyError::Changed)?;
            self.parts.push_back(Part::Content {
                path,
                version,
                range: 0..size,
            });
        }
        Ok(())
    }

    /// Reads up to `bytes_max` of a file's content; the rest becomes the next part.
    fn read(
        &mut self,
        path: RelativePath,
        version: Version,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Bytes, BodyError> {
        // What is not wanted is not read. A zip is always wanted from its start.
        let start = range.start + self.skip.min(range.end - range.start);
        self.skip -= start - range.start;
        if start == range.end {
            return Ok(Bytes::new());
        }
        let (file, checksum) = match &mut self.open {
            Some(open) => open,
            None => {
                let found = self.source.find(&path, options(self.format))?;
                let file = Found::into_file(found)?;
                if file.opened().version != version {
                    return Err(BodyError::Changed);
                }
                let hasher = crc32fast::Hasher::new();
                self.open.insert((Arc::from(file), hasher))
            }
        };
        let end = range.end.min(start + bytes_max as u64);
        let piece = read_unchanged(&**file, version, start..end)?;
        if self.format == Format::Zip {
            checksum.update(&piece);
        }
        if end < range.end {
            self.parts.push_front(Part::Content {
                path,
                version,
                range: end..range.end,
            });
        } else if self.format == Format::Tar {
            self.open = None;
        }
        Ok(piece)
    }

    /// The bytes of the next part, up to `bytes_max` or what little more it has.
    fn next_bytes(&mut self, bytes_max: usize) -> Result<Bytes, BodyError> {
        let bytes = match self.parts.pop_front() {
            None => {
                if self.next_block > self.survey.blocks.len() {
                    return Err(BodyError::Length);
                }
                self.add_parts()?;
                return Ok(Bytes::new());
            }
            Some(Part::Content {
                path,
                version,
                range,
            }) => return self.read(path, version, range, bytes_max),
            Some(Part::Bytes(bytes)) => bytes,
            Some(Part::Descriptor(header)) => {
                let checksum = self.open.take().map_or(0, |(_, hasher)| hasher.finalize());
                self.checksums.push(checksum);
                header.descriptor(checksum)
            }
            Some(Part::Directory(block)) => self.directory(block)?,
        };
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        Ok(Bytes::from(bytes).slice(skipped as usize..))
    }

    /// A block of a zip's directory.
    fn directory(&mut self, index: usize) -> Result<Vec<u8>, BodyError> {
        let entries = self.load(index)?;
        let block = &self.survey.blocks[index];
        let mut offset = block.offset;
        let mut bytes = Vec::new();
        for (number, entry) in (block.first_entry..).zip(entries) {
            let header = zip::Header::new(&entry, entry.archived_name(&self.root), offset);
            let checksum = usize::try_from(number)
                .ok()
                .and_then(|number| self.checksums.get(number))
                .ok_or(BodyError::Changed)?;
            bytes.extend_from_slice(&header.central(*checksum));
            offset += header.length();
        }
        Ok(bytes)
    }
}

impl Produce for ArchivePieces {
    fn next(&mut self, bytes: usize) -> Result<Option<Bytes>, BodyError> {
        let mut piece = Vec::new();
        while self.rest > 0 && piece.len() < bytes {
            let mut next = self.next_bytes(bytes - piece.len())?;
            next.truncate(usize::try_from(self.rest).unwrap_or(usize::MAX));
            self.rest -= next.len() as u64;
            if piece.is_empty() && next.len() >= bytes {
                return Ok(Some(next));
            }
            piece.extend_from_slice(&next);
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use packhorse_protocol::entry::DirectoryInfo;
    use packhorse_protocol::message::EntryOptions;
    use packhorse_protocol::path::Name;
    use packhorse_storage::clock::wall_clock;
    use packhorse_storage::directory_source::DirectorySource;
    use packhorse_storage::disk::Disk;
    use packhorse_storage::source::{
        Identity, SourceDirectory, SourceEntry, SourceError, SourceNames,
    };

    use super::super::survey::Surveyor;
    use super::*;

    /// Counts how often the names of a directory are read.
    struct Counted<T> {
        inner: T,
        reads: Arc<AtomicUsize>,
    }

    impl Source for Counted<DirectorySource> {
        fn find(&self, path: &RelativePath, options: EntryOptions) -> Result<Found, SourceError> {
            Ok(match self.inner.find(path, options)? {
                Found::Directory(inner) => Found::Directory(Box::new(Counted {
                    inner,
                    reads: Arc::clone(&self.reads),
                })),
                other => other,
            })
        }
    }

    impl SourceDirectory for Counted<Box<dyn SourceDirectory>> {
        fn info(&self) -> Result<DirectoryInfo, SourceError> {
            self.inner.info()
        }

        fn names(&self) -> Result<SourceNames, SourceError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.inner.names()
        }

        fn entry(&self, name: &Name) -> Result<SourceEntry, SourceError> {
            self.inner.entry(name)
        }

        fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>, SourceError> {
            self.inner.open_file(name)
        }

        fn open_directory(&self, name: &Name) -> Result<Box<dyn SourceDirectory>, SourceError> {
            self.inner.open_directory(name)
        }

        fn identity(&self) -> Option<Identity> {
            self.inner.identity()
        }
    }

    /// A folder of 200,000 files took ten minutes, since its names were read for every block.
    #[test]
    fn the_names_of_a_folder_are_read_once_for_each_walk() {
        let served = tempfile::tempdir().unwrap();
        for number in 0..2000 {
            std::fs::write(served.path().join(number.to_string()), "x").unwrap();
        }
        for (format, walks) in [(Format::Tar, 2), (Format::Zip, 3)] {
            let reads = Arc::new(AtomicUsize::new(0));
            let source: Arc<dyn Source> = Arc::new(Counted {
                inner: DirectorySource::open(Disk::new(), served.path()).unwrap(),
                reads: Arc::clone(&reads),
            });
            let root = RelativePath::ROOT;
            let mut surveyor = Surveyor::open(Arc::clone(&source), &root, format).unwrap();
            while !surveyor.step() {}
            let survey = Arc::new(surveyor.finish(wall_clock()));
            let length = survey.length;
            let mut pieces = ArchivePieces::new(source, root, format, survey, 0..length);
            let mut sent = 0;
            while let Some(piece) = pieces.next(100_000).unwrap() {
                sent += piece.len() as u64;
            }
            assert_eq!(sent, length);
            assert_eq!(reads.load(Ordering::Relaxed), walks, "{format:?}");
        }
    }
}
