//! Names and messages of guests and scripts hold anything; no format breaks over them.

use backstaff::journal::run::Verdict;
use backstaff::journal::{Body, Source};
use backstaff::report::story::Story;
use backstaff::report::style::Look;
use backstaff::report::{github, ndjson, subunit, summary};

use super::formats::{junit_told, junit_xml, ndjson_told, rendered, subunit_told, tap_text, tap_told};
use super::made::{Sample, Try, not_passed, passed};

const HOSTILE: [&str; 9] = [
    "]]> <!-- & \" ' </testcase><system-out>",
    "nul \0 bell \u{7} escape \u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} c1 \u{9b}1m del \u{7f}",
    "no characters of XML: \u{FFFE} \u{FFFF} \u{b} \u{c}; others: \u{85} \u{2028} \u{10FFFF} 🚀",
    "two\nlines\r\nor\rmore\n\n::error file=x::spoofed\n::set-env name=a::b",
    "# SKIP me # TODO \\# \\\\ \\",
    "ok 1 - fine\nnot ok 2\n1..0\nBail out! no\nTAP version 13",
    "---\n...\n  ...\n  ---\nkey: |\n\t- tab",
    "100% a:b,c %0A |cell| `code` <script>alert(1)</script> @everyone ![x](y)",
    "  leading and trailing  ",
];

fn run_of(texts: &[String], folder: &std::path::Path) -> Sample {
    let mut sample = Sample::new(folder);
    for text in texts {
        let events = || {
            let log = Body::Log { message: text.clone() };
            let path = vec![text.chars().take(300).collect::<String>()];
            let began = Body::StepBegan { path: path.clone(), timeout_s: 1.0, line: 1 };
            let ended = Body::StepEnded { path, passed: true, took_ms: 1 };
            vec![(Source::Script, log), (Source::Script, began), (Source::Script, ended)]
        };
        let verdicts = [Verdict::Failed, Verdict::Error, Verdict::Skipped, Verdict::LaneFailed];
        for verdict in verdicts {
            let attempt = Try { events: events(), ..not_passed(verdict, text, text) };
            let test = sample.test("x", Some(verdict), vec![attempt]);
            test.test.id = format!("a.lua::{verdict:?} {text}@sim");
            test.test.tags = vec![text.clone()];
            test.test.lane.clone_from(text);
        }
        let first = not_passed(Verdict::Failed, text, text);
        let test = sample.test("x", Some(Verdict::Flaky), vec![first, Try { events: events(), ..passed() }]);
        test.test.id = format!("a.lua::{text}@sim");
        let lost = || not_passed(Verdict::LaneFailed, text, text);
        let test = sample.test("x", Some(Verdict::LaneFailed), vec![lost(), lost()]);
        test.test.id = format!("a.lua::twice {text}@sim");
    }
    sample
}

#[test]
fn every_format_survives_hostile_names_and_messages() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    let mut sample = run_of(&texts, folder.path());
    let run = sample.store();
    let count = texts.len() * 6;
    let xml = junit_xml(run);
    assert_eq!(junit_told(&xml).len(), count);
    let is_legal = |char: char| {
        matches!(char, '\n' | ' '..='~') || (char > '\u{9f}' && char < '\u{FFFE}') || char > '\u{FFFF}'
    };
    assert_eq!(xml.chars().find(|char| !is_legal(*char)), None);
    let text = tap_text(run);
    assert_eq!(tap_told(&text).len(), count);
    assert_eq!(text.lines().filter(|line| line.starts_with("Bail out!")).count(), 0);
    assert_eq!(text.lines().filter(|line| line.starts_with("1..")).count(), 1);
    assert_eq!(ndjson_told(&String::from_utf8(rendered(run, ndjson::render)).unwrap()).len(), count);
    assert_eq!(subunit_told(&rendered(run, subunit::render)).len(), count);

    let story = Story::of(run);
    let annotations = github::annotations(&story, None);
    assert_eq!(annotations.lines().count(), 10);
    assert!(annotations.lines().all(|line| line.starts_with("::error ")), "{annotations}");
    assert!(!annotations.contains('\r') && !annotations.contains('\u{1b}'));
    let page = github::summary(&story, github::SUMMARY_BYTES);
    assert!(!page.contains("<script>") && !page.contains("]]> <!--") && !page.contains("![x]"), "{page}");
    for line in page.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.matches('|').count(), 4, "{line}");
    }
    let look = Look { color: false, live: false, width: 80 };
    let is_control = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    assert!(!summary::text(&story, look).contains(is_control));
}

#[test]
fn a_megabyte_of_a_message_is_cut_where_there_is_a_limit_and_whole_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let long = "größer als alles\n".repeat(64 * 1_024);
    let mut sample = run_of(std::slice::from_ref(&long), folder.path());
    let run = sample.store();
    let xml = junit_xml(run);
    assert_eq!(junit_told(&xml).len(), 6);
    assert!(xml.len() < 2_000_000 && xml.contains("bytes are left out here"), "{}", xml.len());
    let text = tap_text(run);
    assert_eq!(tap_told(&text).len(), 6);
    assert!(text.len() < 2_000_000 && text.contains("bytes are left out here"), "{}", text.len());
    let lines = String::from_utf8(rendered(run, ndjson::render)).unwrap();
    assert_eq!(ndjson_told(&lines).len(), 6);
    assert!(lines.contains(&long.replace('\n', "\\n")));
    assert_eq!(subunit_told(&rendered(run, subunit::render)).len(), 6);
    let story = Story::of(run);
    let page = github::summary(&story, github::SUMMARY_BYTES);
    assert!(page.len() < 100_000, "{}", page.len());
    assert!(github::annotations(&story, None).len() < 40_000);
}

#[test]
fn a_summary_that_does_not_fit_says_how_much_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sample = Sample::new(folder.path());
    for index in 0..1_000 {
        let failed =
            not_passed(Verdict::Failed, "expectation", "expected one thing, got another\nand a line");
        sample.test(&format!("test {index}"), Some(Verdict::Failed), vec![failed]);
    }
    let story = Story::of(&sample.run);
    for budget in [1_000, 20_000, 200_000, github::SUMMARY_BYTES] {
        let page = github::summary(&story, budget);
        assert!(page.len() <= budget, "{} of {budget}", page.len());
        assert!(page.contains("0 passed, 1000 failed, 0 skipped"));
        let missing = |what: &str| {
            let line = page.lines().find(|line| line.ends_with(what))?;
            line.split(' ').find_map(|word| word.parse::<usize>().ok())
        };
        let (rows, blocks) = (page.matches("| failed |").count(), page.matches("<details>").count());
        match missing("tests more: no room is left here.") {
            Some(tests) => assert_eq!((rows + tests, blocks), (1_000, 0)),
            None => {
                let details = missing("failures more: no room is left here.").unwrap_or_default();
                assert_eq!((rows, blocks + details), (1_000, 1_000));
            }
        }
    }
    let file = folder.path().join("summary.md");
    std::fs::write(&file, "x".repeat(700_000)).unwrap();
    github::append_summary(&file, &sample.run).unwrap();
    let length = std::fs::metadata(&file).unwrap().len();
    assert!((750_000..=800_000).contains(&length), "{length}");
    std::fs::write(&file, "x".repeat(1_048_000)).unwrap();
    github::append_summary(&file, &sample.run).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 1_048_000);
    assert!(
        github::annotations(&story, None).ends_with("and 991 failures more; the step's summary has them\n")
    );
}
