//! The rules of the sources that no compiler knows: which way arrows point, what is pure, who may touch what.
//!
//! Every rule looks at all files at once and lists each break as `file:line: what`. A rule that has to change is
//! changed here, with the reason in the commit.

mod source;

use source::{Source, UsedPath};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules of the library, the highest first. A module uses itself and lower ones.
const LAYERS: [&[&str]; 14] = [
    &["fuzzing"],
    &["cli"],
    &["repl"],
    &["report"],
    &["runner"],
    &["bundle"],
    &["script"],
    &["lane"],
    &["oracle"],
    &["console"],
    &["journal"],
    &["control", "spice"],
    &["reference"],
    &["near"],
];

/// What has no IO and no clock: folders, and beginnings of files.
const PURE: [&str; 38] = [
    "src/digest/",
    "src/guest/src/",
    "src/spice/wire/",
    "src/spice/codec/",
    "src/spice/surface/",
    "src/spice/server/peer/base.rs",
    "src/spice/server/peer/cursor.rs",
    "src/spice/server/peer/display.rs",
    "src/spice/server/peer/inputs.rs",
    "src/spice/server/peer/main.rs",
    "src/lane/fault.rs",
    "src/spice/server/fault.rs",
    "src/spice/server/stage.rs",
    "src/spice/server/damage.rs",
    "src/spice/address.rs",
    "src/spice/vv.rs",
    "src/spice/recording.rs",
    "src/spice/replay.rs",
    "src/lane/attach_settings.rs",
    "src/lane/profile",
    "src/lane/plan",
    "src/lane/argv.rs",
    "src/lane/offers.rs",
    "src/lane/qcow2.rs",
    "src/lane/platform.rs",
    "src/lane/firmware.rs",
    "src/oracle/digest.rs",
    "src/oracle/drain.rs",
    "src/oracle/reconcile.rs",
    "src/oracle/records.rs",
    "src/journal/event.rs",
    "src/journal/matching.rs",
    "src/control/lines.rs",
    "src/control/protocol.rs",
    "src/console/keyboard.rs",
    "src/console/layout.rs",
    "src/reference/",
    "src/near.rs",
];

/// What pure code does not name.
const IMPURE: [&str; 11] = [
    "tokio",
    "tokio_util",
    "rustix",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "Instant::now",
    "SystemTime",
];

/// Names that belong to a few places: the names, the places, and whether tests may use them anywhere.
const RESERVED: [(&[&str], &[&str], bool); 3] = [
    (&["mlua"], &["src/script/"], false),
    (
        &["clap", "anstream", "process::exit", "env::args", "env::args_os"],
        &["src/cli/", "src/main.rs"],
        false,
    ),
    (&["env::var", "env::var_os", "env::vars", "env::vars_os", "env::set_var"], &["src/cli/"], true),
];

#[test]
fn no_arrow_points_up() {
    assert_none(sources().iter().flat_map(|file| file.check(check_arrow)));
}

#[test]
fn every_module_has_its_layer() {
    let root = File::read("src/lib.rs");
    let placed: BTreeSet<&str> = LAYERS.concat().into_iter().collect();
    let stray = root.source.declared.iter().filter(|name| !placed.contains(name.as_str()));
    assert_none(stray.map(|name| format!("src/lib.rs: `{name}` has no place in the order of the modules")));
}

#[test]
fn pure_code_has_no_files_sockets_environment_or_clock() {
    for pure in PURE {
        assert!(sources().iter().any(|file| file.name.starts_with(pure)), "{pure} is gone");
    }
    assert_none(sources().iter().flat_map(|file| file.check(check_purity)));
}

#[test]
fn lua_arguments_exits_and_the_environment_stay_where_they_belong() {
    assert_none(sources().iter().flat_map(|file| file.check(check_reserved)));
}

#[test]
fn every_file_of_the_tests_and_the_library_is_compiled() {
    let unreached = unreached("tests/it/main.rs", "tests/it/", &[]);
    let library = ["src/main.rs", "src/build.rs", "src/digest/", "src/guest/"];
    assert_none(unreached.into_iter().chain(self::unreached("src/lib.rs", "src/", &library)));
}

#[test]
fn every_module_says_what_it_is_for() {
    let entries: Vec<File> = sources().into_iter().filter(File::is_entry).collect();
    assert!(entries.len() > 10, "only {} modules were found", entries.len());
    let silent = entries.iter().filter(|file| !file.text.starts_with("//! "));
    assert_none(silent.map(|file| format!("{}:1: does not begin with `//!`", file.name)));
}

#[test]
fn no_text_knows_a_machine_an_issue_or_a_registry() {
    let folders = ["src", "tests", "lua", "scenarios", ".ci", "docs", "fixtures"];
    let mut names: Vec<PathBuf> =
        folders.iter().flat_map(|folder| files_below(&root().join(folder))).collect();
    names.extend(files_in(&root()).into_iter().filter(|file| has_extension(file, &["md", "toml"])));
    let mut read = 0;
    let mut found = Vec::new();
    // A lock file is cargo's: it says where packages come from.
    for path in names.into_iter().filter(|file| !has_extension(file, &["lock"])) {
        // What is not text has no lines either.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        read += 1;
        let name = relative(&path);
        found.extend(traces(&text).map(|(line, trace)| format!("{name}:{line}: {trace:?}")));
    }
    assert!(read > 100, "only {read} files were read");
    assert_none(found);
}

#[test]
fn the_setup_script_looks_for_firmware_where_lanes_do() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let (script, lanes) = (read(".ci/setup"), read("src/lane/platform_detect.rs"));
    let (script, lanes) = (firmware_paths(&script), firmware_paths(&lanes));
    assert!(script.len() > 10, "{script:?}");
    assert_eq!(script, lanes);
}

/// The paths of images that a text names, in its order.
fn firmware_paths(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let words = code.split(|c: char| c.is_whitespace() || "\"(),".contains(c));
    words.filter(|word| word.starts_with("usr/share/")).collect()
}

#[track_caller]
fn assert_none(breaks: impl IntoIterator<Item = String>) {
    let breaks: Vec<String> = breaks.into_iter().collect();
    assert!(breaks.is_empty(), "{}", breaks.join("\n"));
}

/// A source below `src/` and what it names.
struct File {
    /// From the repository's root.
    name: String,
    text: String,
    source: Source,
}

impl File {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        Self::new(name, text)
    }

    fn new(name: &str, text: String) -> Self {
        let source = Source::parse(&text, &module_of(name));
        Self { name: name.to_owned(), text, source }
    }

    fn check(&self, rule: fn(&str, &UsedPath) -> Option<String>) -> impl Iterator<Item = String> {
        self.source.paths.iter().filter_map(move |path| {
            let breaks = rule(&self.name, path)?;
            Some(format!("{}:{}: {breaks}", self.name, path.line))
        })
    }

    /// Whether it is where a reader of a module begins.
    fn is_entry(&self) -> bool {
        let below_src = self.name.strip_prefix("src/").unwrap_or_default();
        let is_package = ["digest/src/lib.rs", "guest/src/lib.rs"].contains(&below_src);
        is_package || !below_src.contains('/') || below_src.ends_with("/mod.rs")
    }
}

/// The names of the module in a file of the library, from the root down.
fn module_of(name: &str) -> Vec<&str> {
    let below_src = name.strip_prefix("src/").unwrap_or(name);
    let path = below_src.strip_suffix(".rs").unwrap_or(below_src);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').filter(|part| !["lib", "main"].contains(part)).collect()
}

fn check_arrow(name: &str, path: &UsedPath) -> Option<String> {
    let user = *module_of(name).first()?;
    let used = path.in_crate.as_ref()?.first()?;
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    if user == used || ["digest", "guest"].contains(&user) {
        return None;
    }
    match (layer(user), layer(used)) {
        (Some(user_layer), Some(used_layer)) if user_layer < used_layer => None,
        (Some(user_layer), Some(used_layer)) if user_layer == used_layer => {
            Some(format!("`{user}` and `{used}` must not know each other"))
        }
        (Some(_), Some(_)) => Some(format!("`{user}` uses `{used}`, which is above it")),
        (_, None) => Some(format!("`{user}` uses `{used}`, which is no module of the order")),
        (None, _) => Some(format!("`{user}` is no module of the order")),
    }
}

fn check_purity(name: &str, path: &UsedPath) -> Option<String> {
    if path.is_test || !PURE.iter().any(|pure| name.starts_with(pure)) {
        return None;
    }
    let impure = IMPURE.iter().find(|impure| path.names(impure))?;
    Some(format!("`{impure}` in pure code"))
}

fn check_reserved(name: &str, path: &UsedPath) -> Option<String> {
    let mut reserved = RESERVED.iter().filter(|(_, places, free_for_tests)| {
        let is_at_home = places.iter().any(|place| name.starts_with(place));
        !(is_at_home || *free_for_tests && path.is_test)
    });
    reserved.find_map(|(names, places, _)| {
        let found = names.iter().find(|name| path.names(name))?;
        Some(format!("`{found}` belongs into {} only", places.join(", ")))
    })
}

/// The files in `folder` that no `mod` leads to from `entry`.
fn unreached(entry: &str, folder: &str, besides: &[&str]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![entry.to_owned()];
    while let Some(name) = waiting.pop() {
        if root().join(&name).is_file() && reached.insert(name.clone()) {
            let declared = File::read(&name).source.declared;
            waiting.extend(declared.iter().flat_map(|module| homes_of(&name, module)));
        }
    }
    let all = files_below(&root().join(folder)).into_iter().filter(|file| has_extension(file, &["rs"]));
    let names = all.map(|file| relative(&file)).filter(|name| !besides.iter().any(|b| name.starts_with(b)));
    names.filter(|name| !reached.contains(name)).map(|name| format!("{name}: no `mod` leads here")).collect()
}

/// Where the module that a file declares may lie.
fn homes_of(declared_in: &str, module: &str) -> [String; 2] {
    let stem = declared_in.strip_suffix(".rs").unwrap_or(declared_in);
    let (folder, own) = stem.rsplit_once('/').unwrap_or(("", stem));
    let folder = if ["mod", "lib", "main"].contains(&own) { folder } else { stem };
    [format!("{folder}/{module}.rs"), format!("{folder}/{module}/mod.rs")]
}

/// What must stay out of every text, with its line. The words are taken apart so that this file may be searched too.
fn traces(text: &str) -> impl Iterator<Item = (usize, String)> {
    let folders = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    let words = [
        concat!("iss", "ue #"),
        concat!("crates", ".io"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
    ];
    let hosts = [concat!("pypi", ".org"), concat!("pythonhosted", ".org"), concat!("deb.debian", ".org")];
    text.lines().zip(1..).filter_map(move |(content, line)| {
        let lower = content.to_lowercase();
        let words = words.iter().chain(&hosts).find(|word| lower.contains(**word));
        let folder = || folders.iter().find(|folder| has_absolute(content, folder));
        words.or_else(folder).map(|found| (line, (*found).to_owned()))
    })
}

/// Whether a path beginning with `folder` stands in the line, and goes on with a name.
fn has_absolute(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || "._-~}*".contains(c);
        !line[..at].ends_with(is_part)
            && line[at + folder.len()..].starts_with(|c: char| c == '.' || c.is_alphanumeric())
    })
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<File> {
    let files = files_below(&root().join("src")).into_iter().filter(|file| has_extension(file, &["rs"]));
    // It runs before anything is built, and nothing is built from it.
    let files = files.filter(|file| !file.ends_with("src/build.rs"));
    files.map(|file| File::read(&relative(&file))).collect()
}

/// All files in the folder and those in it; none when it is not there.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_in(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir() && !path.ends_with("target"));
    files.extend(folders.flat_map(|folder| files_below(&folder)));
    files
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

fn has_extension(file: &Path, extensions: &[&str]) -> bool {
    file.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

/// The rules themselves, on small pieces that break them and on others that only look so.
mod rules {
    use super::{File, UsedPath, check_arrow, check_purity, check_reserved, homes_of, traces};

    fn breaks(rule: fn(&str, &UsedPath) -> Option<String>, name: &str, text: &str) -> Vec<String> {
        File::new(name, text.to_owned()).check(rule).collect()
    }

    #[test]
    fn an_arrow_up_is_found_however_it_is_written() {
        let ways = [
            ("src/journal/store.rs", "use crate::lane::Plan;"),
            ("src/journal/store.rs", "\nuse crate::{\n    near::nearest,\n    lane::{Plan, plan},\n};"),
            ("src/journal/store.rs", "fn f(plan: &crate::lane::Plan) {}"),
            ("src/journal/store.rs", "fn f() -> Vec<<crate::lane::Plan as Tr>::Out> {}"),
            ("src/journal/store.rs", "use super::super::lane;"),
            ("src/journal/mod.rs", "pub(crate) use super::{near, lane as l};"),
            ("src/journal/mod.rs", "mod a { mod b { use super::super::super::lane::Plan; } }"),
            ("src/journal/mod.rs", "macro_rules! m { () => { $crate::lane::plan() } }"),
            ("src/journal/mod.rs", "#[cfg(test)]\nmod tests { use crate::lane::Plan; }"),
            ("src/near.rs", "use self::super::lane::Plan;"),
        ];
        for (name, text) in ways {
            let found = breaks(check_arrow, name, text);
            assert_eq!(found.len(), if text.contains("plan}") { 2 } else { 1 }, "{text}: {found:?}");
            assert!(found[0].contains(" uses `lane`, which is above it"), "{found:?}");
        }
        let found = breaks(check_arrow, "src/journal/store.rs", ways[1].1);
        assert!(found[0].starts_with("src/journal/store.rs:4: "), "{found:?}");
    }

    #[test]
    fn what_is_no_arrow_up_is_left_alone() {
        let texts = [
            "use crate::journal::Journal;",
            "use crate::{near::nearest, spice::{self, Session}};",
            "use super::lane;\nuse super::super::near;",
            "mod lane { use super::super::lane::x; }",
            "// use crate::lane::Plan;\n/* crate::lane::a /* */ crate::lane::b */",
            "const A: &str = \"crate::lane::a\"; const B: &str = r#\"\"crate::lane::b\"#; const C: char = '\"';",
            "fn f<'a>(x: &'a str) -> impl Tr + use<'a> { lane::x() }",
        ];
        for text in texts {
            assert_eq!(breaks(check_arrow, "src/journal/store.rs", text), [""; 0], "{text}");
        }
        assert_eq!(breaks(check_arrow, "src/main.rs", "use crate::lane::x;"), [""; 0]);
        assert_eq!(breaks(check_arrow, "src/report/html.rs", "use crate::runner::RunEvent;"), [""; 0]);
    }

    #[test]
    fn neighbours_and_strangers_are_found() {
        let found = breaks(check_arrow, "src/spice/link.rs", "use crate::control::Protocol;");
        assert_eq!(found, ["src/spice/link.rs:1: `spice` and `control` must not know each other"]);
        let found = breaks(check_arrow, "src/runner/mod.rs", "use crate::report::Junit;");
        assert_eq!(found, ["src/runner/mod.rs:1: `runner` uses `report`, which is above it"]);
        let found = breaks(check_arrow, "src/lane/mod.rs", "use crate::util::helper;");
        assert_eq!(found, ["src/lane/mod.rs:1: `lane` uses `util`, which is no module of the order"]);
        let found = breaks(check_arrow, "src/util.rs", "use crate::near::nearest;");
        assert_eq!(found, ["src/util.rs:1: `util` is no module of the order"]);
    }

    #[test]
    fn impure_code_is_found_outside_tests_only() {
        let ways = [
            "use std::{collections::BTreeMap, fs};",
            "fn f() { let _ = std::net::TcpStream::connect(a); }",
            "use std::time::Instant;\nfn f() -> Instant { Instant::now() }",
            "use std::time::{Duration, SystemTime};",
            "use tokio::sync::watch;",
            "#[cfg(test)]\nmod tests {}\nuse std::env;",
            "#[cfg(not(test))]\nuse std::process::Command;",
            "#[cfg(test)]\n#[allow(dead_code)]\nfn f(a: [u8; 2]) { g(';') }\nuse ::std::env::var;",
        ];
        for text in ways {
            for name in ["src/spice/wire/draw.rs", "src/lane/profile_parse.rs", "src/digest/src/lib.rs"] {
                assert_eq!(breaks(check_purity, name, text).len(), 1, "{text}");
            }
            assert_eq!(breaks(check_purity, "src/lane/process.rs", text), [""; 0]);
        }
        let innocent = [
            "use std::time::{Duration, Instant};",
            "use std::fmt;\nfn f(fs: u8) { env!(\"X\") }",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { std::process::id(); }\n}",
            "#[cfg(test)]\nuse std::fs;",
        ];
        for text in innocent {
            assert_eq!(breaks(check_purity, "src/near.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn names_out_of_their_place_are_found() {
        let ways = [
            "use mlua::Lua;",
            "#[derive(clap::Args)] struct A;",
            "fn f() { anstream::println!(); }",
            "use std::process;\nfn f() -> ! { process::exit(1) }",
            "use std::env::{self, args};",
            "fn f() { std::env::var_os(\"PATH\"); }",
        ];
        for text in ways {
            let found = breaks(check_reserved, "src/lane/qmp.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
        }
        for text in &ways[1..] {
            assert_eq!(breaks(check_reserved, "src/cli/args.rs", text), [""; 0], "{text}");
        }
        assert_eq!(breaks(check_reserved, "src/script/test.rs", ways[0]), [""; 0]);
        assert_eq!(breaks(check_reserved, "src/cli/run.rs", ways[0]).len(), 1);
        let in_test = "#[cfg(test)]\nmod tests { fn f() { std::env::var(\"PATH\"); } }";
        assert_eq!(breaks(check_reserved, "src/lane/qmp.rs", in_test), [""; 0]);
    }

    #[test]
    fn a_module_is_looked_for_where_the_compiler_does() {
        assert_eq!(homes_of("tests/it/main.rs", "a"), ["tests/it/a.rs", "tests/it/a/mod.rs"]);
        assert_eq!(homes_of("tests/it/b/mod.rs", "a"), ["tests/it/b/a.rs", "tests/it/b/a/mod.rs"]);
        assert_eq!(homes_of("tests/it/b.rs", "a"), ["tests/it/b/a.rs", "tests/it/b/a/mod.rs"]);
        let declared =
            File::new("tests/it/main.rs", "mod a;\n// mod b;\npub(crate) mod c;\nmod d { }".to_owned());
        assert_eq!(declared.source.declared, ["a", "c"]);
    }

    #[test]
    fn a_trace_of_a_machine_is_found_with_its_line() {
        let found = |text: &str| traces(text).map(|(line, _)| line).collect::<Vec<_>>();
        let machine = [concat!("cd /ro", "ot/.cargo"), concat!("\"/wo", "rk/x\""), concat!("(/ho", "me/jo)")];
        for text in machine {
            assert_eq!(found(&format!("fine\n{text}\n")), [2], "{text}");
        }
        assert_eq!(found(concat!("see Iss", "ue #12")), [1]);
        assert_eq!(found(concat!("from static.crates", ".io\nand https://pypi", ".org/simple")), [1, 2]);
        for text in
            ["/home/*/", "target/work/x", "$HOME/work/x", "the issue at hand", "a crate's io", "/rooted/x"]
        {
            assert_eq!(found(text), [0; 0], "{text}");
        }
    }
}
