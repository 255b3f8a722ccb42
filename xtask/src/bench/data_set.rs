//! What is fetched: the same bytes on every machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use anyhow::Context;

pub(super) const MIB: usize = 1 << 20;

/// Entries of the tree, directories and links among them.
const TREE_ENTRIES: usize = 50_000;

/// What is fetched over a line far slower than this machine.
const FAR_MIB: usize = 64;
const FAR_FILES: usize = 1_000;

/// A set of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataSet {
    Large,
    Small,
    Tree,
    Tiny,
    Page,
    /// A few files, for many clients at once.
    Crowd,
    /// Very many very small files: a half of them in `half`, and a half of those in `half/quarter`.
    Million,
    /// Long files that are holes but for three groups each.
    Holes,
    FarSmall,
    FarLarge,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) large_mib: usize,
    pub(super) small_files: usize,
    pub(super) million_files: usize,
    pub(super) holes_gib: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            large_mib: 4096,
            small_files: 100_000,
            million_files: 1_000_000,
            holes_gib: 1024,
        }
    }
}

impl DataSet {
    /// The folder's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
            Self::Tree => "tree",
            Self::Tiny => "tiny",
            Self::Page => "page",
            Self::Crowd => "crowd",
            Self::Million => "million",
            Self::Holes => "holes",
            Self::FarSmall => "far-small",
            Self::FarLarge => "far-large",
        }
    }

    /// The only file, if it is one.
    pub(super) fn file(self) -> Option<&'static str> {
        match self {
            Self::Large | Self::FarLarge => Some("large.bin"),
            Self::Tiny => Some("1k.bin"),
            Self::Page => Some("4k.bin"),
            Self::Small | Self::Tree | Self::FarSmall => None,
            Self::Crowd | Self::Million | Self::Holes => None,
        }
    }

    /// Reads all of it, below `data`: whoever is measured first then finds it in memory as well.
    /// Returns its bytes.
    pub(super) fn read(self, data: &Path) -> anyhow::Result<u64> {
        read_below(&data.join(self.name()))
            .with_context(|| format!("cannot read the data set {}", self.name()))
    }

    /// Makes it below `data`, unless it is there in this size.
    pub(super) fn make(self, data: &Path, sizes: &Sizes) -> anyhow::Result<()> {
        let folder = data.join(self.name());
        let size = match self {
            Self::Large => sizes.large_mib,
            Self::Small => sizes.small_files,
            Self::Tree => TREE_ENTRIES,
            Self::Tiny => 1024,
            Self::Page => 4096,
            Self::Crowd => 8 * MIB,
            Self::Million => sizes.million_files,
            Self::Holes => sizes.holes_gib,
            Self::FarSmall => FAR_FILES,
            Self::FarLarge => FAR_MIB,
        };
        let mark = data.join(format!("{}-{size}", self.name()));
        if mark.exists() {
            return Ok(());
        }
        eprintln!("making the data set {}", self.name());
        let _ = fs::remove_dir_all(&folder);
        let make = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
            match self {
                Self::Large | Self::FarLarge => {
                    noise.write(&folder.join("large.bin"), size * MIB)?;
                }
                Self::Tiny => noise.write(&folder.join("1k.bin"), size)?,
                Self::Page => noise.write(&folder.join("4k.bin"), size)?,
                Self::Small | Self::FarSmall => make_small(&folder, &mut noise, 0..size, 4096)?,
                Self::Crowd => {
                    noise.write(&folder.join("8m.bin"), size)?;
                    make_small(&folder, &mut noise, 0..100, 4096)?;
                }
                Self::Million => make_million(&folder, &mut noise, size)?,
                Self::Holes => make_holes(&folder, &mut noise, size)?,
                Self::Tree => make_tree(&folder, &mut noise)?,
            }
            fs::write(&mark, "")
        };
        make().with_context(|| format!("cannot make {}", folder.display()))
    }
}

/// Files of `length` bytes, a hundred in each directory.
fn make_small(
    folder: &Path,
    noise: &mut Noise,
    numbers: Range<usize>,
    length: usize,
) -> io::Result<()> {
    for number in numbers {
        let directory = folder.join(format!("d{:04}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&directory)?;
        }
        noise.write(&directory.join(format!("f{number:06}.bin")), length)?;
    }
    Ok(())
}

fn make_million(folder: &Path, noise: &mut Noise, files: usize) -> io::Result<()> {
    let (half, quarter) = (folder.join("half"), folder.join("half/quarter"));
    make_small(&quarter, noise, 0..files / 4, 100)?;
    make_small(&half, noise, files / 4..files / 2, 100)?;
    make_small(folder, noise, files / 2..files, 100)
}

fn read_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += read_below(&entry.path())?;
        } else if kind.is_file() {
            bytes += io::copy(&mut fs::File::open(entry.path())?, &mut io::sink())?;
        }
    }
    Ok(bytes)
}

/// Where in a hollow file of that length a group of data begins: at its start, in its middle and at
/// its end.
pub(super) fn offsets_of_data(length: u64) -> [u64; 3] {
    [0, length / 2, length - MIB as u64]
}

/// Files of `gib` GiB, of half of that and of a quarter, each with three groups of data.
fn make_holes(folder: &Path, noise: &mut Noise, gib: usize) -> io::Result<()> {
    for part in [4, 2, 1] {
        let path = folder.join(format!("part-{part}.bin"));
        noise.write(&path, MIB)?;
        let group = fs::read(&path)?;
        let length = ((gib as u64) << 30) / part;
        let file = OpenOptions::new().write(true).open(&path)?;
        for offset in offsets_of_data(length) {
            file.write_all_at(&group, offset)?;
        }
    }
    Ok(())
}

/// Directories up to six deep with some twelve entries each; four in five files below 8 KiB, some
/// up to 256 KiB; one in fifty a link to its neighbour, one in twenty a program.
fn make_tree(folder: &Path, noise: &mut Noise) -> io::Result<()> {
    let mut directories = vec![(folder.to_owned(), 0)];
    let mut neighbour = None;
    for number in 0..TREE_ENTRIES {
        let (parent, depth) = directories[noise.below(directories.len())].clone();
        let path = parent.join(format!("{}_{number}", noise.word()));
        let kind = noise.below(100);
        match (kind, &neighbour) {
            (0..8, _) if depth < 6 => {
                fs::create_dir(&path)?;
                directories.push((path, depth + 1));
                continue;
            }
            (8..10, Some((directory, name))) if *directory == parent => symlink(name, &path)?,
            _ => {
                let length = match noise.below(10) {
                    0 => noise.below(256 << 10),
                    1 => noise.below(32 << 10),
                    _ => noise.below(8 << 10),
                };
                noise.write(&path, length)?;
                if kind >= 95 {
                    fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
                }
            }
        }
        neighbour = path.file_name().map(|name| (parent, name.to_owned()));
    }
    Ok(())
}

/// Numbers that look like chance and are always the same: xorshift64*.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }

    fn word(&mut self) -> String {
        let length = 3 + self.below(10);
        (0..length)
            .map(|_| char::from(b'a' + self.below(26) as u8))
            .collect()
    }

    fn write(&mut self, path: &Path, length: usize) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(MIB, File::create(path)?);
        for _ in 0..length / 8 {
            file.write_all(&self.next().to_le_bytes())?;
        }
        let rest = self.next().to_le_bytes();
        file.write_all(&rest[..length % 8])?;
        file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_made_once_and_alike() {
        let sizes = Sizes {
            large_mib: 1,
            small_files: 150,
            million_files: 400,
            holes_gib: 1,
        };
        let read = |set: DataSet, name: &str| {
            let data = tempfile::tempdir().unwrap();
            set.make(data.path(), &sizes).unwrap();
            set.make(data.path(), &sizes).unwrap();
            fs::read(data.path().join(set.name()).join(name)).unwrap()
        };
        let large = read(DataSet::Large, "large.bin");
        assert_eq!(large.len(), MIB);
        assert_eq!(large, read(DataSet::Large, "large.bin"));
        assert_eq!(read(DataSet::Tiny, "1k.bin"), large[..1024]);
        assert_eq!(read(DataSet::Small, "d0001/f000149.bin").len(), 4096);
        let quarter = read(DataSet::Million, "half/quarter/d0000/f000099.bin");
        let rest = read(DataSet::Million, "d0003/f000399.bin");
        assert_eq!((quarter.len(), rest.len()), (100, 100));
        let hollow = read(DataSet::Holes, "part-4.bin");
        assert_eq!(hollow.len(), 256 * MIB);
        assert_eq!(hollow[..MIB], hollow[128 * MIB..129 * MIB]);
    }
}
