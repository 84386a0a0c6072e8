//! The page of a run: one file that opens from disk without a network, with the trace of every attempt that did not pass
//! and of as many others as there is room for.
//!
//! [`render`] reads journals and screenshots and writes the page. What guests and scripts said reaches the page as JSON,
//! plain or deflated, never as markup; the page's own script makes text of it. A policy in the page forbids everything
//! but its own script, its own style and pictures out of itself.
//!
//! Start reading at [`render`]; `trace` is what becomes of a journal, `overview` of the run, `pictures` of screenshots,
//! and `trace.js` what shows all of that.

mod overview;
mod pictures;
mod trace;

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::failure::printable;
use crate::journal::run::{RunRecord, Verdict};
use overview::Overview;

/// How many bytes of traces a page holds, at most.
pub const BUDGET_BYTES: usize = 25_000_000;

/// Writes the page of a run.
///
/// # Errors
/// The writer fails. What cannot be read of the run's folder is said in the page.
pub fn render(run: &RunRecord, out: &mut impl Write) -> std::io::Result<()> {
    render_within(run, BUDGET_BYTES, out)
}

/// As [`render`], with traces of `budget` bytes at most.
///
/// # Errors
/// As there.
pub fn render_within(run: &RunRecord, budget: usize, out: &mut impl Write) -> std::io::Result<()> {
    let overview = Overview::of(run, budget);
    let title = escape(&title(run));
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data: blob:; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let mut page = TEMPLATE;
    for (mark, text) in [("{{policy}}", policy.as_str()), ("{{title}}", &title), ("{{style}}", STYLE)] {
        page = fill(page, mark, text, out)?;
    }
    page = fill(page, "{{run}}", &json_in_script(&overview.run), out)?;
    page = fill(page, "{{script}}", SCRIPT, out)?;
    // Behind the script, so that the page is there before they are.
    page = fill(page, "{{blocks}}", "", out)?;
    overview.write_blocks(out)?;
    out.write_all(page.as_bytes())
}

/// Writes the template up to a mark, and the text for it; returns what comes behind it.
fn fill<'a>(page: &'a str, mark: &str, text: &str, out: &mut impl Write) -> std::io::Result<&'a str> {
    let (before, after) = page.split_once(mark).expect("the template has every mark, in this order");
    out.write_all(before.as_bytes())?;
    out.write_all(text.as_bytes())?;
    Ok(after)
}

fn title(run: &RunRecord) -> String {
    let wrong = run.not_loaded.len() + run.tests.iter().filter(|test| is_wrong(test.verdict)).count();
    let subject = match &run.tests[..] {
        [test] => printable(&test.test.name),
        tests => format!("{} tests", tests.len()),
    };
    match wrong {
        0 => format!("✓ {subject} · backstaff"),
        _ if run.tests.len() < 2 => format!("✗ {subject} · backstaff"),
        _ => format!("✗ {wrong} of {subject} · backstaff"),
    }
}

/// Whether something is to be explained: it did not pass, or not at once, or did not come to an end.
fn is_wrong(verdict: Option<Verdict>) -> bool {
    verdict.is_none_or(|verdict| !verdict.is_fine())
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// JSON that does not end the script element it stands in.
fn json_in_script(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("a page has only text and numbers");
    json.replace('<', "\\u003c")
}

/// JSON, deflated and as base64: three letters that are none of markup's.
fn packed(value: &impl Serialize) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(7));
    let json = serde_json::to_vec(value).expect("a page has only text and numbers");
    let deflated = encoder.write_all(&json).and_then(|()| encoder.finish());
    STANDARD.encode(deflated.expect("memory takes what is written"))
}

const TEMPLATE: &str = include_str!("trace.html");
const STYLE: &str = include_str!("trace.css");
const SCRIPT: &str = include_str!("trace.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_page_do_not_end_one_another() {
        let lower = |text: &str| text.to_lowercase();
        assert!(!lower(SCRIPT).contains("</script") && !SCRIPT.contains("<!--"));
        assert!(!lower(STYLE).contains("</style"));
        assert_eq!(json_in_script(&"</script><!--"), r#""\u003c/script>\u003c!--""#);
        assert_eq!(escape(r#"<a b="c">&"#), "&lt;a b=&quot;c&quot;&gt;&amp;");
    }

    #[test]
    fn a_run_without_anything_is_a_page_too() {
        let mut page = Vec::new();
        render(&RunRecord::default(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(!page.contains("{{"), "a mark was left");
    }
}
