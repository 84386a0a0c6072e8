//! `backstaff completions`: what shells offer after a TAB. Real shells are asked where they are installed.

use std::process::{Command, Stdio};

use super::lab::{Lab, skipped};

fn lab() -> Lab {
    Lab::bare()
        .file(
            "scenarios/a.lua",
            "error('never run')\nscenario('boots up', { tags = { \"smoke\", 'slow' } }, f)\n",
        )
        .file("scenarios/lanes/east.toml", "kind = \"sim\"\n")
        .file("more/west.toml", "kind = \"sim\"\n")
}

fn has(shell: &str, test: &str) -> bool {
    let is_there = Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        skipped(test, &format!("no {shell}"));
    }
    is_there
}

/// What bash offers for this line, a candidate a line: its own machinery calls the function that the script registers.
fn bash(lab: &Lab, line: &str) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_backstaff");
    // Readline is what takes the line apart, so it needs a terminal.
    let script = format!(
        "source <('{program}' completions bash)\nfunction backstaff {{ :; }}\nset -o noglob\n\
         show() {{ printf '%s\\n' \"${{COMPREPLY[@]}}\" >tmp/offered; }}\n\
         asked() {{ _backstaff \"$@\"; show; }}\ncomplete -o nosort -F asked backstaff\n"
    );
    std::fs::write(lab.path("tmp/rc"), script).unwrap();
    let _ = std::fs::remove_file(lab.path("tmp/offered"));
    let mut command = Command::new("script");
    command.args(["-qec", "bash --noprofile --rcfile tmp/rc -i", "/dev/null"]);
    command
        .current_dir(lab.path(""))
        .env("TERM", "xterm")
        .env("INPUTRC", "/dev/null")
        .env("SHELL", "/bin/bash");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut write = |text: &str| std::io::Write::write_all(&mut stdin, text.as_bytes()).unwrap();
    write(&format!("{line}\t"));
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !lab.path("tmp/offered").exists() {
        assert!(std::time::Instant::now() < limit, "bash offers nothing for {line:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    write("\u{15}exit\n");
    let _ = child.wait();
    std::fs::read_to_string(lab.path("tmp/offered")).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_what_can_follow() {
    if !has("bash", "bash") || !has("script", "bash") {
        return;
    }
    let lab = lab();
    let cases: [(&str, &[&str]); 11] = [
        ("backstaff ru", &["run"]),
        ("backstaff run --fil", &["--filter"]),
        ("backstaff run --lane ", &["east", "sim", "none"]),
        ("backstaff run --lane=e", &["east"]),
        ("backstaff run --lane-dir more --lane w", &["west"]),
        ("backstaff lane up e", &["east"]),
        ("backstaff run --tag s", &["slow", "smoke"]),
        ("backstaff run --report j", &["junit="]),
        ("backstaff run --report junit=mor", &["more/"]),
        ("backstaff list --filter boo", &["boots\\ up"]),
        ("backstaff completions p", &["powershell"]),
    ];
    for (line, wanted) in cases {
        assert_eq!(bash(&lab, line), wanted, "{line}");
    }
    let commands = bash(&lab, "backstaff ");
    assert!(
        ["run", "init", "record", "man"].iter().all(|name| commands.iter().any(|it| it == name)),
        "{commands:?}"
    );
    let scripts = bash(&lab, "backstaff run scenarios/");
    assert!(scripts.contains(&"scenarios/a.lua".to_owned()), "{scripts:?}");
}

#[test]
fn every_shell_reads_its_script_and_gets_names() {
    let lab = lab();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = lab.run(&["completions", shell]).exits_with(0).stdout;
        assert!(script.contains("BACKSTAFF_COMPLETE"), "{shell}: {script}");
        let file = format!("tmp/{shell}.script");
        std::fs::write(lab.path(&file), script).unwrap();
        if !["bash", "zsh", "fish"].contains(&shell) || !has(shell, shell) {
            continue;
        }
        let load = match shell {
            "zsh" => format!("autoload -Uz compinit; compinit -D; source {file}"),
            _ => format!("source {file}"),
        };
        let mut command = Command::new(shell);
        let run =
            command.args(["-c", &load]).current_dir(lab.path("")).env("HOME", lab.path("home")).output();
        let run = run.unwrap();
        assert!(
            run.status.success() && run.stderr.is_empty(),
            "{shell}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
    // Fish says what it would offer without a terminal.
    if has("fish", "fish") {
        let ask = "source tmp/fish.script; complete -C 'backstaff run --lane '";
        let mut command = Command::new("fish");
        let run = command.args(["-c", ask]).current_dir(lab.path("")).env("HOME", lab.path("home")).output();
        let text = String::from_utf8(run.unwrap().stdout).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), ["east", "sim", "none"]);
    }
}

#[test]
fn a_folder_without_anything_offers_what_is_built_in() {
    let ask = |lab: &Lab, words: &[&str]| {
        let words = [&["--", "backstaff"], words].concat();
        let asked = lab.command(&words).env("BACKSTAFF_COMPLETE", "bash").may_make("nothing");
        asked.run().exits_with(0).within(30).stdout
    };
    let lab = Lab::bare();
    assert_eq!(ask(&lab, &["run", "--lane", ""]), "sim\nnone\n");
    assert_eq!(ask(&lab, &["run", "--tag", ""]), "");
    let lab = lab.file("scenarios/a.lua", "while true do end\nscenario('x', { tags = { 'y' } }, f)\n");
    let lab = lab.file("backstaff.toml", "this is no project\n");
    assert_eq!(ask(&lab, &["run", "--lane", ""]), "sim\nnone\n");
    assert_eq!(ask(&lab, &["run", "--tag", ""]), "y\n", "no script runs for a TAB");
}

#[test]
fn a_shell_that_nobody_knows_is_refused() {
    let text = Lab::bare().run(&["completions", "tcsh"]).exits_with(2).text();
    assert!(text.contains("possible values: bash, zsh, fish, elvish, powershell"), "{text}");
}
