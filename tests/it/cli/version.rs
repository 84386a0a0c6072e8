//! `backstaff --version` tells two binaries apart.

use super::lab::Lab;

#[test]
fn the_version_is_short_or_whole() {
    let lab = Lab::bare();
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(lab.run(&["-V"]).exits_with(0).stdout, format!("backstaff {number}\n"));
    let whole = lab.run(&["--version"]).exits_with(0).stdout;
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines[0], format!("backstaff {number}"));
    let value = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {whole}")).trim().to_owned()
    };
    let commit = value("commit");
    let word = commit.split(',').next().unwrap();
    assert!(word == "unknown" || word.chars().all(|char| char.is_ascii_hexdigit()), "{commit}");
    assert_eq!(value("platform"), format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
    assert!(value("codecs").contains("quic"));
    // The Lua that it says is the Lua that scripts see.
    let lua = format!("expect(_VERSION):equals(\"Lua {}\")", value("Lua"));
    let lab = lab.scenario("", &lua);
    let _ = lab.run(&["run", "a.lua", "--lane", "none"]).exits_with(0);
}
