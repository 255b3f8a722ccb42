//! Directories as one file, judged by the programs that unpack such files.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::served::{Answer, Served, request};

/// A tree with what is hard about trees. Nothing in it has changed for long.
fn tree() -> Served {
    let served = Served::new();
    let long = "n".repeat(200);
    let deep = format!("dir/{}/{}", "d".repeat(150), "\u{6587}".repeat(60));
    let large: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    for (name, content) in [
        ("dir/a", &b"content of a"[..]),
        ("dir/empty file", b""),
        ("dir/large", &large),
        ("dir/\u{4e2d}\u{6587} name", b"z"),
        (&format!("dir/{long}"), b"long"),
        (&deep, b"deep"),
        ("dir/unit", &[7; 512]),
        ("dir/<img src=x>\"\\", b"odd"),
    ] {
        served.file(name, content);
    }
    for number in 0..600 {
        served.file(format!("dir/many/{number}"), number.to_string());
    }
    served.file(b"dir/bytes-\xff\xfe", "bytes");
    for (name, time) in [("dir/a", 1_000_000_000.5), ("dir/unit", 0.25)] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(time);
        let file = fs::File::open(served.path(name)).unwrap();
        file.set_modified(time).unwrap();
    }
    fs::create_dir(served.path("dir/nothing in it")).unwrap();
    symlink("a", served.path("dir/link")).unwrap();
    symlink(format!("{long}/x"), served.path("dir/long link")).unwrap();
    symlink("/etc/passwd", served.path("dir/outside")).unwrap();
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(served.path("dir/a"), private).unwrap();
    served
}

/// Has `program` unpack `archive` from its standard input or, for `FILE`, from a file. False, with
/// a notice, where there is no such program.
fn unpack(program: &str, arguments: &[&str], archive: &[u8], into: &Path) -> bool {
    let file = into.with_extension("archive");
    fs::write(&file, archive).unwrap();
    fs::create_dir(into).unwrap();
    let arguments = arguments.iter().map(|argument| match *argument {
        "FILE" => file.as_os_str(),
        other => other.as_ref(),
    });
    let output = Command::new(program)
        .args(arguments)
        .current_dir(into)
        .stdin(Stdio::from(fs::File::open(&file).unwrap()))
        .output();
    let Ok(output) = output else {
        assert!(env::var_os("CI").is_none(), "{program} is missing");
        let _ = writeln!(io::stderr(), "SKIPPED: {program} is missing");
        return false;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    true
}

/// Everything below `root`: path, mode and time, content or target.
fn walk(root: &Path, follow: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap();
            if name.ends_with("outside") || (follow && name.ends_with("long link")) {
                continue;
            }
            let metadata = match follow {
                true => path.metadata().unwrap(),
                false => path.symlink_metadata().unwrap(),
            };
            let mode = metadata.permissions().mode();
            // A zip knows whole seconds only.
            let time = match (metadata.is_file(), follow) {
                (true, false) => format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
                (true, true) => metadata.mtime().to_string(),
                (false, _) => String::new(),
            };
            let content = if metadata.is_dir() {
                directories.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else {
                blake3_of(&fs::read(&path).unwrap())
            };
            lines.push(format!("{name:?} {mode:o} {time} {content}"));
        }
    }
    lines.sort();
    lines
}

fn blake3_of(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    format!("{} bytes {:x}", content.len(), hasher.finish())
}

async fn whole(served: &Served, path: &str) -> Answer {
    let answer = served.get(path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let length = answer.field("content-length").unwrap();
    assert_eq!(answer.body.len().to_string(), length);
    let head = served.ask("HEAD", path, &[]).await;
    assert_eq!(head.field("content-length"), Some(length));
    assert_eq!(head.field("etag"), answer.field("etag"));
    answer
}

#[tokio::test]
async fn every_program_unpacks_the_same_tree() {
    let served = tree();
    let tar = whole(&served, "/dir/?archive=tar").await;
    assert_eq!(tar.field("content-type"), Some("application/x-tar"));
    let name = Some("attachment; filename=\"dir.tar\"");
    assert_eq!(tar.field("content-disposition"), name);
    let expected = walk(&served.path("dir"), false);
    const PYTHON: &str = "import sys, tarfile
tarfile.open(sys.argv[1], encoding='utf-8', errors='surrogateescape') \\
    .extractall('.', filter='fully_trusted')";
    let scratch = tempfile::tempdir().unwrap();
    for (program, arguments) in [
        ("tar", &["-xp"][..]),
        ("bsdtar", &["-xpf", "-"]),
        ("python3", &["-c", PYTHON, "FILE"]),
    ] {
        let into = scratch.path().join(program);
        if unpack(program, arguments, &tar.body, &into) {
            assert_eq!(walk(&into.join("dir"), false), expected, "{program}");
        }
    }
    assert!(served.door.completed.load(Ordering::Relaxed) > 0);
    assert_eq!(
        tar.field("packhorse-skipped"),
        Some("1"),
        "what leads outside"
    );

    let zip = whole(&served, "/dir/?archive=zip").await;
    assert_eq!(zip.field("content-type"), Some("application/zip"));
    assert_eq!(zip.field("accept-ranges"), Some("none"));
    const PYTHON_ZIP: &str = "import sys, zipfile
bad = zipfile.ZipFile(sys.argv[1]).testzip()
assert bad is None, bad";
    for (program, arguments) in [
        ("unzip", &["-tq", "FILE"][..]),
        ("python3", &["-c", PYTHON_ZIP, "FILE"]),
        ("bsdtar", &["-xpf", "FILE"]),
    ] {
        let into = scratch.path().join(format!("zip-{program}"));
        if unpack(program, arguments, &zip.body, &into) && program == "bsdtar" {
            let text = |line: &String| !line.contains("\\xFF");
            let mut expected = walk(&served.path("dir"), true);
            expected.retain(text);
            let mut found = walk(&into.join("dir"), true);
            found.retain(text);
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn any_part_of_a_tar_is_a_slice_of_it() {
    let served = tree();
    let tar = whole(&served, "/dir/?archive=tar").await;
    let tag = tar.field("etag").unwrap();
    let length = tar.body.len();
    for start in (0..length).step_by(length / 40).chain([length - 1]) {
        for count in [1, 1000, 300_000] {
            let end = (start + count).min(length);
            let range = format!("Range: bytes={start}-{}", end - 1);
            let condition = format!("If-Range: {tag}");
            let part = served.get("/dir/?archive=tar", &[&range, &condition]).await;
            assert_eq!(part.status, 206);
            assert!(part.body == tar.body[start..end], "{range}");
        }
    }
    let again = served.get("/dir/?archive=tar", &[]).await;
    assert!(again.body == tar.body, "the bytes are always the same");
    let known = format!("If-None-Match: {tag}");
    assert_eq!(served.get("/dir/?archive=tar", &[&known]).await.status, 304);
    let beyond = format!("Range: bytes={length}-");
    assert_eq!(
        served.get("/dir/?archive=tar", &[&beyond]).await.status,
        416
    );
}

#[tokio::test]
async fn a_tree_that_has_changed_is_not_resumed() {
    let served = tree();
    let tar = whole(&served, "/dir/?archive=tar").await;
    let tag = tar.field("etag").unwrap().to_owned();
    let pinned = format!("/dir/?archive=tar&at={}", tag.trim_matches('"'));
    let resume = ["Range: bytes=5000-", &format!("If-Range: {tag}")];
    let rest = served.get(&pinned, &resume[..1]).await;
    assert_eq!(rest.status, 206);
    assert!(rest.body == tar.body[5000..]);
    served.file("dir/many/5", "x");
    assert_eq!(served.get(&pinned, &resume[..1]).await.status, 412);
    let new = served.get("/dir/?archive=tar", &resume).await;
    assert_eq!(new.status, 200, "the whole of what there is now");
    assert_ne!(new.field("etag").unwrap(), tag);
    for wrong in ["/dir/?archive=tar&at=", "/dir/?archive=tar&at=x"] {
        assert_eq!(served.get(wrong, &[]).await.status, 412, "{wrong}");
    }
    assert_eq!(served.get("/dir/?archive=rar", &[]).await.status, 400);
}

/// What changes between the two walks is never sent in another's place.
#[tokio::test]
async fn a_tree_that_changes_meanwhile_is_broken_off() {
    for format in ["tar", "zip"] {
        let served = tree();
        let length = whole(&served, &format!("/dir/?archive={format}"))
            .await
            .body
            .len();
        let request = request("GET", &format!("/dir/?archive={format}"), &[]);
        let (mut client, _serving) = served.connect(false);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 10_000];
        client.read_exact(&mut answer).await.unwrap();
        served.file("dir/many/599", "Y");
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.len() < length, "{format}");
    }
}
