//! Where Packhorse reads files from and writes them to.
