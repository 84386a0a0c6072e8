//! `backstaff flakes`: what many runs say together.

use backstaff::journal::run::Verdict;
use backstaff::journal::{Body, Source};
use jiff::SignedDuration;
use serde_json::Value;

use super::made::{Sample, Try, not_passed, passed, wait_began, wait_ended};
use crate::cli::lab::Lab;

fn wait(number: u32, timeout_s: f64, outcome: &str, took_ms: u64, load: f64) -> [(Source, Body); 2] {
    [wait_began(number, timeout_s), wait_ended(number, outcome, took_ms, Some(load))]
}

/// Twelve nights of three tests: one calm, one that needs longer on crowded hosts and now and then too long, one that
/// has begun to fail.
fn nights(lab: &Lab) {
    for night in 0..12_u32 {
        let mut sample = Sample::new(&lab.path(&format!("logs/night-{night:02}")));
        sample.run.began_at += SignedDuration::from_hours(24 * i64::from(night));
        let is_crowded = night % 3 == 2;
        let load = if is_crowded { 4.0 } else { 0.5 };
        let events = wait(1, 60.0, "matched", 900 + u64::from(night), load).to_vec();
        sample.test("is calm", Some(Verdict::Passed), vec![Try { events, ..passed() }]);
        let took_ms = if is_crowded { 4_500 } else { 1_500 };
        let events = wait(2, 5.0, "matched", took_ms, load).to_vec();
        let second = Try { events, ..passed() };
        if night == 5 {
            let events = wait(2, 5.0, "timeout", 5_000, load).to_vec();
            let first = Try { events, ..not_passed(Verdict::TimedOut, "timeout", "no match") };
            sample.test("hurries, \"always\"", Some(Verdict::Flaky), vec![first, second]);
        } else {
            sample.test("hurries, \"always\"", Some(Verdict::Passed), vec![second]);
        }
        if night >= 9 {
            let failed = not_passed(Verdict::Failed, "expectation", "no");
            sample.test("breaks", Some(Verdict::Failed), vec![failed]);
        } else {
            sample.passing("breaks").test.id.push_str("#1");
        }
        sample.store();
    }
}

#[test]
fn tight_waits_and_flaky_scenarios_come_first() {
    let lab = Lab::bare();
    nights(&lab);
    let text = lab.run(&["flakes", "logs"]).exits_with(0).within(60).text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text, @r###"
    2 waits in 12 runs, 25 times; the tightest first
    slack      p50      p99  deadline  suggested   trend   times  timeouts
      0 %   1.50 s   5.00 s    5.00 s       15 s    +0 %      13         1
          digest:wait_for { stage = "parked" }
          line 6 of a.lua::hurries, "always"
          3.0 times as long on a crowded host (5 times)
     98 %   0.91 s   0.91 s    60.0 s        3 s    +1 %      12         0
          digest:wait_for { stage = "parked" }
          line 5 of a.lua::is calm

    3 scenarios, 1 of them passed always at once
    flaky  failed    runs
      8 %     0 %      12  a.lua::hurries, "always"@sim
                           timed_out 1
      0 %    25 %      12  a.lua::breaks@sim
                           failed 3
    "###);
}

#[test]
fn programs_get_json_csv_and_a_page() {
    let lab = Lab::bare();
    nights(&lab);
    let text = lab.run(&["flakes", "logs", "--json"]).exits_with(0).text();
    let document: Value = serde_json::from_str(text.trim_start_matches("[stdout]\n")).unwrap();
    assert_eq!(
        (&document["format"], &document["version"]),
        (&Value::from("backstaff-flakes"), &Value::from(1))
    );
    assert_eq!(document["runs"], 12);
    let tight = &document["waits"][0];
    assert_eq!(
        (&tight["count"], &tight["timeouts"], &tight["too_short"]),
        (&13.into(), &1.into(), &1.into())
    );
    assert_eq!((&tight["used_p50_ms"], &tight["used_p99_ms"]), (&1500.0.into(), &5000.0.into()));
    assert_eq!((&tight["slack_p50"], &tight["slack_p99"]), (&0.7.into(), &0.0.into()));
    assert_eq!(tight["suggested_s"], 15);
    assert_eq!(tight["crowded"]["calm_p50_ms"], 1500.0);
    assert_eq!(tight["crowded"]["crowded_p50_ms"], 4500.0);
    assert!(tight["load_correlation"].as_f64().unwrap() > 0.9, "{tight}");
    let calm = &document["waits"][1];
    assert_eq!((&calm["suggested_s"], &calm["timeouts"]), (&3.into(), &0.into()));
    let scenario = &document["scenarios"][0];
    assert_eq!((&scenario["flaky"], &scenario["runs"]), (&1.into(), &12.into()));
    assert_eq!(scenario["kinds"]["timed_out"], 1);
    assert_eq!(document["scenarios"][1]["failed"], 3);

    let csv = lab.run(&["flakes", "logs", "--csv"]).exits_with(0).stdout;
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(lines[1].starts_with("\"a.lua::hurries, \"\"always\"\"\",,digest:wait_for,"), "{csv}");
    let csv = lab.run(&["flakes", "logs", "--csv=scenarios"]).exits_with(0).stdout;
    assert!(csv.contains("a.lua::breaks@sim,12,0,3,0,0.25,failed 3\r\n"), "{csv}");

    lab.command(&["flakes", "logs", "--html", "logs/page/flakes.html"]).run().exits_with(0);
    let page = std::fs::read_to_string(lab.path("logs/page/flakes.html")).unwrap();
    assert_eq!(page.matches("<tr><td>").count(), 4);
    assert_eq!(page.matches("<polyline ").count(), 2);
    assert!(page.contains("hurries, &quot;always&quot;"));
    assert!(page.len() < 20_000, "{}", page.len());
    for outside in ["http:", "https:", "src=", "href=", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_damaged_run_hides_none_of_the_others() {
    let lab = Lab::bare();
    nights(&lab);
    std::fs::write(lab.path("logs/night-03/run.ndjson"), "hello\n").unwrap();
    let attempt = lab.path("logs/night-04/01-test/attempt-1/journal.ndjson");
    std::fs::write(attempt, "{\"format\":\"backstaff-journal\",\"version\":9}\n").unwrap();
    let text = lab.run(&["flakes", "logs"]).exits_with(0).text();
    assert!(text.contains("in 11 runs"), "{text}");
    assert!(
        text.contains("left out: logs/night-03/run.ndjson: line 1 is not a `backstaff-run` header"),
        "{text}"
    );
    assert!(text.contains("journal version 9, this program reads up to 1"), "{text}");
    let text = lab.run(&["flakes", "logs/night-03/run.ndjson"]).exits_with(3).text();
    assert!(text.contains("hint: name a run's folder"), "{text}");
    let text = lab.run(&["flakes", "logs/nothing"]).exits_with(2).text();
    assert!(text.contains("error: read logs/nothing"), "{text}");
}
