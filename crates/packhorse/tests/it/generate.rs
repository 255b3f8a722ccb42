//! What a package installs beside the command: man pages and completions.

use std::fs;
use std::process::Command;

use crate::sandbox::Sandbox;

const COMMANDS: [&str; 8] = [
    "serve", "get", "ls", "shell", "listen", "talk", "bench", "demo",
];

#[test]
fn every_command_has_its_page_in_both_languages() {
    let sandbox = Sandbox::new();
    sandbox.run(&["generate", "made"]).code(0);
    let cases = [
        ("man/man1", ".SH NAME", ".SH EXAMPLES"),
        ("man/zh_CN/man1", ".SH 名称", ".SH 示例"),
    ];
    for (place, name, examples) in cases {
        for command in COMMANDS {
            let path = sandbox.path(format!("here/made/{place}/packhorse-{command}.1"));
            let page = fs::read_to_string(&path).unwrap();
            assert!(page.contains(name), "{path:?}: {page}");
            assert!(page.contains(examples), "{path:?}: {page}");
            assert!(!page.contains("EXTRA"), "{path:?}: {page}");
        }
        let pages = fs::read_dir(sandbox.path(format!("here/made/{place}"))).unwrap();
        assert_eq!(pages.count(), COMMANDS.len() + 1);
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let sandbox = Sandbox::new();
    sandbox.run(&["generate", "made"]).code(0);
    let cases = [
        ("packhorse s", &["serve", "shell"][..]),
        ("packhorse get --over", &["--overwrite"]),
        (
            "packhorse serve --c",
            &["--congestion", "--cert", "--cert-key"],
        ),
    ];
    for (line, expected) in cases {
        let script = "source made/completions/packhorse.bash\n\
            COMP_WORDS=($1)\n\
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n\
            _packhorse packhorse \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"\n\
            printf '%s\\n' \"${COMPREPLY[@]}\"\n";
        let mut bash = Command::new("bash");
        bash.args(["-c", script, "bash", line]);
        let output = bash.current_dir(sandbox.path("here")).output().unwrap();
        let offered = String::from_utf8(output.stdout).unwrap();
        let offered: Vec<_> = offered.lines().collect();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(offered, expected, "{line}: {told}");
    }
}
