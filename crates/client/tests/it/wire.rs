//! Answers as a server writes them, encoded here by hand from PROTOCOL.md: nothing is checked, so
//! that a lie can be anything.

use packhorse_protocol::content::{ContentHash, GroupHash, GroupIndex};
use packhorse_protocol::entry::Refusal;

/// One frame of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Page(Vec<Told>),
    Contents(Vec<Fetched>),
    Group {
        index: u64,
        version: [u8; 16],
        content: Vec<u8>,
        hash: [u8; 32],
    },
    Hole {
        start: u64,
        count: u64,
        version: [u8; 16],
    },
    Hashes {
        start: u64,
        version: [u8; 16],
        hashes: Vec<[u8; 32]>,
    },
    Done {
        version: [u8; 16],
        size: u64,
        settled: bool,
    },
    Failed(Refusal),
    /// A whole frame, as it is.
    Raw(Vec<u8>),
}

/// An item of a page.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Directory {
        path: Vec<u8>,
        info: DirectoryInfo,
    },
    File {
        name: Vec<u8>,
        info: Info,
        inline: Option<Inline>,
    },
    Link {
        name: Vec<u8>,
        target: Vec<u8>,
        modified: (i64, u32),
    },
    Skipped {
        path: Vec<u8>,
        refusal: Refusal,
    },
    End,
}

/// An item of `Contents`.
#[derive(Debug, Clone)]
pub(crate) enum Fetched {
    File { info: Info, inline: Inline },
    Failed(Refusal),
}

/// A file info.
#[derive(Debug, Clone)]
pub(crate) struct Info {
    pub(crate) size: u64,
    pub(crate) modified: (i64, u32),
    pub(crate) mode: u16,
    pub(crate) version: [u8; 16],
    pub(crate) sparse: bool,
    pub(crate) link_group: u64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A directory info.
#[derive(Debug, Clone)]
pub(crate) struct DirectoryInfo {
    pub(crate) modified: (i64, u32),
    pub(crate) mode: u16,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A whole content with its hash.
#[derive(Debug, Clone)]
pub(crate) struct Inline {
    pub(crate) content: Vec<u8>,
    pub(crate) hash: [u8; 32],
}

impl Inline {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            hash: *ContentHash::of(content).as_bytes(),
        }
    }
}

/// A group as an honest server sends it.
pub(crate) fn group(index: u64, size: u64, version: [u8; 16], content: &[u8]) -> Answer {
    let at = GroupIndex::new(index).unwrap();
    Answer::Group {
        index,
        version,
        content: content.to_vec(),
        hash: *GroupHash::of(at, size, content).as_bytes(),
    }
}

impl Answer {
    /// The whole frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Body::default();
        let kind = match self {
            Self::Page(items) => {
                items.iter().for_each(|item| body.told(item));
                66
            }
            Self::Contents(items) => {
                items.iter().for_each(|item| body.fetched(item));
                67
            }
            Self::Group {
                index,
                version,
                content,
                hash,
            } => {
                body.raw(&index.to_le_bytes()).raw(version);
                body.raw(content).raw(hash);
                68
            }
            Self::Hole {
                start,
                count,
                version,
            } => {
                body.number(*start).number(*count).raw(version);
                69
            }
            Self::Hashes {
                start,
                version,
                hashes,
            } => {
                body.number(*start).raw(version).raw(hashes.as_flattened());
                70
            }
            Self::Done {
                version,
                size,
                settled,
            } => {
                body.raw(version).number(*size).flag(*settled);
                71
            }
            Self::Failed(refusal) => {
                body.refusal(*refusal);
                72
            }
            Self::Raw(frame) => return frame.clone(),
        };
        frame(kind, &body.0)
    }
}

/// A frame of any type.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&[kind][..], &length.to_le_bytes(), body].concat()
}

/// A body that grows.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn flag(&mut self, flag: bool) -> &mut Self {
        self.raw(&[u8::from(flag)])
    }

    /// 7 bits a byte, least significant first.
    pub(crate) fn number(&mut self, mut number: u64) -> &mut Self {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.raw(&[number as u8])
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).raw(bytes)
    }

    fn time(&mut self, (seconds, nanoseconds): (i64, u32)) -> &mut Self {
        let zigzag = (seconds << 1) ^ (seconds >> 63);
        self.number(zigzag as u64).number(u64::from(nanoseconds))
    }

    fn xattrs(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) -> &mut Self {
        self.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            self.bytes(name).bytes(value);
        }
        self
    }

    fn refusal(&mut self, refusal: Refusal) -> &mut Self {
        self.raw(&[refusal as u8])
    }

    fn info(&mut self, info: &Info) -> &mut Self {
        self.number(info.size).time(info.modified);
        self.number(u64::from(info.mode)).raw(&info.version);
        self.flag(info.sparse).number(info.link_group);
        self.xattrs(&info.xattrs)
    }

    fn inline(&mut self, inline: &Inline) -> &mut Self {
        self.bytes(&inline.content).raw(&inline.hash)
    }

    fn told(&mut self, item: &Told) {
        match item {
            Told::Directory { path, info } => {
                self.raw(&[0]).bytes(path).time(info.modified);
                self.number(u64::from(info.mode)).xattrs(&info.xattrs);
            }
            Told::File { name, info, inline } => {
                self.raw(&[1]).bytes(name).info(info);
                self.flag(inline.is_some());
                if let Some(inline) = inline {
                    self.inline(inline);
                }
            }
            Told::Link {
                name,
                target,
                modified,
            } => {
                self.raw(&[2]).bytes(name).bytes(target).time(*modified);
            }
            Told::Skipped { path, refusal } => {
                self.raw(&[3]).bytes(path).refusal(*refusal);
            }
            Told::End => {
                self.raw(&[4]);
            }
        }
    }

    fn fetched(&mut self, item: &Fetched) {
        match item {
            Fetched::File { info, inline } => {
                self.raw(&[0]).info(info).inline(inline);
            }
            Fetched::Failed(refusal) => {
                self.raw(&[1]).refusal(*refusal);
            }
        }
    }
}
