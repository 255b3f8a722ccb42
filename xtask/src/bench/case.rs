//! What is measured, and what it is to be measured against.

use std::fmt;

use super::data_set::DataSet;

/// A piece of work that every peer does in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// One large file, into an empty place.
    Large,
    /// Many files of 4 KiB.
    Small,
    /// The same again, with nothing to do.
    SmallAgain,
    /// A tree as of source code: files of many sizes, programs, links.
    Tree,
    /// The same again.
    TreeAgain,
    /// One file of 1 KiB: what it costs to begin.
    Tiny,
    /// One file of 4 KiB by HTTP in clear text, very often, over many connections at once.
    Http,
    /// The large file, half done and with one byte of it flipped.
    Resume,
    /// A thousand small files over a line across a continent.
    WanSmall,
    /// One file over the same line.
    WanLarge,
    /// One file over a line that loses one packet in a hundred.
    WanLossy,
}

impl Case {
    pub(super) const ALL: [Self; 11] = [
        Self::Large,
        Self::Small,
        Self::SmallAgain,
        Self::Tree,
        Self::TreeAgain,
        Self::Tiny,
        Self::Http,
        Self::Resume,
        Self::WanSmall,
        Self::WanLarge,
        Self::WanLossy,
    ];

    /// The profile of `wanlink` that lies between server and client.
    pub(super) fn line(self) -> Option<&'static str> {
        match self {
            Self::WanSmall | Self::WanLarge => Some("continent"),
            Self::WanLossy => Some("lossy"),
            _ => None,
        }
    }

    pub(super) fn data_set(self) -> DataSet {
        match self {
            Self::Large | Self::Resume => DataSet::Large,
            Self::Small | Self::SmallAgain => DataSet::Small,
            Self::Tree | Self::TreeAgain => DataSet::Tree,
            Self::Tiny => DataSet::Tiny,
            Self::Http => DataSet::Page,
            Self::WanSmall => DataSet::FarSmall,
            Self::WanLarge | Self::WanLossy => DataSet::FarLarge,
        }
    }

    /// Short work is done more often.
    pub(super) fn repetition_factor(self) -> usize {
        match self {
            Self::Tiny => 8,
            _ => 1,
        }
    }

    /// The peers that we are to be compared with, and the part of their time that we are to need.
    pub(super) fn goals(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Large => &[("nginx-tls+curl", 0.85), ("scp", 0.52)],
            Self::Small => &[("rsyncd", 0.75)],
            Self::SmallAgain | Self::TreeAgain => &[("rsyncd", 0.6)],
            Self::Tree => &[("rsyncd", 0.8)],
            Self::Tiny => &[("nginx-tls+curl", 0.6)],
            Self::Http => &[("miniserve+h2load", 0.67)],
            Self::Resume => &[("rsync-append-verify", 0.29)],
            Self::WanSmall => &[("rsyncd", 1.0)],
            Self::WanLarge | Self::WanLossy => &[("nginx+aria2-x8", 1.0)],
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Large => "large",
            Self::Small => "small",
            Self::SmallAgain => "small-again",
            Self::Tree => "tree",
            Self::TreeAgain => "tree-again",
            Self::Tiny => "tiny",
            Self::Http => "http",
            Self::Resume => "resume",
            Self::WanSmall => "wan-small",
            Self::WanLarge => "wan-large",
            Self::WanLossy => "wan-lossy",
        })
    }
}
