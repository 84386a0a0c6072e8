//! What a profile may say, of all kinds and through others, and the text that is hashed. The profiles that come with
//! backstaff load, and QEMU accepts what they come to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backstaff::lane::plan::{QEMU_LOG, QMP_SOCKET, resolve_acceleration};
use backstaff::lane::prepare::prepare;
use backstaff::lane::profile::{
    AccelRequest, AttachProfile, GateKind, ProfileError, ProfileSource, QemuProfile, QmpAllow,
};
use backstaff::lane::qmp::QmpClient;
use backstaff::lane::teardown::{Rung, TeardownConfig, teardown};
use backstaff::lane::{Platform, Profile, plan};
use proptest::prelude::*;

use serde_json::{Map, Value, json};

use super::somebody::free_port;
use super::support::{PATIENCE, boardless, connect, platform_or_skip, root, spawn};

/// Texts that extend one another, the profile's own first, as if they lay in a project that is nowhere on this host.
fn chain(sources: &[(&str, &str)]) -> Result<Profile, ProfileError> {
    let files: Vec<PathBuf> =
        sources.iter().map(|(file, _)| Path::new("/project/scenarios/lanes").join(file)).collect();
    let root = Path::new("/project");
    let sources: Vec<ProfileSource<'_>> =
        sources.iter().zip(&files).map(|((_, text), file)| ProfileSource { text, file, root }).collect();
    Profile::parse_chain("east", &sources, &|_| None)
}

fn parse(text: &str) -> Result<Profile, ProfileError> {
    chain(&[("east.toml", text)])
}

fn complaint(sources: &[(&str, &str)]) -> String {
    let error = chain(sources).unwrap_err().to_string();
    error.strip_prefix("/project/scenarios/lanes/").unwrap_or(&error).to_owned()
}

fn attached(text: &str) -> AttachProfile {
    match parse(&format!("kind = \"attach\"\n{text}")).unwrap() {
        Profile::Attach(profile) => *profile,
        Profile::Qemu(_) | Profile::Sim(_) => panic!("it is of kind attach"),
    }
}

#[test]
fn a_simulated_machine_is_described_by_its_clock() {
    let sim = |text: &str| match parse(&format!("kind = \"sim\"\n{text}")).unwrap() {
        Profile::Sim(profile) => *profile,
        Profile::Qemu(_) | Profile::Attach(_) => panic!("it is of kind sim"),
    };
    let smallest = sim("");
    assert!(smallest.time_scale == 1.0);
    let kinds: Vec<_> = smallest.gates.iter().map(|gate| &gate.kind).collect();
    assert_eq!(kinds, [&GateKind::SpiceSurface, &GateKind::Digest]);
    let whole =
        sim("[[gate]]\nkind = \"serial-line\"\npattern = \"^Hello\"\n[sim]\n# why\ntime_scale = 10\n");
    assert!(whole.time_scale == 10.0 && whole.gates.len() == 1);
    let again = "sim.time_scale = 10.0\n[[gate]]\npattern = \"^Hello\"\nkind = \"serial-line\"\n";
    assert_ne!(whole.profile_hash(), sim(again).profile_hash(), "a whole number is another text");
    assert_eq!(sim(again).profile_hash(), sim(&format!("# formatting\n{again}")).profile_hash());
    for (text, wanted) in [
        ("[sim]\ntime_scael = 1", "3:1: unknown key `time_scael`, did you mean `time_scale`?"),
        ("[sin]", "2:2: unknown key `sin`, did you mean `sim`?"),
        ("[sim]\ntime_scale = 0", "3:14: `time_scale` is \"0\", wanted a number from 0.01 to 100"),
        ("[sim]\ntime_scale = nan", "3:14: `time_scale` is \"NaN\", wanted a number from 0.01 to 100"),
        ("[sim]\ntime_scale = 101.5", "3:14: `time_scale` is \"101.5\", wanted a number from 0.01 to 100"),
        ("[machine]\ncpus = 2", "2:2: `machine` belongs to kind = \"qemu\""),
        ("[attach]", "2:2: `attach` belongs to kind = \"attach\""),
        (
            "[[gate]]\nkind = \"qmp\"",
            "3:8: gate `qmp` needs a machine with a monitor, which a simulated one has not",
        ),
    ] {
        assert_eq!(
            complaint(&[("east.toml", &format!("kind = \"sim\"\n{text}"))]),
            format!("east.toml:{wanted}")
        );
    }
    for kind in ["qemu", "attach"] {
        let text = format!("kind = \"{kind}\"\n[sim]\ntime_scale = 2\n");
        assert_eq!(complaint(&[("east.toml", &text)]), "east.toml:2:2: `sim` belongs to kind = \"sim\"");
    }
}

#[test]
fn an_attached_machine_is_described_by_its_endpoints() {
    let smallest = attached("");
    assert_eq!((smallest.spice, smallest.vv, smallest.qmp), (None, None, None));
    assert_eq!(smallest.qmp_allow, QmpAllow::default());
    assert_eq!(smallest.gates.iter().map(|gate| &gate.kind).collect::<Vec<_>>(), [&GateKind::SpiceSurface]);

    let all = attached(
        r#"
        attach.spice = "spice://localhost:5930"
        attach.vv = "east.vv"
        attach.serial_log = "../east.log"
        attach.qmp = "-qmp,1.sock"
        attach.control_socket = "control.sock"
        attach.ca = "../ca.pem"
        attach.host_subject = "CN=east"
        attach.password_file = "ticket"
        oracle.digest = true
        qmp.allow = ["query-*", "screendump"]
        "#,
    );
    assert_eq!(all.spice.unwrap().0, "spice://localhost:5930");
    assert_eq!(all.vv.unwrap(), "/project/scenarios/lanes/east.vv");
    assert_eq!(all.serial_log.unwrap(), "/project/scenarios/east.log");
    assert_eq!(all.qmp.unwrap(), "/project/scenarios/lanes/-qmp,1.sock");
    assert_eq!(all.control_socket.unwrap(), "/project/scenarios/lanes/control.sock");
    assert_eq!(all.ca.unwrap(), "/project/scenarios/ca.pem");
    assert_eq!(all.host_subject.unwrap(), "CN=east");
    assert_eq!(all.password_file.unwrap(), "/project/scenarios/lanes/ticket");
    assert_eq!(all.qmp_allow.0, ["query-*", "screendump"]);
    let gates: Vec<_> = all.gates.iter().map(|gate| (&gate.kind, gate.timeout)).collect();
    let patience = Duration::from_secs(60);
    assert_eq!(gates, [(&GateKind::SpiceSurface, patience), (&GateKind::Digest, patience)]);
}

#[test]
fn gates_of_an_attached_machine_need_what_there_can_be() {
    let gate = |text: &str| complaint(&[("east.toml", &format!("kind = \"attach\"\n{text}"))]);
    assert_eq!(gate("[[gate]]\nkind = \"qmp\""), "east.toml:3:8: gate `qmp` needs `qmp` under `[attach]`");
    assert_eq!(
        gate("[[gate]]\nkind = \"digest\""),
        "east.toml:3:8: gate `digest` needs `digest = true` under `[oracle]`"
    );
    let allowed = attached(
        "attach.qmp = \"q\"\ngate = [{ kind = \"qmp\" }, { kind = \"serial-line\", pattern = \"x\" }]",
    );
    assert_eq!(allowed.gates.len(), 2);
}

#[test]
fn keys_of_the_other_kind_say_whose_they_are() {
    let machine = "kind = \"attach\"\n[machine]\ncpus = 2";
    assert_eq!(complaint(&[("east.toml", machine)]), "east.toml:2:2: `machine` belongs to kind = \"qemu\"");
    let warm = "warm.enabled = false\nkind = \"attach\"";
    assert_eq!(complaint(&[("east.toml", warm)]), "east.toml:1:1: `warm` belongs to kind = \"qemu\"");
    let endpoint = "kind = \"qemu\"\n[attach]\nvv = \"x\"";
    assert_eq!(complaint(&[("east.toml", endpoint)]), "east.toml:2:2: `attach` belongs to kind = \"attach\"");
    let neither = "kind = \"attach\"\n[attach]\nspise = \"x\"";
    assert_eq!(
        complaint(&[("east.toml", neither)]),
        "east.toml:3:1: unknown key `spise`, did you mean `spice`?"
    );
}

#[test]
fn endpoints_of_somebody_else_follow_the_same_rules_of_paths() {
    for key in ["vv", "serial_log", "qmp", "control_socket", "ca", "password_file"] {
        let text = |more: &str| format!("kind = \"attach\"\n{more}[attach]\n{key} = \"/run/x\"\n");
        let error = parse(&text("")).unwrap_err();
        assert!(error.to_string().contains("\"/run/x\" lies outside the project tree"), "{error}");
        assert!(error.hint().unwrap().contains("allow_outside"));
        parse(&text("allow_outside = true\n")).unwrap();
    }
}

#[test]
fn a_ticket_in_an_address_is_neither_shown_nor_hashed() {
    let form = |ticket: &str| {
        let text = format!("kind = \"attach\"\n[attach]\nspice = \"spice://h?port=1&password={ticket}\"");
        let profile = parse(&text).unwrap();
        assert!(!format!("{profile:?}").contains(ticket), "{profile:?}");
        (profile.canonical().to_owned(), profile.profile_hash().to_owned())
    };
    let (canonical, hash) = form("hunter2");
    assert_eq!(canonical, "kind = \"attach\"\n\n[attach]\nspice = \"spice://h?port=1&password=…\"\n");
    assert_eq!((canonical, hash), form("hunter3"));
}

#[test]
fn an_address_that_is_wrong_is_not_quoted() {
    let text = "kind = \"attach\"\n[attach]\nspice = \"spice://h:1?password=so secret\"";
    let error = complaint(&[("east.toml", text)]);
    assert!(error.starts_with("east.toml:3:9: `spice` is ") && !error.contains("secret"), "{error}");
    assert!(parse("kind = \"attach\"\nattach.spice = \"\"").is_err());
}

#[test]
fn commands_that_scenarios_may_send_are_names_or_beginnings() {
    let allow = |entries: &str| parse(&format!("kind = \"qemu\"\n[qmp]\nallow = [{entries}]"));
    let qemu = |entries: &str| allow(entries).unwrap().qemu().unwrap().qmp_allow;
    assert!(qemu("\"*\"").allows("quit"));
    assert!(!qemu("").allows("query-status"));
    assert!(qemu("\"query-*\", \"x_y-2\"").allows("x_y-2"));
    for entry in ["", "Quit", "a*b", "**", "a b", "query-*,quit"] {
        let error = allow(&format!("\"stop\", {entry:?}")).unwrap_err();
        assert_eq!((error.line, error.column), (3, 18), "{entry}");
        assert!(error.to_string().contains("wanted the name of a QMP command"), "{error}");
    }
}

#[test]
fn warm_starts_can_be_switched_off() {
    let warm = |text: &str| parse(&format!("kind = \"qemu\"\n{text}")).unwrap().qemu().unwrap().warm;
    assert!(warm("") && warm("[warm]") && warm("[warm]\nenabled = true"));
    assert!(!warm("[warm]\nenabled = false"));
}

#[test]
fn boards_are_q35_and_pc_with_or_without_a_version() {
    let board = |name: &str| parse(&format!("kind = \"qemu\"\n[machine]\ntype = {name:?}"));
    for name in ["q35", "pc", "pc-q35-7.2", "pc-i440fx-10.0", "pc-i440fx-2.12"] {
        assert_eq!(board(name).unwrap().qemu().unwrap().machine.machine_type, name);
    }
    for name in ["pc-q35-", "pc-q35-7.", "pc-i440fx-7.2,usb=on", "isapc", "microvm", "PC", ""] {
        let error = board(name).unwrap_err().to_string();
        assert!(error.contains("wanted `q35`, `pc`, `pc-q35-X.Y` or `pc-i440fx-X.Y`"), "{error}");
    }
}

#[test]
fn a_profile_takes_what_it_does_not_say_from_the_one_it_extends() {
    let own = "extends = \"base\"\nmachine.cpus = 4\n[[disk]]\npath = \"own.img\"\n";
    let base = "extends = \"root\"\nmachine = { cpus = 2, memory_mib = 128 }\n\
                disk = [{ path = \"a\" }, { path = \"b\" }]\nboot.kernel = \"base.efi\"\n";
    let root = "kind = \"qemu\"\n[machine]\nmemory_mib = 256\naccel = \"tcg\"\n[[network]]\n[[network]]\n";
    let sources = [("east.toml", own), ("../base.toml", base), ("more/root.toml", root)];
    let profile = chain(&sources).unwrap();
    let canonical = "kind = \"qemu\"\n\n[boot]\nkernel = \"scenarios/base.efi\"\n\n[[disk]]\npath = \"scenarios/lanes/own.img\"\n\n\
                     [machine]\naccel = \"tcg\"\ncpus = 4\nmemory_mib = 128\n\n[[network]]\n\n[[network]]\n";
    assert_eq!(profile.canonical(), canonical);
    let profile = profile.qemu().unwrap();
    assert_eq!((profile.machine.cpus, profile.machine.memory_mib), (4, 128));
    assert_eq!(profile.machine.accel, AccelRequest::Tcg);
    assert_eq!(profile.kernel.unwrap(), "/project/scenarios/base.efi", "relative to the file that says so");
    assert_eq!(profile.disks.len(), 1, "arrays are taken as a whole");
}

#[test]
fn every_error_is_where_the_offending_key_is_written() {
    let base = ("base.toml", "# ü\nkind = \"qemu\"\n[oracle]\ndigest = true\n[firmware]\nbios = \"f\"\n");
    let with_base = |own: &str| complaint(&[("east.toml", own), base]);
    assert_eq!(
        with_base("extends = \"base\"\n[display]\ndevice = \"none\""),
        "base.toml:4:10: `digest = true` needs a display"
    );
    assert_eq!(
        with_base("extends = \"base\"\nfirmware.code = \"c\""),
        "base.toml:6:8: `bios` needs `code` and `vars` to be absent"
    );
    assert_eq!(
        with_base("extends = \"base\"\n[spice]\nport = 5900"),
        "east.toml:3:8: `port` needs `transport = \"tcp\"`"
    );
    assert_eq!(
        with_base("\nextends = \"base\"\nkind = \"attach\""),
        "east.toml:3:8: `kind = \"attach\"` needs the same `kind` in the profile that is extended, which has \"qemu\""
    );
    let with_own = |text: &str| complaint(&[("east.toml", "extends = \"base\"\n"), ("base.toml", text)]);
    assert_eq!(
        with_own("kind = \"qemu\"\n[machine]\nacel = \"kvm\""),
        "base.toml:3:1: unknown key `acel`, did you mean `accel`?"
    );
    assert_eq!(
        with_own("kind = \"qemu\"\n[boot]\nkernel = \"../../../x\""),
        "base.toml:3:10: path \"../../../x\" lies outside the project tree \"/project\""
    );
    assert_eq!(with_own("kind = \"attach\"\n\n[warm]"), "base.toml:3:2: `warm` belongs to kind = \"qemu\"");
    assert!(with_own("kind = \"qemu\"\n[machine\n").starts_with("base.toml:2:9: "));
    assert!(with_own("kind = \"qemu\"\n[machine]\ncpus = \"two\"").starts_with("base.toml:3:8: "));
    let message = with_own("[machine]\ncpus = 2");
    assert!(message.starts_with("east.toml:1:1: ") && message.contains("missing field `kind`"), "{message}");
}

#[test]
fn extends_is_the_name_of_a_profile() {
    let own = |text: &str| complaint(&[("east.toml", text)]);
    assert_eq!(
        own("kind = \"qemu\"\nextends = 3"),
        "east.toml:2:11: invalid type: integer, expected a string"
    );
    assert_eq!(
        own("extends = \"../base\""),
        "east.toml:1:11: `extends` is \"../base\", wanted the name of a profile"
    );
    assert_eq!(own("extends = \"base\""), "east.toml:1:11: no lane profile named \"base\" to extend");
    assert_eq!(
        own("kind = \"qemu\"\nextend = \"base\""),
        "east.toml:2:1: unknown key `extend`, did you mean `extends`?"
    );
    let found = Profile::extends_of("# why\n  extends = \"base\"").unwrap();
    assert_eq!((&*found.name, found.line, found.column), ("base", 2, 13));
    for text in
        ["kind = \"qemu\"", "extends = 3", "extends = \"a/b\"", "extends = [", "[x]\nextends = \"base\""]
    {
        assert_eq!(Profile::extends_of(text), None, "{text}");
    }
}

#[test]
fn a_link_that_leaves_the_tree_is_refused_unless_the_profile_allows_it() {
    let follow = |path: &Path| match path.strip_prefix("/project/link") {
        Ok(below) => Some(Path::new("/elsewhere").join(below)),
        Err(_) => Some(path.to_owned()),
    };
    let parse = |text: &str| {
        let (file, root) = (Path::new("/project/lanes/east.toml"), Path::new("/project"));
        Profile::parse_chain("east", &[ProfileSource { text, file, root }], &follow)
    };
    let error = parse("kind = \"qemu\"\n[boot]\nkernel = \"../link/k.efi\"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "/project/lanes/east.toml:3:10: path \"../link/k.efi\" leads to \"/elsewhere/k.efi\", outside the project tree \
         \"/project\""
    );
    assert!(error.hint().unwrap().contains("allow_outside"));
    let allowed = parse("kind = \"qemu\"\nallow_outside = true\n[boot]\nkernel = \"../link/k.efi\"");
    assert_eq!(allowed.unwrap().qemu().unwrap().kernel.unwrap(), "/project/link/k.efi");
}

/// The example of docs/lanes.md.
#[test]
fn the_canonical_text_and_its_hash_are_what_the_page_says() {
    let page = fs::read_to_string(root().join("docs/lanes.md")).unwrap();
    let block = |after: &str, kind: &str| {
        let (_, rest) = page.split_once(after).unwrap();
        let (_, rest) = rest.split_once(&format!("```{kind}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let marker = "## The canonical form";
    let written = block(marker, "toml");
    let canonical = block(&written, "text");
    let root = Path::new("/srv/ada/project");
    let profile = Profile::parse("east", &written, &root.join("scenarios/lanes/east.toml"), root).unwrap();
    assert_eq!(profile.canonical(), canonical);
    assert_eq!(
        profile.profile_hash(),
        "sha256:c0ff3fad96621638776d21cbd6e0032ad4fedefc70b31f017765ade6aa64806f"
    );
    assert!(page.contains(&format!("`{}`", profile.profile_hash())));
    let again = Profile::parse("east", &canonical, &root.join("east.toml"), root).unwrap();
    assert_eq!(again.canonical(), canonical, "at the root it is its own canonical form");
}

#[test]
fn two_checkouts_have_one_hash_and_other_values_another() {
    let hash = |root: &str, text: &str| {
        let file = Path::new(root).join("lanes/east.toml");
        Profile::parse("east", text, &file, Path::new(root)).unwrap().profile_hash().to_owned()
    };
    let text = "kind = \"qemu\"\nallow_outside = true\n[boot]\nkernel = \"../k.efi\"\n[firmware]\nbios = \"/usr/f.fd\"";
    assert_eq!(hash("/srv/ada/x", text), hash("/srv/y", text));
    assert_ne!(hash("/srv/y", text), hash("/srv/y", &text.replace("k.efi", "l.efi")));
    // What a file is called and how its place is written are two things.
    assert_eq!(hash("/srv/y", text), hash("/srv/y", &text.replace("../k.efi", "../lanes/.././k.efi")));
    let (own, host) =
        ("kind = \"qemu\"\nfirmware.bios = \"../ovmf\"", "kind = \"qemu\"\nfirmware.bios = \"ovmf\"");
    assert_ne!(hash("/srv/y", own), hash("/srv/y", host));
}

#[test]
fn no_depth_of_nesting_ends_the_program() {
    for depth in [100, 10_000, 100_000] {
        let keys = vec!["a"; depth].join(".");
        for text in [format!("{keys} = 1"), format!("[{keys}]"), format!("a = {}1", "[".repeat(depth))] {
            assert!(parse(&format!("kind = \"qemu\"\n{text}")).is_err());
            assert_eq!(Profile::extends_of(&text), None);
        }
    }
}

/// A profile's tables, keys and entries; every line stands for itself.
fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("[machine]", vec!["cpus = 2", "memory_mib = 128", "accel = \"tcg\"", "cpu = \"max\""]),
        ("[spice]", vec!["compression = \"glz\"", "jpeg = \"auto\"", "ticket = true"]),
        ("[boot]", vec!["kernel = \"../k, 'é' #1.efi\""]),
        ("[qmp]", vec!["allow = [\"stop\", \"query-*\"]"]),
        ("[warm]", vec!["enabled = false"]),
        ("[serial]", vec![]),
    ]
}

/// Entries of arrays, all different.
fn entries() -> Vec<Vec<&'static str>> {
    vec![
        vec!["[[disk]]", "path = \"a\"", "readonly = true"],
        vec!["[[disk]]", "path = \"b\"", "bus = \"ide\""],
        vec!["[[network]]", "model = \"e1000e\""],
        vec!["[[network]]", "restrict = false", "model = \"virtio\""],
        vec!["[[gate]]", "kind = \"qmp\"", "timeout = 0.5"],
        vec!["[[gate]]", "kind = \"serial-line\"", "pattern = '\\$ \"'", "timeout = 5"],
    ]
}

/// Shuffles tables and the keys in them; entries of one array stay in their order.
fn reordered() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let tables = sections().into_iter().map(|(header, keys)| (vec![header], keys));
    let arrays = entries().into_iter().map(|mut lines| (vec![lines.remove(0)], lines));
    let shuffled: Vec<_> = tables
        .chain(arrays)
        .map(|(header, keys)| Just(keys).prop_shuffle().prop_map(move |keys| [header.clone(), keys].concat()))
        .collect();
    let places: Vec<usize> = (0..shuffled.len()).collect();
    (shuffled, Just(places).prop_shuffle()).prop_map(|(parts, places)| {
        // An array's entries take the places of that array, in their old order.
        let mut order: Vec<usize> = places;
        for header in ["[[disk]]", "[[network]]", "[[gate]]"] {
            let is_entry = |part: &usize| parts[*part][0] == header;
            let mut own: Vec<usize> = order.iter().copied().filter(is_entry).collect();
            own.sort_unstable();
            let mut own = own.into_iter();
            for part in order.iter_mut().filter(|part| is_entry(part)) {
                *part = own.next().unwrap();
            }
        }
        order.into_iter().map(|part| parts[part].clone()).collect()
    })
}

fn text_of(parts: &[Vec<&str>], line: impl Fn(&str) -> String) -> String {
    std::iter::once("kind = \"qemu\"").chain(parts.concat()).map(line).collect()
}

fn plain(line: &str) -> String {
    format!("{line}\n")
}

fn canonical(text: &str) -> String {
    parse(text).unwrap().canonical().to_owned()
}

fn hash(text: &str) -> String {
    parse(text).unwrap().profile_hash().to_owned()
}

fn written() -> Vec<Vec<&'static str>> {
    let tables = sections().into_iter().map(|(header, keys)| [vec![header], keys].concat());
    tables.chain(entries()).collect()
}

proptest! {
    #[test]
    fn the_order_of_tables_and_keys_changes_no_byte(parts in reordered()) {
        let (left, right) = (text_of(&written(), plain), text_of(&parts, plain));
        prop_assert_eq!(canonical(&left), canonical(&right));
    }

    #[test]
    fn the_order_of_entries_changes_the_hash(which in 0..3_usize) {
        let mut swapped = entries();
        swapped.swap(2 * which, 2 * which + 1);
        let (left, right) = (text_of(&entries(), plain), text_of(&swapped, plain));
        prop_assert_ne!(hash(&left), hash(&right));
    }

    #[test]
    fn comments_and_blanks_change_no_byte(
        seeds in proptest::collection::vec((0..4_usize, 0..3_usize, "[ -~é]{0,12}"), 64)
    ) {
        let at = std::cell::Cell::new(0);
        let text = text_of(&written(), |line| {
            let (blanks, empty, remark) = &seeds[at.replace(at.get() + 1) % seeds.len()];
            let (pad, gap) = (" ".repeat(*blanks), "\n".repeat(*empty));
            // The first sign of equality is the one behind the key.
            let line = line.replacen(" = ", &format!("{pad}=\t{pad}"), 1);
            format!("{gap}#{remark}\n{pad}{line}{pad}#{remark}\n")
        });
        let plain = text_of(&written(), plain);
        prop_assert_eq!(canonical(&text), canonical(&plain));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(kind|extends|=|\"|'|\\[|\\]|\\{|\\}|\\.|attach|qemu|disk|é|\n| |,|#|1|true){0,40}") {
        let _ = parse(&text);
        let _ = chain(&[("east.toml", &format!("extends = \"base\"\n{text}")), ("base.toml", &text)]);
    }
}

fn bundled() -> Vec<QemuProfile> {
    let profile = |name: &str| {
        let file = root().join("scenarios/lanes").join(name).with_extension("toml");
        Profile::parse(name, &fs::read_to_string(&file).unwrap(), &file, &root()).unwrap().qemu().unwrap()
    };
    ["sextant", "ovmf"].map(profile).into()
}

#[test]
fn bundled_profiles_load() {
    let kernels: Vec<_> = bundled().into_iter().map(|profile| profile.kernel).collect();
    let sextant = root().join("fixtures/guest/sextant.efi").to_str().unwrap().to_owned();
    assert_eq!(kernels, [Some(sextant), None]);
}

#[tokio::test]
async fn qemu_accepts_the_argv_of_bundled_profiles_and_waits_for_us() {
    let Some(platform) = platform_or_skip("bundled profiles under QEMU").await else { return };
    for mut profile in bundled() {
        // The kernel need not have been built for QEMU to accept everything else.
        profile.kernel = profile.kernel.filter(|kernel| fs::exists(kernel).unwrap());
        start_and_quit(&profile, &platform).await;
    }
}

/// What the goldens of this QEMU's version are made of, with files in place of those which their profiles name.
#[tokio::test]
async fn qemu_accepts_the_argvs_of_the_golden_profiles() {
    let Some(platform) = platform_or_skip("golden profiles under QEMU").await else { return };
    let Some(pair) = &platform.firmware.pair else {
        return eprintln!("SKIPPED golden profiles under QEMU: no OVMF pair");
    };
    let project = tempfile::tempdir().unwrap();
    let lanes = project.path().join("scenarios/lanes");
    fs::create_dir_all(&lanes).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = project.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let (raw, qcow2) = (vec![0; 1_024 * 1_024], empty_qcow2(&platform).await);
    file("fixtures/guest/a,b.efi", &fs::read(root().join("fixtures/guest/sextant.efi")).unwrap());
    file("fixtures/firmware/code.fd", &fs::read(&pair.code).unwrap());
    file("fixtures/firmware/vars.fd", &fs::read(&pair.vars).unwrap());
    file("fixtures/firmware/ovmf.fd", &vec![0; 65_536]);
    for name in ["a, with a comma.qcow2", "b.qcow2", "system.qcow2", "data.qcow2"] {
        file(&format!("fixtures/disks/{name}"), &qcow2);
    }
    for name in ["a.img", "c.img", "d.img", "tools \"quoted\".img"] {
        file(&format!("fixtures/disks/{name}"), &raw);
    }
    for name in ["old.img", "older.img"] {
        file(&format!("scenarios/lanes/{name}"), &raw);
    }
    for name in ["desktop", "everything", "headless", "kernel", "pc-bios", "pc-flash"] {
        let text =
            fs::read_to_string(root().join("fixtures/argv/profiles").join(format!("{name}.toml"))).unwrap();
        let text = text
            .replace("/srv/images", project.path().join("fixtures/disks").to_str().unwrap())
            .replace("/srv/firmware", project.path().join("fixtures/firmware").to_str().unwrap())
            .replace("port = 5910", &format!("port = {}", free_port()));
        let file = lanes.join(format!("{name}.toml"));
        let profile = Profile::parse(name, &text, &file, project.path()).unwrap().qemu().unwrap();
        start_and_quit(&profile, &platform).await;
    }
}

/// A disk image of 1 MiB as QEMU itself makes it.
async fn empty_qcow2(platform: &Platform) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let process = spawn(&boardless(platform, &[]), folder.path()).await;
    let (qmp, _events) = connect(folder.path()).await;
    let do_it = async |command: &str, arguments: Value| {
        let arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
        qmp.execute(command, arguments, PATIENCE).await.unwrap()
    };
    for (job, options) in [
        ("file", json!({ "driver": "file", "filename": "image", "size": 0 })),
        ("image", json!({ "driver": "qcow2", "file": "file", "size": 1_048_576 })),
    ] {
        do_it("blockdev-create", json!({ "job-id": job, "options": options })).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = do_it("query-jobs", json!({})).await;
            if jobs[0]["status"] == "concluded" {
                assert!(jobs[0].get("error").is_none(), "{jobs}");
                break;
            }
            assert!(Instant::now() < deadline, "{jobs}");
        }
        do_it("job-dismiss", json!({ "id": job })).await;
        if job == "file" {
            do_it("blockdev-add", json!({ "driver": "file", "node-name": "file", "filename": "image" }))
                .await;
        }
    }
    teardown(&process, Some(&qmp), folder.path(), &[QMP_SOCKET], TeardownConfig::default()).await;
    fs::read(folder.path().join("image")).unwrap()
}

#[tokio::test]
async fn qemu_accepts_every_kind_of_option_and_awkward_paths() {
    let Some(platform) = platform_or_skip("awkward profile under QEMU").await else { return };
    let Some(pair) = &platform.firmware.pair else {
        eprintln!("SKIPPED awkward profile under QEMU: no OVMF pair");
        return;
    };
    let project = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = project.path().join(name);
        fs::write(&path, vec![0; 1_024 * 1_024]).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (kernel, image) = (file("a,b =\"c\".efi"), file("-disk, 'one' \"two\" \u{e9}.img"));
    let text = format!(
        r#"
kind = "qemu"
allow_outside = true
machine = {{ type = "q35", cpus = 2, memory_mib = 128, cpu = "qemu64,+sse4.2" }}
firmware = {{ code = {:?}, vars = {:?} }}
boot.kernel = {kernel:?}
disk = [{{ path = {image:?}, readonly = true }}, {{ path = {image:?} }}, {{ path = {image:?}, bus = "ide" }}]
network = [{{}}, {{ model = "e1000e", restrict = false }}]
display.device = "virtio"
spice = {{ compression = "auto_glz", jpeg = "always", zlib_glz = "auto", streaming = "filter", ticket = true }}
reset.policy = "restart"
"#,
        pair.code, pair.vars
    );
    let profile = Profile::parse("awkward", &text, &project.path().join("p.toml"), project.path()).unwrap();
    let profile = profile.qemu().unwrap();
    start_and_quit(&profile, &platform).await;
    assert_eq!(fs::read(&image).unwrap(), vec![0; 1_024 * 1_024], "images are never written");
}

/// Starts what `profile` comes to, finds it waiting with its endpoints up and nothing to complain, and ends it.
async fn start_and_quit(profile: &QemuProfile, platform: &Platform) {
    let acceleration = resolve_acceleration(AccelRequest::Tcg, platform, None).unwrap();
    let plan = match plan(profile, platform, &acceleration) {
        Ok(plan) => plan,
        Err(error) => return eprintln!("SKIPPED profile {}: {error}", profile.name),
    };
    let folder = tempfile::tempdir().unwrap();
    prepare(&plan, folder.path()).unwrap();
    let process = spawn(&plan.argv, folder.path()).await;
    let connected = QmpClient::connect(folder.path(), QMP_SOCKET, PATIENCE);
    let (qmp, _events) = tokio::select! {
        connected = connected => connected.unwrap(),
        facts = process.exited() => panic!("{}: {facts}: {}", profile.name, facts.last_words),
    };
    let status = qmp.execute("query-status", serde_json::Map::new(), PATIENCE).await.unwrap();
    assert_eq!(status["status"], "prelaunch", "{}", profile.name);
    for file in &plan.files {
        assert!(folder.path().join(&file.path).exists(), "{}: {file:?}", profile.name);
    }
    let gone = plan.transient_names();
    let report = teardown(&process, Some(&qmp), folder.path(), &gone, TeardownConfig::default()).await;
    assert_eq!(report.rung, Rung::Quit);
    assert_eq!(fs::read_to_string(folder.path().join(QEMU_LOG)).unwrap(), "");
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_file(), "{}: {entry:?} was left", profile.name);
    }
}
