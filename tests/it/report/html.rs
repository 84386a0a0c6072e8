//! The page of a run in a browser, opened from disk: what is seen first, what every click and key leads to, and that
//! nothing a guest says gets out of its place.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstaff::journal::run::{FailureNote, RunBody, TestNote, Verdict};
use backstaff::report::{html, source};
use serde_json::{Value, json};

use super::browser::Browser;
use super::sample::{Journal, LOGIN, Sample, failed_login, test};
use crate::cli::lab::Lab;

/// Writes the page of what is in a folder and returns its path.
fn page(folder: &Path) -> PathBuf {
    let path = folder.join("trace.html");
    html::render(&source::load(folder).unwrap(), &mut File::create(&path).unwrap()).unwrap();
    path
}

/// What the page begins with.
fn overview(page: &[u8]) -> Value {
    let page = std::str::from_utf8(page).unwrap();
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"run\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn login() -> Sample {
    let sample = Sample::new();
    sample.script("login.lua", LOGIN);
    let (journal, failure) = failed_login();
    sample.test(test("logs in"), Verdict::TimedOut, Some(failure), &journal);
    sample.run_ended();
    sample
}

#[test]
fn the_failure_is_what_is_seen_first_with_its_line_its_picture_and_its_nearest_miss() {
    let Some(mut browser) = Browser::start("the page of a failure") else { return };
    let sample = login();
    browser.open(&page(sample.path()), "");
    let card = browser.text("#failure");
    for words in [
        "login.lua:8",
        "in step \"answer\"",
        "no match for",
        "nearest miss",
        "wanted true, got false",
        "hint: look at",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
    assert!(browser.text("#failure .here").contains("paste_received"));
    browser.wait_for_trace();
    let selected = browser.text("#events .row[aria-selected=\"true\"]");
    assert!(selected.contains("wait_ended") && selected.contains("timeout after 3.0 s"), "{selected}");
    assert!(browser.text("#lua .here").starts_with('8'), "{}", browser.text("#lua .here"));
    assert_eq!(browser.eval("document.querySelector('.frame img').alt"), json!("Screen at 4.240 s"));
    browser.wait_for("document.querySelector('.frame img').naturalWidth === 64");
    let detail = browser.text("#detail");
    for words in [
        "timeout after 3.0 s of 3.0 s, no slack",
        "4.20 per processor",
        "31 %",
        "correct: wanted true, got false",
    ] {
        assert!(detail.contains(words), "{words}: {detail}");
    }
    assert!(
        !detail.contains("keypress") || detail.find("paste_received") < detail.find("keypress"),
        "{detail}"
    );

    // A near miss leads to its event; the moment, the line and the picture go with it.
    browser.click_on("#detail .misses button");
    let selected = browser.text("#events .row[aria-selected=\"true\"]");
    assert!(selected.contains("digest_record") && selected.contains("paste_received"), "{selected}");
    assert!(browser.text("#lua .here").starts_with('8'), "the wait was going on");
    assert_eq!(browser.eval("document.querySelector('.frame img').alt"), json!("Screen at 0.920 s"));
    assert!(browser.text(".caption").contains("0.580 s before this moment"), "{}", browser.text(".caption"));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn a_click_anywhere_on_the_lanes_shows_that_moment() {
    let Some(mut browser) = Browser::start("clicks on the lanes") else { return };
    let sample = login();
    browser.open(&page(sample.path()), "");
    browser.wait_for_trace();
    let stage = browser.eval("(() => { const b = document.querySelector('canvas.over').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()");
    let at = |seconds: f64| {
        let (left, width) = (stage[0].as_f64().unwrap(), stage[2].as_f64().unwrap());
        left + 92.0 + (width - 100.0) * seconds / (4.4 * 1.005)
    };
    // The lane named last is at the bottom, and empty there.
    let bottom = stage[1].as_f64().unwrap() + stage[3].as_f64().unwrap() - 10.0;
    browser.click(at(2.0), bottom);
    assert_eq!(browser.eval("document.querySelector('.frame img').alt"), json!("Screen at 0.920 s"));
    let selected = browser.text("#events .row[aria-selected=\"true\"]");
    assert!(
        selected.contains("1.500") && selected.contains("paste_received"),
        "the last event before it: {selected}"
    );
    assert!(browser.text("#lua .here").starts_with('8'));
    browser.click(at(0.5), bottom);
    assert!(browser.text("#lua .here").starts_with('3'), "{}", browser.text("#lua .here"));
    assert!(browser.text(".caption").contains("after this moment"), "{}", browser.text(".caption"));

    // The film's last picture is the one of the failure, at the right.
    browser.click(at(4.24), stage[1].as_f64().unwrap() + 50.0);
    let selected = browser.text("#events .row[aria-selected=\"true\"]");
    assert!(selected.contains("02-timeout.png"), "{selected}");
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn keys_and_search_reach_everything() {
    let Some(mut browser) = Browser::start("keys") else { return };
    let sample = login();
    browser.open(&page(sample.path()), "");
    browser.wait_for_trace();
    let selected = |browser: &mut Browser| browser.text("#events .row[aria-selected=\"true\"]");
    browser.press(&["k"]);
    assert!(selected(&mut browser).contains("wrong answer"), "{}", selected(&mut browser));
    browser.press(&["ArrowDown", "j"]);
    assert!(selected(&mut browser).contains("02-timeout.png"), "{}", selected(&mut browser));
    browser.press(&["["]);
    assert!(selected(&mut browser).contains("01-boot.png"), "{}", selected(&mut browser));
    browser.press(&["f"]);
    assert!(selected(&mut browser).contains("wait_ended"), "{}", selected(&mut browser));
    browser.press(&["ArrowLeft"]);
    assert!(browser.eval("location.hash").as_str().unwrap().starts_with("#/0/1/"));
    assert!(selected(&mut browser).contains("wrong answer"), "{}", selected(&mut browser));

    browser.press(&["/", "L", "o", "G", "i", "n", ":"]);
    assert_eq!(browser.eval("document.activeElement.id"), json!("find"));
    assert_eq!(browser.text("#found"), "3 of 22");
    assert_eq!(browser.eval("document.querySelectorAll('#events .row').length"), json!(3));
    assert_eq!(browser.eval("document.querySelector('#events mark').textContent"), json!("login:"));
    browser.press(&["Enter", "j", "j"]);
    assert!(selected(&mut browser).contains("wait_ended serial:wait_for"), "{}", selected(&mut browser));
    browser.press(&["Enter"]);
    assert!(selected(&mut browser).contains("serial_line"), "to what it matched: {}", selected(&mut browser));
    browser.press(&["Escape"]);
    assert_eq!(browser.text("#found"), "");

    browser.press(&["?"]);
    assert_eq!(browser.eval("byId('help').open"), json!(true));
    browser.press(&["Escape"]);
    assert_eq!(browser.eval("byId('help').open"), json!(false));
    browser.press(&["w"]);
    let waits = browser.text("#waits");
    let (late, early) = (waits.find("3.0 s of 3.0 s").unwrap(), waits.find("845 ms of 1.0 s").unwrap());
    assert!(late < early, "{waits}");

    // What has the focus is seen, and lists say what is chosen.
    browser.press(&["w", "Tab"]);
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.eval(outline), json!("solid"), "{}", browser.eval("document.activeElement.outerHTML"));
    let active = "byId(byId('events').getAttribute('aria-activedescendant'))?.getAttribute('aria-selected')";
    assert_eq!(browser.eval(active), json!("true"));
    let nameless = "[...document.querySelectorAll('button, input, [role=listbox], [role=application]')].filter(it => !(it.ariaLabel || it.innerText || it.title || it.labels?.length)).length";
    assert_eq!(browser.eval(nameless), json!(0));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn colours_are_the_systems_until_somebody_chooses() {
    let Some(mut browser) = Browser::start("light and dark") else { return };
    let sample = login();
    browser.open(&page(sample.path()), "");
    browser.wait_for_trace();
    let brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765";
    let is_bright = |browser: &mut Browser| browser.eval(brightness).as_f64().unwrap() > 0.5;
    browser.prefer("light");
    assert!(is_bright(&mut browser));
    browser.prefer("dark");
    assert!(!is_bright(&mut browser));
    browser.press(&["t"]);
    assert!(is_bright(&mut browser), "light was chosen");
    browser.click_on("#theme");
    browser.prefer("light");
    assert!(!is_bright(&mut browser), "dark was chosen");
    browser.press(&["t"]);
    assert!(is_bright(&mut browser), "as the system again");
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn a_run_of_several_tests_begins_with_those_that_did_not_pass() {
    let sample = Sample::new();
    sample.script("login.lua", LOGIN);
    let (journal, failure) = failed_login();
    let quiet = Journal::default().event(5, "script", "log", json!({"message": "all is well"}));
    sample.append(RunBody::ScriptNotLoaded {
        file: "broken.lua".to_owned(),
        text: Some("scenario(\n".to_owned()),
        failure: FailureNote {
            message: "unexpected end".to_owned(),
            file: Some("broken.lua".to_owned()),
            line: Some(1),
            ..FailureNote::default()
        },
    });
    for number in 0..300 {
        sample.test(test(&format!("quiet {number}")), Verdict::Passed, None, &quiet);
    }
    sample.test(test("logs in"), Verdict::TimedOut, Some(failure.clone()), &journal);
    let flaky = TestNote { case: Some("twice".to_owned()), ..test("wavers") };
    sample.began(flaky.clone(), &journal);
    sample.ended(&flaky.id, 1, Verdict::TimedOut, Some(failure));
    sample.attempt(&flaky.id, 2, &quiet);
    sample.ended(&flaky.id, 2, Verdict::Passed, None);
    sample.append(RunBody::TestEnded {
        id: flaky.id,
        verdict: Verdict::Flaky,
        attempts: 2,
        took_ms: 6000,
        is_slow: true,
    });
    sample.began(
        test("killed"),
        &Journal::default().event(700, "serial", "serial_line", json!({"text": "oops"})),
    );
    let path = page(sample.path());

    let Some(mut browser) = Browser::start("the overview") else { return };
    browser.open(&path, "");
    assert!(browser.text(".summary h1").contains("3 of 304 did not pass"), "{}", browser.text(".summary h1"));
    assert!(browser.text(".summary").contains("did not come to its end"));
    let rows = "[...document.querySelectorAll('#tests .row')].map(row => row.querySelector('b').innerText)";
    let first: Vec<String> = serde_json::from_value(browser.eval(rows)).unwrap();
    assert_eq!(first[..5], ["broken.lua", "logs in", "killed", "wavers [twice]", "quiet 0"]);
    assert!(first.len() < 100, "only what is seen is drawn: {}", first.len());

    browser.press(&["Enter"]);
    assert!(
        browser.text("#failure").contains("broken.lua:1")
            && browser.text("#failure").contains("unexpected end")
    );
    browser.press(&["Escape", "/", "w", "a", "v", "e", "r"]);
    assert_eq!(browser.text("#found"), "1 of 304");
    browser.press(&["Enter"]);
    browser.wait_for_trace();
    assert_eq!(
        browser.eval("document.querySelector('.attempts [aria-current]').innerText"),
        json!("◷ 1"),
        "what failed of it"
    );
    browser.click_on(".attempts button:last-child");
    browser.wait_for_trace();
    assert!(browser.text("#events").contains("all is well"));
    browser.press(&["o", "End", "Enter"]);
    browser.wait_for_trace();
    assert!(browser.text("#where").contains("quiet 299"), "{}", browser.text("#where"));
    browser.press(&["Escape"]);
    assert!(browser.text("#tests").contains("logs in"));

    // A link into the middle of a test.
    browser.open(&path, "#/300/1/15");
    browser.wait_for_trace();
    assert!(browser.text("#events .row[aria-selected=\"true\"]").contains("paste_received"));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn a_killed_attempt_with_holes_and_strangers_in_its_journal_shows_what_there_is() {
    let sample = Sample::new();
    let data = json!({"deep": [1, {"er": null}]});
    let journal = Journal::default()
        .event(
            0,
            "runner",
            "attempt_began",
            json!({"scenario": "odd", "file": "a.lua", "line": 1, "lane": "a=east,b=west", "attempt": 1}),
        )
        .on("a", 100, "serial", "serial_line", json!({"text": "from the east"}))
        .on("b", 120, "serial", "serial_line", json!({"text": "from the west"}))
        .event(150, "tea", "of_tomorrow", data)
        .event(160, "script", "of_tomorrow", json!("plain"))
        .event(170, "screen", "of_tomorrow", Value::Null)
        .line("{\"seq\": oops")
        .gap(7)
        .event(180, "script", "step_began", json!({"path": ["one", "two"], "timeout_s": 9.0, "line": 3}))
        .event(
            190,
            "script",
            "wait_began",
            json!({"wait": 4, "call": "serial:wait_for", "wanted": "x", "timeout_s": 9.0, "line": 4}),
        )
        .event(200, "screen", "screenshot", json!({"path": "screenshots/lost.png", "width": 1, "height": 1}))
        .event(
            210,
            "screen",
            "screenshot",
            json!({"path": "../../../../etc/hostname", "width": 1, "height": 1}),
        )
        .event(220, "runner", "host_stalled", json!({"stalled_ms": 30}))
        .event(230, "script", "step_ended", json!({"path": ["none"], "passed": false, "took_ms": 1}))
        .event(240, "digest", "digest_record", json!({}))
        .line("{\"seq\":99,\"t_n");
    let folder = sample.began(test("odd"), &journal);
    // Of an attempt alone, too, named by its folder or its file.
    for (path, target) in [(page(sample.path()), sample.path()), (page(&folder), folder.as_path())] {
        assert_eq!(
            overview(&std::fs::read(&path).unwrap())["tests"][0]["verdict"],
            Value::Null,
            "{}",
            target.display()
        );
    }
    let Some(mut browser) = Browser::start("odd journals") else { return };
    browser.open(&page(&folder), "");
    browser.wait_for_trace();
    assert!(browser.text("#where").contains("unfinished"), "{}", browser.text("#where"));
    let card = browser.text("#failure");
    for words in ["no verdict", "ends without an end", "1 line of the journal", "2 screenshots not found"] {
        assert!(card.contains(words), "{words}: {card}");
    }
    browser.press(&["g"]);
    let events = browser.text("#events");
    for words in [
        "a/",
        "b/",
        "from the west",
        "of_tomorrow",
        "deep = { 1, { er = nil } }",
        "7 events missing",
        "no processor for 30 ms",
    ] {
        assert!(events.contains(words), "{words}: {events}");
    }
    for _ in 0..16 {
        browser.press(&["j"]);
        assert_ne!(browser.text("#detail"), "");
    }
    assert!(browser.text(".frame").contains("not in this page"));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn nothing_that_a_guest_or_script_says_becomes_more_than_text() {
    const HOSTILE: &str = "</script><script>window.pwned=1</script><!--<script>--><img src=x onerror=\"window.pwned=1\">\
                           {{script}}</style>\u{0}\u{1b}[2J\u{7f}\u{2028}\u{202e}\"'`&lt;";
    let sample = Sample::new();
    let file = format!("{HOSTILE}.lua");
    sample.script(&file, &format!("-- {HOSTILE}\nlocal x = [[{HOSTILE}]]\n"));
    let mut journal = Journal::default();
    let names = [
        "attempt_began",
        "serial_line",
        "qmp_event",
        "log",
        "warning",
        "lane_state",
        "step_began",
        "wait_began",
        "expectation",
        "always",
        "digest_record",
        "console_notice",
        "key_sent",
        "screenshot",
        "attachment",
        "fault",
        HOSTILE,
    ];
    for (t, name) in (0..).zip(names) {
        let all = json!({"text": HOSTILE, "name": HOSTILE, "message": HOSTILE, "state": HOSTILE, "detail": HOSTILE, "path": [HOSTILE], "call": HOSTILE,
            "wanted": HOSTILE, "what": HOSTILE, "difference": HOSTILE, "scenario": HOSTILE, "key": HOSTILE, HOSTILE: HOSTILE, "timeout_s": 1.0,
            "wait": t, "line": 1, "fault": HOSTILE, "data": {HOSTILE: HOSTILE}, "passed": false});
        journal = journal.on(HOSTILE, t * 10, if t % 3 == 0 { HOSTILE } else { "serial" }, name, all);
    }
    let failure = FailureNote {
        kind: HOSTILE.to_owned(),
        message: format!("{HOSTILE}\nnearest miss: {HOSTILE}"),
        file: Some(file.clone()),
        line: Some(1),
        hint: Some(HOSTILE.to_owned()),
        steps: vec![HOSTILE.to_owned()],
        screenshot: Some(HOSTILE.to_owned()),
        traceback: Some(HOSTILE.to_owned()),
    };
    let note = TestNote {
        name: HOSTILE.to_owned(),
        case: Some(HOSTILE.to_owned()),
        file,
        lane: HOSTILE.to_owned(),
        tags: vec![HOSTILE.to_owned()],
        ..test("hostile")
    };
    sample.test(note, Verdict::Failed, Some(failure), &journal);
    sample.test(test("second"), Verdict::Passed, None, &Journal::default());
    sample.run_ended();
    let path = page(sample.path());
    let text = std::fs::read_to_string(&path).unwrap();
    // The run, the script, and a block for the scripts and each trace.
    assert_eq!(text.matches("<script").count(), 2 + 1 + 2, "elements");
    assert_eq!(text.to_lowercase().matches("</script").count(), 2 + 1 + 2);
    assert!(!text.contains("<img"));

    let Some(mut browser) = Browser::start("hostile texts") else { return };
    browser.open(&path, "");
    assert!(browser.text("#tests").contains("<script>window.pwned=1</script>"));
    browser.press(&["Enter"]);
    browser.wait_for_trace();
    assert!(browser.text("#failure").contains("<img src=x onerror="));
    browser.press(&["g"]);
    for _ in names {
        browser.press(&["j"]);
        assert!(browser.text("#detail").contains("window.pwned=1"));
    }
    assert_eq!(browser.eval("window.pwned"), Value::Null);
    assert_eq!(browser.eval("document.querySelectorAll('img').length"), json!(0));
    let controls =
        "/[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u2028\\u202e]/.test(byId('main').innerText)";
    assert_eq!(browser.eval(controls), json!(false));
    // Even a mistake of ours would not run: the policy knows one script.
    let inject = "(() => { const it = document.createElement('script'); it.textContent = 'window.pwned = 2'; document.body.append(it); return window.pwned; })()";
    assert_eq!(browser.eval(inject), Value::Null);
    let fetched = browser.eval("await fetch('file:///etc/hostname').then(() => 'fetched', () => 'refused')");
    assert_eq!(fetched, json!("refused"));
}

#[test]
fn what_does_not_fit_is_left_out_and_counted_and_failures_come_first() {
    let sample = Sample::new();
    let (journal, failure) = failed_login();
    for name in ["fine 1", "fine 2"] {
        sample.test(test(name), Verdict::Passed, None, &journal);
    }
    sample.test(test("bad"), Verdict::Failed, Some(failure), &journal);
    sample.run_ended();
    let run = source::load(sample.path()).unwrap();
    let within = |budget: usize| {
        let mut page = Vec::new();
        html::render_within(&run, budget, &mut page).unwrap();
        (overview(&page), page.len())
    };
    let (whole, bytes) = within(html::BUDGET_BYTES);
    assert_eq!((&whole["left_out"], &whole["tests"][2]["attempts"][0]["trace"]), (&json!(0), &json!(0)));
    let (tight, less) = within(2_000);
    assert_eq!(tight["left_out"], json!(2), "{tight}");
    assert_eq!(tight["tests"][2]["attempts"][0]["trace"], json!(0), "the failure is in it");
    let why = tight["tests"][0]["attempts"][0]["why_not"].as_str().unwrap();
    assert!(why.contains("full") && less < bytes, "{why}");
    let (none, _) = within(0);
    assert_eq!(none["left_out"], json!(3));
}

/// More events than anybody reads, and a hundred pictures: drawn at once, and only what is seen.
#[test]
fn a_large_trace_is_quick() {
    let mut journal = Journal::default().event(
        0,
        "script",
        "step_began",
        json!({"path": ["all"], "timeout_s": 99.0, "line": 1}),
    );
    for at in 0..12_000_u64 {
        let t = at * 5;
        journal = match at % 6 {
            0 => journal.event(t, "screen", "surface_drawn", json!({"surface_id": 0, "draws": at % 9, "area": [0, 0, at % 1024, 9]})),
            1 => journal.event(t, "digest", "digest_record", json!({"line_rendered": {"row": at % 40}, "frame_counter": at})),
            2 => journal.event(t, "serial", "serial_line", json!({"text": format!("line {at} of the serial port")})),
            3 => journal.event(t, "keyboard", "key_sent", json!({"code": 28, "key": "enter", "action": "press"})),
            4 => journal.event(t, "script", "expectation", json!({"what": "holds", "passed": true, "line": 1})),
            _ => journal.event(t, "digest", "digest_updated", json!({"frame_counter": at, "framebuffer": "matches", "raw_records": [{"line_rendered": {"row": 1}}]})),
        };
    }
    for number in 0..100_u8 {
        journal = journal.shot(60_000 + u64::from(number), &format!("screenshots/{number}.png"), number);
    }
    let sample = Sample::new();
    sample.test(test("large"), Verdict::Passed, None, &journal);
    sample.run_ended();
    let path = page(sample.path());
    assert!(std::fs::metadata(&path).unwrap().len() < 3_000_000);
    let Some(mut browser) = Browser::start("a large trace") else { return };
    let mut paints = Vec::new();
    for _ in 0..5 {
        browser.open(&path, "");
        browser.wait_for("performance.getEntriesByName('backstaff-trace').length > 0 && performance.getEntriesByName('first-contentful-paint').length > 0");
        let times = browser.eval("['first-contentful-paint', 'backstaff-trace'].map(name => performance.getEntriesByName(name)[0].startTime)");
        paints.push((times[0].as_f64().unwrap(), times[1].as_f64().unwrap()));
    }
    paints.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (first, whole) = paints[2];
    eprintln!("12,100 events: first paint {first:.0} ms, lanes {whole:.0} ms (medians of 5)");
    // Ten times what is promised, for a host that is busy.
    assert!(first < 3_000.0, "first paint after {first:.0} ms");
    assert!(browser.eval("document.querySelectorAll('#events .row').length").as_u64().unwrap() < 100);
    browser.press(&["/", "1", "1", "9", "9", "0"]);
    browser.wait_for("text('#found').startsWith('1 of')");
    // Sixty steps along the lanes, each drawn.
    browser.press(&["Escape", "Escape", "f"]);
    let began = std::time::Instant::now();
    browser.press(&["ArrowLeft"; 60]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn a_run_of_the_reference_guest_becomes_a_page_by_one_command() {
    let script =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/canonical.lua"))
            .unwrap();
    let lab = Lab::bare()
        .file("a.lua", &script)
        .file("lanes/fast.toml", "kind = \"sim\"\n[sim]\ntime_scale = 50\n");
    let _ = lab.run(&["run", "a.lua", "--lane", "fast"]).exits_with(0);
    let _ = lab.run(&["trace", "why"]).exits_with(0).says(&["nothing failed: 1 passed"]);
    let _ = lab.run(&["trace", "html"]).exits_with(0).says(&["trace.html"]);
    let path = lab.run_folder().join("trace.html");
    assert!(std::fs::metadata(&path).unwrap().len() < 3_000_000);
    let Some(mut browser) = Browser::start("the reference guest's page") else { return };
    browser.open(&path, "#/0");
    browser.wait_for_trace();
    assert!(browser.text("#where").contains("passed"), "{}", browser.text("#where"));
    browser.wait_for("document.querySelector('.frame img').naturalWidth === 1024");
    browser.press(&["/", "p", "a", "s", "t", "e", "_"]);
    assert!(
        browser.text("#events").contains("paste_received { correct = true, len = 23 }"),
        "{}",
        browser.text("#events")
    );
    assert_eq!(browser.problems(), Vec::<String>::new());
}
